"""The bootstrap: its weights by definition, its spread and coverage against what is known, its paired form."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from promax.metrics import (
    Difference,
    Interval,
    Metric,
    Statistic,
    UndefinedMetric,
    bootstrap,
    bootstrap_weights,
    interval,
    paired_difference,
    pr_auc,
    roc_auc,
    separability,
    spearman,
)


def same(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Units of pairs that each lie inside one group."""
    return np.column_stack([groups, groups])


def mean_of(values: NDArray[np.float64]) -> Statistic:
    return lambda weights: float(weights @ values / weights.sum())


def test_a_pair_weighs_the_product_of_its_groups_draws() -> None:
    # One pair inside each of 4 groups tells what was drawn; the rest follow from the definition.
    inside = same(np.arange(4))
    between = np.array([[0, 1], [1, 0], [2, 3], [0, 3], [2, 2]])
    seen = set()
    for weights in bootstrap_weights(np.concatenate([inside, between]), replicates=200, seed=5):
        drawn = weights[:4]
        assert drawn.sum() == 4
        assert weights[4:].tolist() == [
            drawn[0] * drawn[1],
            drawn[1] * drawn[0],
            drawn[2] * drawn[3],
            drawn[0] * drawn[3],
            drawn[2],
        ]
        seen.add(tuple(drawn))
    # Of the 35 ways to draw 4 of 4, some come up once in 256: with 200 draws, most are seen.
    assert 25 <= len(seen) <= 35


def test_the_draws_are_multinomial() -> None:
    groups = 5
    drawn = np.array(list(bootstrap_weights(same(np.arange(groups)), replicates=4000, seed=1)))
    # Each group: binomial(5, 1/5). Counts of 0..5 over 4,000 replicates, chi-square against that.
    expected = scipy.stats.binom.pmf(np.arange(groups + 1), groups, 1 / groups) * len(drawn)
    for group in range(groups):
        counts = np.bincount(drawn[:, group].astype(int), minlength=groups + 1)
        # The last two cells together, for an expectation above 5.
        observed, wanted = np.append(counts[:4], counts[4:].sum()), np.append(expected[:4], expected[4:].sum())
        assert scipy.stats.chisquare(observed, wanted).pvalue > 0.001
    # Multinomial: correlation -1 / (groups - 1) between any two.
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(-1 / 4, abs=0.05)


def test_group_names_and_gaps_change_nothing() -> None:
    units = np.array([[0, 0], [1, 1], [0, 2], [2, 2]])
    renamed = np.array([-3, 40, 1000])[units]
    for a, b in zip(bootstrap_weights(units, 20, 0), bootstrap_weights(renamed, 20, 0), strict=True):
        assert a.tolist() == b.tolist()


