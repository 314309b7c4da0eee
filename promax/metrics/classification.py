"""How well the scores tell positive pairs from negative ones."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from promax.metrics.metric import Batched, Many, Metric, UndefinedMetric, ascending, check_pairs, checked_weights


@Metric
def roc_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Many:
    """Area under the ROC curve: the chance that a positive pair scores above a negative one, a tie counting half.

    The Mann-Whitney U over its maximum (Hanley & McNeil 1982), equal to `sklearn.metrics.roc_auc_score`.
    Constant scores give exactly 0.5. Undefined with one class only, among the pairs of positive weight.

    >>> roc_auc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    order, levels = ascending(scores)
    positive = positive[order]

    def values(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        of_classes = _by_class(np.take(weights, order, axis=-1), positive)
        positives, negatives = (levels.sums(each) for each in of_classes)
        beaten = np.cumsum(negatives, axis=-1) - negatives / 2
        return np.asarray(np.vecdot(positives, beaten) / (positives.sum(axis=-1) * negatives.sum(axis=-1)))

    return values


@roc_auc.derivative
def _of_roc_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A pair's share of the other class on its right side, less the mean, by its class's size (DeLong 1988)."""
    level = np.unique(scores, return_inverse=True)[1]
    of_positives, of_negatives = _by_class(np.ones(len(scores)), positive)
    positives, negatives = np.bincount(level, of_positives), np.bincount(level, of_negatives)
    beaten = (np.cumsum(negatives) - negatives / 2) / negatives.sum()
    beating = 1 - (np.cumsum(positives) - positives / 2) / positives.sum()
    area = positives @ beaten / positives.sum()
    return np.asarray(
        np.where(positive, (beaten[level] - area) / positives.sum(), (beating[level] - area) / negatives.sum())
    )


@Metric
def pr_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Many:
    """Average precision: the precision at each distinct score, weighted by the recall gained there.

    AP = sum over descending distinct scores of (R_k - R_(k-1)) P_k, without interpolation, equal to
    `sklearn.metrics.average_precision_score`; tied scores form one step. Constant scores give the share of
    positives. Undefined with one class only, among the pairs of positive weight.

    >>> round(pr_auc(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])), 4)
    0.8333
    """
    order, levels = ascending(-scores)
    positive = positive[order]
    # The distinct scores that gain recall: a precision at any other is of no account.
    gaining = np.flatnonzero(levels.sums(positive.astype(np.float64)))

    def values(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        weights = np.take(weights, order, axis=-1)
        positives = np.take(levels.sums(_by_class(weights, positive)[0]), gaining, axis=-1)
        claimed = np.take(np.cumsum(levels.sums(weights), axis=-1), gaining, axis=-1)
        found = np.cumsum(positives, axis=-1)
        # Nor is it where all pairs up to a score have weight 0, but 0 / 0 is no number.
        precision = found / np.maximum(claimed, np.finfo(np.float64).tiny)
        return np.asarray(np.vecdot(positives, precision) / found[..., -1])

    return values


@pr_auc.derivative
def _of_pr_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of a positive its own precision less the mean; and what a pair does to the precision at scores up to its own."""
    level = np.unique(-scores, return_inverse=True)[1]
    positives = np.bincount(level, _by_class(np.ones(len(scores)), positive)[0])
    claimed, found = np.cumsum(np.bincount(level)), np.cumsum(positives)
    precision = found / claimed
    # The derivative of found / claimed is (1 - precision) / claimed by a positive's weight, -precision / claimed else.
    raised = np.cumsum((positives / claimed)[::-1])[::-1]
    lowered = np.cumsum((positives * precision / claimed)[::-1])[::-1]
    own = precision - positives @ precision / found[-1]
    return np.asarray((np.where(positive, (own + raised)[level], 0.0) - lowered[level]) / found[-1])


