"""Known causes, each planted and each absent; the curves are such that the bounds can be checked by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from promax import metrics
from promax.audit.finding import Finding, Report
from promax.confirm.claims import judge
from promax.confirm.diagnosis import (
    diagnose,
    drift,
    easier_train,
    overfitting,
    rate_on_boundary,
    under_training,
)
from promax.confirm.effects import gather


def evidence_of(study):
    return {
        (side, "spearman"): gather(metrics.spearman, of.cells, of.baseline, of.label, of.units)
        for side, of in study.sides.items()
    }


def rising(setting, seed):
    """0.70, 0.71, ... and each seed 0.001 above the one before."""
    return [0.70 + 0.01 * epoch + 0.001 * seed for epoch in range(setting.epochs)]


def falling(setting, seed):
    """The second epoch is the best; from there 0.01 is lost with each, and a little more by seed."""
    return [0.70, 0.72] + [0.72 - (0.01 + 0.0001 * seed) * (epoch - 1) for epoch in range(2, setting.epochs)]


def flat(setting, seed):
    """The last of equals is no better, and which is the best is chance."""
    return [0.70 + (0.001 if epoch == seed % 2 else 0.0) for epoch in range(setting.epochs)]


def test_nothing_is_explained_where_nothing_disappoints(made) -> None:
    study = made.study(made.grid(0.80, 0.83, 0.86, 0.90), spread=0.002)
    evidence = evidence_of(study)
    judgements = judge(study, evidence["test", "spearman"])
    assert {each.verdict for each in judgements} == {"CONFIRMED"}
    assert diagnose(study, evidence, judgements, {}) == []


def test_a_setting_below_the_baseline_is_looked_into_and_no_other(made) -> None:
    study = made.study(made.grid(0.80, 0.83, 0.86, 0.77), spread=0.002, curve=falling)
    evidence = evidence_of(study)
    causes = {each.name: each for each in diagnose(study, evidence, judge(study, evidence["test", "spearman"]), {})}
    assert list(causes) == [
        "train easier than test",
        "overfitting",
        "under-training",
        "drift from the base on pairs of another domain",
        "learning rate on the boundary",
    ]
    assert [line.partition(":")[0] for line in causes["overfitting"].figures] == [
        "5e-05, 12 epochs",
        "each run kept its best epoch",
    ]


def test_a_setting_below_the_baseline_in_another_domain_alone_is_looked_into_too(made) -> None:
    home = made.grid(0.80, 0.83, 0.86, 0.90)
    study = made.study(home, transfer=made.grid(0.80, 0.80, 0.70, 0.80), spread=0.002)
    evidence = evidence_of(study)
    judgements = judge(study, evidence["test", "spearman"])
    assert {each.verdict for each in judgements} == {"CONFIRMED"}
    (cause,) = [each for each in diagnose(study, evidence, judgements, {}) if each.name.startswith("drift")]
    assert cause.standing == "supported"
    assert [line.partition(":")[0] for line in cause.figures] == ["2e-05, 12 epochs"]


def test_a_refuted_claim_alone_is_looked_for_in_the_setting_after_the_change(made) -> None:
    study = made.study(made.grid(0.80, 0.80, 0.80, 0.80), spread=0.002, curve=rising)
    evidence = evidence_of(study)
    causes = diagnose(study, evidence, judge(study, evidence["test", "spearman"]), {})
    assert [line.partition(":")[0] for line in causes[2].figures] == ["5e-05, 12 epochs"]


def test_overfitting_is_a_fall_after_the_peak(made) -> None:
    study = made.study(made.grid(0.7, 0.7, 0.7, 0.7), curve=falling)
    found = overfitting(study, [3])
    # From epoch 2 to 12 ten steps of 0.01 and, by seed, of 0.0000 to 0.0004: 0.102 on average. The fall's standard
    # deviation over seeds is that of 0, 1, 2, 3, 4 thousandths, 0.00158, and t(4) is 2.776: +- 0.00196.
    assert (found.standing, found.figures[0]) == (
        "supported",
        "5e-05, 12 epochs: best epoch 2.0 of 12 on average, "
        "from epoch 2 to the last it falls by 0.1020 [0.1000, 0.1040]",
    )


@pytest.mark.parametrize("curve", [rising, flat])
def test_no_overfitting_where_dev_does_not_fall(made, curve) -> None:
    assert overfitting(made.study(made.grid(0.7, 0.7, 0.7, 0.7), curve=curve), [3]).standing == "not supported"


def test_keeping_the_last_epoch_is_said(made) -> None:
    study = made.study(made.grid(0.7, 0.7, 0.7, 0.7), curve=falling)
    last = dataclasses.replace(study.config, optim=dataclasses.replace(study.config.optim, keep="last"))
    assert overfitting(dataclasses.replace(study, config=last), [3]).figures[-1] == "each run kept its last epoch"


def test_under_training_is_a_rise_at_the_end(made) -> None:
    found = under_training(made.study(made.grid(0.7, 0.7, 0.7, 0.7), curve=rising), [0])
    assert (found.standing, found.figures) == (
        "supported",
        ["2e-05, 6 epochs: the last epoch is the best, its step is +0.0100 [+0.0100, +0.0100]"],
    )


@pytest.mark.parametrize("curve", [falling, flat])
def test_no_under_training_where_the_end_does_not_rise(made, curve) -> None:
    assert under_training(made.study(made.grid(0.7, 0.7, 0.7, 0.7), curve=curve), [3]).standing == "not supported"


def test_runs_that_stopped_early_are_compared_as_far_as_all_went(made) -> None:
    def stopped(setting, seed):
        return rising(setting, 0)[: 4 if seed == 2 else 6]

    study = made.study(made.grid(0.7, 0.7, 0.7, 0.7), curve=stopped)
    assert under_training(study, [0]).standing == "supported"
    # Each run's own last epoch is its best: (4 + 4 * 6) / 5.
    assert overfitting(study, [0]).figures[0] == "2e-05, 6 epochs: best epoch 5.6 of 4 to 6 on average"


def test_a_curve_with_a_gap_has_no_course(made) -> None:
    def collapsed(setting, seed):
        return [math.nan if (seed, epoch) == (1, 5) else value for epoch, value in enumerate(rising(setting, seed))]

    study = made.study(made.grid(0.7, 0.7, 0.7, 0.7), curve=collapsed)
    for cause in (overfitting, under_training):
        found = cause(study, [0])
        told = "2e-05, 6 epochs: dev has no value after some epoch, no course"
        assert (found.standing, found.figures[0]) == ("not supported", told)
    # The best epochs have values: of both rates the last of 12.
    assert rate_on_boundary(study).figures[0].endswith("is ahead of 5e-05, 12 epochs by 0.0000 [0.0000, 0.0000]")
    last = dataclasses.replace(study.config, optim=dataclasses.replace(study.config.optim, keep="last"))
    found = rate_on_boundary(dataclasses.replace(study, config=last))
    assert (found.standing, found.figures) == (
        "no evidence in the record",
        ["dev has no value after the last epoch of some run"],
    )


def test_drift_is_a_loss_elsewhere_and_none_at_home(made) -> None:
    elsewhere = made.grid(0.70, 0.70, 0.70, 0.70)
    supported = made.study(made.grid(0.80, 0.80, 0.80, 0.80), transfer=elsewhere, spread=0.002)
    assert drift(supported, evidence_of(supported), [3]).standing == "supported"
    both = made.study(made.grid(0.70, 0.70, 0.70, 0.70), transfer=elsewhere, spread=0.002)
    assert drift(both, evidence_of(both), [3]).standing == "not supported"
    neither = made.study(elsewhere, transfer=made.grid(0.80, 0.80, 0.80, 0.80), spread=0.002)
    assert drift(neither, evidence_of(neither), [3]).standing == "not supported"


def test_drift_needs_pairs_of_another_domain(made) -> None:
    study = made.study(made.grid(0.7, 0.7, 0.7, 0.7))
    found = drift(study, evidence_of(study), [3])
    assert (found.standing, found.figures) == (
        "no evidence in the record",
        ["no pairs of another domain were scored; data.transfer=FILE names some"],
    )


def by_rate(setting, seed):
    """The higher rate is 0.02 ahead."""
    return [0.70 + 0.001 * seed + (0.02 if setting.lr == 5e-5 else 0.0)] * setting.epochs


def test_the_best_rate_at_an_end_and_clearly_ahead_is_on_the_boundary(made) -> None:
    found = rate_on_boundary(made.study(made.grid(0.7, 0.7, 0.7, 0.7), curve=by_rate))
    assert (found.standing, found.figures) == (
        "supported",
        [
            "best on dev is 5e-05, 6 epochs, at the upper end of 2e-05, 5e-05; "
            "it is ahead of 2e-05, 6 epochs by 0.0200 [0.0200, 0.0200]"
        ],
    )


def test_rates_that_dev_cannot_tell_apart_are_not_on_the_boundary(made) -> None:
    assert rate_on_boundary(made.study(made.grid(0.7, 0.7, 0.7, 0.7))).standing == "not supported"


def test_a_best_rate_between_others_is_not_on_the_boundary(made) -> None:
    def between(setting, seed):
        return [0.70 + 0.001 * seed + (0.02 if setting.lr == 5e-5 else 0.0)] * setting.epochs

    higher = dataclasses.replace(made.after, lr=2e-4)
    study = made.study({**made.grid(0.7, 0.7, 0.7, 0.7), higher: 0.7}, curve=between)
    found = rate_on_boundary(study)
    assert found.standing == "not supported"
    assert "within 2e-05, 5e-05, 0.0002" in found.figures[0]


def test_one_rate_has_no_boundary(made) -> None:
    found = rate_on_boundary(made.study({made.rate: 0.7, made.after: 0.7}))
    assert (found.standing, found.figures) == ("no evidence in the record", ["one learning rate was tried, 5e-05"])


@pytest.mark.parametrize(
    ("severity", "standing"),
    [
        ("error", "supported"),
        ("warning", "supported"),
        ("note", "not supported"),
        ("clean", "not supported"),
        ("unchecked", "no evidence in the record"),
    ],
)
def test_train_easier_than_test_is_what_the_audit_found(severity, standing) -> None:
    report = Report([Finding("train easier than test", "both", severity, "gap 0.19")], {}, "encoder")
    found = easier_train({"": report})
    assert (found.standing, found.figures) == (standing, ["gap 0.19"])


def test_variants_that_learned_from_other_pairs_have_an_audit_each(made) -> None:
    """Looked at is that of the setting below the baseline, and not the other's."""
    few, many = made.variants("data.train_limit", "1000", "3000")
    study = made.study({few: 0.80, many: 0.75}, spread=0.002, rule=made.about(few, many))
    audits = {
        f"data.train_limit={limit}": Report([Finding("train easier than test", "both", severity, text)], {}, "encoder")
        for limit, severity, text in ((1000, "clean", "gap 0.01"), (3000, "warning", "gap 0.19"))
    }
    evidence = evidence_of(study)
    easier = diagnose(study, evidence, judge(study, evidence["test", "spearman"]), audits)[0]
    assert (easier.standing, easier.figures) == ("supported", ["data.train_limit=3000: gap 0.19"])
    both = easier_train(audits)
    assert (both.standing, len(both.figures)) == ("supported", 2)


def test_without_an_audit_there_is_no_evidence() -> None:
    assert easier_train({"": None}).figures == ["the runs logged no audit"]
    assert easier_train({"": Report([], {}, "encoder")}).standing == "no evidence in the record"


def test_only_rates_of_settings_that_are_else_as_after_the_change_are_neighbours(made) -> None:
    """Another loss at a lower rate says nothing of where the best rate of this one lies."""
    cosine, cosent = made.variants("optim.loss", "cosine", "cosent")
    other = dataclasses.replace(cosine, lr=2e-5)
    study = made.study({cosent: 0.7, other: 0.7, cosine: 0.7}, rule=made.about(cosine, cosent), curve=by_rate)
    assert rate_on_boundary(study).figures == ["one learning rate was tried, 5e-05"]
    both = made.study({cosent: 0.7, other: 0.7, cosine: 0.7}, rule=made.about(cosent, cosine), curve=by_rate)
    assert rate_on_boundary(both).standing == "supported"