def test_the_seed_decides_the_resamples() -> None:
    units = np.random.default_rng(0).integers(0, 30, size=(100, 2))

    def draw(seed: int) -> list[list[float]]:
        return [weights.tolist() for weights in bootstrap_weights(units, 10, seed)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    # More replicates go on where fewer stop.
    assert [weights.tolist() for weights in bootstrap_weights(units, 3, 7)] == draw(7)[:3]


def test_arguments_are_refused_at_the_call_and_not_at_the_first_draw() -> None:
    with pytest.raises(ValueError, match=r"^units of shape \(3,\): must be \(n, 2\)$"):
        bootstrap_weights(np.arange(3), 10, 0)
    with pytest.raises(ValueError, match=r"^replicates=0: must be at least 1$"):
        bootstrap_weights(same(np.arange(3)), 0, 0)
    with pytest.raises(UndefinedMetric, match=r"^too few groups of tickets to resample: 1, at least 2 are needed$"):
        bootstrap_weights(same(np.zeros(9, dtype=np.int64)), 10, 0)
    with pytest.raises(UndefinedMetric, match=r"resample: 0, at least 2 are needed$"):
        bootstrap_weights(np.empty((0, 2), dtype=np.int64), 10, 0)


def test_the_spread_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(2).normal(size=400)
    samples = bootstrap(mean_of(values), same(np.arange(400)), 2000, seed=3)
    # The bootstrap of a mean has sd sigma / sqrt(n) exactly (plug-in sigma); 2,000 replicates know it to 1.6 %.
    assert samples.std() == pytest.approx(values.std() / 20, rel=0.06)
    assert samples.mean() == pytest.approx(values.mean(), abs=0.006)


def test_the_spread_of_a_clustered_mean_is_that_of_its_cluster_means() -> None:
    means = np.random.default_rng(4).normal(size=50)
    values = np.repeat(means, 8)
    samples = bootstrap(mean_of(values), same(np.repeat(np.arange(50), 8)), 2000, seed=5)
    assert samples.std() == pytest.approx(means.std() / np.sqrt(50), rel=0.06)


def fails_every(step: int) -> Iterator[bool]:
    count = 0
    while True:
        count += 1
        yield count % step == 0


@pytest.mark.parametrize(("step", "kept"), [(25, 96), (20, 95)])
def test_a_few_undefined_resamples_are_left_out(step: int, kept: int) -> None:
    fails = fails_every(step)

    def statistic(weights: NDArray[np.float64]) -> float:
        if next(fails):
            raise UndefinedMetric("no luck")
        return float(weights[0])

    assert bootstrap(statistic, same(np.arange(5)), 100, seed=0).shape == (kept,)


def test_many_undefined_resamples_leave_the_interval_undefined() -> None:
    fails = fails_every(16)

    def statistic(weights: NDArray[np.float64]) -> float:
        if next(fails):
            raise UndefinedMetric("no luck")
        return 0.0

    with pytest.raises(UndefinedMetric, match=r"^undefined in 6 of 100 resamples: no luck$"):
        bootstrap(statistic, same(np.arange(5)), 100, seed=0)


def test_a_single_positive_pair_has_no_interval() -> None:
    scores = np.linspace(0, 1, 30)
    statistic = roc_auc.prepare(scores, scores > 0.99)
    # Missing from a share of about 1/e of the resamples.
    with pytest.raises(UndefinedMetric, match=r"of 200 resamples: one class only: 0 of \d+ pairs are positive$"):
        bootstrap(statistic, same(np.arange(30)), 200, seed=0)


def test_the_interval_is_that_of_numpys_percentiles() -> None:
    samples = np.random.default_rng(0).normal(size=500)
    low, high = np.percentile(samples, [2.5, 97.5])
    found = interval(samples, 0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.confidence == 0.95
    assert interval(np.array([3.0]), 0.9) == Interval(3.0, 3.0, 0.9)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, -0.5, float("nan")])
def test_the_interval_refuses_a_level_outside_its_range(confidence: float) -> None:
    with pytest.raises(ValueError, match=rf"^confidence={confidence}: must be above 0 and below 1$"):
        interval(np.arange(5.0), confidence)


def test_the_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^no samples to take an interval of$"):
        interval(np.array([]), 0.95)


def correlated(seed: int, pairs: int = 300) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    positive = np.arange(pairs) % 2 == 0
    scores = random.normal(size=pairs) + positive
    return scores, scores + 0.2 * random.normal(size=pairs) + 0.1 * positive, positive


@pytest.mark.parametrize("metric", [roc_auc, pr_auc, separability], ids=lambda metric: metric.__name__)
def test_the_paired_difference_uses_the_same_resamples_for_both(metric: Metric[NDArray[np.bool_]]) -> None:
    a, b, positive = correlated(0)
    units = same(np.arange(300))
    found = paired_difference(metric, a, b, positive, units, replicates=400, seed=9, confidence=0.9)
    of_a, of_b = metric.prepare(a, positive), metric.prepare(b, positive)
    apart = bootstrap(of_b, units, 400, 9) - bootstrap(of_a, units, 400, 9)
    assert found == Difference(metric(b, positive) - metric(a, positive), interval(apart, 0.9))
    # Resampled one by one, the difference would look this much less certain.
    alone = bootstrap(of_b, units, 400, 10) - bootstrap(of_a, units, 400, 9)
    assert found.interval.high - found.interval.low < 0.5 * np.ptp(np.quantile(alone, [0.05, 0.95]))


