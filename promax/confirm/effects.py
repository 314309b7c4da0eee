"""How large an effect is, how sure, and what would make it surer: contrasts over the cells of a study."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, nctdtrinc, stdtrit

from promax.confirm.evidence import Evidence, Spread, gather, spread_of
from promax.metrics import Interval, UndefinedMetric

__all__ = ["Effect", "Evidence", "Spread", "effect", "gather", "holm", "ratio"]

POWER = 0.8
"""The chance of being seen that `Effect.smallest` is about: the convention since Cohen (1988)."""

MOST = 1000
"""Seeds, or times the pairs, beyond which more of them counts as no way to decide."""


@dataclass(frozen=True)
class Effect:
    """A contrast, how sure it is, and what would make it surer.

    `p` is two-sided, against `against`; it is below 1 - confidence exactly where the interval is clear of `against`.
    `smallest` is the distance from `against` that a study like this one sees with 80 % power. `seeds_needed` in
    all, and `pairs_needed` times the pairs, would bring the interval clear of `against` if the estimate held; None
    where no number up to 1,000 does, because the other source alone is too wide.
    """

    estimate: float
    interval: Interval
    p: float
    spread: Spread
    smallest: float
    seeds_needed: int | None
    pairs_needed: float | None
    against: float


def effect(evidence: Evidence, weights: ArrayLike, confidence: float = 0.95, against: float = 0.0) -> Effect:
    """The contrast with these `weights` (K+1,) of the cells and, last, the baseline.

    A gain of g relative to cell r is the contrast with g less at r, and a mean of at least c one against c.

    Raises:
        UndefinedMetric: one seed, whose spread is unknown, and a weight on a cell.
        ValueError: not K+1 weights, or a confidence that is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: must be above 0 and below 1")
    weights = _checked(evidence, weights)
    estimate, spread = float(weights @ evidence.means), spread_of(evidence, weights)
    is_mean = np.count_nonzero(weights) == 1 and weights.max() == 1
    interval, distance = _placed(estimate, spread.margin(confidence), against, evidence.bounds if is_mean else None)
    critical = float(stdtrit(spread.freedom, (1 + confidence) / 2))
    return Effect(
        estimate,
        Interval(*interval, confidence),
        p=spread.chance(distance),
        spread=spread,
        # The non-centrality at which t passes its critical value with that chance.
        smallest=spread.error * float(nctdtrinc(spread.freedom, 1 - POWER, critical)) if spread.error else 0.0,
        seeds_needed=_seeds_needed(spread, distance, confidence),
        pairs_needed=_pairs_needed(spread, distance, confidence),
        against=against,
    )


def ratio(evidence: Evidence, weights: ArrayLike, reference: ArrayLike, confidence: float = 0.95) -> Interval:
    """The interval of contrast `weights` relative to contrast `reference`: all g with the two apart by g undecided.

    Fieller's (1954): g is inside exactly where the interval of weights - g * reference holds 0, so it agrees with
    every claim of a relative gain. Found by root finding, since the degrees of freedom change with g.

    Raises:
        UndefinedMetric: the reference itself isn't clear of 0, and the ratio without bounds.
    """
    above, below = _checked(evidence, weights), _checked(evidence, reference)

    def clear(g: float) -> float:
        contrast = above - g * below
        return abs(float(contrast @ evidence.means)) - spread_of(evidence, contrast).margin(confidence)

    size = float(below @ evidence.means)
    if abs(size) <= spread_of(evidence, below).margin(confidence):
        raise UndefinedMetric(f"no ratio to a reference of {size:.4f}, whose interval holds 0")
    centre = float(above @ evidence.means) / size
    step = -clear(centre) / abs(size)
    if step <= 0:
        return Interval(centre, centre, confidence)

    def end(outside: float) -> float:
        while clear(centre + outside) <= 0:
            outside *= 2
        return float(brentq(clear, centre, centre + outside, xtol=1e-9))

    return Interval(end(-step), end(step), confidence)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p values adjusted for all being asked at once (Holm 1979), in the order given.

    Of m, the i-th smallest is multiplied by m - i + 1 and is at least as large as the one before it. At most a share
    alpha of studies has an adjusted p below alpha where there is no effect, however the p values depend on each other.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def _checked(evidence: Evidence, weights: ArrayLike) -> NDArray[np.float64]:
    checked = np.asarray(weights, dtype=np.float64)
    cells, seeds = evidence.values.shape
    if checked.shape != (cells,):
        raise ValueError(f"weights of shape {checked.shape}: must be ({cells},), the cells and the baseline")
    if seeds < 2 and checked[:-1].any():
        raise UndefinedMetric(f"too few seeds to know their spread: {seeds}, at least 2 are needed")
    return checked


def _placed(
    estimate: float, margin: float, against: float, bounds: tuple[float, float] | None
) -> tuple[tuple[float, float], float]:
    """The interval, and how far the estimate is from `against`: of a mean between bounds on the scale of log odds.

    Near its ceiling a metric varies less upwards than downwards. The log odds of its place between the bounds don't, to
    first order, and their interval stays inside; their distance is given in units of the metric at the estimate.
    """
    low, high = bounds or (-math.inf, math.inf)
    if not low < estimate < high < math.inf:
        return (estimate - margin, estimate + margin), abs(estimate - against)
    width = high - low
    place, aim = (estimate - low) / width, min(max((against - low) / width, 0.0), 1.0)
    slope = width * place * (1 - place)
    ends = [low + width * float(expit(logit(place) + step)) for step in (-margin / slope, margin / slope)]
    return (ends[0], ends[1]), slope * abs(float(logit(place) - logit(aim)))


def _seeds_needed(spread: Spread, distance: float, confidence: float) -> int | None:
    def clear(seeds: float) -> bool:
        return distance > spread.with_more(seeds=seeds / spread.runs).margin(confidence)

    return bisect_left(range(MOST), True, lo=int(spread.runs), key=clear) if clear(MOST) else None


def _pairs_needed(spread: Spread, distance: float, confidence: float) -> float | None:
    """In steps of a tenth of the pairs there are."""

    def clear(tenths: float) -> bool:
        return distance > spread.with_more(pairs=tenths / 10).margin(confidence)

    return bisect_left(range(10 * MOST), True, lo=10, key=clear) / 10 if clear(10 * MOST) else None
