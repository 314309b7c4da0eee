"""The short version of experiments/coverage, and what that experiment rests on: known truths and faithful protocols."""

from __future__ import annotations

import importlib
import itertools
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.stats

from promax.config import ClaimConfig
from promax.confirm.claims import judge
from promax.metrics import pr_auc, roc_auc, spearman

EXPERIMENT = Path(__file__).resolve().parents[2] / "experiments" / "coverage"
# Studies of each scenario: a coverage of 95 % is then known to 1.5 %, three times which is allowed below 93.5 %.
STUDIES = 200
ALLOWED = 3 * math.sqrt(0.95 * 0.05 / STUDIES)


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The experiment's script, which finds its neighbours as when it is run."""
    monkeypatch.syspath_prepend(str(EXPERIMENT))
    return importlib.import_module("simulate")


SHORT = [
    *("balanced, 1,000 pairs", "few positives, 68 of 310", "seeds dominate"),
    *("one-sided labels", "rounded scores", "graded labels"),
]


@pytest.mark.parametrize("name", SHORT)
def test_intervals_cover_and_nothing_is_confirmed_without_an_effect(simulate: ModuleType, name: str) -> None:
    scenario = next(each for each in simulate.COVERAGE if each.name == name)
    found = simulate.coverage_chunk(scenario, chunk=10**6, count=STUDIES)
    assert len(found["tallies"]) == 6 * len(simulate.metrics_of(scenario))
    for contrast, tally in found["tallies"].items():
        assert tally["covered"] / STUDIES >= 0.935 - ALLOWED, contrast
        # Neither by being off nor by being wide: the errors are those that the spread says, to 3 standard errors.
        assert abs(tally["off"]) / math.sqrt(STUDIES * tally["variance"]) < 3, contrast
        assert tally["squared"] / tally["variance"] == pytest.approx(1, abs=0.35), contrast
    if not any(scenario.gains):
        assert found["confirmed"] / STUDIES <= 0.05 + ALLOWED


def test_the_verdict_itself_confirms_nothing_where_there_is_nothing(simulate: ModuleType, made: Any) -> None:
    """Claim by claim as a study's rule has them, on studies whose cells and baseline are equally good."""
    scenario = next(each for each in simulate.COVERAGE if each.name == "balanced, 1,000 pairs")
    population: Any = importlib.import_module("population")
    # Its own baseline's Spearman is the level that is claimed; half of the estimates are above it.
    level = float(population.truth(scenario, spearman)[-1])
    claims = [ClaimConfig(name=of, of=of) for of in ("lr", "epochs", "fix", "baseline", "optimum")]  # type: ignore[arg-type]
    rule = replace(made.rule, claims=[*claims, ClaimConfig(name="level", of="level", at_least=level)])
    study = made.study(made.grid(0.8, 0.8, 0.8, 0.8), rule=rule)
    verdicts = [
        {each.verdict for each in judge(study, simulate.evidence(drawn, spearman))}
        for drawn in simulate.studies(scenario, chunk=10**6, count=STUDIES)
    ]
    for decided in ("CONFIRMED", "REFUTED"):
        assert sum(decided in found for found in verdicts) / STUDIES <= 0.05 + ALLOWED


def test_the_truth_is_the_normal_laws(simulate: ModuleType) -> None:
    population: Any = importlib.import_module("population")
    scenario = population.Scenario("test", gains=(0.0, 0.01, 0.02, 0.03))
    rho, area = population.truth(scenario, spearman), population.truth(scenario, roc_auc)
    # Two normal classes: the area is Phi(separation / s), 1.4538 by choice; rho = sqrt(3) (area - 1/2), the identity of
    # `spearman_from_auc` for balanced labels.
    assert area[-1] == pytest.approx(scipy.stats.norm.cdf(1.4538), abs=1e-5)
    assert rho == pytest.approx(math.sqrt(3) * (area - 0.5), abs=1e-5)
    assert rho[:4] - rho[4] == pytest.approx(scenario.gains, abs=1e-6)


@pytest.mark.parametrize("labels", ["two", "graded", "one-sided"])
def test_the_truth_is_what_very_many_pairs_show(simulate: ModuleType, labels: str) -> None:
    population: Any = importlib.import_module("population")
    scenario = population.Scenario("test", pairs=60_000, problems=22_000, labels=labels, gains=(0.0, 0.0, 0.0, 0.04))
    if labels == "graded":
        scenario = replace(scenario, problem_share=0.0)
    scenario = replace(scenario, seed_sd=0.0)
    study = population.draw(scenario, np.random.default_rng(0))
    metrics: list[tuple[Any, Any]] = [(spearman, study.label)]
    metrics += [(pr_auc, study.positive)] if study.positive is not None else []
    for metric, target in metrics:
        truth = population.truth(scenario, metric)
        # One study of 60,000 pairs: a standard error of about 0.0025, and of a difference 0.0008.
        assert metric(study.baseline, target) == pytest.approx(truth[4], abs=0.01)
        gain = metric(study.cells[3, 0], target) - metric(study.baseline, target)
        assert gain == pytest.approx(truth[3] - truth[4], abs=0.003)


def test_the_bca_interval_is_scipys(simulate: ModuleType) -> None:
    protocols: Any = importlib.import_module("protocols")
    # Whole numbers, so that a resample's mean is the estimate to the last bit or isn't.
    differences = np.floor(100 * np.random.default_rng(1).gamma(2.0, size=(4, 5)) - 100)
    for row, ends in zip(differences, zip(*protocols.bca_interval(differences), strict=True), strict=True):
        means = np.unique([sum(drawn) for drawn in itertools.product(row, repeat=5)]) / 5
        random = np.random.default_rng(2)
        drawn = scipy.stats.bootstrap((row,), np.mean, method="BCa", n_resamples=100_000, rng=random)
        # scipy's draws know its levels to 0.1 %, so that the mean at a level can be the next of some hundred.
        for end, reference in zip(ends, drawn.confidence_interval, strict=True):
            assert abs(np.searchsorted(means, end - 1e-9) - np.searchsorted(means, reference - 1e-9)) <= 1


def test_the_sign_flip_test_is_scipys(simulate: ModuleType) -> None:
    protocols: Any = importlib.import_module("protocols")
    differences = np.random.default_rng(3).normal(0.5, size=(6, 5))
    two_sided, one_sided = protocols.sign_flip(differences)
    for row, p, q in zip(differences, two_sided, one_sided, strict=True):
        for expected, alternative in ((p, "two-sided"), (q, "greater")):
            exact = scipy.stats.permutation_test(
                (row,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=np.inf
            )
            assert expected == pytest.approx(exact.pvalue)
    # Five seeds: two of 32 signings are as extreme as all of one sign, so two-sided p is never below 1/16.
    assert protocols.sign_flip(np.ones((1, 5)))[0] == 1 / 16


def test_five_of_five_seeds_must_win(simulate: ModuleType) -> None:
    protocols: Any = importlib.import_module("protocols")
    wins = np.array([[1.0] * won + [-1.0] * (5 - won) for won in range(6)])
    # Four of five: a resample has won at most two with probability 5.8 % (binomial tables), more than 2.5 %.
    assert protocols.outperforms(wins).tolist() == [False] * 5 + [True]
    # With 29 seeds, the number that the paper recommends, the threshold decides: 22 of 29 is the first above 0.75.
    wins = np.array([[1.0] * won + [-1.0] * (29 - won) for won in (21, 22, 23)])
    assert protocols.outperforms(wins).tolist() == [False, True, True]
