"""Many weightings at once are one at a time, to the last bit; references are the definitions, a weighting at a time.

The last digits may differ where a correlation is made of sums and not, as in its definition, of deviations, and where a
PR-AUC leaves out zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from promax import metrics
from promax.metrics import Batched, Statistic, UndefinedMetric
from promax.metrics.resampling import BLOCK_ENTRIES

RANDOM = np.random.default_rng(4)
N = 230
SCORES = {"distinct": RANDOM.random(N), "tied": np.round(RANDOM.random(N), 1)}
POSITIVE = RANDOM.random(N) < 0.4
# Each pair in one group, and pairs between groups.
UNITS = {"one": np.repeat(RANDOM.integers(0, 90, N)[:, None], 2, axis=1), "two": RANDOM.integers(0, 90, (N, 2))}
REPLICATES = 2 * BLOCK_ENTRIES // N + 7  # more than two blocks


def mid_ranks(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    level = np.unique(values, return_inverse=True)[1]
    held = np.bincount(level, weights)
    return np.asarray((np.cumsum(held) - held / 2)[level])


def correlation(x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    centred = []
    for values in (x, y):
        low, high = values[weights > 0].min(), values[weights > 0].max()
        unit = (values.clip(low, high) - low) / (high - low)
        moved = unit - (weights @ unit) / weights.sum()
        centred.append(moved / math.sqrt((weights * moved) @ moved))
    return min(max(float((weights * centred[0]) @ centred[1]), -1.0), 1.0)


def by_class(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.where(POSITIVE, weights, 0.0), np.where(POSITIVE, 0.0, weights)


def roc_auc(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    level = np.unique(scores, return_inverse=True)[1]
    positives, negatives = (np.bincount(level, each) for each in by_class(weights))
    return float(positives @ (np.cumsum(negatives) - negatives / 2) / (positives.sum() * negatives.sum()))


def pr_auc(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    level = np.unique(-scores, return_inverse=True)[1]
    positives = np.bincount(level, by_class(weights)[0])
    claimed, found = np.cumsum(np.bincount(level, weights)), np.cumsum(positives)
    precision = np.divide(found, claimed, out=np.zeros_like(found), where=claimed > 0)
    return float(positives @ precision / found[-1])


def separability(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    one, other = (scores @ (each / each.sum()) for each in by_class(weights))
    return float(one - other)


def f1(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    claimed, of_positives = scores >= 0.5, by_class(weights)[0]
    return float(2 * (of_positives @ claimed) / (weights @ claimed + of_positives.sum()))


LABELS = POSITIVE.astype(np.float64)
PLAIN: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64]], float]] = {
    "spearman": lambda scores, weights: correlation(mid_ranks(scores, weights), mid_ranks(LABELS, weights), weights),
    "pearson": lambda scores, weights: correlation(scores, LABELS, weights),
    "roc_auc": roc_auc,
    "pr_auc": pr_auc,
    "separability": separability,
    "f1": f1,
}


def prepared(name: str, scores: NDArray[np.float64]) -> Batched:
    if name == "f1":
        return metrics.prepare_f1(scores, POSITIVE, 0.5)
    metric: metrics.Metric[NDArray[np.float64]] = getattr(metrics, name)
    return metric.prepare(scores, LABELS if name in ("spearman", "pearson") else POSITIVE)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("name", PLAIN)
def test_a_bootstrap_is_the_definition_resample_by_resample(name: str, scores: str, units: str) -> None:
    values = SCORES[scores]
    statistic = prepared(name, values)
    found = metrics.bootstrap(statistic, UNITS[units], REPLICATES, seed=3)
    weights = list(metrics.bootstrap_weights(UNITS[units], REPLICATES, seed=3))
    np.testing.assert_array_equal(found, [statistic(each) for each in weights])
    rounding = 1e-14 if name in ("spearman", "pearson", "pr_auc") else 0
    np.testing.assert_allclose(found, [PLAIN[name](values, each) for each in weights], rtol=0, atol=rounding)


def test_a_resample_without_the_outlier_is_correlated_as_well_as_the_others() -> None:
    """Where one score is 1e9 times the others' spread away, sums tell nothing of those; scipy on the repeated rows."""
    scores = np.concatenate([RANDOM.random(40), [1e9]])
    labels = RANDOM.random(41)
    weights = RANDOM.integers(0, 4, (20, 41)).astype(np.float64)
    weights[::2, 40] = 0
    found = metrics.pearson.prepare(scores, labels).many(weights)
    repeated = [(np.repeat(scores, each), np.repeat(labels, each)) for each in weights.astype(int)]
    expected = [scipy.stats.pearsonr(*rows).statistic for rows in repeated]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_resamples_are_drawn_one_after_the_other() -> None:
    """numpy's own generator, asked once a resample, as the records made so far were."""
    units = UNITS["two"]
    first, second = np.unique(units, return_inverse=True)[1].reshape(units.shape).T
    groups = len(np.unique(units))
    random = np.random.default_rng(11)
    drawn = [np.bincount(random.integers(groups, size=groups), minlength=groups) for _ in range(REPLICATES)]
    expected = [each[first] * np.where(first == second, 1, each[second]) for each in drawn]
    np.testing.assert_array_equal(list(metrics.bootstrap_weights(units, REPLICATES, seed=11)), expected)


