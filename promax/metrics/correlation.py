"""How far the scores follow the labels: rank and linear correlation, and the most a rank correlation can be."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from promax.metrics.metric import Levels, Many, Metric, UndefinedMetric, ascending

CLEAR = 0.01
"""Share of the mean square that must be variance for it to be had from sums: a rounding grows a hundredfold at most."""


@Metric
def spearman(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> Many:
    """Spearman's rank correlation of scores and labels, in -1..1.

    Pearson's correlation of the mid-ranks: tied values share the mean of the ranks they cover (Kendall
    1945, The Treatment of Ties in Ranking Problems), as in `scipy.stats.spearmanr`. On 0/1 labels it says what
    ROC-AUC says, see `spearman_from_auc`, and can't reach 1, see `spearman_ceiling`.

    Undefined where all scores or all labels are equal, among the pairs of positive weight.

    >>> round(spearman(np.array([0.1, 0.4, 0.2, 0.9]), np.array([0.0, 0.25, 0.5, 1.0])), 4)
    0.8
    >>> spearman(np.array([0.3, 0.3]), np.array([0.0, 1.0]))
    Traceback (most recent call last):
    promax.metrics.metric.UndefinedMetric: constant scores: a correlation needs two different values
    """
    order, score_levels = ascending(scores)
    label_levels = Levels(labels[order])

    def values(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        _refuse_empty(weights)
        weights = np.take(weights, order, axis=-1)
        ranks, squares = _centred_ranks(score_levels, weights, "scores")
        label_ranks, label_squares = _centred_ranks(label_levels, weights, "labels")
        of_pairs = score_levels.sums(weights * np.take(label_ranks, label_levels.level, axis=-1))
        return np.asarray((np.vecdot(of_pairs, ranks) / np.sqrt(squares * label_squares)).clip(-1.0, 1.0))

    return values


@spearman.derivative
def _of_spearman(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """That of the correlation of the ranks, and what a pair does to the ranks of those above it."""
    ones = np.ones(len(scores))
    of_scores, of_labels = Levels(scores), Levels(labels)
    ranks, squares = _centred_ranks(of_scores, ones, "scores")
    label_ranks, label_squares = _centred_ranks(of_labels, ones, "labels")
    x, y = ranks[of_scores.level] / np.sqrt(squares), label_ranks[of_labels.level] / np.sqrt(label_squares)
    rho = x @ y
    moved = _above(of_scores.level, y - rho * x) / np.sqrt(squares)
    moved += _above(of_labels.level, x - rho * y) / np.sqrt(label_squares)
    return np.asarray(_of_pearson(x, y) + moved)


@Metric
def pearson(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> Many:
    """Pearson's linear correlation of scores and labels, in -1..1, as in `scipy.stats.pearsonr`.

    Undefined where all scores or all labels are equal, among the pairs of positive weight.

    >>> round(pearson(np.array([0.0, 1.0, 5.0]), np.array([0.0, 0.5, 1.0])), 4)
    0.9449
    """
    x, y = _scaled(scores), _scaled(labels)
    products = (x, y, x * x, y * y, x * y)

    def values(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        _refuse_empty(weights)
        total = weights.sum(axis=-1)
        mean_x, mean_y, xx, yy, xy = (np.vecdot(weights, product) / total for product in products)
        variance_x, variance_y = xx - mean_x**2, yy - mean_y**2
        # From sums alone where the mean's square takes little away; else, as without any spread, from deviations.
        clear = (variance_x > CLEAR * xx) & (variance_y > CLEAR * yy)
        found = np.empty(len(weights))
        spreads = np.sqrt(variance_x[clear] * variance_y[clear])
        found[clear] = (xy - mean_x * mean_y)[clear] / spreads
        if not clear.all():
            found[~clear] = _by_deviations(scores, labels, weights, ~clear)
        return found.clip(-1.0, 1.0)

    return values


@pearson.derivative
def _of_pearson(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    ones = np.ones(len(scores))
    x, y = _standardised(scores, ones, "scores"), _standardised(labels, ones, "labels")
    return np.asarray(x * y - (x @ y) * (x**2 + y**2) / 2)


def spearman_ceiling(labels: NDArray[np.float64]) -> float:
    """The largest Spearman that a scoring without ties can reach on these labels.

    Such a scoring ranks the pairs 1..n in the order of their labels, and the correlation of those ranks with
    the labels' mid-ranks is sqrt(1 - sum(t^3 - t) / (n^3 - n)), t running over the counts of equal labels (Kendall
    1945). Labels without ties give 1, half zeros and
    half ones sqrt(3) / 2 for large n.

    Raises:
        UndefinedMetric: all labels are equal, or fewer than two pairs.

    >>> round(spearman_ceiling(np.repeat([0.0, 1.0], 500)), 4)
    0.866
    """
    n = len(labels)
    # Python's integers: t^3 leaves int64 at two million pairs.
    ties = [int(count) for count in np.unique(labels, return_counts=True)[1]]
    if len(ties) < 2:
        raise UndefinedMetric(f"constant labels: {n} pairs with {len(ties)} different value(s), at least 2 are needed")
    return math.sqrt(1 - sum(t**3 - t for t in ties) / (n**3 - n))


def spearman_from_auc(auc: float, n_positive: int, n: int) -> float:
    """Spearman's correlation with 0/1 labels, from the ROC-AUC of the same scores, where no two scores are tied.

    With p the share of positives: rho = (2 auc - 1) sqrt(3 p (1 - p)) n / sqrt(n^2 - 1). Both are the sum of the
    positives' ranks, moved and scaled (Mann & Whitney 1947), so they are one piece of evidence and not two.

    Raises:
        UndefinedMetric: one class only.
        ValueError: `auc` is outside 0..1.

    >>> round(spearman_from_auc(0.791, 500, 1000), 3)
    0.504
    """
    if not 0 <= auc <= 1:
        raise ValueError(f"auc={auc}: must be in 0..1")
    if not 0 < n_positive < n:
        raise UndefinedMetric(f"one class only: {n_positive} of {n} pairs are positive")
    share = n_positive / n
    return (2 * auc - 1) * math.sqrt(3 * share * (1 - share)) * n / math.sqrt(n**2 - 1)


def _centred_ranks(
    levels: Levels, weights: NDArray[np.float64], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mid-rank of each level less the mean of all (..., k), and the sum of its squares over all pairs (...).

    Of n pairs that is (n^3 - n) / 12 less (t^3 - t) / 12 for each t that are tied (Kendall 1945); the t sum up to n.
    """
    held = levels.sums(weights)
    constant = np.count_nonzero(held, axis=-1) < 2
    if constant.any():
        raise _constant(name, constant)
    up_to = np.cumsum(held, axis=-1)
    total = up_to[..., -1:]
    return up_to - (held + total) / 2, np.asarray((total[..., 0] ** 3 - np.vecdot(held * held, held)) / 12)


