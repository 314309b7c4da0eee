"""Claims as contrasts of a study's cells, and how they are judged; expected values by hand and by counting."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from promax import metrics
from promax.config import ClaimConfig, ConfigError, SettingConfig
from promax.confirm.claims import Judgement, contrasts, factorial, judge
from promax.confirm.effects import Evidence, effect, gather


def evidence_of(study, side="test") -> Evidence:
    of = study.sides[side]
    return gather(metrics.spearman, of.cells, of.baseline, of.label, of.units)


def judged(study) -> dict[str, Judgement]:
    return {each.claim.name: each for each in judge(study, evidence_of(study))}


# Cells in a study's order: before, longer (2e-5, 12), rate (5e-5, 6), after; the baseline last. By hand.
@pytest.mark.parametrize(
    ("of", "weights", "reference"),
    [
        ("lr", [-0.5, -0.5, 0.5, 0.5, 0], [1, 0, 0, 0, 0]),
        ("epochs", [-0.5, 0.5, -0.5, 0.5, 0], [1, 0, 0, 0, 0]),
        ("fix", [-1, 0, 0, 1, 0], [1, 0, 0, 0, 0]),
        ("baseline", [0, 0, 0, 1, -1], [0, 0, 0, 0, 1]),
        ("level", [0, 0, 0, 1, 0], None),
    ],
)
def test_a_claim_is_a_contrast_of_the_cells(made, of, weights, reference) -> None:
    settings = list(made.grid(0, 0, 0, 0))
    (found,) = contrasts(ClaimConfig(name="it", of=of), made.rule, settings)
    assert found.weights.tolist() == weights
    assert (found.reference.tolist() if found.reference is not None else None) == reference


def test_the_optimum_is_a_contrast_with_each_other_setting(made) -> None:
    found = contrasts(ClaimConfig(name="best", of="optimum"), made.rule, list(made.grid(0, 0, 0, 0)))
    assert [each.weights.tolist() for each in found] == [[-1, 0, 0, 1, 0], [0, -1, 0, 1, 0], [0, 0, -1, 1, 0]]
    assert [each.reference.tolist() for each in found] == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]]


def test_what_is_measured_claimed_or_not(made) -> None:
    found = {each.name: each.weights.tolist() for each in factorial(made.rule, list(made.grid(0, 0, 0, 0)))}
    assert found == {
        "learning rate": [-0.5, -0.5, 0.5, 0.5, 0],
        "epochs": [-0.5, 0.5, -0.5, 0.5, 0],
        "interaction": [1, -1, -1, 1, 0],
        "the fix": [-1, 0, 0, 1, 0],
        "2e-05, 6 epochs": [1, 0, 0, 0, -1],
        "2e-05, 12 epochs": [0, 1, 0, 0, -1],
        "5e-05, 6 epochs": [0, 0, 1, 0, -1],
        "5e-05, 12 epochs": [0, 0, 0, 1, -1],
    }


def test_without_the_whole_factorial_the_fix_and_the_cells_are_measured(made) -> None:
    found = {each.name: each.weights.tolist() for each in factorial(made.rule, [made.before, made.after])}
    assert found == {"the fix": [-1, 1, 0], "2e-05, 6 epochs": [1, 0, -1], "5e-05, 12 epochs": [0, 1, -1]}
    assert [each.name for each in factorial(made.rule, [made.before])] == ["2e-05, 6 epochs"]


def test_a_change_of_something_else_is_one_contrast(made) -> None:
    """With or without another rate: no main effect is told apart from what else was changed."""
    cosine, cosent = made.variants("optim.loss", "cosine", "cosent")
    slower = dataclasses.replace(cosine, lr=2e-5)
    found = {each.name: each for each in factorial(made.about(cosine, cosent), [cosent, slower, cosine])}
    assert {name: each.weights.tolist() for name, each in found.items()} == {
        "the change": [1, 0, -1, 0],
        "5e-05, 12 epochs, optim.loss=cosent": [1, 0, 0, -1],
        "2e-05, 12 epochs, optim.loss=cosine": [0, 1, 0, -1],
        "5e-05, 12 epochs, optim.loss=cosine": [0, 0, 1, -1],
    }
    assert found["the change"].reference.tolist() == [0, 0, 1, 0]
    fix = contrasts(ClaimConfig(name="any gain", of="fix"), made.about(slower, cosent), [cosent, slower, cosine])
    assert [each.weights.tolist() for each in fix] == [[1, -1, 0, 0]]


def test_a_change_of_something_else_is_judged_by_what_counting_gives(made) -> None:
    """Its effect is the difference of the two settings' means, a share of the first's."""
    cosine, cosent = made.variants("optim.loss", "cosine", "cosent")
    study = made.study({cosent: 0.84, cosine: 0.80}, spread=0.002, rule=made.about(cosine, cosent))
    found = judged(study)
    seeds = [0.002 * (at - 2) for at in range(5)]
    rho = {auc: np.mean([made.spearman(auc + seed) for seed in seeds]) for auc in (0.80, 0.84)}
    gain = found["any gain"]
    assert gain.measured.estimate == pytest.approx(rho[0.84] - rho[0.80], abs=1e-12)
    assert gain.relative is not None
    assert gain.relative[0] == pytest.approx(rho[0.84] / rho[0.80] - 1, abs=1e-12)
    assert (gain.verdict, found["beats the baseline"].verdict) == ("CONFIRMED", "CONFIRMED")


def test_crossed_settings_keep_what_else_the_rule_names(made) -> None:
    """Learning rate and epochs of one loss are compared beside those of another."""
    also = {"optim.loss": "cosent"}
    before, after = (dataclasses.replace(each, also=also) for each in (made.before, made.after))
    rate, longer = (dataclasses.replace(each, also=also) for each in (made.rate, made.longer))
    other = dataclasses.replace(made.after, also={"optim.loss": "cosine"})
    rule = dataclasses.replace(made.rule, before=before, after=after)
    found = {each.name: each.weights.tolist() for each in factorial(rule, [before, longer, rate, after, other])}
    assert found["learning rate"] == [-0.5, -0.5, 0.5, 0.5, 0, 0]
    assert found["the fix"] == [-1, 0, 0, 1, 0, 0]


def test_the_claims_table_is_what_counting_gives(made) -> None:
    """Seeds differ by a known shift, the same for all cells, so every mean is known without the metric's code."""
    aucs = {"before": 0.80, "rate": 0.805, "longer": 0.83, "after": 0.835}
    seeds = [0.002 * (at - 2) for at in range(5)]
    rho = {name: np.mean([made.spearman(auc + seed) for seed in seeds]) for name, auc in aucs.items()}
    untuned = made.spearman(0.78)
    found = judged(made.study(made.grid(**aucs), spread=0.002))
    optimum = found.pop("optimum")
    rate = (rho["rate"] - rho["before"] + rho["after"] - rho["longer"]) / 2
    epochs = (rho["longer"] - rho["before"] + rho["after"] - rho["rate"]) / 2
    expected = {
        "learning rate": (rate, rate / rho["before"]),
        "epochs": (epochs, epochs / rho["before"]),
        "both": (rho["after"] - rho["before"], rho["after"] / rho["before"] - 1),
        "any gain": (rho["after"] - rho["before"], rho["after"] / rho["before"] - 1),
        "beats the baseline": (rho["after"] - untuned, rho["after"] / untuned - 1),
        "good tier": (rho["after"], None),
    }
    assert {name: each.measured.estimate for name, each in found.items()} == pytest.approx(
        {name: value for name, (value, _) in expected.items()}, abs=1e-12
    )
    shares = {name: each.relative and each.relative[0] for name, each in found.items()}
    assert shares == pytest.approx({name: share for name, (_, share) in expected.items()}, abs=1e-12)
    # The optimum is told by the contrast it is least sure of.
    other = {"5e-05, 6 epochs": "rate", "2e-05, 12 epochs": "longer"}[optimum.contrast.name.removeprefix("after less ")]
    assert optimum.measured.estimate == pytest.approx(rho["after"] - rho[other], abs=1e-12)
    # What is tested is the effect less the claimed share of what it is set against.
    assert found["both"].tested.estimate == pytest.approx(rho["after"] - 1.07 * rho["before"], abs=1e-12)
    assert (found["good tier"].tested.estimate, found["good tier"].tested.against) == (
        pytest.approx(rho["after"], abs=1e-12),
        0.5,
    )


