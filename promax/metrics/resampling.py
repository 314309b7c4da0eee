"""How sure a metric is: a bootstrap over groups of tickets, and paired differences between two scorings.

Pairs that share a ticket are not independent, so whole groups of tickets are drawn and not single pairs. Each
pair names the two groups it touches, its units (`promax.data.groups.resampling_units`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promax.metrics.metric import Batched, Metric, Statistic, Target, UndefinedMetric, digest_of

MAX_UNDEFINED = 0.05
"""Largest share of replicates without a value; more, and those with one are no fair sample."""

BLOCK_ENTRIES = 2**16
"""Weights drawn at once: 512 KiB, which stay near the processor while metrics are computed on them."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval; `confidence` is its level, such as 0.95."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Difference:
    """Metric of b less metric of a, on the same pairs."""

    estimate: float
    interval: Interval


def bootstrap_weights(units: NDArray[np.int64], replicates: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Draw the groups with replacement, as many as there are, and yield each pair's weight (n,) in that resample.

    `units` (n, 2) are the two groups of each pair; any integers will do. A pair inside one group weighs what
    that group was drawn, a pair between two groups the product of both, since each draw of the one meets
    each draw of the other. With one group a pair this is the cluster bootstrap (Davison & Hinkley 1997,
    section 3.8); with two it is the pigeonhole bootstrap (Owen 2007; Owen & Eckles 2012), here with both groups
    from one population (Davezies, D'Haultfoeuille & Guyonvarch 2021). No bootstrap is exact for the second
    case (McCullagh 2000): this one is mildly conservative, its intervals tend to be wide, since it counts the noise
    that a pair shares with no other three times (Owen 2007).

    The same units and seed give the same resamples, whatever is computed on them.

    Raises:
        UndefinedMetric: fewer than two groups, whose resamples would all be the same.
        ValueError: `units` is not (n, 2), or `replicates` is below 1.

    >>> units = np.array([[0, 0], [1, 1], [0, 1]])
    >>> [weights.tolist() for weights in bootstrap_weights(units, replicates=3, seed=1)]
    [[1.0, 1.0, 1.0], [0.0, 2.0, 0.0], [2.0, 0.0, 0.0]]
    """
    return (weights for block in _blocks(units, replicates, seed) for weights in block)


def _blocks(units: NDArray[np.int64], replicates: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """What `bootstrap_weights` yields, many at once: (r, n)."""
    if units.ndim != 2 or units.shape[1] != 2:
        raise ValueError(f"units of shape {units.shape}: must be (n, 2)")
    if replicates < 1:
        raise ValueError(f"replicates={replicates}: must be at least 1")
    names, numbered = np.unique(units, return_inverse=True)
    groups = len(names)
    if groups < 2:
        raise UndefinedMetric(f"too few groups of tickets to resample: {groups}, at least 2 are needed")
    first, second = numbered.reshape(units.shape).T
    return _draws(first, second, groups, replicates, seed)


def _draws(
    first: NDArray[np.intp], second: NDArray[np.intp], groups: int, replicates: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    # Apart from _blocks, which would otherwise refuse its arguments only at the first draw.
    random = np.random.default_rng(seed)
    # A pair inside one group weighs what that was drawn, times a further group's one.
    other = np.where(first == second, groups, second)
    most = max(1, BLOCK_ENTRIES // max(groups, len(first)))
    for start in range(0, replicates, most):
        count = min(most, replicates - start)
        # One replicate after the other, as if each were drawn by itself.
        rows = random.integers(groups, size=(count, groups)) + groups * np.arange(count)[:, np.newaxis]
        drawn = np.bincount(rows.ravel(), minlength=count * groups).reshape(count, groups).astype(np.float64)
        # Not drawn[:, first], which numpy lays out by columns: slow to go through, and summed in another order.
        yield np.take(drawn, first, axis=1) * np.take(np.column_stack([drawn, np.ones(count)]), other, axis=1)


def bootstrap(statistic: Statistic, units: NDArray[np.int64], replicates: int, seed: int) -> NDArray[np.float64]:
    """The statistic's values in resamples of the groups of tickets: one each, as `bootstrap_weights` draws them.

    Resamples in which the statistic is undefined, say because no positive pair was drawn, are left out, so the
    result may be up to 5 % shorter than `replicates`.

    Raises:
        UndefinedMetric: undefined in more than 5 % of the resamples, or fewer than two groups.

    >>> from promax.metrics import roc_auc
    >>> positive = np.arange(40) % 2 == 0
    >>> statistic = roc_auc.prepare(np.arange(40) + 10.0 * positive, positive)
    >>> alone = np.repeat(np.arange(40)[:, None], 2, axis=1)
    >>> samples = bootstrap(statistic, alone, replicates=200, seed=0)
    >>> samples.shape, round(statistic(np.ones(40)), 3)
    ((200,), 0.7)
    """
    found = bootstrap_all({"": statistic}, units, replicates, seed)[""]
    if isinstance(found, UndefinedMetric):
        raise found
    return found


def bootstrap_all(
    statistics: Mapping[str, Statistic], units: NDArray[np.int64], replicates: int, seed: int
) -> dict[str, NDArray[np.float64] | UndefinedMetric]:
    """What `bootstrap` gives for each of the statistics, or raises: drawn once, so that they share the resamples.

    Raises:
        ValueError: as `bootstrap_weights`.
    """
    try:
        found = _in_resamples(statistics, units, replicates, seed)
    except UndefinedMetric as reason:
        return dict.fromkeys(statistics, reason)
    return {name: each.defined() for name, each in found.items()}


@dataclass(frozen=True)
class _Values:
    """A statistic in each resample, NaN where it has no value; `reason` is why it has none in the last of those."""

    values: NDArray[np.float64]
    reason: str = ""

    def __sub__(self, other: _Values) -> _Values:
        differences = self.values - other.values
        last = np.flatnonzero(np.isnan(differences))[-1:]
        return _Values(differences, self.reason if np.isnan(self.values[last]).all() else other.reason)

    def defined(self) -> NDArray[np.float64] | UndefinedMetric:
        """The values there are; or, where there are too few, the reason."""
        undefined = np.isnan(self.values)
        count, replicates = int(undefined.sum()), len(self.values)
        if count > MAX_UNDEFINED * replicates:
            return UndefinedMetric(f"undefined in {count} of {replicates} resamples: {self.reason}")
        return self.values[~undefined]


# What metrics came to in resamples, by all that it depends on; the latest asked for last. A run asks for those of its
# test scores for their intervals and for their difference from the baseline's, which a sweep's trials have in common.
_KEPT: OrderedDict[tuple[Hashable, ...], _Values] = OrderedDict()
MOST_KEPT = 1024


def _in_resamples(
    statistics: Mapping[str, Statistic], units: NDArray[np.int64], replicates: int, seed: int
) -> dict[str, _Values]:
    """Each statistic in the same resamples, of which none is drawn where all values are known."""
    blocks = _blocks(units, replicates, seed)
    drawn = (digest_of(units), replicates, seed)
    keys = {
        name: (statistic.key, *drawn)
        for name, statistic in statistics.items()
        if isinstance(statistic, Batched) and statistic.key is not None
    }
    found = {name: _KEPT[key] for name, key in keys.items() if key in _KEPT}
    unknown = {name: statistic for name, statistic in statistics.items() if name not in found}
    parts: dict[str, list[_Values]] = {name: [] for name in unknown}
    for weights in blocks if unknown else ():
        for name, statistic in unknown.items():
            parts[name].append(_values(statistic, weights))
    for name in unknown:
        found[name] = _joined(parts[name])
    for name, key in keys.items():
        _KEPT[key] = found[name]
        _KEPT.move_to_end(key)
    while len(_KEPT) > MOST_KEPT:
        _KEPT.popitem(last=False)
    return {name: found[name] for name in statistics}


def _values(statistic: Statistic, weights: NDArray[np.float64]) -> _Values:
    """The statistic under each row of `weights`."""
    values, reason = np.full(len(weights), np.nan), ""
    if isinstance(statistic, Batched):
        _fill(values, statistic, weights)
        rows = np.flatnonzero(np.isnan(values))[-1:]
    else:
        rows = np.arange(len(weights))
    for row in rows:
        try:
            values[row] = statistic(weights[row])
        except UndefinedMetric as error:
            reason = str(error)
    return _Values(values, reason)


def _fill(values: NDArray[np.float64], statistic: Batched, weights: NDArray[np.float64]) -> None:
    """Set the values of those rows that have one, leaving the others as they are."""
    left = np.arange(len(weights))
    while len(left):
        try:
            values[left] = statistic.many(weights if len(left) == len(weights) else weights[left])
            return
        except UndefinedMetric as error:
            assert error.rows is not None, "a Batched says which rows it has no value for"
            left = left[~error.rows]


def _joined(parts: list[_Values]) -> _Values:
    reasons = [each.reason for each in parts if each.reason]
    return _Values(np.concatenate([each.values for each in parts]), reasons[-1] if reasons else "")


def interval(samples: NDArray[np.float64], confidence: float) -> Interval:
    """The percentile interval (Efron & Tibshirani 1993, chapter 13): the samples' (1 -+ confidence) / 2 quantiles.

    Raises:
        ValueError: `confidence` is not between 0 and 1, or there are no samples.

    >>> interval(np.arange(101.0), confidence=0.5)
    Interval(low=25.0, high=75.0, confidence=0.5)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: must be above 0 and below 1")
    if not len(samples):
        raise ValueError("no samples to take an interval of")
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), confidence)


