"""Effects of a study: their variance against textbook formulas, their consequences against other libraries."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from promax.confirm.effects import Effect, Evidence, Spread, effect, gather, holm, ratio
from promax.metrics import Metric, UndefinedMetric, pr_auc, roc_auc, separability, spearman
from promax.metrics.metric import Many


@Metric
def mean_score(scores: NDArray[np.float64], target: NDArray[np.float64]) -> Many:
    """The simplest metric: what follows from it is in every textbook."""
    return lambda weights: weights @ scores / weights.sum(axis=-1)


@mean_score.derivative
def _of_mean(scores: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    return (scores - scores.mean()) / len(scores)


def alone(count: int) -> NDArray[np.int64]:
    """Units of pairs that have nothing in common."""
    return np.repeat(np.arange(count)[:, None], 2, axis=1)


def noise_free(values: NDArray[np.float64]) -> Evidence:
    """Metrics (K+1, S) known without error, as on tickets without end."""
    return Evidence(values, np.zeros((30, *values.shape)), np.zeros((0, *values.shape)))


Scores = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]


def study(n: int = 240, cells: int = 4, seeds: int = 5, share: float = 0.5, seed: int = 0) -> Scores:
    """Scores that tell two classes apart, worse for the first cell; pairs inside 40 groups and between them."""
    random = np.random.default_rng(seed)
    positive = np.arange(n) < share * n
    units = random.integers(40, size=(n, 2))
    units[positive, 1] = units[positive, 0]
    hard = random.normal(size=n) + random.normal(scale=0.5, size=40)[units].sum(axis=1)
    gain = 1 + 0.1 * np.arange(cells)[:, None, None]
    scores = gain * positive + hard + random.normal(scale=0.3, size=(cells, seeds, n))
    return scores, positive + hard, positive, units


def test_independent_pairs_give_the_two_way_analysis_of_variance() -> None:
    random = np.random.default_rng(1)
    n, seeds = 30, 4
    scores = random.normal(size=(n, 1)) + random.normal(size=(1, seeds)) + random.normal(size=(n, seeds))
    found = effect(gather(mean_score, scores.T[None], np.zeros(n), np.zeros(n), alone(n)), [1, 0])
    # Mean squares of the crossed random-effects table (Searle, Casella & McCulloch 1992, chapter 4): the variance of
    # the grand mean is (MS pairs + MS seeds - MS interaction) / (n S).
    row, column, grand = scores.mean(axis=1), scores.mean(axis=0), scores.mean()
    of_pairs = seeds * ((row - grand) ** 2).sum() / (n - 1)
    of_seeds = n * ((column - grand) ** 2).sum() / (seeds - 1)
    of_both = ((scores - row[:, None] - column + grand) ** 2).sum() / ((n - 1) * (seeds - 1))
    assert found.estimate == pytest.approx(grand)
    assert found.spread.tickets == pytest.approx((of_pairs - of_both) / (n * seeds))
    assert found.spread.seeds == pytest.approx((of_seeds - of_both) / (n * seeds))
    assert found.spread.both == pytest.approx(of_both / (n * seeds))
    assert found.spread.error**2 == pytest.approx((of_pairs + of_seeds - of_both) / (n * seeds))


@pytest.mark.parametrize("metric", [spearman, roc_auc, pr_auc], ids=lambda metric: metric.__name__)
def test_pairs_that_share_a_group_are_counted_once(metric: Metric) -> None:
    _, baseline, positive, units = study(n=100)
    units[:20] = units[20:40]  # several pairs between the same two groups
    target = positive if metric is not spearman else positive.astype(np.float64)
    found = effect(gather(metric, np.stack([[baseline] * 2]), baseline, target, units), [0, 1])
    # Oracle: the definition (Aronow, Samii & Assenova 2015, equation 4), every couple of pairs looked at; influences
    # less their class's mean, over the share of the class that has no group in common with the pair.
    together = np.array([[bool(set(a) & set(b)) for a in units.tolist()] for b in units.tolist()])
    influence = metric.influence(baseline, target)
    for rows in (positive, ~positive):
        groups = len(np.unique(units[rows]))
        influence[rows] -= influence[rows].mean()
        influence[rows] *= np.sqrt(1 - 1 / groups) / (1 - together[np.ix_(rows, rows)].mean(axis=1))
    variance = influence @ together @ influence
    assert variance > 0
    assert found.spread.tickets == pytest.approx(variance)
    assert (found.spread.seeds, found.spread.both) == (0, 0)


def test_unequal_groups_give_the_jackknife() -> None:
    # Groups of 1 to 8 pairs, and every pair inside one: leave out a group, take the mean, as MacKinnon, Nielsen & Webb
    # (2023), equation 14, from means recomputed without any influence.
    scores = np.random.default_rng(8).normal(size=36)
    group = np.repeat(np.arange(8), np.arange(1, 9))
    units = np.column_stack([group, group])
    found = effect(gather(mean_score, np.zeros((1, 2, 36)), scores, np.zeros(36), units), [0, 1])
    left = np.array([scores[group != each].mean() for each in range(8)])
    assert found.spread.error**2 == pytest.approx(7 / 8 * ((left - scores.mean()) ** 2).sum())


def test_independent_pairs_give_delongs_variance() -> None:
    scores, baseline, positive, _ = study(n=100)
    cells = scores[:1, [0, 0]]  # one run twice: nothing between seeds
    found = effect(gather(roc_auc, cells, baseline, positive, alone(100)), [1, -1])
    # DeLong, DeLong & Clarke-Pearson (1988), equations 4 to 6, from all couples of a positive and a negative.
    components = []
    for run in (cells[0, 0], baseline):
        wins = np.sign(run[positive][:, None] - run[~positive]) / 2 + 0.5
        components.append((wins.mean(axis=1), wins.mean(axis=0)))
    (a10, a01), (b10, b01) = components
    variance = (a10 - b10).var(ddof=1) / 50 + (a01 - b01).var(ddof=1) / 50
    assert found.spread.error**2 == pytest.approx(variance)


def test_groups_of_pairs_give_the_variance_of_their_means() -> None:
    # 20 groups of 3 pairs with the same score: the textbook standard error of 20 means.
    means = np.random.default_rng(2).normal(size=20)
    units = np.repeat(alone(20), 3, axis=0)
    found = effect(gather(mean_score, np.zeros((1, 2, 60)), np.repeat(means, 3), np.zeros(60), units), [0, 1])
    assert found.spread.error == pytest.approx(scipy.stats.sem(means))


def test_without_noise_on_tickets_it_is_the_t_test_of_the_seeds() -> None:
    values = np.random.default_rng(3).normal(size=(3, 5))
    values[-1] = 0.2
    two = effect(noise_free(values), [1, -1, 0])
    reference = scipy.stats.ttest_rel(values[0], values[1])
    assert two.p == pytest.approx(reference.pvalue)
    low, high = reference.confidence_interval(0.95)
    assert (two.interval.low, two.interval.high) == (pytest.approx(low), pytest.approx(high))
    one = effect(noise_free(values), [1, 0, 0], confidence=0.9, against=0.2)
    reference = scipy.stats.ttest_1samp(values[0], 0.2)
    assert one.p == pytest.approx(reference.pvalue)
    assert one.interval.low == pytest.approx(reference.confidence_interval(0.9).low)
    # The baseline is a constant here, so a difference from it is the same test.
    assert effect(noise_free(values), [1, 0, -1]).p == pytest.approx(reference.pvalue)


@pytest.mark.parametrize(("share", "tolerance"), [(0.5, 1e-4), (0.2, 0.1)])
def test_spearman_and_roc_auc_of_two_classes_are_one_piece_of_evidence(share: float, tolerance: float) -> None:
    scores, baseline, positive, units = study(share=share)
    of_auc = gather(roc_auc, scores, baseline, positive, units)
    of_rho = gather(spearman, scores, baseline, positive.astype(np.float64), units)
    for weights in ([0, 0, 0, 1, -1], [-1, 0, 0, 1, 0], [-0.5, -0.5, 0.5, 0.5, 0], [1, -1, -1, 1, 0]):
        # rho = (2 auc - 1) sqrt(3 p (1 - p)), `spearman_from_auc`: one number at p = 1/2, where the root is flat.
        # Elsewhere other tickets also move p, which rho feels and the area does not, in proportion to the effect.
        rho, auc = effect(of_rho, weights), effect(of_auc, weights)
        assert rho.estimate / rho.spread.error == pytest.approx(auc.estimate / auc.spread.error, rel=tolerance)
        if share == 0.5:
            assert rho.p == pytest.approx(auc.p, rel=1e-3)


def test_what_changes_no_metric_changes_no_effect() -> None:
    scores, baseline, positive, units = study()
    weights = np.array([-1, 0, 0, 1, 0])
    found = effect(gather(pr_auc, scores, baseline, positive, units), weights)
    order = np.random.default_rng(0).permutation(len(positive))
    moved = gather(pr_auc, np.exp(scores)[:, ::-1, order], baseline[order], positive[order], 7 * units[order][:, ::-1])
    for a, b in zip(_numbers(found), _numbers(effect(moved, weights)), strict=True):
        assert a == pytest.approx(b, rel=1e-9)
    twice = effect(gather(pr_auc, scores, baseline, positive, units), 2 * weights)
    assert (twice.estimate, twice.spread.error) == (2 * found.estimate, pytest.approx(2 * found.spread.error))
    assert (twice.p, twice.spread.freedom) == (pytest.approx(found.p), pytest.approx(found.spread.freedom))


def _numbers(found: Effect) -> list[float]:
    return [found.estimate, found.interval.low, found.interval.high, found.p, found.smallest, *_parts(found.spread)]


def _parts(spread: Spread) -> tuple[float, ...]:
    return dataclasses.astuple(spread)


def test_a_mean_between_bounds_is_held_against_them_in_log_odds() -> None:
    groups = np.zeros((30, 2, 3))
    groups[:, 1] = 0.01
    close = Evidence(np.full((2, 3), 0.95), groups, np.zeros((0, 2, 3)), bounds=(0.0, 1.0))
    found = effect(close, [0, 1], against=0.8)
    error, t = math.sqrt(30 * 0.01**2), scipy.stats.t.ppf(0.975, 29)
    # The delta method: the standard error of log odds is that of the value over p (1 - p).
    reach = t * error / (0.95 * 0.05)
    assert found.interval.low == pytest.approx(1 / (1 + 0.05 / 0.95 * math.exp(reach)))
    assert found.interval.high == pytest.approx(1 / (1 + 0.05 / 0.95 * math.exp(-reach)))
    assert found.interval.high < 1
    # p is 5 % at the ends of the interval, here as for every contrast.
    for end in (found.interval.low, found.interval.high):
        assert effect(close, [0, 1], against=end).p == pytest.approx(0.05)
    # What no scoring can reach is refuted without doubt; a difference has no bounds to mind.
    assert effect(close, [0, 1], against=1.0).p == 0
    assert effect(close, [1, -1]).interval.high == pytest.approx(t * error)


def test_runs_that_are_the_same_differ_by_nothing() -> None:
    scores, baseline, positive, units = study()
    scores[1] = scores[0]
    found = effect(gather(roc_auc, scores, baseline, positive, units), [1, -1, 0, 0, 0])
    assert (found.estimate, found.interval.low, found.interval.high, found.p, found.smallest) == (0, 0, 0, 1, 0)
    assert (found.seeds_needed, found.pairs_needed) == (None, None)


def test_the_parts_are_variances_whatever_the_sample() -> None:
    for seed in range(40):
        scores, baseline, positive, units = study(n=30, seeds=3, seed=seed)
        evidence = gather(roc_auc, scores, baseline, positive, units % 6)
        for weights in ([1, -1, -1, 1, 0], [0, 0, 0, 1, -1]):
            spread = effect(evidence, weights).spread
            assert min(spread.tickets, spread.seeds, spread.both) >= 0
            between = (evidence.values.T @ weights).var(ddof=1) / 3
            assert spread.seeds + spread.both == pytest.approx(between)
            assert spread.error > 0


def test_degrees_of_freedom() -> None:
    # Welch's (1947) two-sample formula is Satterthwaite's for two parts: scipy's gives the reference.
    a, b = np.random.default_rng(4).normal(size=6), 2 * np.random.default_rng(5).normal(size=15)
    reference = scipy.stats.ttest_ind(a, b, equal_var=False)
    spread = Spread(b.var(ddof=1) / 15, a.var(ddof=1) / 6, 0.0, runs=6, effective=14)
    assert spread.freedom == pytest.approx(reference.df)
    # The noise of seeds on tickets is seen between seeds, so it is known as well as they are.
    assert Spread(0.0, 1.0, 2.0, runs=5, effective=100).freedom == pytest.approx(4)
    assert Spread(3.0, 0.0, 0.0, runs=5, effective=100).freedom == pytest.approx(100)


def test_the_effective_number_of_groups() -> None:
    def effective(sums: list[float]) -> float:
        groups = np.zeros((len(sums), 2, 2))
        groups[:, 0] = np.array(sums)[:, None]
        return effect(Evidence(np.zeros((2, 2)), groups, np.zeros((0, 2, 2))), [1, 0]).spread.effective

    # All alike: G - 1. One alone, by hand: 2 / (1 - 1/10).
    assert effective([1.0, -1.0] * 5) == 9
    assert effective([1.0] + [0.0] * 9) == pytest.approx(2 / 0.9)
    # Normal sums, on average: the fourth moment is 3, so 2 G / (3 - 1) = G.
    assert effective(scipy.stats.norm.ppf((np.arange(4000) + 0.5) / 4000).tolist()) == pytest.approx(4000, rel=0.02)


def test_the_smallest_effect_is_seen_four_times_in_five() -> None:
    values = np.random.default_rng(6).normal(size=(2, 8))
    found = effect(noise_free(values), [1, -1], confidence=0.95)
    # Oracle: scipy's non-central t, beyond the critical value on either side.
    reference = scipy.stats.nct(found.spread.freedom, found.smallest / found.spread.error)
    critical = scipy.stats.t(found.spread.freedom).ppf(0.975)
    assert reference.sf(critical) + reference.cdf(-critical) == pytest.approx(0.8, abs=1e-4)


def test_seeds_and_pairs_that_would_decide() -> None:
    values = np.array([[0.0, 0.5, 1.0, 1.5], [0.0, 0.0, 0.0, 0.0]])
    found = effect(noise_free(values - 0.45), [1, 0])
    # By hand: the sample size at which t of S - 1 degrees times s / sqrt(S) falls below the estimate 0.3.
    wanted = next(s for s in range(4, 99) if scipy.stats.t.ppf(0.975, s - 1) * values[0].std(ddof=1) / s**0.5 < 0.3)
    assert found.seeds_needed == wanted == 21
    assert found.pairs_needed is None
    # The other way round: only tickets, so seeds can't help, and pairs by the square of the lacking factor.
    spread = Spread(4.0, 0.0, 0.0, runs=5, effective=1e9)
    only_tickets = Evidence(np.ones((2, 5)), np.ones((5, 2, 5)), np.zeros((0, 2, 5)))
    found = effect(only_tickets, [0, 1])
    assert found.seeds_needed is None
    assert found.pairs_needed is not None
    lacking = found.spread.with_more(pairs=found.pairs_needed).margin(0.95)
    assert lacking < 1 <= found.spread.with_more(pairs=found.pairs_needed - 0.1).margin(0.95)
    assert spread.with_more(pairs=4).margin(0.95) == pytest.approx(1.959964)
    # Clear already.
    found = effect(noise_free(values + 9), [1, 0])
    assert (found.seeds_needed, found.pairs_needed) == (4, 1.0)


def test_more_of_a_source_lessens_what_it_is_in() -> None:
    spread = Spread(1.0, 2.0, 4.0, runs=5, effective=30)
    assert spread.with_more(seeds=2) == Spread(1.0, 1.0, 2.0, 10, 30)
    assert spread.with_more(pairs=4) == Spread(0.25, 2.0, 1.0, 5, 120)
    assert spread.error == math.sqrt(7)


def test_the_ratio_is_fiellers() -> None:
    random = np.random.default_rng(7)
    values = np.stack([1 + 0.2 * random.normal(size=6), 2 + 0.3 * random.normal(size=6), np.zeros(6)])
    found = ratio(noise_free(values), [1, 0, 0], [0, 1, 0])
    # Fieller (1954): the roots of (m1 - g m2)^2 = t^2 (v11 - 2 g v12 + g^2 v22).
    (m1, m2), v, t2 = values[:2].mean(axis=1), np.cov(values[:2]) / 6, scipy.stats.t.ppf(0.975, 5) ** 2
    roots = np.roots([m2**2 - t2 * v[1, 1], -2 * (m1 * m2 - t2 * v[0, 1]), m1**2 - t2 * v[0, 0]])
    assert (found.low, found.high) == (pytest.approx(min(roots)), pytest.approx(max(roots)))


def test_the_ends_of_a_ratio_are_where_its_claim_turns() -> None:
    scores, baseline, positive, units = study()
    evidence = gather(spearman, scores, baseline, positive.astype(np.float64), units)
    found = ratio(evidence, [-1, 0, 0, 1, 0], [1, 0, 0, 0, 0])
    for g in (found.low, found.high):
        assert effect(evidence, [-1 - g, 0, 0, 1, 0]).p == pytest.approx(0.05, abs=1e-5)
    assert found.low < evidence.means[3] / evidence.means[0] - 1 < found.high


def test_holm_is_as_published() -> None:
    # The worked example of the Holm-Bonferroni article of Wikipedia: at 5 % the first and the fourth are rejected.
    adjusted = holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert (adjusted <= 0.05).tolist() == [True, False, False, True]
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_what_is_refused() -> None:
    scores, baseline, positive, units = study(n=40)
    evidence = gather(roc_auc, scores, baseline, positive, units)
    with pytest.raises(ValueError, match=r"^weights of shape \(4,\): must be \(5,\), the cells and the baseline$"):
        effect(evidence, [1, 0, 0, -1])
    with pytest.raises(ValueError, match=r"^confidence=95: must be above 0 and below 1$"):
        effect(evidence, [1, 0, 0, 0, -1], confidence=95)
    with pytest.raises(
        ValueError,
        match=r"^cells of shape \(4, 5, 40\), baseline \(39,\), units \(40, 2\): "
        r"must be \(K, S, n\), \(n,\) and \(n, 2\)$",
    ):
        gather(roc_auc, scores, baseline[1:], positive, units)
    with pytest.raises(
        UndefinedMetric, match=r"^too few groups of tickets to know their spread: a pair shares one with"
    ):
        gather(roc_auc, scores, baseline, positive, 0 * units)
    with pytest.raises(UndefinedMetric, match=r"^one class only: 0 of 40 pairs are positive$"):
        gather(roc_auc, scores, baseline, positive & False, units)
    with pytest.raises(UndefinedMetric, match=r"^no ratio to a reference of [-0-9.]+, whose interval holds 0$"):
        ratio(evidence, [0, 0, 0, 1, -1], [1, -1, 0, 0, 0])


def test_one_seed_tells_of_the_baseline_alone() -> None:
    scores, baseline, positive, units = study(seeds=1)
    evidence = gather(separability, scores, baseline, positive, units)
    with pytest.raises(UndefinedMetric, match=r"^too few seeds to know their spread: 1, at least 2 are needed$"):
        effect(evidence, [0, 0, 0, 1, -1])
    one = effect(evidence, [0, 0, 0, 0, 1])
    five = effect(gather(separability, np.repeat(scores, 5, axis=1), baseline, positive, units), [0, 0, 0, 0, 1])
    assert (one.spread.seeds, one.spread.both) == (0, 0)
    assert one.p == pytest.approx(five.p)
