"""What the checks are given to measure with: the un-tuned encoder, and TF-IDF beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from promax import encoder
from promax.audit.side import Ruler
from promax.config import Config
from promax.lexical import tfidf_similarity
from promax.vectors import untuned_vectors


def untuned_ruler(cfg: Config, device: str) -> Ruler:
    """The encoder of `cfg.model` as it is before any training; its embeddings come from the project's cache."""
    untuned = encoder.load(replace(cfg.model, lora=None), device, cfg.seed)

    def cosine(text1: list[str], text2: list[str]) -> NDArray[np.float64]:
        both = untuned_vectors(text1 + text2, cfg.model, device=device, batch_size=cfg.eval.batch_size)
        return np.asarray(np.einsum("nd,nd->n", both[: len(text1)], both[len(text1) :], dtype=np.float64))

    def tokens(texts: list[str]) -> NDArray[np.int64]:
        encoded = untuned.tokenizer(texts, truncation=False, verbose=False)["input_ids"]
        return np.array([len(each) for each in encoded], dtype=np.int64)

    assert untuned.max_seq_length is not None
    return Ruler(cosine, tfidf_similarity, tokens, untuned.max_seq_length)
