"""From vectors to two rankings of the same tickets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Hit:
    """A ticket in one ranking: its row, the cosine of its vector with the query's, and both ranks, from 1."""

    row: int
    score: float
    rank: int
    other_rank: int


def rank(vectors: NDArray[np.float32], query: NDArray[np.float32], left_out: int | None) -> NDArray[np.int64]:
    """(n,): each ticket's rank by its similarity to the query, from 1; of equal ones the earlier row is first.

    `left_out` is the row of the query itself, which is ranked last.

    >>> rank(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), np.array([0, 1], np.float32), left_out=1)
    array([2, 3, 1])
    """
    scores = vectors @ query
    if left_out is not None:
        scores[left_out] = -np.inf
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks


def nearest(
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    ranks: NDArray[np.int64],
    other: NDArray[np.int64],
    top: int,
) -> list[Hit]:
    """The first `top` tickets by `ranks`, with their ranks by the other encoder."""
    rows = np.argsort(ranks)[:top]
    scores = vectors[rows] @ query
    return [
        Hit(int(row), float(score), int(ranks[row]), int(other[row])) for row, score in zip(rows, scores, strict=True)
    ]
