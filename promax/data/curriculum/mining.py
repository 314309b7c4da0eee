"""Candidate pairs: positive ones from the problems, negative ones between the tickets of these."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

from promax.config import MiningConfig
from promax.data.curriculum.mined import Mined, bounded, joined, measured
from promax.data.curriculum.truth import Truth, origins
from promax.data.exports import Tickets

# Neighbours are searched for so many tickets at once: their lists take BLOCK * mining.neighbours * 12 bytes.
BLOCK = 1024

# The ends of the positive pairs are dealt so many times over, since many deals join tickets of one problem.
DEALS = 4

RANDOM, SAME_CATEGORY, NEAREST = "random", "same_category", "nearest"


def positive_rows(
    tickets: Tickets, truth: Truth, side: NDArray[np.int64], cfg: MiningConfig, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.str_], list[str]]:
    """Pairs (m, 2) of one problem and one side, their origins (m,), and notes on what was left out.

    Within a problem the pairs are drawn evenly over its tickets. Pairs of tickets that name different problem
    records, though links lead from one to the other, are no positives, and no negatives either.
    """
    chosen, possible = [np.empty((0, 2), dtype=np.int64)], 0
    for members in _groups(truth.group * (side.max(initial=0) + 1) + side):
        pairs = _spread(rng.permutation(members), cfg.pairs_per_ticket)
        possible += len(members) * (len(members) - 1) // 2
        if not truth.weak:
            pairs = pairs[rng.permutation(len(pairs))[: cfg.pairs_per_group]]
        chosen.append(pairs)
    rows = np.sort(np.concatenate(chosen), axis=1)
    origin = origins(tickets, truth, rows)
    kept = origin != ""
    notes = []
    if possible > len(rows):
        each = "" if truth.weak else f" and no problem gives more than {cfg.pairs_per_group}"
        notes.append(
            f"{len(rows)} of {possible} positive pairs are candidates: no ticket is in more than"
            f" {cfg.pairs_per_ticket}{each} (mining.pairs_per_ticket, mining.pairs_per_group)"
        )
    if not kept.all():
        notes.append(
            f"pairs left out, since links join their tickets but these name different problems: {(~kept).sum()}"
        )
    return rows[kept], origin[kept], notes


def negatives(
    positive: Mined,
    tickets: Tickets,
    group: NDArray[np.int64],
    vectors: NDArray[np.float32],
    cfg: MiningConfig,
    rng: np.random.Generator,
    *,
    side: str,
) -> Mined:
    """Candidate pairs of different problems, among the tickets of the positive pairs alone.

    The `random` and `same_category` ones are the ends of the positive pairs, dealt anew: so a ticket is in about
    as many of them as it is in positive ones, and only both texts together tell the label. These are drawn
    without a look at the similarity, so that they are not what the un-tuned encoder thinks. The `nearest`
    are mined one for each positive pair. No origin has more pairs than there are positive ones.
    """
    category = np.array(tickets.category)
    ends = np.concatenate([positive.rows.ravel()] * DEALS)
    by_chance = _dealt(rng.permutation(ends))
    shuffled = rng.permutation(ends)
    shuffled = shuffled[category[shuffled] != ""]
    filed = _dealt(shuffled[np.argsort(category[shuffled], kind="stable")])
    filed = rng.permutation(filed[category[filed[:, 0]] == category[filed[:, 1]]])
    near = _nearest(positive, group, vectors, cfg, rng, side=side)
    parts, taken = [], np.empty((0, 2), dtype=np.int64)
    for name, rows in ((NEAREST, near), (SAME_CATEGORY, filed), (RANDOM, by_chance)):
        different = rows[group[rows[:, 0]] != group[rows[:, 1]]]
        fresh = _without(bounded(different, cfg.pairs_per_ticket), taken)[: len(positive)]
        taken = np.concatenate([taken, fresh])
        parts.append(measured(fresh, False, np.full(len(fresh), name, dtype="<U13"), vectors))
    return joined(parts)


def _groups(group: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows of each group, in the order of the groups' numbers."""
    order = np.argsort(group, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _spread(members: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Pairs of `members`, each of which is in `most` of them or one less; all pairs where there are no more.

    Each is paired with those 1, 2, ... places after it on a circle.
    """
    count = len(members)
    if count - 1 <= most:
        return np.stack([members[side] for side in np.triu_indices(count, k=1)], axis=1)
    steps = np.arange(1, most // 2 + 1)
    partner = (np.arange(count)[:, None] + steps) % count
    return np.stack([np.repeat(members, len(steps)), members[partner.ravel()]], axis=1)


def _dealt(ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Neighbours in a row of tickets as pairs; of an odd number the last is left."""
    return ends[: len(ends) // 2 * 2].reshape(-1, 2)


def _without(pairs: NDArray[np.int64], taken: NDArray[np.int64]) -> NDArray[np.int64]:
    held = set(map(tuple, taken.tolist()))
    fresh = [pair for pair in pairs.tolist() if tuple(pair) not in held]
    return np.array(fresh, dtype=np.int64).reshape(-1, 2)


def _nearest(
    positive: Mined,
    group: NDArray[np.int64],
    vectors: NDArray[np.float32],
    cfg: MiningConfig,
    rng: np.random.Generator,
    *,
    side: str,
) -> NDArray[np.int64]:
    """For each positive pair, one of its tickets and its nearest neighbour of another problem under the margin.

    The margin is that of NV-Retriever (Moreira et al. 2024, arXiv 2407.15831): a negative is at most 0.95
    times as similar as the positive pair it is mined for, since what is nearer is likely to be of the
    same problem, unmarked. The search is exact: at these sizes a graph index takes longer to build than it
    saves, an inverted file misses neighbours, and the encoding takes far longer (experiments/data_build).
    """
    import faiss

    if not len(positive):
        return np.empty((0, 2), dtype=np.int64)
    pool = np.unique(positive.rows)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors[pool])
    # The anchor is either end of its pair, by chance.
    anchor = positive.rows[np.arange(len(positive)), rng.integers(2, size=len(positive))]
    ceiling = cfg.margin * positive.similarity
    # From the lowest ceiling up, so that a pair with a high one doesn't take what suits a low one.
    order = np.lexsort((ceiling, anchor))
    anchors, first = np.unique(anchor[order], return_index=True)
    ceilings = [ceiling[slots].tolist() for slots in np.split(order, first[1:])]
    found: list[tuple[int, int]] = []
    show = tqdm(total=len(anchors), desc=f"neighbours, {side}", unit="ticket", disable=None, leave=False)
    with show:
        for start in range(0, len(anchors), BLOCK):
            block = anchors[start : start + BLOCK]
            scores, near = index.search(vectors[block], min(cfg.neighbours, len(pool)))
            for at, row in enumerate(block.tolist()):
                other = group[pool[near[at]]] != group[row]
                chosen = _under(ceilings[start + at], scores[at][other])
                found += [(row, ticket) for ticket in pool[near[at][other][chosen]].tolist()]
            show.update(len(block))
    return rng.permutation(np.array(found, dtype=np.int64).reshape(-1, 2))


def _under(ceilings: list[float], scores: NDArray[np.float32]) -> list[int]:
    """For each ceiling, ascending, the place of the first of the falling `scores` under it that no other has taken.

    >>> _under([0.3, 0.5, 0.6], np.array([0.7, 0.45, 0.35, 0.2], dtype=np.float32))
    [3, 1, 2]
    """
    taken: list[int] = []
    for ceiling in ceilings:
        free = (at for at in np.flatnonzero(scores <= ceiling).tolist() if at not in taken)
        taken += [at for at in [next(free, None)] if at is not None]
    return taken
