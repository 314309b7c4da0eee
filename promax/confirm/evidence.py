"""A metric of every run of a study, and how far a contrast of cells would be off with other seeds and other tickets.

A study scores the same pairs with every cell (setting) under every seed, and with one deterministic baseline. Another
study would differ by its seeds and by its tickets, crossed: every seed meets every ticket. So the variance of a
weighted sum of the cells' means has three parts (Owen 2007, for crossed random effects),

    tickets + seeds / S + (seeds x tickets) / S,        with S seeds.

They come from sums and not from resamples. The metric of other tickets differs from this one by about the sum of the
pairs' influences; pairs that share a group of tickets are dependent; so the variance is the sum of products over all
couples of pairs that share a group (Fafchamps & Gubert 2007; Aronow, Samii & Assenova 2015). The pigeonhole bootstrap
of `promax.metrics` counts the noise of a pair three times and takes a hundred times as long. It and others that lost
are in experiments/coverage, with the coverage of these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.special import stdtr, stdtrit

from promax.metrics import Metric, UndefinedMetric, pr_auc, roc_auc, spearman, spearman_ceiling
from promax.metrics.metric import Target


@dataclass(frozen=True)
class Evidence:
    """A metric of every run, and what each group of tickets contributes to it; the baseline is the last cell.

    `values` (K+1, S) are the metrics of K cells and the baseline under S seeds. `groups` (G, K+1, S) are the sums
    of the influences of the pairs that touch a group, `couples` (C, K+1, S) of those between the same two groups.
    `bounds` are what no scoring can pass (`promax.metrics.spearman_ceiling`).
    """

    values: NDArray[np.float64]
    groups: NDArray[np.float64]
    couples: NDArray[np.float64]
    bounds: tuple[float, float] = (-math.inf, math.inf)

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

    def chance(self, distance: float) -> float:
        """The two-sided p of a contrast this far from what it is held against."""
        if not self.error:
            return 0.0 if distance else 1.0
        return float(2 * stdtr(self.freedom, -distance / self.error))

    def with_more(self, seeds: float = 1.0, pairs: float = 1.0) -> Spread:
        """What is to be expected of that many times the seeds and the pairs."""
        return Spread(
            self.tickets / pairs,
            self.seeds / seeds,
            self.both / (seeds * pairs),
            self.runs * seeds,
            self.effective * pairs,
        )


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
    numbered = np.unique(units, return_inverse=True)[1].reshape(units.shape)
    influence = np.column_stack([metric.influence(run, target) for run in runs])
    groups, couples = _sums(_of_design(influence, target, numbered), numbered)

    def by_cell(columns: NDArray[np.float64]) -> NDArray[np.float64]:
        # The baseline is one run, and the same one beside every seed.
        repeated = np.repeat(columns[..., -1:], seeds, axis=-1)
        shape = (*columns.shape[:-1], len(cells) + 1, seeds)
        return np.concatenate([columns[..., :-1], repeated], axis=-1).reshape(shape)

    return Evidence(by_cell(np.array(values)), by_cell(groups), by_cell(couples), _bounds(metric, target))


def spread_of(evidence: Evidence, weights: NDArray[np.float64]) -> Spread:
    """The variance, in its parts, of the contrast with these weights (K+1,)."""
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
    return np.asarray(np.where(once > 0, once, squares))


def _effective(sums: NDArray[np.float64]) -> float:
    """2 E[v]^2 / Var[v] for the variance v as a sum of G squares: G - 1 for normal sums, fewer where some dominate."""
    squares, count = sums**2, len(sums)
    excess = (squares**2).sum() - squares.sum() ** 2 / count
    return float(min(count - 1, 2 * squares.sum() ** 2 / excess)) if excess > 0 else count - 1.0


def _of_design(influence: NDArray[np.float64], target: NDArray[Any], units: NDArray[np.int64]) -> NDArray[np.float64]:
    """The influences (n, runs) less their class's mean, and scaled for the pull of a pair's groups on that mean.

    How many pairs of a set are positive is the choice of who made it, and not a draw. ROC-AUC doesn't depend on it;
    with this, Spearman on 0/1 labels has the same p as ROC-AUC, as it must (`spearman_from_auc`). Grades come with
    their pairs, so their shares are drawn with them, and all pairs are one class.

    A group pulls the mean that it is compared with towards itself. The jackknife that leaves out one of G groups
    compares it with the mean of the others: its sum is larger by 1 / (1 - its share), the variance by (G - 1) / G.
    MacKinnon, Nielsen & Webb (2023) recommend it where groups are few or unequal (CV3); on single pairs it is exact.
    """
    levels, level = np.unique(target, return_inverse=True)
    level = level if len(levels) == 2 else np.zeros_like(level)
    kept = np.empty_like(influence)
    for each in range(level.max() + 1):
        rows = np.flatnonzero(level == each)
        first, second = np.sort(units[rows], axis=1).T
        other = first != second
        touching = np.bincount(np.concatenate([first, second[other]]), minlength=units.max() + 1)
        # Of the class, the pairs that share a group with each: those that share both are in both.
        _, couple, counts = np.unique(first * len(touching) + second, return_inverse=True, return_counts=True)
        own = (touching[first] + np.where(other, touching[second] - counts[couple], 0)) / len(rows)
        if own.max() >= 1:
            raise UndefinedMetric("too few groups of tickets to know their spread: a pair shares one with all others")
        groups = np.count_nonzero(touching)
        kept[rows] = influence[rows] - influence[rows].mean(axis=0)
        kept[rows] *= math.sqrt((groups - 1) / groups) / (1 - own)[:, None]
    return kept


def _sums(influence: NDArray[np.float64], units: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the influences (n, runs): their sums over the pairs of each group, and over those between the same two."""
    ends = np.sort(units, axis=1)
    between = np.flatnonzero(ends[:, 0] != ends[:, 1])
    couple = np.unique(ends[between], axis=0, return_inverse=True)[1]
    rows = np.concatenate([ends[:, 0], ends[between, 1]])
    columns = np.concatenate([np.arange(len(units)), between])
    ones = np.ones(len(rows))
    by_group = coo_array((ones, (rows, columns)), shape=(units.max() + 1, len(units))).tocsr()
    by_couple = coo_array((ones[: len(between)], (couple, between)), shape=(couple.max(initial=-1) + 1, len(units)))
    return np.asarray(by_group @ influence), np.asarray(by_couple.tocsr() @ influence)


def _bounds(metric: Metric[Any], target: NDArray[Any]) -> tuple[float, float]:
    if metric is spearman:
        ceiling = spearman_ceiling(target)
        return -ceiling, ceiling
    return (0.0, 1.0) if metric in (roc_auc, pr_auc) else (-math.inf, math.inf)
