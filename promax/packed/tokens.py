"""Texts as token ids, each text once a tokenizer: dev comes back after every epoch, and in every trial of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

AT_ONCE = 256
MOST = 1 << 17
"""Texts kept of a tokenizer, some 350 bytes each where they are titles. Before there are more, all are dropped."""

# They live as long as their tokenizer, which the copies of a base encoder have in common.
_KEPT: WeakKeyDictionary[Any, dict[tuple[int | None, str], NDArray[np.int64]]] = WeakKeyDictionary()


def tokenize(encoder: SentenceTransformer, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Token ids of each text, by the encoder's own preprocessing, cut at its `max_seq_length`; not to be written to."""
    kept, longest = _KEPT.setdefault(encoder.tokenizer, {}), encoder.max_seq_length
    missing = [text for text in dict.fromkeys(texts) if (longest, text) not in kept]
    if len(kept) + len(missing) > MOST:
        # Those that are asked for now as well: a set that does not fit is tokenized whole each time.
        kept.clear()
        missing = list(dict.fromkeys(texts))
    for start in range(0, len(missing), AT_ONCE):
        part = missing[start : start + AT_ONCE]
        features = encoder.preprocess(list(part))
        ids, mask = features["input_ids"].numpy(), features["attention_mask"].numpy().astype(bool)
        kept.update({(longest, text): row[real] for text, row, real in zip(part, ids, mask, strict=True)})
    return [kept[longest, text] for text in texts]