def test_holm_multiplies_the_smallest_p_by_the_number_of_claims(made) -> None:
    study = made.study(made.grid(0.80, 0.805, 0.81, 0.815), spread=0.002)
    found = judged(study)
    # The optimum asks three contrasts and none of them is below its bound: the largest p counts, unmultiplied.
    raw = {name: each.tested.p for name, each in found.items()}
    assert found["optimum"].tested.estimate > 0
    by_size, largest, adjusted = sorted(raw, key=raw.__getitem__), 0.0, {}
    for rank, name in enumerate(by_size):
        largest = max(largest, (len(raw) - rank) * raw[name])
        adjusted[name] = min(largest, 1.0)
    assert {name: each.p for name, each in found.items()} == pytest.approx(adjusted, rel=1e-9)


def test_any_one_better_setting_refutes_the_optimum_and_pays_for_having_been_chosen(made) -> None:
    only = dataclasses.replace(
        made.rule, claims=[ClaimConfig(name="optimum", of="optimum", at_least=-0.005)], before=None
    )
    study = made.study(made.grid(0.80, 0.80, 0.86, 0.80), spread=0.002, rule=only)
    (found,) = judge(study, evidence_of(study))
    assert found.verdict == "REFUTED"
    assert found.contrast.name == "after less 2e-05, 12 epochs"
    weights = np.array([0, -1 + 0.005, 0, 1, 0])
    assert found.p == pytest.approx(3 * effect(evidence_of(study), weights).p, rel=1e-9)