@pytest.mark.parametrize("k", [1, 3])
def test_ranks_are_averaged_at_once(k: int) -> None:
    ranks = RANDOM.integers(1, 9, N)
    found = metrics.bootstrap(metrics.prepare_recall(ranks, k), UNITS["one"], 50, seed=0)
    weights = list(metrics.bootstrap_weights(UNITS["one"], 50, seed=0))
    np.testing.assert_array_equal(found, [each @ (ranks <= k) / each.sum() for each in weights])
    found = metrics.bootstrap(metrics.prepare_reciprocal_rank(ranks), UNITS["one"], 50, seed=0)
    np.testing.assert_array_equal(found, [each @ (1 / ranks) / each.sum() for each in weights])


def test_ranks_in_a_column_share_a_weight() -> None:
    """Both directions of a pair, against the ranks and the weights written out twice."""
    ranks = RANDOM.integers(1, 9, (2, N))
    weights = next(metrics.bootstrap_weights(UNITS["one"], 1, seed=0))
    twice = np.tile(weights, 2)
    assert metrics.prepare_recall(ranks, 3)(weights) == metrics.recall_at(ranks.ravel(), 3, twice)
    expected = metrics.mean_reciprocal_rank(ranks.ravel(), twice)
    assert metrics.prepare_reciprocal_rank(ranks)(weights) == pytest.approx(expected, rel=1e-14)


def test_where_some_resamples_have_no_value_the_others_keep_theirs() -> None:
    """Three positives of 60: one resample in 20, (57/60)^60 = 4.6 %, has none of them."""
    positive = np.arange(60) < 3
    scores = RANDOM.random(60)
    alone = np.repeat(np.arange(60)[:, None], 2, axis=1)
    statistic = metrics.roc_auc.prepare(scores, positive)
    weights = list(metrics.bootstrap_weights(alone, 1000, seed=1))
    defined = [each for each in weights if each[:3].any()]
    assert 0 < len(weights) - len(defined) <= 50, "the case that is meant"
    np.testing.assert_array_equal(metrics.bootstrap(statistic, alone, 1000, seed=1), [statistic(w) for w in defined])


def test_resamples_without_a_value_are_set_aside_at_once() -> None:
    """A statistic with two reasons to have none is asked three times for a block, however many rows have none."""
    scores = np.repeat([0.1, 0.9], [29, 1])
    labels = np.repeat([0.0, 1.0, 0.0], [28, 1, 1])
    alone = np.repeat(np.arange(30)[:, None], 2, axis=1)
    statistic, asked = metrics.spearman.prepare(scores, labels), []

    def many(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        asked.append(len(weights))
        return statistic.many(weights)

    with pytest.raises(UndefinedMetric, match="undefined in"):
        metrics.bootstrap(Batched(many), alone, 100, seed=1)
    # Whole, without those of one score, without those of one label; and one row, for the reason.
    assert len(asked) == 4
    assert asked[0] == 100 > asked[1] > asked[2] > asked[3] == 1


def test_why_a_bootstrap_has_no_value_is_told_of_the_last_resample_without_one() -> None:
    positive = np.arange(8) < 1
    alone = np.repeat(np.arange(8)[:, None], 2, axis=1)
    weights = list(metrics.bootstrap_weights(alone, 100, seed=1))
    without = [each for each in weights if not each[0]]
    with pytest.raises(UndefinedMetric) as error:
        metrics.bootstrap(metrics.roc_auc.prepare(RANDOM.random(8), positive), alone, 100, seed=1)
    last = np.count_nonzero(without[-1])
    assert str(error.value) == (
        f"undefined in {len(without)} of 100 resamples: one class only: 0 of {last} pairs are positive"
    )


def test_several_statistics_share_their_resamples() -> None:
    statistics: dict[str, Statistic] = {name: prepared(name, SCORES["tied"]) for name in PLAIN}
    statistics["first"] = lambda weights: float(weights[0])
    statistics["never"] = metrics.roc_auc.prepare(SCORES["tied"], np.arange(N) < 1)
    found = metrics.bootstrap_all(statistics, UNITS["one"], 100, seed=2)
    assert list(found) == list(statistics)
    for name in (*PLAIN, "first"):
        np.testing.assert_array_equal(found[name], metrics.bootstrap(statistics[name], UNITS["one"], 100, seed=2))
    assert isinstance(found["never"], UndefinedMetric)
    one_group = np.zeros((N, 2), dtype=np.int64)
    reasons = {str(each) for each in metrics.bootstrap_all(statistics, one_group, 100, seed=2).values()}
    assert reasons == {"too few groups of tickets to resample: 1, at least 2 are needed"}
