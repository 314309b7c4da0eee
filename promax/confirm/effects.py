"""How large an effect is, and how sure: contrasts of a metric over the cells of a study, seeds and tickets both drawn.

A study scores the same pairs with every cell (setting) under every seed, and with one deterministic baseline. Its
effects are contrasts: weighted sums of the cells' mean metrics and the baseline's. Another study would differ by its
seeds and by its tickets, crossed: every seed meets every ticket. So the variance of a contrast has three parts,

    tickets + seeds / S + (seeds x tickets) / S,

with S seeds (Owen 2007 for crossed random effects). More seeds lessen the last two, more pairs the first and the third.

The parts come from sums and not from resamples. A metric of other tickets differs from this one by about the sum of
the pairs' influences, and pairs that share a group of tickets are dependent, so the variance of the sum is the sum
of products over all such couples of pairs (Fafchamps & Gubert 2007; Aronow, Samii & Assenova 2015). The pigeonhole
bootstrap of `promax.metrics` counts the noise of a pair three times and takes a thousand times as long; it and the
others that lost are in experiments/coverage, with the coverage of these intervals.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.sparse import coo_array
from scipy.special import nctdtrinc, stdtr, stdtrit

from promax.metrics import Interval, Metric, UndefinedMetric
from promax.metrics.metric import Target

POWER = 0.8
"""The chance of being seen that `Effect.smallest` is about: the convention since Cohen (1988)."""

MOST = 1000
"""Seeds, or times the pairs, beyond which more of them counts as no way to decide."""


@dataclass(frozen=True)
class Evidence:
    """A metric of every run, and what each group of tickets contributes to it; the baseline is the last cell.

    `values` (K+1, S) are the metrics of K cells and the baseline under S seeds. `groups` (G, K+1, S) are the sums
    of the influences of the pairs that touch a group, `couples` (C, K+1, S) of those between the same two groups.
    """

    values: NDArray[np.float64]
    groups: NDArray[np.float64]
    couples: NDArray[np.float64]

    @property
    def means(self) -> NDArray[np.float64]:
        """The mean over the seeds (K+1,) of each cell and, last, the baseline."""
        return np.asarray(self.values.mean(axis=1))


@dataclass(frozen=True)
class Spread:
    """The variance of a contrast in its three parts; their sum is the squared standard error.

    `tickets` is what would remain with seeds without end, `seeds` what would remain with tickets without end, and
    `both` the noise of a seed on a ticket, which either lessens. `runs` is the number of seeds and `effective` the
    number of groups of tickets that would know their variance as well if all contributed alike.
    """

    tickets: float
    seeds: float
    both: float
    runs: float
    effective: float

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(self.tickets + self.seeds + self.both)

    @property
    def freedom(self) -> float:
        """Degrees of freedom (Satterthwaite 1946): runs - 1 where seeds differ, those of the groups elsewhere."""
        between = self.seeds + self.both
        uncertain = between**2 / max(self.runs - 1, 1) + self.tickets**2 / self.effective
        return self.error**4 / uncertain if uncertain > 0 else math.inf

    def margin(self, confidence: float) -> float:
        """Half the width of the t interval."""
        return self.error * float(stdtrit(self.freedom, (1 + confidence) / 2)) if self.error else 0.0

    def with_more(self, seeds: float = 1.0, pairs: float = 1.0) -> Spread:
        """What is to be expected of that many times the seeds and the pairs."""
        return Spread(
            self.tickets / pairs,
            self.seeds / seeds,
            self.both / (seeds * pairs),
            self.runs * seeds,
            self.effective * pairs,
        )


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


def gather(
    metric: Metric[Target],
    cells: NDArray[np.float64],
    baseline: NDArray[np.float64],
    target: Target,
    units: NDArray[np.int64],
) -> Evidence:
    """The metric of `cells` (K, S, n) and `baseline` (n,) on pairs with `target` (n,) and groups `units` (n, 2).

    Row s of every cell is seed s. `units` are the two groups of tickets that a pair touches
    (`promax.data.groups.resampling_units`).

    Raises:
        UndefinedMetric: the metric has no value for a run, or there are fewer than two groups.
        ValueError: shapes that differ.
    """
    if cells.ndim != 3 or not cells.size or baseline.shape != cells.shape[2:] or units.shape != (*baseline.shape, 2):
        raise ValueError(
            f"cells of shape {cells.shape}, baseline {baseline.shape}, units {units.shape}: "
            "must be (K, S, n), (n,) and (n, 2)"
        )
    seeds = cells.shape[1]
    runs = [*cells.reshape(-1, cells.shape[2]), baseline]
    values = [metric(run, target) for run in runs]
    groups, couples = _sums(np.column_stack([metric.influence(run, target) for run in runs]), units)

    def by_cell(columns: NDArray[np.float64]) -> NDArray[np.float64]:
        # The baseline is one run, and the same one beside every seed.
        repeated = np.repeat(columns[..., -1:], seeds, axis=-1)
        shape = (*columns.shape[:-1], len(cells) + 1, seeds)
        return np.concatenate([columns[..., :-1], repeated], axis=-1).reshape(shape)

    return Evidence(by_cell(np.array(values)), by_cell(groups), by_cell(couples))


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
    estimate, spread = float(weights @ evidence.means), _spread(evidence, weights)
    margin, distance = spread.margin(confidence), abs(estimate - against)
    critical = float(stdtrit(spread.freedom, (1 + confidence) / 2))
    return Effect(
        estimate,
        Interval(estimate - margin, estimate + margin, confidence),
        p=_two_sided(distance, spread),
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
        return abs(float(contrast @ evidence.means)) - _spread(evidence, contrast).margin(confidence)

    size = float(below @ evidence.means)
    if abs(size) <= _spread(evidence, below).margin(confidence):
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


def _sums(influence: NDArray[np.float64], units: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the influences (n, runs): their sums over the pairs of each group, and over those between the same two."""
    names, numbered = np.unique(units, return_inverse=True)
    if len(names) < 2:
        raise UndefinedMetric(f"too few groups of tickets to know their spread: {len(names)}, at least 2 are needed")
    ends = np.sort(numbered.reshape(units.shape), axis=1)
    between = np.flatnonzero(ends[:, 0] != ends[:, 1])
    couple = np.unique(ends[between], axis=0, return_inverse=True)[1]
    rows = np.concatenate([ends[:, 0], ends[between, 1]])
    columns = np.concatenate([np.arange(len(units)), between])
    ones = np.ones(len(rows))
    by_group = coo_array((ones, (rows, columns)), shape=(len(names), len(units))).tocsr()
    by_couple = coo_array((ones[: len(between)], (couple, between)), shape=(couple.max(initial=-1) + 1, len(units)))
    return np.asarray(by_group @ influence), np.asarray(by_couple.tocsr() @ influence)


