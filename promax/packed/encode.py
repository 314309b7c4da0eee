"""Embedding many texts, for evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch.nn import functional
from tqdm import tqdm  # type: ignore[import-untyped]

from promax.packed.forward import Packed


def encode(
    encoder: SentenceTransformer, texts: Sequence[str], batch_size: int, dtype: torch.dtype, *, progress: bool = False
) -> NDArray[np.float32]:
    """Unit-length embeddings of `texts`, row i for text i, without dropout, whatever mode the encoder is in.

    Texts of like length share a batch, so that its attention needs little padding. The same texts
    give the same rows to the last bit.
    """
    packed = Packed(encoder, dtype, still=True)
    tokens = packed.tokenize(texts)
    order = np.argsort([-len(each) for each in tokens], kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    parts = []
    with torch.no_grad():
        for batch in tqdm(batches, desc="embedding", unit="batch", disable=None if progress else True):
            embeddings = packed.embed([tokens[text] for text in batch])
            parts.append(functional.normalize(embeddings, dim=-1))
    found = torch.cat(parts).cpu().numpy()
    rows = np.empty_like(found)
    rows[order] = found
    return rows
