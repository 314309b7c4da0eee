"""Which problem goes to which side, before any pair is made: so no ticket and no problem is on two."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from promax.config import MiningConfig, SplitsConfig
from promax.data.curriculum.truth import Truth
from promax.data.exports import Tickets

SIDES = ("train", "dev", "test", "adversarial")


def sides_of(
    tickets: Tickets, truth: Truth, cfg: SplitsConfig, mining: MiningConfig, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The number in `SIDES` of each ticket's side; all tickets of a problem have the same.

    A side comes close to its share of the positive pairs that the problems can give. Categories are no
    problems, and there are few of them: with weak truth the tickets are dealt one by one. Where no problem
    can cross categories there are no adversarial pairs, and their share is train's.
    """
    crossed = not truth.weak and len({*tickets.category} - {""}) > 1
    apart = [cfg.dev, cfg.test, *([cfg.adversarial] if crossed else [])]
    shares = [1 - sum(apart), *apart]
    if truth.weak:
        return _dealt(np.ones_like(truth.group), shares, rng)
    number, size = np.unique(truth.group, return_inverse=True, return_counts=True)[1:]
    pairs = np.minimum.reduce(
        [size * (size - 1) // 2, size * mining.pairs_per_ticket // 2, np.full(len(size), mining.pairs_per_group)]
    )
    return _dealt(pairs, shares, rng)[number]


def _dealt(weight: NDArray[np.int64], shares: list[float], rng: np.random.Generator) -> NDArray[np.int64]:
    """Each unit's side: the heaviest first, those of one weight in an order of chance.

    A unit goes where its side, with it, is least above its share: D'Hondt's rule, by which the units of each
    weight, and not only all of them, are divided in proportion.
    """
    order = rng.permutation(len(weight))
    order = order[np.argsort(-weight[order], kind="stable")]
    side, held = np.empty(len(weight), dtype=np.int64), [0.0] * len(shares)
    for unit, added in zip(order.tolist(), weight[order].tolist(), strict=True):
        least = min(range(len(shares)), key=lambda at: (held[at] + added) / shares[at])
        side[unit] = least
        held[least] += added
    return side
