"""Which tickets hang together: connected components, and the groups of tickets that a bootstrap draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MAX_SHARE = 0.10
"""Largest share of the pairs that one component may hold and still be drawn as a whole."""

MIN_COMPONENTS = 20
"""Fewest components that are drawn as wholes: with fewer clusters, intervals come out too narrow (Cameron,
Gelbach & Miller 2008 put "few" at 5 to 30)."""


def components(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """The connected component of each ticket.

    `edges` (m, 2) join tickets numbered 0..k-1, k - 1 being the largest number in `edges`. The result (k,) numbers
    the components 0, 1, ... in the order of their first tickets. A number below k in no edge is a component of
    its own; an edge from a ticket to itself joins nothing.

    >>> components(np.array([[0, 2], [3, 4]])).tolist()
    [0, 1, 0, 2, 2]
    """
    count = int(edges.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(edges), dtype=np.bool_), (edges[:, 0], edges[:, 1])), shape=(count, count))
    component = connected_components(graph, directed=False)[1]
    return np.asarray(component, dtype=np.int64)


def resampling_units(tickets: NDArray[np.int64], positive: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """The two groups of tickets (n, 2) that pair i touches; `promax.metrics.bootstrap` draws the groups.

    `tickets` (n, 2) are ticket numbers, `positive` (n,) says which pairs join two reports of one problem; None
    where the labels are graded and draw no such line.

    Pairs that share a ticket, directly or through others, are dependent, so a group is a connected component
    over all pairs and both columns are equal. That needs many components and none too large: drawing one giant
    component leaves everything or nothing. Real pair sets are often one such component, since each negative pair
    joins two problems. So where a component holds more than 10 % of the pairs, or there are fewer than 20, the
    groups are the components over the positive pairs alone, which are the problems, and a negative pair
    touches two of them; without `positive` every ticket is a group.

    Group numbers are 0, 1, ... without gaps, in the order of the groups' first tickets.

    Raises:
        ValueError: `tickets` is not (n, 2), or `positive` is neither None nor (n,) bool.

    Two problems, {0, 1} and {2, 3}, and a negative pair between them:

    >>> tickets = np.array([[0, 1], [2, 3], [1, 2]])
    >>> resampling_units(tickets, np.array([True, True, False])).tolist()
    [[0, 0], [1, 1], [0, 1]]
    """
    if tickets.ndim != 2 or tickets.shape[1] != 2:
        raise ValueError(f"tickets of shape {tickets.shape}: must be (n, 2)")
    if positive is not None and (positive.shape != (len(tickets),) or positive.dtype != np.bool_):
        raise ValueError(f"positive of shape {positive.shape}, {positive.dtype}: must be ({len(tickets)},) bool")
    # Numbered anew: a subset of a larger set's pairs leaves gaps, and a gap would count as a component.
    present, numbered = np.unique(tickets, return_inverse=True)
    tickets = numbered.reshape(tickets.shape)
    whole = components(tickets)
    pairs_in = np.bincount(whole[tickets[:, 0]])
    if len(pairs_in) >= MIN_COMPONENTS and pairs_in.max() <= MAX_SHARE * len(tickets):
        return whole[tickets]
    if positive is None:
        return tickets
    alone = np.arange(len(present))
    return components(np.concatenate([tickets[positive], np.column_stack([alone, alone])]))[tickets]
