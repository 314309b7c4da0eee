"""Finding a ticket's duplicate among all tickets: ranks of the known partners and what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from promax.metrics.metric import Batched, UndefinedMetric, checked_weights

TIE = 1e-6
"""Cosines this close are tied: a float32 product of 384 terms is right to about 1e-7, and depends on its block."""

BLOCK_ENTRIES = 2**24
"""Similarities held at once: 64 MiB in float32."""


def retrieval_ranks(embeddings: NDArray[np.floating[Any]], links: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each known partner stands when all other tickets are ranked by their cosine with the query.

    `embeddings` (t, d) have rows of length 1; `links` (m, 2) are the ticket numbers of the positive pairs. The
    result (2m,) holds the ranks, from 1, first of column 1 for the queries of column 0, then the other way round.

    The query itself and its other known partners are left out, so that finding one right answer isn't held
    against another: the filtered rank of Bordes et al. (2013). Tickets that are alike without a link still count
    against the partner. Ties are resolved against it, every other ticket with a cosine within 1e-6 standing
    before it: a model that gives all tickets one embedding ranks every partner last, not first (Sun et al. 2020
    show what the other choice hides).

    Raises:
        ValueError: embeddings that are not finite or not of length 1 (within 1 %), links outside 0..t-1 or
            from a ticket to itself.

    >>> angle = np.array([0.0, 0.2, 0.5, 2.0])
    >>> embeddings = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> retrieval_ranks(embeddings, np.array([[0, 1], [1, 3]])).tolist()
    [1, 2, 1, 2]
    """
    _check(embeddings, links)
    # Both directions, so a query's partners are everything it is linked to.
    query, partner = np.concatenate([links, links[:, ::-1]]).T
    queries, row = np.unique(query, return_inverse=True)
    ranks = np.empty(len(query), dtype=np.int64)
    block = max(1, BLOCK_ENTRIES // max(1, len(embeddings)))
    for start in range(0, len(queries), block):
        here = queries[start : start + block]
        cosine = embeddings[here] @ embeddings.T
        asked = np.flatnonzero((row >= start) & (row < start + block))
        at = row[asked] - start
        reach = cosine[at, partner[asked]] - TIE
        cosine[np.arange(len(here)), here] = -np.inf
        cosine[at, partner[asked]] = -np.inf
        ranks[asked] = [1 + np.count_nonzero(cosine[i] >= least) for i, least in zip(at, reach, strict=True)]
    return ranks


def recall_at(ranks: NDArray[np.int64], k: int, weights: NDArray[np.float64] | None = None) -> float:
    """Share of the ranks that are at most `k`: how often the partner is among the first k.

    For an interval, `bootstrap(prepare_recall(ranks, k), np.tile(units, (2, 1)), ...)` with the units of the positive
    pairs, once for each direction.

    Raises:
        UndefinedMetric: no ranks, or no weight on any.
        ValueError: a rank or `k` below 1.

    >>> recall_at(np.array([1, 3, 7, 2]), k=2)
    0.5
    """
    return prepare_recall(ranks, k)(checked_weights(weights, len(ranks)))


def prepare_recall(ranks: NDArray[np.int64], k: int) -> Batched:
    """`recall_at` as a function of the weights alone; of ranks (d, m) the d in a column share a weight."""
    if k < 1:
        raise ValueError(f"k={k}: must be at least 1")
    _check_ranks(ranks)
    return _prepared_mean(ranks <= k)


def mean_reciprocal_rank(ranks: NDArray[np.int64], weights: NDArray[np.float64] | None = None) -> float:
    """Mean of 1 / rank (Voorhees 1999, the TREC-8 question answering track), in 0..1.

    Raises:
        UndefinedMetric: no ranks, or no weight on any.
        ValueError: a rank below 1.

    >>> mean_reciprocal_rank(np.array([1, 2, 4]))
    0.5833333333333334
    """
    return prepare_reciprocal_rank(ranks)(checked_weights(weights, len(ranks)))


def prepare_reciprocal_rank(ranks: NDArray[np.int64]) -> Batched:
    """`mean_reciprocal_rank` as a function of the weights alone; ranks as for `prepare_recall`."""
    _check_ranks(ranks)
    return _prepared_mean(1 / ranks)


def _prepared_mean(found: NDArray[Any]) -> Batched:
    values = np.atleast_2d(found).mean(axis=0)

    def means(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        empty = ~weights.any(axis=-1)
        if empty.any():
            raise UndefinedMetric("no positive pairs: there is no partner to find", empty)
        return np.asarray(np.vecdot(weights, values) / weights.sum(axis=-1))

    return Batched(means)


def _check_ranks(ranks: NDArray[np.int64]) -> None:
    if bad := np.count_nonzero(ranks < 1):
        raise ValueError(f"{bad} of {ranks.size} ranks are below 1")


def _check(embeddings: NDArray[np.floating[Any]], links: NDArray[np.int64]) -> None:
    if embeddings.ndim != 2 or links.ndim != 2 or links.shape[1] != 2:
        raise ValueError(
            f"embeddings of shape {embeddings.shape} and links of shape {links.shape}: must be (t, d) and (m, 2)"
        )
    tickets = len(embeddings)
    lengths = np.linalg.norm(embeddings, axis=1)
    if bad := np.count_nonzero(~np.isfinite(lengths)):
        raise ValueError(f"{bad} of {tickets} embeddings are not finite")
    if bad := np.count_nonzero(np.abs(lengths - 1) > 0.01):
        raise ValueError(f"{bad} of {tickets} embeddings are not of length 1")
    if bad := np.count_nonzero((links < 0) | (links >= tickets)):
        raise ValueError(f"{bad} ticket numbers in the links are outside 0..{tickets - 1}")
    if bad := np.count_nonzero(links[:, 0] == links[:, 1]):
        raise ValueError(f"{bad} of {len(links)} links join a ticket to itself")