def test_the_paired_difference_is_b_less_a() -> None:
    a, b, positive = correlated(1)
    labels, units = positive.astype(np.float64), same(np.arange(300) // 3)
    forth = paired_difference(spearman, a, b, labels, units, replicates=200, seed=0, confidence=0.95)
    back = paired_difference(spearman, b, a, labels, units, replicates=200, seed=0, confidence=0.95)
    assert forth.estimate == -back.estimate > 0
    assert forth.interval.low == pytest.approx(-back.interval.high, abs=1e-12)
    assert forth.interval.low < forth.estimate < forth.interval.high
    none = paired_difference(spearman, a, a, labels, units, replicates=200, seed=0, confidence=0.95)
    assert none == Difference(0.0, Interval(0.0, 0.0, 0.95))


def test_the_paired_difference_is_undefined_where_either_is() -> None:
    a, _, positive = correlated(2)
    labels = positive.astype(np.float64)
    with pytest.raises(UndefinedMetric, match=r"^constant scores"):
        paired_difference(
            spearman, a, np.zeros(300), labels, same(np.arange(300)), replicates=100, seed=0, confidence=0.95
        )


def coverage(
    draw: Callable[[np.random.Generator], tuple[NDArray[np.float64], NDArray[np.bool_]]],
    truth: float,
    metric: Metric[NDArray[np.bool_]],
    units: dict[str, NDArray[np.int64]],
) -> dict[str, float]:
    """Share of 200 simulated data sets whose 95 % interval, from 200 replicates, holds the truth."""
    hits = dict.fromkeys(units, 0)
    for seed in range(200):
        statistic = metric.prepare(*draw(np.random.default_rng(seed)))
        for name, each in units.items():
            found = interval(bootstrap(statistic, each, 200, seed), 0.95)
            hits[name] += found.low <= truth <= found.high
    return {name: count / 200 for name, count in hits.items()}


def test_drawing_clusters_covers_where_drawing_pairs_does_not() -> None:
    # 40 problems of 6 pairs, 20 positive and 20 negative; half of the variance is shared within a problem. A pair
    # then beats another problem's with probability Phi(shift / sqrt(2)), which is the expected ROC-AUC.
    problem = np.repeat(np.arange(40), 6)
    positive = problem % 2 == 0

    def draw(random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        shared, own = random.normal(size=40)[problem], random.normal(size=240)
        return positive + np.sqrt(0.5) * (shared + own), positive

    truth = float(scipy.stats.norm.cdf(1 / np.sqrt(2)))
    found = coverage(draw, truth, roc_auc, {"clusters": same(problem), "pairs": same(np.arange(240))})
    # Percentile intervals of 40 clusters fall a little short of 95 %; three standard errors of 200 are 5 %.
    assert 0.88 <= found["clusters"] <= 0.99
    assert found["pairs"] <= found["clusters"] - 0.15


def test_a_pair_between_two_groups_needs_both_drawn() -> None:
    # Negative pairs join any two of 30 problems and carry an effect of each, as where some problem reads like many
    # others; positive pairs lie inside one. The expected separability is the shift alone.
    random = np.random.default_rng(0)
    ends = np.array([random.choice(30, size=2, replace=False) for _ in range(300)])
    inside = same(np.repeat(np.arange(30), 4))
    units = np.concatenate([inside, ends])
    positive = np.arange(420) < 120

    def draw(random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        effect = 0.6 * random.normal(size=30)
        scores = random.normal(size=420) + 2 * positive
        scores[~positive] += effect[ends].sum(axis=1)
        return scores, positive

    found = coverage(draw, 2.0, separability, {"both": units, "first": units[:, [0, 0]], "pairs": same(np.arange(420))})
    # Owen & Eckles (2012): mildly conservative, so the band reaches up to 1.
    assert 0.91 <= found["both"] <= 1
    assert found["first"] <= found["both"] - 0.08
    assert found["pairs"] <= found["both"] - 0.25