def paired_difference(
    metric: Metric[Target],
    scores_a: NDArray[np.float64],
    scores_b: NDArray[np.float64],
    target: Target,
    units: NDArray[np.int64],
    *,
    replicates: int,
    seed: int,
    confidence: float,
) -> Difference:
    """The metric of `scores_b` less that of `scores_a` on the same pairs, with its percentile interval.

    Each resample is given to both, so that what makes a resample easy or hard for both cancels: the interval is
    narrower than two separate ones suggest. A resample in which either is undefined is left out.

    Raises:
        UndefinedMetric: either is undefined on the pairs, or in more than 5 % of the resamples.

    >>> from promax.metrics import separability
    >>> positive = np.arange(40) % 2 == 0
    >>> scores = np.linspace(0.2, 0.6, 40)
    >>> alone = np.repeat(np.arange(40)[:, None], 2, axis=1)
    >>> difference = paired_difference(
    ...     separability, scores, scores + 0.1 * positive, positive, alone, replicates=200, seed=0, confidence=0.95
    ... )
    >>> round(difference.estimate, 3), round(difference.interval.low, 3), round(difference.interval.high, 3)
    (0.1, 0.1, 0.1)
    """
    both = {"a": metric.prepare(scores_a, target), "b": metric.prepare(scores_b, target)}
    ones = np.ones(len(target))
    estimate = both["b"](ones) - both["a"](ones)
    found = _in_resamples(both, units, replicates, seed)
    samples = (found["b"] - found["a"]).defined()
    if isinstance(samples, UndefinedMetric):
        raise samples
    return Difference(estimate, interval(samples, confidence))