def _checked(evidence: Evidence, weights: ArrayLike) -> NDArray[np.float64]:
    checked = np.asarray(weights, dtype=np.float64)
    cells, seeds = evidence.values.shape
    if checked.shape != (cells,):
        raise ValueError(f"weights of shape {checked.shape}: must be ({cells},), the cells and the baseline")
    if seeds < 2 and checked[:-1].any():
        raise UndefinedMetric(f"too few seeds to know their spread: {seeds}, at least 2 are needed")
    return checked


def _spread(evidence: Evidence, weights: NDArray[np.float64]) -> Spread:
    values, groups, couples = (
        np.tensordot(each, weights, axes=(-2, 0)) for each in (evidence.values, evidence.groups, evidence.couples)
    )
    runs = groups.shape[1]
    mean = groups.mean(axis=1)
    within = float(_between_tickets(mean, couples.mean(axis=1)))
    if runs < 2:
        return Spread(within, 0.0, 0.0, runs, _effective(mean))
    between = float(values.var(ddof=1)) / runs
    # One seed's variance is tickets + both, that of the mean of S seeds tickets + both / S; the noise of a seed on
    # the tickets is in the spread between the seeds as well. An estimate can leave the range of what it estimates.
    both = float(_between_tickets(groups, couples).mean() - within) / (runs - 1)
    both = min(max(both, 0.0), within, between)
    return Spread(within - both, between - both, both, runs, _effective(mean))


def _between_tickets(groups: NDArray[np.float64], couples: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of products over all couples of pairs that share a group, of the columns of `groups` (G, ...).

    The squares of the groups' sums count what two pairs between the same two groups have in common twice. The
    difference can be negative by chance where groups are few: then, as is usual for two-way clusters (Cameron,
    Gelbach & Miller 2011, section 2.3), nothing is subtracted, which errs to the wide side.
    """
    squares = (groups**2).sum(axis=0)
    once = squares - (couples**2).sum(axis=0)
    return np.asarray(np.where(once > 0, once, squares) * len(groups) / (len(groups) - 1))


def _effective(sums: NDArray[np.float64]) -> float:
    """2 E[v]^2 / Var[v] for the variance v as a sum of G squares: G - 1 for normal sums, fewer where some dominate."""
    squares, count = sums**2, len(sums)
    excess = (squares**2).sum() - squares.sum() ** 2 / count
    return float(min(count - 1, 2 * squares.sum() ** 2 / excess)) if excess > 0 else count - 1.0


def _two_sided(distance: float, spread: Spread) -> float:
    if not spread.error:
        return 0.0 if distance else 1.0
    return float(2 * stdtr(spread.freedom, -distance / spread.error))


def _seeds_needed(spread: Spread, distance: float, confidence: float) -> int | None:
    def clear(seeds: float) -> bool:
        return distance > spread.with_more(seeds=seeds / spread.runs).margin(confidence)

    return bisect_left(range(MOST), True, lo=int(spread.runs), key=clear) if clear(MOST) else None


def _pairs_needed(spread: Spread, distance: float, confidence: float) -> float | None:
    """In steps of a tenth of the pairs there are."""

    def clear(tenths: float) -> bool:
        return distance > spread.with_more(pairs=tenths / 10).margin(confidence)

    return bisect_left(range(10 * MOST), True, lo=10, key=clear) / 10 if clear(10 * MOST) else None