def _above(level: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the values on higher levels than each row's, and half of those on its own."""
    held = np.bincount(level, values)
    return np.asarray((held.sum() - np.cumsum(held) + held / 2)[level])


def _refuse_empty(weights: NDArray[np.float64]) -> None:
    empty = ~weights.any(axis=-1)
    if empty.any():
        raise UndefinedMetric("no pairs: every weight is 0", empty)


def _constant(name: str, rows: NDArray[np.bool_] | np.bool_) -> UndefinedMetric:
    return UndefinedMetric(f"constant {name}: a correlation needs two different values", rows)


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """With mean 0, in units of their range; all 0 where they have none."""
    low, high = values.min(), values.max()
    unit = np.zeros_like(values) if low == high else (values - low) / (high - low)
    return np.asarray(unit - unit.mean())


def _by_deviations(
    scores: NDArray[np.float64], labels: NDArray[np.float64], weights: NDArray[np.float64], rows: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The correlation under those `rows` of `weights` (r, n)."""
    try:
        x, y = (_standardised(v, weights[rows], name) for v, name in ((scores, "scores"), (labels, "labels")))
    except UndefinedMetric as error:
        undefined = rows.copy()
        undefined[rows] = error.rows
        raise UndefinedMetric(str(error), undefined) from None
    return np.asarray(np.vecdot(weights[rows] * x, y))


def _standardised(values: NDArray[np.float64], weights: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """(..., n): the values with mean 0 and sum of squares 1 in each row, both weighted; any where the weight is 0."""
    drawn = weights > 0
    low = np.where(drawn, values, np.inf).min(axis=-1, keepdims=True)
    high = np.where(drawn, values, -np.inf).max(axis=-1, keepdims=True)
    constant = (low == high)[..., 0]
    if constant.any():
        raise _constant(name, constant)
    # Onto 0..1 first: the squares of values that differ by very little would all be 0. Those of weight 0 stay there
    # too: their squares might be infinite, and 0 times that is no number.
    unit = (values.clip(low, high) - low) / (high - low)
    centred = unit - _by_row(weights, unit) / weights.sum(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(_by_row(weights * centred, centred)))


def _by_row(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 1): the scalar product of each row of the one with that of the other."""
    return np.asarray(np.vecdot(one, other)[..., np.newaxis])
