"""A study read from its record, and what is refused or said of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from promax.config import Config, ConfigError, LoraConfig
from promax.confirm.settings import label, place
from promax.confirm.study import read
from promax.tracking import BASELINE_KEY, Run, runs_of


def test_a_study_is_read_as_it_was_logged(planted, made) -> None:
    transfer = {made.after: 0.7, made.before: 0.75}
    # Logged in another order than the settings' own.
    runs = planted.study({made.after: 0.83, made.before: 0.80}, seeds=[3, 1], transfer=transfer, spread=0.01)
    study = read(planted.store, "fix")
    assert (study.settings, study.seeds) == ([made.before, made.after], [1, 3])
    members = [[member.run.run_id for member in cell] for cell in study.members]
    assert members == [[runs[3], runs[2]], [runs[1], runs[0]]]
    first = study.members[0][0]
    # After the last epoch dev is logged once more, for the kept epoch: that is no point of the curve.
    assert (first.dev, len(first.loss)) == ([0.701, *[0.711] * 5], 6)
    assert np.array_equal(study.sides["test"].cells[1, 1], made.scores(0.825))
    assert np.array_equal(study.sides["transfer"].cells[0, 0], made.scores(0.75))
    assert np.array_equal(study.sides["test"].baseline, made.scores(0.78))
    assert study.rule == made.rule
    assert (study.foretold, study.notes) == (True, [])
    assert study.parent is not None


def test_an_epoch_after_which_dev_has_no_value_is_a_gap_in_the_curve(planted, made) -> None:
    planted.study({made.before: 0.80}, seeds=[0, 1])
    cfg, baseline = _config(planted, made)
    planted.run(cfg, made.before, 1, 0.80, baseline, without=3)
    planted.run(cfg, made.before, 0, 0.80, baseline, without=6)
    one, other = (member.dev for member in read(planted.store, "fix").members[0])
    # And not 0.71, which is the kept epoch's.
    assert np.array_equal(one, [0.70, 0.71, 0.71, 0.71, 0.71, np.nan], equal_nan=True)
    assert np.array_equal(other, [0.701, 0.711, np.nan, 0.711, 0.711, 0.711], equal_nan=True)


def test_runs_of_no_sweep_have_no_parent(planted, made) -> None:
    planted.study({made.after: 0.83}, seeds=[0, 1], sweep=False)
    assert read(planted.store, "fix").parent is None


def test_an_unfinished_study_is_judged_by_the_seeds_that_all_settings_have(planted, made) -> None:
    planted.study({made.before: 0.80, made.after: 0.83}, seeds=[0, 1])
    cfg, baseline = _config(planted, made)
    planted.run(cfg, made.after, 2, 0.83, baseline)
    study = read(planted.store, "fix")
    assert study.seeds == [0, 1]
    assert study.notes == ["1 finished runs are left out: their seeds are not finished in every setting"]


DIVERGED = ("FAILED", "RuntimeError: the loss is nan at step 2 of 24; try a lower optim.lr than 5e-05")
PRUNED = ("KILLED", "pruned after epoch 1: dev/spearman 0.1000 (median)")


def test_a_verdict_on_survivors_says_so(planted, made) -> None:
    """As many seeds as the rule asks for are left, and the one that diverged would be nowhere."""
    planted.study({made.after: 0.83}, seeds=[5, 6, 8, 9, 10])
    cfg, baseline = _config(planted, made)
    planted.unfinished(cfg, made.after, 7, baseline, DIVERGED)
    study = read(planted.store, "fix")
    assert study.seeds == [5, 6, 8, 9, 10]
    assert study.notes == [
        "the verdict is on survivors: 1 of 6 runs ended without a result",
        "no result of 5e-05, 12 epochs, seed 7: FAILED, "
        "RuntimeError: the loss is nan at step 2 of 24; try a lower optim.lr than 5e-05",
    ]


def test_a_seed_that_one_setting_lost_and_a_setting_that_lost_all_are_told(planted, made) -> None:
    planted.study({made.before: 0.80, made.after: 0.83}, seeds=[0, 1])
    cfg, baseline = _config(planted, made)
    planted.run(cfg, made.before, 2, 0.80, baseline)
    planted.unfinished(cfg, made.after, 2, baseline, DIVERGED)
    for seed in (1, 0):
        planted.unfinished(cfg, made.longer, seed, baseline, PRUNED)
    why = "KILLED, pruned after epoch 1: dev/spearman 0.1000 (median)"
    assert read(planted.store, "fix").notes == [
        "the verdict is on survivors: 3 of 8 runs ended without a result",
        f"no result of 2e-05, 12 epochs, seed 0: {why}",
        f"no result of 2e-05, 12 epochs, seed 1: {why}",
        f"no result of 5e-05, 12 epochs, seed 2: {', '.join(DIVERGED)}",
        "no run of 2e-05, 12 epochs finished: no claim is held against it",
        "1 finished runs are left out: their seeds are not finished in every setting",
    ]


def test_runs_that_were_made_again_or_that_go_on_are_no_losses(planted, made) -> None:
    planted.study({made.after: 0.83}, seeds=[0, 1])
    cfg, baseline = _config(planted, made)
    died = ("FAILED", "process died")
    for seed in (1, 2, 3):
        planted.unfinished(cfg, made.after, seed, baseline, died)
    planted.run(cfg, made.after, 2, 0.83, baseline)
    for seed in (3, 4):
        planted.unfinished(cfg, made.after, seed, baseline)
    study = read(planted.store, "fix")
    assert (study.seeds, study.notes) == ([0, 1, 2], [])


def test_a_run_made_again_counts_in_place_of_the_first(planted, made) -> None:
    runs = planted.study({made.after: 0.83}, seeds=[0, 1])
    cfg, baseline = _config(planted, made)
    again = planted.run(cfg, made.after, 1, 0.9, baseline)
    assert [member.run.run_id for member in read(planted.store, "fix").members[0]] == [runs[0], again]


def test_a_study_without_two_common_seeds_is_refused(planted, made) -> None:
    planted.study({made.before: 0.80}, seeds=[0, 1])
    cfg, baseline = _config(planted, made)
    planted.run(cfg, made.after, 1, 0.83, baseline)
    with pytest.raises(ConfigError) as refusal:
        read(planted.store, "fix")
    assert str(refusal.value) == (
        "study fix: 1 seed(s) that every setting has, at least 2 are needed "
        "(seeds of 2e-05, 6 epochs: 0, 1; 5e-05, 12 epochs: 1)\n"
        "the command that began the study goes on with what is missing"
    )


def test_runs_that_differ_in_more_are_refused(planted, made) -> None:
    runs = planted.study({made.after: 0.83}, seeds=[0, 1])
    cfg, baseline = _config(planted, made)
    other = dataclasses.replace(cfg, optim=dataclasses.replace(cfg.optim, loss="cosent"))
    mixed = planted.run(other, made.after, 2, 0.83, baseline)
    with pytest.raises(ConfigError) as refusal:
        read(planted.store, "fix")
    assert str(refusal.value) == (
        f"study fix: its runs differ in optim.loss: cosine in {runs[0][:8]}, cosent in {mixed[:8]}\n"
        "a verdict needs runs that differ in optim.lr, optim.epochs and seed alone; name in the rule what else is "
        "compared, or file them elsewhere"
    )


def test_settings_that_differ_in_what_the_rule_names_are_read_apart(planted, made) -> None:
    cosine, cosent = made.variants("optim.loss", "cosine", "cosent")
    rule = made.about(cosine, cosent)
    runs = planted.study({cosent: 0.83, cosine: 0.80}, seeds=[1, 0], rule=rule)
    study = read(planted.store, "fix")
    # By what they also differ in, then by rate and epochs; "cosent" is before "cosine".
    assert (study.settings, study.seeds) == ([cosent, cosine], [0, 1])
    assert [[member.run.run_id for member in cell] for cell in study.members] == [
        [runs[1], runs[0]],
        [runs[3], runs[2]],
    ]
    assert [member.setting.also for cell in study.members for member in cell] == [cosent.also] * 2 + [cosine.also] * 2
    assert study.notes == []
    # By a rule that doesn't name the loss they are no one setting.
    with pytest.raises(ConfigError, match=r"its runs differ in optim\.loss: cosent in"):
        read(planted.store, "fix", made.rule)


def test_settings_stand_by_size_where_they_are_told_apart_by_numbers(planted, made) -> None:
    cells = dict.fromkeys(made.variants("optim.batch_size", "8", "16", "128"), 0.8)
    planted.study(cells, seeds=[0, 1], rule=made.about(*list(cells)[:2]))
    assert read(planted.store, "fix").settings == list(cells)


def test_a_name_of_numbers_is_a_name(made) -> None:
    """A date with dots is no number; names stand after numbers."""
    names = made.variants("data.name", "tickets", "2024.11.30", "7", "1e-05")
    order = [each.also["data.name"] for each in sorted(names, key=place)]
    assert order == ["1e-05", "7", "2024.11.30", "tickets"]


def test_the_order_of_what_tells_settings_apart_says_nothing(made) -> None:
    one = dataclasses.replace(made.after, also={"optim.loss": "cosent", "model.lora.r": "8"})
    other = dataclasses.replace(made.after, also={"model.lora.r": "8", "optim.loss": "cosent"})
    assert one == other
    assert label(one) == label(other) == "5e-05, 12 epochs, model.lora.r=8, optim.loss=cosent"


def test_runs_of_one_setting_are_alike_in_what_others_may_differ_in(planted, made) -> None:
    """`model.name` stands for the whole group, but not within the setting that it names."""
    whole, adapted = made.variants("model.name", "minilm", "minilm_lora")
    rule = made.about(whole, adapted)
    planted.study({whole: 0.80}, seeds=[0, 1], rule=rule)
    cfg, baseline = _config(planted, made, rule)
    lora = dataclasses.replace(cfg, model=dataclasses.replace(cfg.model, lora=LoraConfig(r=8)))
    first, _ = (planted.run(lora, adapted, seed, 0.83, baseline) for seed in (0, 1))
    assert read(planted.store, "fix").settings == [whole, adapted]
    other = planted.run(cfg, adapted, 2, 0.83, baseline)
    with pytest.raises(ConfigError) as refusal:
        read(planted.store, "fix")
    assert str(refusal.value) == (
        f"study fix: its runs differ in model.lora: absent in {first[:8]}, null in {other[:8]}\n"
        "a verdict needs runs that differ in optim.lr, optim.epochs, model.name and seed alone; name in the rule what "
        "else is compared, or file them elsewhere"
    )


def test_numbers_of_training_pairs_are_compared_on_the_same_test_pairs(planted, made) -> None:
    few, many = made.variants("data.train_limit", "1000", "3000")
    rule = made.about(few, many)
    planted.study({few: 0.80}, seeds=[0, 1], rule=rule)
    cfg, baseline = _config(planted, made, rule)
    for seed in (0, 1):
        planted.run(cfg, many, seed, 0.83, baseline, tags={"promax.data.train": "34" * 32})
    assert read(planted.store, "fix").settings == [few, many]
    for side in ("test", "dev", "adversarial", "transfer"):
        other = planted.run(cfg, many, 2, 0.83, baseline, tags={f"promax.data.{side}": "00" * 32})
        with pytest.raises(ConfigError) as refusal:
            read(planted.store, "fix")
        assert str(refusal.value).endswith(
            f" and {other[:8]} have other {side} pairs; its settings are compared by these: give data.dev and "
            "data.test to all of them"
        )
        planted.store.client.delete_run(other)


@pytest.mark.parametrize("key", ["data.train_limit", "data.name"])
def test_other_training_files_are_told_apart_by_their_name(planted, made, key) -> None:
    """A number of pairs, of which each is of another file, would be taken for what made the difference."""
    few, many = made.variants(key, "1000", "3000")
    rule = made.about(few, many)
    planted.study({few: 0.80}, seeds=[0, 1], rule=rule)
    cfg, baseline = _config(planted, made, rule)
    first, _ = (planted.run(cfg, many, seed, 0.83, baseline, train="mined.jsonl sha256:78ab") for seed in (0, 1))
    if key == "data.name":
        assert read(planted.store, "fix").settings == [few, many]
        return
    with pytest.raises(ConfigError) as refusal:
        read(planted.store, "fix")
    assert str(refusal.value).endswith(
        f" was trained on train.jsonl sha256:34ab,\n{first[:8]} on mined.jsonl sha256:78ab: other files are told apart "
        "by data.name, which must then be named in the rule"
    )


def test_a_key_that_no_run_was_logged_with_is_refused(planted, made) -> None:
    planted.study({made.after: 0.83}, seeds=[0, 1])
    with pytest.raises(ConfigError) as refusal:
        read(planted.store, "fix", made.about(*made.variants("model.lora.r", "8", "16")))
    assert str(refusal.value) == "rule.after.also: model.lora.r: no run of study fix was logged with such a parameter"


def test_a_variant_that_lost_a_run_is_named_with_what_tells_it_apart(planted, made) -> None:
    cosine, cosent = made.variants("optim.loss", "cosine", "cosent")
    rule = made.about(cosine, cosent)
    planted.study({cosine: 0.80, cosent: 0.83}, seeds=[0, 1], rule=rule)
    cfg, baseline = _config(planted, made, rule)
    planted.unfinished(cfg, cosent, 2, baseline, DIVERGED)
    assert (
        read(planted.store, "fix")
        .notes[1]
        .startswith("no result of 5e-05, 12 epochs, optim.loss=cosent, seed 2: FAILED, ")
    )


def test_runs_on_other_pairs_are_refused(planted, made) -> None:
    runs = planted.study({made.after: 0.83}, seeds=[0, 1])
    cfg, baseline = _config(planted, made)
    other = planted.run(cfg, made.after, 2, 0.83, baseline, tags={"promax.data.test": "00" * 32})
    with pytest.raises(ConfigError) as refusal:
        read(planted.store, "fix")
    assert str(refusal.value) == (
        f"study fix: {runs[0][:8]} and {other[:8]} have other test pairs; give one of them a study=NAME of its own"
    )


def test_runs_of_two_kinds_of_baseline_are_refused(planted, made) -> None:
    """Made again it is the same one; on other libraries or another device it is not."""
    planted.study({made.after: 0.83}, seeds=[0, 1])
    cfg, baseline = _config(planted, made)
    planted.run(cfg, made.after, 2, 0.83, planted.baseline(cfg, 0.78))
    assert read(planted.store, "fix").baseline.run_id == baseline
    other = planted.baseline(cfg, 0.78)
    Run(planted.store, other).set_tags({BASELINE_KEY: "cd"})
    planted.run(cfg, made.after, 3, 0.83, other)
    with pytest.raises(ConfigError) as refusal:
        read(planted.store, "fix")
    assert str(refusal.value) == (
        f"study fix: its runs are measured against two baselines, {baseline[:8]} and {other[:8]}, of other\n"
        "libraries, devices or encoder files; a verdict needs runs of one kind: file others elsewhere"
    )


def test_a_rule_changed_on_the_way_is_said(planted, made) -> None:
    planted.study({made.after: 0.83}, seeds=[0, 1])
    cfg, baseline = _config(planted, made)
    claims = [dataclasses.replace(each, at_least=0.0) for each in made.rule.claims]
    laxer = dataclasses.replace(made.rule, claims=claims)
    planted.run(dataclasses.replace(cfg, rule=laxer), made.after, 2, 0.83, baseline)
    study = read(planted.store, "fix")
    assert study.rule == made.rule
    assert (study.foretold, study.notes) == (
        False,
        [
            "the rule was changed during the study: 2 versions of it were logged with the runs, "
            "and it is judged by the first run's"
        ],
    )


def test_a_rule_chosen_afterwards_is_said(planted, made) -> None:
    planted.study({made.after: 0.83}, seeds=[0, 1])
    laxer = dataclasses.replace(made.rule, confidence=0.6)
    study = read(planted.store, "fix", laxer)
    assert study.rule == laxer
    assert (study.foretold, study.notes) == (
        False,
        ["this rule was chosen after the runs, which were logged with another rule: it explores and does not confirm"],
    )
    # The same rule by its name is no other rule.
    assert read(planted.store, "fix", made.rule).foretold


def test_runs_of_several_commits_and_of_changed_code_are_said(planted, made) -> None:
    planted.study({made.after: 0.83}, seeds=[0, 1])
    cfg, baseline = _config(planted, made)
    changed = {"promax.git_commit": "f" * 40, "promax.git_dirty": "true"}
    planted.run(cfg, made.after, 2, 0.83, baseline, tags=changed)
    assert read(planted.store, "fix").notes == [
        "runs of several commits: 0123456789ab (2), ffffffffffff (1)",
        "1 of 3 runs were made with uncommitted changes, stored with each as git.diff",
    ]


def test_a_study_that_cannot_be_judged_is_refused(planted, made) -> None:
    with pytest.raises(ConfigError, match="study fix: not in the record; studies: none yet"):
        read(planted.store, "fix")
    cfg = Config(study="fix")
    baseline = planted.baseline(cfg, 0.78)
    with pytest.raises(ConfigError) as refusal:
        read(planted.store, "fix")
    assert str(refusal.value) == "study fix: no finished run that was trained; nothing to judge"
    for seed in (0, 1):
        planted.run(cfg, made.after, seed, 0.83, baseline)
    with pytest.raises(ConfigError) as refusal:
        read(planted.store, "fix")
    assert str(refusal.value) == (
        "study fix: its runs were logged without a rule; name one with --rule, like --rule confirm_fix"
    )


def _config(planted, made, rule=None):
    """The config of a study's further runs, and its baseline."""
    (baseline,) = (run for run in runs_of(planted.store, "fix") if BASELINE_KEY in run.tags)
    return Config(study="fix", rule=rule or made.rule), baseline.run_id
