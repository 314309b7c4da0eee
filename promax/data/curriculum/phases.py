"""Train's phases: which candidates each may have, how many it can have, and the draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from promax.config import ConfigError, PhasesConfig
from promax.data.curriculum.mined import Mined, evenly, joined

CLASSES = {True: "positive", False: "negative"}


def eligible(candidates: Mined, cfg: PhasesConfig) -> NDArray[np.bool_]:
    """(p, m): which phase may have which candidate."""
    similarity, positive = candidates.similarity, candidates.positive
    rows = []
    for phase in range(len(cfg.positive_from)):
        high, low = similarity >= cfg.positive_from[phase], similarity <= cfg.negative_to[phase]
        if cfg.definition == "banded" and phase:
            high &= similarity < cfg.positive_from[phase - 1]
            low &= similarity > cfg.negative_to[phase - 1]
        rows.append(np.where(positive, high, low))
    return np.array(rows)


def bound(cfg: PhasesConfig, phase: int, positive: bool) -> str:
    """The similarities that a phase, from 0, takes of a class, in words.

    >>> bound(PhasesConfig(definition="banded"), 1, positive=True)
    'similarity >= 0.4 and < 0.52'
    """
    banded = cfg.definition == "banded" and phase > 0
    if positive:
        before = f" and < {cfg.positive_from[phase - 1]:g}" if banded else ""
        return f"similarity >= {cfg.positive_from[phase]:g}{before}"
    before = f" and > {cfg.negative_to[phase - 1]:g}" if banded else ""
    return f"similarity <= {cfg.negative_to[phase]:g}{before}"


def largest(candidates: Mined, cfg: PhasesConfig) -> int:
    """The most pairs that every phase can have at once, with its share of positives; 0 where a class is missing.

    Banded phases have nothing in common. One-sided ones hold each other, so that phases 1 to p, of n pairs
    each, need p n pairs of what phase p may have; and that is enough.
    """
    may = eligible(candidates, cfg)
    times = np.arange(len(may)) + 1 if cfg.definition == "one_sided" else np.ones(len(may))
    most = {of: int(np.min((may & (candidates.positive == of)).sum(axis=1) // times)) for of in CLASSES}
    pairs = int(min(most[True] / cfg.positive_share, most[False] / (1 - cfg.positive_share))) + 1
    while pairs and any(count > most[of] for of, count in _wanted(pairs, cfg).items()):
        pairs -= 1
    return pairs if min(_wanted(pairs, cfg).values()) > 0 else 0


def draw(candidates: Mined, cfg: PhasesConfig, rng: np.random.Generator) -> Mined:
    """The pairs of all phases, each of the size that `cfg` asks for, in no order.

    The easiest phase draws first, from all it may have, and the others from what is left. Negative
    pairs come from all origins in parts as equal as can be.

    Raises:
        ConfigError: the candidates can't fill every phase: what was found, and the bound that stopped it.
    """
    most = largest(candidates, cfg)
    if most == 0 or (cfg.pairs or 0) > most:
        raise ConfigError(_shortage(candidates, cfg, most))
    may, free = eligible(candidates, cfg), np.ones(len(candidates), dtype=np.bool_)
    drawn = []
    for phase, allowed in enumerate(may, start=1):
        for of, count in _wanted(cfg.pairs or most, cfg).items():
            open_ = np.flatnonzero(allowed & free & (candidates.positive == of))
            chosen = rng.choice(open_, count, replace=False) if of else _mixed(candidates, open_, count, rng)
            free[chosen] = False
            drawn.append(candidates.take(chosen).in_phase(phase))
    return joined(drawn)


def earliest(pairs: Mined, cfg: PhasesConfig) -> Mined:
    """The same pairs in the first phase whose one-sided bounds they meet, or the last where they meet none."""
    may = eligible(pairs, PhasesConfig(positive_from=cfg.positive_from, negative_to=cfg.negative_to))
    return pairs.in_phase(np.where(may.any(axis=0), may.argmax(axis=0) + 1, len(may)))


def inverted(train: Mined, cfg: PhasesConfig) -> list[str]:
    """A warning for each phase whose positive pairs are, in the mean, less similar than its negative ones."""
    warnings = []
    for phase in range(len(cfg.positive_from)):
        inside = train.phase == phase + 1
        high, low = (train.similarity[inside & (train.positive == of)].mean() for of in (True, False))
        if high < low:
            warnings.append(
                f"WARNING: phase {phase + 1} is inverted: its positive pairs ({bound(cfg, phase, True)}) are less"
                f" similar than its negative ones ({bound(cfg, phase, False)}), {high:.2f} against {low:.2f} in the"
                " mean; phases.definition=one_sided has no such phase"
            )
    return warnings


def _wanted(pairs: int, cfg: PhasesConfig) -> dict[bool, int]:
    positive = round(pairs * cfg.positive_share)
    return {True: positive, False: pairs - positive}


def _mixed(candidates: Mined, rows: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rows[evenly(candidates.origin[rows], count, rng)]


def _shortage(candidates: Mined, cfg: PhasesConfig, most: int) -> str:
    """Which phases can't have what they need, beside the phases before them, and why."""
    may, missing = eligible(candidates, cfg), []
    before = {True: 0, False: 0}
    for phase, allowed in enumerate(may):
        for of, count in _wanted(cfg.pairs or 2, cfg).items():
            there = int((allowed & (candidates.positive == of)).sum())
            found = max(there - before[of], 0) if cfg.definition == "one_sided" else there
            before[of] += min(count, found)
            if found < max(count, 1):
                missing.append(f"phase {phase + 1} has {found} of {count} {CLASSES[of]} pairs, {bound(cfg, phase, of)}")
    all_of = f"{candidates.positive.sum()} positive and {(~candidates.positive).sum()} negative candidates in train"
    size = "null" if cfg.pairs is None else cfg.pairs
    can = f"phases.pairs={most} is what every phase can have" if most else "no phases.pairs fits these bounds"
    return f"phases.pairs={size}: {'; '.join(missing)}; {all_of}\n{can}, nothing was written"