@pytest.mark.parametrize(
    ("aucs", "gain", "baseline"),
    [
        ((0.80, 0.82, 0.84, 0.86), "CONFIRMED", "CONFIRMED"),
        ((0.77, 0.76, 0.75, 0.74), "REFUTED", "REFUTED"),
        ((0.80, 0.80, 0.80, 0.80), "UNDECIDED", "CONFIRMED"),
    ],
)
def test_a_planted_gain_is_confirmed_a_loss_refuted_and_nothing_left_open(made, aucs, gain, baseline) -> None:
    found = judged(made.study(made.grid(*aucs), spread=0.002))
    assert (found["any gain"].verdict, found["beats the baseline"].verdict) == (gain, baseline)


def test_too_few_seeds_decide_nothing_however_clear_it_is(made) -> None:
    found = judged(made.study(made.grid(0.80, 0.82, 0.84, 0.86), seeds=range(4)))
    assert {each.verdict for each in found.values()} == {"UNDECIDED"}
    assert found["any gain"].lacks == "4 of the 5 seeds that the rule asks for"
    assert found["any gain"].p < 0.001


def test_an_undecided_claim_says_what_would_decide_it_beside_the_others(made) -> None:
    """Seeds all alike and a contrast short of its bound: only more pairs help, and more than for the claim alone."""
    found = judged(made.study(made.grid(0.80, 0.805, 0.83, 0.835)))["both"]
    assert found.verdict == "UNDECIDED"
    times, words = found.lacks.split(" ", 1)
    assert words == "times the test pairs"
    tested, holm = found.tested, found.p / found.tested.p
    assert holm == pytest.approx(3)

    def adjusted(pairs: float) -> float:
        return holm * tested.spread.with_more(pairs=pairs).chance(abs(tested.estimate - tested.against))

    assert adjusted(float(times)) <= 0.05 < adjusted(float(times) - 0.1)
    assert float(times) > tested.pairs_needed


def test_an_effect_at_its_bound_is_decided_by_no_number_of_seeds_or_pairs_alone(made) -> None:
    found = judged(made.study(made.grid(0.80, 0.80, 0.80, 0.80), spread=0.002))["any gain"]
    assert (found.verdict, found.lacks) == ("UNDECIDED", "more seeds and more pairs, both")


def test_a_claim_about_a_setting_that_was_not_run_is_refused(made) -> None:
    study = made.study({made.before: 0.8, made.rate: 0.8})
    with pytest.raises(ConfigError) as refusal:
        judge(study, evidence_of(study))
    assert str(refusal.value) == (
        "rule.claims: 'learning rate' is about 5e-05, 12 epochs, of which no run is finished "
        "(there are 2e-05, 6 epochs; 5e-05, 6 epochs)"
    )


def test_an_optimum_among_one_setting_is_refused(made) -> None:
    only = dataclasses.replace(made.rule, claims=[ClaimConfig(name="best", of="optimum")], before=None)
    with pytest.raises(ConfigError) as refusal:
        contrasts(only.claims[0], only, [SettingConfig(lr=5e-5, epochs=12)])
    assert str(refusal.value) == "rule.claims: 'best' is about the optimum, and the study has one setting alone"
