"""Which pairs go to which side, so that no ticket is on two sides."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from promax.data.groups import components

# A side is starved, or drowned, if it misses its share of pairs or of positives by more than this part of it
# and by more than so many pairs. On eight real pair sets any part from 0.2 to 0.5 leads to the same choice.
TOLERANCE = 0.5
SLACK = 2


def deal(
    tickets: NDArray[np.int64], positive: NDArray[np.bool_], shares: Mapping[str, float], seed: int
) -> dict[str, NDArray[np.int64]]:
    """Side -> its rows in ascending order, every ticket on one side alone.

    `tickets` (n, 2) numbers both tickets of each pair, `positive` (n,) marks the positive pairs and
    `shares` gives each side's part of the pairs, 1 in sum. Both the pairs and the positive pairs of
    a side come close to its share.

    Groups are the connected components over all pairs, and every row goes to a side. In a set of
    marked duplicates the negative pairs join most tickets into one component; where that keeps a
    side far from its share, the groups are the components over the positive pairs alone. A negative
    pair whose tickets then come to different sides goes to none: those rows are missing from the
    result.

    >>> tickets = np.array([[0, 1], [2, 3], [4, 5], [6, 7]])
    >>> rows = deal(tickets, np.array([True, True, False, False]), {"train": 0.5, "test": 0.5}, seed=0)
    >>> [len(rows["train"]), len(rows["test"])]
    [2, 2]
    """
    side = _sides(components(tickets)[tickets], positive, shares, seed)
    if not _meets(side, positive, shares):
        every = np.arange(tickets.max(initial=-1) + 1)
        joined = np.concatenate([tickets[positive], np.column_stack([every, every])])
        side = _sides(components(joined)[tickets], positive, shares, seed)
    return {name: np.flatnonzero(side == number) for number, name in enumerate(shares)}


def _meets(side: NDArray[np.int64], positive: NDArray[np.bool_], shares: Mapping[str, float]) -> bool:
    for number, share in enumerate(shares.values()):
        for counted in (np.ones_like(positive), positive):
            wanted = share * counted.sum()
            if abs((counted & (side == number)).sum() - wanted) > max(SLACK, TOLERANCE * wanted):
                return False
    return True


def _sides(
    groups: NDArray[np.int64], positive: NDArray[np.bool_], shares: Mapping[str, float], seed: int
) -> NDArray[np.int64]:
    """(n,): the number of each pair's side, -1 where its two groups, (n, 2), came to different sides.

    Linear deterministic greedy (Stanton & Kliot 2012): in turn, each group goes to the side where it
    has the most partners, weighted by the room that is left there. Room is counted in positives and
    in negatives apart, so that a side is filled with both. Large groups go first, since they are
    the hardest to place; groups of one size come in an order drawn by `seed`.
    """
    inside = groups[:, 0] == groups[:, 1]
    count = int(groups.max(initial=-1)) + 1
    own = np.stack([np.bincount(groups[inside & of, 0], minlength=count) for of in (positive, ~positive)], axis=1)
    share = np.array(list(shares.values()))
    wanted = np.outer(share, np.maximum([positive.sum(), (~positive).sum()], 1))
    partners = _partners(groups[~inside], count)

    order = np.random.default_rng(seed).permutation(count)
    order = order[np.argsort(-own.sum(axis=1)[order], kind="stable")]
    side_of = np.full(count, -1)
    held = np.zeros_like(wanted)
    for group in order:
        linked = slice(partners.indptr[group], partners.indptr[group + 1])
        placed = side_of[partners.indices[linked]]
        links = np.bincount(placed[placed >= 0], partners.data[linked][placed >= 0], minlength=len(share))
        added = own[group] + np.column_stack([np.zeros_like(links), links])
        room = 1 - (held + added) / wanted
        # Without pairs of its own a group takes up the room of negatives.
        weight = own[group] if own[group].any() else np.array([0, 1])
        best = np.lexsort((room @ weight, links * room.clip(min=0).prod(axis=1)))[-1]
        side_of[group] = best
        held[best] += added[best]
    first, second = side_of[groups].T
    return np.where(first == second, first, -1)


def _partners(between: NDArray[np.int64], count: int) -> csr_array:
    """The number of pairs between any two groups, symmetric."""
    graph = coo_array((np.ones(len(between)), (between[:, 0], between[:, 1])), shape=(count, count))
    return csr_array(graph + graph.T)
