"""`Mined`, pairs of tickets on their way from an export into a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

# Rows of vectors gathered at once, so that memory stays bounded whatever the number of pairs.
BLOCK = 16_384


@dataclass(frozen=True, eq=False)
class Mined:
    """Pairs of tickets, column-wise.

    Attributes:
        rows: (m, 2), the rows of both tickets.
        positive: (m,), whether they are of one problem.
        origin: (m,), what is known of them: problem, parent, link, closure, weak; how a negative pair was
            found: random, same_category, nearest.
        similarity: (m,), the cosine that the un-tuned encoder gives them.
        phase: (m,), from 1; 0 as long as they have none.
    """

    rows: NDArray[np.int64]
    positive: NDArray[np.bool_]
    origin: NDArray[np.str_]
    similarity: NDArray[np.float64]
    phase: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, at: NDArray[np.int64]) -> Mined:
        return Mined(self.rows[at], self.positive[at], self.origin[at], self.similarity[at], self.phase[at])

    def in_phase(self, phase: int | NDArray[np.int64]) -> Mined:
        return replace(self, phase=np.broadcast_to(np.int64(phase), len(self)).copy())


def measured(rows: NDArray[np.int64], positive: bool, origin: NDArray[np.str_], vectors: NDArray[np.float32]) -> Mined:
    """Pairs of one class, with their similarity by `vectors`, unit rows, and no phase yet."""
    similarity = np.empty(len(rows))
    for start in range(0, len(rows), BLOCK):
        of = rows[start : start + BLOCK]
        # Row by row and not as a product of matrices, whose last bits change with the number of threads.
        similarity[start : start + BLOCK] = np.einsum("ij,ij->i", vectors[of[:, 0]], vectors[of[:, 1]])
    return Mined(rows, np.full(len(rows), positive), origin, similarity, np.zeros(len(rows), dtype=np.int64))


def joined(parts: Sequence[Mined]) -> Mined:
    return Mined(
        rows=np.concatenate([part.rows for part in parts]),
        positive=np.concatenate([part.positive for part in parts]),
        origin=np.concatenate([part.origin for part in parts]),
        similarity=np.concatenate([part.similarity for part in parts]),
        phase=np.concatenate([part.phase for part in parts]),
    )


def bounded(pairs: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The pairs (m, 2), in order and each once, but for those that would put a ticket into more than `most`.

    >>> bounded(np.array([[0, 1], [1, 0], [0, 2], [0, 3]]), 2).tolist()
    [[0, 1], [0, 2]]
    """
    uses: dict[int, int] = {}
    kept: dict[tuple[int, int], None] = {}
    for a, b in np.sort(pairs, axis=1).tolist():
        if (a, b) not in kept and uses.get(a, 0) < most and uses.get(b, 0) < most:
            kept[a, b] = None
            uses[a], uses[b] = uses.get(a, 0) + 1, uses.get(b, 0) + 1
    return np.array(list(kept), dtype=np.int64).reshape(-1, 2)


def evenly(origin: NDArray[np.str_], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` of the rows of `origin`, or all, drawn so that its values have as equal parts as there are rows for.

    >>> evenly(np.array(["a", "a", "a", "b"]), 3, np.random.default_rng(0)).size
    3
    """
    # The place of each row within its own origin, in random order: the lowest places come first.
    order = rng.permutation(len(origin))
    place = np.empty(len(origin), dtype=np.int64)
    for value in np.unique(origin):
        of = order[origin[order] == value]
        place[of] = np.arange(len(of))
    return np.sort(order[np.argsort(place[order], kind="stable")][:count])