@Metric
def separability(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Many:
    """Mean score of the positive pairs less the mean score of the negative ones, in units of the scores.

    Undefined with one class only, among the pairs of positive weight.

    >>> separability(np.array([1.0, 0.5, 0.25]), np.array([True, False, False]))
    0.625
    """

    def values(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        shares = (each / each.sum(axis=-1, keepdims=True) for each in _by_class(weights, positive))
        of_positives, of_negatives = (np.vecdot(scores, share) for share in shares)
        return np.asarray(of_positives - of_negatives)

    return values


@separability.derivative
def _of_separability(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    of_positives, of_negatives = (each / each.sum() for each in _by_class(np.ones(len(scores)), positive))
    return np.asarray(of_positives * (scores - scores @ of_positives) - of_negatives * (scores - scores @ of_negatives))


def overlap(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Share of the positive pairs whose score lies strictly between the lowest and the highest negative score.

    0 says that the negatives' range holds no positive, as when the classes are apart, but also where the
    positives surround it: read it beside `separability`. It takes no weights, since a bootstrap fails for it:
    a resample's extremes never lie outside the sample's (Bickel & Freedman 1981). For the same
    reason, compare only sets of about one size.

    Raises:
        UndefinedMetric: one class only, or fewer than two pairs.
        ValueError: as for every `Metric`.

    >>> overlap(np.array([0.9, 0.5, 0.2, 0.8, 0.6, 0.1]), np.array([True, True, True, True, False, False]))
    0.5
    """
    check_pairs(scores, positive)
    _by_class(np.ones(len(scores)), positive)
    negatives = scores[~positive]
    return float(np.mean((scores[positive] > negatives.min()) & (scores[positive] < negatives.max())))


def f1_at(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    threshold: float,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """F1 of the rule "positive where score >= threshold": 2 TP / (2 TP + FP + FN), in 0..1.

    A threshold above every score claims no pair and gives 0.

    Raises:
        UndefinedMetric: one class only (among the pairs of positive weight), or fewer than two pairs.
        ValueError: as for every `Metric`, and where the threshold is NaN.

    >>> f1_at(np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, False, True, False]), threshold=0.4)
    0.8
    """
    return prepare_f1(scores, positive, threshold)(checked_weights(weights, len(scores)))


def prepare_f1(scores: NDArray[np.float64], positive: NDArray[np.bool_], threshold: float) -> Batched:
    """`f1_at` as a function of the weights alone, for these pairs and this threshold.

    Raises:
        UndefinedMetric: fewer than two pairs.
        ValueError: as `f1_at`.
    """
    check_pairs(scores, positive)
    if math.isnan(threshold):
        raise ValueError("threshold=nan: must be a number")
    claimed = (scores >= threshold).astype(np.float64)

    def values(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        of_positives, _ = _by_class(weights, positive)
        hits, claims = np.vecdot(of_positives, claimed), np.vecdot(weights, claimed)
        return np.asarray(2 * hits / (claims + of_positives.sum(axis=-1)))

    return Batched(values)


def best_threshold(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The threshold whose rule "positive where score >= threshold" has the highest F1 on these pairs.

    It is one of the scores. Where several do equally well it is the highest, the rule that claims the fewest pairs.
    Choose it on dev and apply it to test with `f1_at`: on the pairs it was chosen on, its F1 flatters.

    Raises:
        UndefinedMetric: one class only, or fewer than two pairs.
        ValueError: as for every `Metric`.

    >>> best_threshold(np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, False, True, False]))
    0.4
    """
    check_pairs(scores, positive)
    _by_class(np.ones(len(scores)), positive)
    descending, level = np.unique(-scores, return_inverse=True)
    claimed, found = np.cumsum(np.bincount(level)), np.cumsum(np.bincount(level, positive))
    # argmax takes the first of equals, which is the highest score here.
    return float(-descending[np.argmax(2 * found / (claimed + found[-1]))])


def _by_class(
    weights: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weights (..., n) of the positives and those of the negatives, 0 in the other class's places."""
    if positive.dtype != np.bool_:
        raise ValueError(f"positive of dtype {positive.dtype}: must be bool")
    of_positives = weights * positive
    of_negatives = weights - of_positives
    one_class = ~(of_positives.any(axis=-1) & of_negatives.any(axis=-1))
    if one_class.any():
        counts = np.stack([np.count_nonzero(each, axis=-1) for each in (of_positives, of_negatives)], axis=-1)
        # Of several weightings the first without both classes.
        count, other = counts[one_class].reshape(-1, 2)[0]
        raise UndefinedMetric(f"one class only: {count} of {count + other} pairs are positive", one_class)
    return of_positives, of_negatives
