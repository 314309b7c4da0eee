"""Sweeps from the command line: objective, resumption, failure, seeds, record. The runs take milliseconds."""

from __future__ import annotations

import math
import re
import shutil
import statistics
import sys
from collections import Counter
from pathlib import Path

import optuna
import pytest
import yaml
from optuna import pruners, samplers
from optuna.exceptions import StorageInternalError

from hydra_plugins.promax_sweeper._methods import make_pruner, make_sampler
from hydra_plugins.promax_sweeper._options import Options
from promax.process import this_process

# Worker processes, kills and servers: `make fast` leaves these out.
pytestmark = pytest.mark.slow

LR = "optim.lr=tag(log,interval(1e-5,1e-2))"


def states(study: optuna.Study) -> Counter[str]:
    return Counter(trial.state.name for trial in study.trials)


def name(text: str) -> str:
    return f"hydra.sweeper.study_name={text}"


def total(trials: int) -> str:
    return f"hydra.sweeper.n_trials={trials}"


def test_a_sweep_finds_the_best_and_links_every_trial_with_its_run(sweeps) -> None:
    code, out, err = sweeps.run(LR, name("links"), total(5), "hydra.sweeper.pruner=none")
    assert code == 0
    study = sweeps.study("links")
    assert states(study) == {"COMPLETE": 5}
    assert (
        study.best_value
        == max(trial.value for trial in study.trials)
        == -((math.log10(study.best_params["optim.lr"]) + 4) ** 2)
    )
    parent, *children = sweeps.runs()
    assert (parent.name, parent.status, parent.study) == ("sweep links", "FINISHED", "links")
    assert parent.params["space.optim.lr"] == "float 1e-05 to 0.01 log"
    assert (parent.params["sampler"], parent.params["sampler_seed"]) == ("tpe", "0")
    by_run = {trial.user_attrs["runs"][0]: trial for trial in study.trials}
    assert {run.run_id for run in children} == set(by_run)
    for run in children:
        trial = by_run[run.run_id]
        assert (run.status, run.study, run.tags["mlflow.parentRunId"]) == ("FINISHED", "links", parent.run_id)
        assert (run.tags["promax.sweep"], run.tags["promax.trial"]) == ("links", str(trial.number))
        assert float(run.params["optim.lr"]) == trial.params["optim.lr"]
        assert run.metrics["dev/spearman"] == trial.value
    assert f"best: trial {study.best_trial.number}, dev/spearman {study.best_value:.4f}" in out
    assert "trial 4 dev/spearman" in err and "5/5 done, best" in err
    # Before the last has ended, how long the others will take.
    assert re.search(r"[1-4]/5 done, best -?\d\.\d{4} \(trial \d\), \d\d:\d\d left", err)


def test_studies_of_one_name_in_two_storages_have_a_run_each_in_the_record(sweeps) -> None:
    """As two people have who run the same command, each with a storage of their own, against one server."""
    ours, theirs = (f"hydra.sweeper.storage=sqlite:///{sweeps.root / each}.db" for each in ("ours", "theirs"))
    for storage, trials in ((ours, 2), (theirs, 3), (ours, 4)):
        code, _, err = sweeps.run(LR, name("same"), total(trials), storage, "hydra.sweeper.pruner=none")
        assert code == 0, err
    runs = sweeps.runs()
    trials_of = [
        sorted(each.tags["promax.trial"] for each in runs if each.tags.get("mlflow.parentRunId") == parent.run_id)
        for parent in runs
        if parent.name == "sweep same"
    ]
    assert trials_of == [["0", "1", "2", "3"], ["0", "1", "2"]]


def test_the_same_seeds_search_the_same_points_whatever_interrupts(sweeps) -> None:
    sweeps.run(LR, name("whole"), total(4), "hydra.sweeper.pruner=none")
    sweeps.run(LR, name("parts"), total(2), "hydra.sweeper.pruner=none")
    sweeps.run(LR, name("parts"), total(4), "hydra.sweeper.pruner=none")
    sweeps.run(LR, name("other"), total(3), "hydra.sweeper.pruner=none", "hydra.sweeper.seed=100")
    whole, parts, other = ([t.params for t in sweeps.study(each).trials] for each in ("whole", "parts", "other"))
    assert whole == parts
    assert not {each["optim.lr"] for each in whole} & {each["optim.lr"] for each in other}


def test_the_same_command_goes_on_to_its_total_and_then_has_nothing_to_do(sweeps) -> None:
    command = (LR, name("resumed"), "hydra.sweeper.pruner=none")
    sweeps.run(*command, total(2))
    before = [run.run_id for run in sweeps.runs()]
    assert sweeps.run(*command, total(4))[0] == 0
    study = sweeps.study("resumed")
    assert [(trial.number, trial.state.name) for trial in study.trials] == [(n, "COMPLETE") for n in range(4)]
    runs = sweeps.runs()
    assert [run.run_id for run in runs][:3] == before and len(runs) == 5  # the sweep's own run is found again
    assert {run.status for run in runs} == {"FINISHED"}
    code, _, err = sweeps.run(*command, total(4))
    assert code == 0
    assert _told(err) == ["study resumed: 4 of 4 trials are done; nothing is left to run"]
    assert len(sweeps.runs()) == 5


def test_what_drew_a_trial_is_recorded_with_it(sweeps) -> None:
    """A study may be gone on with by another sampler, which its own run, being logged already, can't say."""
    start = "hydra.sweeper.enqueue=[{optim.lr:2e-5}]"
    command = (LR, name("drawn"), "hydra.sweeper.pruner=none", start)
    sweeps.run(*command, total(2))
    assert sweeps.run(*command, total(4), "hydra.sweeper.sampler=random", "hydra.sweeper.seed=70")[0] == 0
    drawn = [trial.user_attrs.get("sampler") for trial in sweeps.study("drawn").trials]
    assert drawn == [None, "tpe, seed 1", "random, seed 72", "random, seed 73"]
    *_, last = sorted((sweeps.root / "mlruns" / "sweeps").glob("*/trials.csv"))
    assert [line.split('"')[1] for line in last.read_text().splitlines()[2:]] == drawn[1:]


def test_a_sweep_that_goes_on_says_from_where(sweeps) -> None:
    command = (LR, name("on"), "hydra.sweeper.pruner=none")
    _, _, err = sweeps.run(*command, total(1))
    assert "trials are done" not in err
    _, _, err = sweeps.run(*command, total(3))
    assert _told(err)[0] == "study on: 1 of 3 trials are done; going on"


def _told(err: str) -> list[str]:
    """What was said of trials."""
    return [line for line in err.splitlines() if "trial" in line]


CHANGES = {
    "space": ((LR.replace("1e-2", "1e-1"),), "space optim.lr was float 1e-05 to 0.01 log, is float 1e-05 to 0.1 log"),
    "key": (
        ("optim.weight_decay=interval(0,0.1)",),
        "space optim.weight_decay was absent, is float 0.0 to 0.1; setting optim.weight_decay was 0.01, is absent",
    ),
    "objective": (
        ("hydra.sweeper.objective=dev/roc_auc",),
        "objective dev/spearman was maximize, is absent; objective dev/roc_auc was absent, is maximize",
    ),
    "direction": (("hydra.sweeper.direction=minimize",), "objective dev/spearman was maximize, is minimize"),
    "seeds": (("hydra.sweeper.seeds=[1,2]",), "objective seeds was absent, is [1, 2]"),
    "setting": (("optim.batch_size=8",), "setting optim.batch_size was 16, is 8"),
}


@pytest.mark.parametrize(
    ("words", "refusal"),
    {
        ("objective=dev/spearmann",): "objective=dev/spearmann: not measured; there are dev/spearman, dev/pearson, ",
        ("objective=dev/mrr",): "objective=dev/mrr: not measured after an epoch, only dev/spearman, dev/pearson, "
        "dev/roc_auc, dev/pr_auc, dev/separability are; set hydra.sweeper.pruner=none",
    }.items(),
)
def test_an_objective_that_no_run_has_is_refused_before_any(sweeps, words: tuple[str, ...], refusal: str) -> None:
    code, _, err = sweeps.run(LR, name("typo"), total(1), *(f"hydra.sweeper.{word}" for word in words))
    assert code == 2
    assert err.splitlines()[-1].startswith(f"promax: hydra.sweeper.{refusal}")
    assert not (sweeps.root / "mlruns" / "optuna.db").exists()


@pytest.mark.parametrize(
    ("sampler", "kind"),
    {
        "tpe": samplers.TPESampler,
        "gp": samplers.GPSampler,
        "random": samplers.RandomSampler,
        "qmc": samplers.QMCSampler,
        "cmaes": samplers.CmaEsSampler,
        "nsgaii": samplers.NSGAIISampler,
    }.items(),
)
def test_a_sampler_is_optunas_of_that_name(sampler: str, kind: type) -> None:
    assert type(make_sampler(Options(sampler=sampler), 0)) is kind


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsgaii"])
def test_a_sampler_comes_near_the_best_of_a_bowl(sampler: str) -> None:
    """Asked as in a sweep, by a new one for each trial: what it knows, it knows from the study.

    By hand: the mean square of a uniform draw's distance from 0.3 is 1/12 + 0.04 in each of two directions. The
    second half of the draws is better than 0.7 of that, where Optuna's own loop comes to 0.1 to 0.6 of it.
    """
    number, small = (160, {"population_size": 8}) if sampler == "nsgaii" else (30, {})
    options = Options(sampler=sampler, sampler_options=small)
    space = {key: optuna.distributions.FloatDistribution(0, 1) for key in ("x", "y")}
    study = optuna.create_study(direction="maximize")
    squares = []
    for each in range(number):
        study.sampler = make_sampler(options, each)
        trial = study.ask(space)
        squares.append(sum((trial.params[key] - 0.3) ** 2 for key in space))
        study.tell(trial, -squares[-1])
    assert statistics.fmean(squares[number // 2 :]) < 0.7 * 2 * (1 / 12 + 0.04)


@pytest.mark.parametrize(
    ("pruner", "kind"),
    {
        "median": pruners.MedianPruner,
        "percentile": pruners.PercentilePruner,
        "asha": pruners.SuccessiveHalvingPruner,
        "hyperband": pruners.HyperbandPruner,
        "patient": pruners.PatientPruner,
        "wilcoxon": pruners.WilcoxonPruner,
        "none": pruners.NopPruner,
    }.items(),
)
def test_a_pruner_is_optunas_of_that_name(pruner: str, kind: type) -> None:
    assert type(make_pruner(Options(pruner=pruner, seeds=[0, 1, 2]))) is kind


# The curve of one that falls behind after each epoch, and of those before it.
BEHIND = [0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.04, 0.03]
AHEAD = [0.6, 0.65, 0.7, 0.72, 0.74, 0.75, 0.75, 0.75]


@pytest.mark.parametrize(("pruner", "seen"), {"median": 1, "percentile": 1, "asha": 1, "patient": 4, "none": 8}.items())
def test_a_pruner_ends_a_trial_that_falls_behind(pruner: str, seen: int) -> None:
    """After how many epochs: patience is two more; hyperband's brackets are too many for so few trials."""
    study = optuna.create_study(direction="maximize", pruner=make_pruner(Options(pruner=pruner)))
    for _ in range(8):
        good = study.ask()
        for epoch, value in enumerate(AHEAD, 1):
            good.report(value, epoch)
            good.should_prune()  # asked of each, as in a sweep: asha notes there who has come how far
        study.tell(good, AHEAD[-1])
    trial = study.ask()
    for epoch, value in enumerate(BEHIND, 1):
        trial.report(value, epoch)
        if trial.should_prune():
            break
    assert epoch == seen


def test_hyperband_ends_trials_that_fall_behind_in_all_its_brackets_but_the_last() -> None:
    """Li et al. 2018: of 8 epochs, halved, brackets begin to judge after 1, 2, 4 and 8; the last ends none early."""
    options = Options(pruner="hyperband", pruner_options={"min_resource": 1, "max_resource": 8, "reduction_factor": 2})
    study = optuna.create_study(study_name="bands", direction="maximize", pruner=make_pruner(options))
    seen = Counter[tuple[bool, int]]()
    for number in range(80):
        good = number < 40
        trial = study.ask()
        for epoch, value in enumerate(AHEAD if good else BEHIND, 1):
            trial.report(value, epoch)
            if trial.should_prune():
                break
        study.tell(trial, value)
        seen[good, epoch] += 1
    assert {epoch for good, epoch in seen if good} == {8}
    assert {epoch for good, epoch in seen if not good} == {1, 2, 4, 8}


def test_a_command_with_its_total_does_not_wait_for_anothers_larger_one(sweeps) -> None:
    """The other's trial runs in this very process, so that it never looks dead."""
    words = (LR, name("shared"), "hydra.sweeper.pruner=none")
    assert sweeps.run(*words, total(2))[0] == 0
    running = sweeps.study("shared").ask({"optim.lr": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)})
    running.set_user_attr("worker", this_process())
    code, _, err = sweeps.run(*words, total(2))
    assert (code, "waiting for" in err) == (0, False), err
    assert states(sweeps.study("shared")) == {"COMPLETE": 2, "RUNNING": 1}


def test_another_search_under_the_same_name_is_refused_with_what_changed(sweeps) -> None:
    command = (LR, name("mine"), total(1), "hydra.sweeper.pruner=none")
    sweeps.run(*command)
    for case, (words, what) in CHANGES.items():
        code, _, err = sweeps.run(*command, *words)
        assert (case, code) == (case, 2)
        assert err == (
            f"promax: study mine: is another one in the storage: {what}\n"
            "use another hydra.sweeper.study_name, or hydra.sweeper.fork=true to start from its best settings\n"
        )
    assert states(sweeps.study("mine")) == {"COMPLETE": 1}
    # What says where, not what, may differ: another machine has another folder and device.
    assert sweeps.run(*command, "device=cpu", "hydra.sweeper.workers=1")[0] == 0


def test_other_pairs_are_refused_and_the_same_pairs_elsewhere_are_not(sweeps) -> None:
    command = (LR, name("pairs"), total(1), "hydra.sweeper.pruner=none")
    sweeps.run(*command)
    copy = sweeps.root / "copy.jsonl"
    copy.write_bytes((sweeps.root / "dev.jsonl").read_bytes())
    assert sweeps.run(*command, f"data.dev={copy}")[0] == 0
    lines = copy.read_text().splitlines(keepends=True)
    copy.write_text("".join([*lines[2:], *lines[:2]]))
    code, _, err = sweeps.run(*command, f"data.dev={copy}")
    assert code == 2
    assert err.startswith("promax: study pairs: is another one in the storage: data dev was ")


def test_the_pairs_of_every_value_that_is_searched_are_the_studys(sweeps) -> None:
    """In any order; and none of them may change, not the second's either."""
    for each in "ab":
        (sweeps.root / f"{each}.jsonl").write_bytes((sweeps.root / "train.jsonl").read_bytes())
    with (sweeps.root / "b.jsonl").open("a") as file:
        file.write((sweeps.root / "dev.jsonl").read_text().splitlines(keepends=True)[0])
    grid = (name("over"), "hydra.sweeper.sampler=grid", "hydra.sweeper.pruner=none", "data.on_leak=drop")
    a, b = sweeps.root / "a.jsonl", sweeps.root / "b.jsonl"
    assert sweeps.run(f"data.train={a},{b}", *grid)[0] == 0
    code, _, err = sweeps.run(f"data.train={b},{a}", *grid)
    assert (code, "2 of 2 trials are done; nothing is left to run" in err) == (0, True), err
    b.write_text("".join(b.read_text().splitlines(keepends=True)[1:]))
    code, _, err = sweeps.run(f"data.train={a},{b}", *grid)
    assert code == 2
    assert err.startswith("promax: study over: is another one in the storage: data train was ")


@pytest.mark.parametrize("sampler", ["cmaes", "qmc"])
def test_trials_that_begin_together_do_not_draw_the_same(sampler: str) -> None:
    """Each worker makes a sampler of its own, and nothing has ended from which it could tell."""
    options = Options(sampler=sampler, objective=["dev/x"], direction=["maximize"])
    study = optuna.create_study()
    space = {"x": optuna.distributions.FloatDistribution(0, 1), "y": optuna.distributions.FloatDistribution(0, 1)}
    drawn = set()
    for number in range(4):
        study.sampler = make_sampler(options, number)
        drawn.add(study.ask(space).params["x"])
    assert len(drawn) == 4


def test_nothing_as_a_value_of_a_file_is_nothing(sweeps) -> None:
    words = (LR, name("null"), total(1), "hydra.sweeper.pruner=none", "++hydra.sweeper.params={data.train_limit:null}")
    code, _, err = sweeps.run(*words)
    assert code == 0, err


def test_a_fork_starts_from_the_best_settings_and_is_gone_on_with(sweeps) -> None:
    sweeps.run(LR, name("old"), total(3), "hydra.sweeper.pruner=none")
    wider = (LR.replace("1e-2", "1e-1"), name("old"), "hydra.sweeper.pruner=none", "hydra.sweeper.fork=true")
    assert sweeps.run(*wider, total(3))[0] == 0
    assert sweeps.run(*wider, total(4))[0] == 0
    old, new = sweeps.study("old"), sweeps.study("old-2")
    ranked = sorted(old.trials, key=lambda trial: -trial.value)
    assert [trial.params for trial in new.trials[:3]] == [trial.params for trial in ranked]
    assert (len(old.trials), len(new.trials)) == (3, 4)
    assert {run.study for run in sweeps.runs() if run.tags.get("promax.sweep") == "old-2"} == {"old-2"}


def test_starting_points_come_first_and_once(sweeps) -> None:
    first = "hydra.sweeper.enqueue=[{optim.lr:2e-5},{optim.lr:5e-5}]"
    sweeps.run(LR, name("starts"), total(3), first)
    sweeps.run(LR, name("starts"), total(4), first)
    assert [trial.params["optim.lr"] for trial in sweeps.study("starts").trials][:2] == [2e-5, 5e-5]
    assert len({trial.params["optim.lr"] for trial in sweeps.study("starts").trials}) == 4


def test_a_finished_setting_is_taken_over_and_not_run_again(sweeps) -> None:
    sweeps.run("optim.lr=1e-4,1e-3", name("twins"), total(6), "hydra.sweeper.pruner=none")
    study = sweeps.study("twins")
    assert states(study) == {"COMPLETE": 6}
    assert len([run for run in sweeps.runs() if run.name == "trivial"]) == 2
    for trial in study.trials:
        if "same_as" in trial.user_attrs:
            twin = study.trials[trial.user_attrs["same_as"]]
            assert (trial.value, trial.params) == (twin.value, twin.params)


def test_a_grid_takes_every_setting_once_in_order(sweeps) -> None:
    code, *_ = sweeps.run("optim.lr=1e-5,1e-4", "seed=range(3)", name("grid"), "hydra.sweeper.sampler=grid")
    assert code == 0
    params = [(trial.params["optim.lr"], trial.params["seed"]) for trial in sweeps.study("grid").trials]
    assert params == [(lr, seed) for lr in ("1e-05", "0.0001") for seed in range(3)]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "qmc", "cmaes", "nsgaii"])
def test_every_sampler_searches(sweeps, sampler: str) -> None:
    words = (LR, "optim.weight_decay=interval(0,0.1)", name(sampler), total(3), "hydra.sweeper.pruner=none")
    assert sweeps.run(*words, f"hydra.sweeper.sampler={sampler}")[0] == 0
    assert states(sweeps.study(sampler)) == {"COMPLETE": 3}


def test_several_objectives_give_a_front(sweeps) -> None:
    sweeps.with_figures()
    both = ("hydra.sweeper.objective=[dev/spearman,dev/roc_auc]", "hydra.sweeper.sampler=nsgaii")
    code, *_ = sweeps.run(LR, name("two"), total(3), *both, "hydra.sweeper.pruner=none")
    assert code == 0
    study = sweeps.study("two")
    # The trivial run's second metric is the first's negative, so that no trial dominates another.
    assert all(trial.values[0] == -trial.values[1] for trial in study.trials)
    assert len(study.best_trials) == 3
    assert list((sweeps.root / "mlruns" / "sweeps").glob("*/figures/pareto.png"))


def test_failed_trials_are_recorded_with_their_reason_and_the_sweep_goes_on(sweeps) -> None:
    words = (LR, name("failing"), total(8), "hydra.sweeper.pruner=none", "hydra.sweeper.max_failure_rate=0.25")
    code, out, err = sweeps.run(*words, TRIVIAL_FAIL="2", TRIVIAL_NAN="4")
    assert code == 0
    study = sweeps.study("failing")
    assert states(study) == {"COMPLETE": 6, "FAIL": 2}
    assert study.trials[4].user_attrs["reason"] == "the objective is nan"
    assert study.trials[2].user_attrs["reason"].startswith("ValueError at ")
    assert "a text that must not be recorded" not in out + err
    failed = [run for run in sweeps.runs() if run.status == "FAILED"]
    assert {run.tags["promax.trial"]: run.tags["promax.reason"].partition(" at ")[0] for run in failed} == {
        "2": "ValueError",
        "4": "the objective is nan",
    }
    assert "study failing: 8 trials: 6 complete, 0 pruned, 2 failed" in out


def test_a_trial_that_runs_out_of_memory_fails_and_the_sweep_goes_on(sweeps) -> None:
    words = (LR, name("memory"), total(6), "hydra.sweeper.pruner=none", "hydra.sweeper.max_failure_rate=0.5")
    code, out, _ = sweeps.run(*words, TRIVIAL_MEMORY="1,2")
    assert code == 0
    study = sweeps.study("memory")
    assert [trial.number for trial in study.trials if trial.state.name == "FAIL"] == [1, 2]
    assert study.trials[1].user_attrs["reason"].startswith("MemoryError at ")
    assert study.trials[2].user_attrs["reason"].startswith("OutOfMemoryError at ")
    assert "study memory: 6 trials: 4 complete, 0 pruned, 2 failed" in out
    reasons = {run.tags["promax.trial"]: run.tags["promax.reason"] for run in sweeps.runs() if run.status == "FAILED"}
    assert {number: reason.partition(" ")[0] for number, reason in reasons.items()} == {
        "1": "MemoryError",
        "2": "OutOfMemoryError",
    }


def test_trials_that_all_score_the_same_choose_nothing(sweeps) -> None:
    code, out, _ = sweeps.run(LR, name("tie"), total(3), "hydra.sweeper.pruner=none", TRIVIAL_VALUE="0.5")
    assert code == 0
    first = sweeps.study("tie").trials[0].params["optim.lr"]
    assert (
        "all 3 trials scored the same, dev/spearman 0.5000: nothing can be chosen by it; "
        f"best.yaml holds the earliest, trial 0: optim.lr={first!r} study=tie"
        in out
        or f"best.yaml holds the earliest, trial 0: optim.lr={first!r}\n" in out
    )
    assert "best: trial" not in out and "importance" not in out and "warning" not in out
    (file,) = (sweeps.root / "mlruns" / "sweeps").glob("*/best.yaml")
    assert "# All 3 trials scored the same; this is the earliest of them.\n" in file.read_text()
    assert not [key for key in sweeps.runs()[0].metrics if key.startswith("importance/")]


def test_too_many_failures_end_the_sweep(sweeps) -> None:
    words = (LR, name("lost"), total(8), "hydra.sweeper.pruner=none", "hydra.sweeper.max_failure_rate=0.25")
    code, _, err = sweeps.run(*words, TRIVIAL_NAN="0,1,2,3")
    assert code == 3
    assert states(sweeps.study("lost")) == {"FAIL": 3}  # the third is more than a quarter of eight
    assert err.splitlines()[-1] == (
        "promax: study lost: 3 of 8 trials failed, more than hydra.sweeper.max_failure_rate=0.25 allows; "
        "the latest: the objective is nan"
    )
    (parent,) = [run for run in sweeps.runs() if run.name == "sweep lost"]
    assert parent.status == "FAILED"


def test_a_pruned_trials_run_says_so_and_keeps_its_curve(sweeps) -> None:
    words = ("optim.lr=0.01,0.0001", name("pruned"), "hydra.sweeper.sampler=grid", "optim.epochs=4")
    starts = "hydra.sweeper.enqueue=[{optim.lr:1e-4},{optim.lr:0.01}]"
    code, *_ = sweeps.run(*words, starts, "hydra.sweeper.pruner_options={n_startup_trials:1}")
    assert code == 0
    good, bad = sweeps.study("pruned").trials
    assert (good.state.name, bad.state.name) == ("COMPLETE", "PRUNED")
    # By hand: at 0.01 the objective is -4, and after epoch e the trivial run reports -4 (1 + 1/e); at 1e-4, 0.
    assert bad.intermediate_values == {1: -8.0}
    (run,) = [run for run in sweeps.runs() if run.tags.get("promax.trial") == "1"]
    assert (run.status, run.tags["promax.reason"]) == ("KILLED", "pruned after epoch 1: dev/spearman -8.0000 (median)")
    assert run.metrics == {"dev/spearman": -8.0}


@pytest.mark.parametrize("pruner", ["median", "percentile", "asha", "hyperband", "patient", "none"])
def test_every_pruner_judges_the_metric_after_an_epoch(sweeps, pruner: str) -> None:
    words = (LR, name(pruner), total(3), "optim.epochs=3", f"hydra.sweeper.pruner={pruner}")
    assert sweeps.run(*words)[0] == 0
    for trial in sweeps.study(pruner).trials:
        assert set(trial.intermediate_values) <= {1, 2, 3} and 1 in trial.intermediate_values
        if trial.state.name == "COMPLETE":
            assert set(trial.intermediate_values) == {1, 2, 3}


def test_a_trial_of_several_seeds_is_their_mean_with_its_spread(sweeps) -> None:
    sweeps.run("optim.lr=1e-4,1e-3", name("seeds"), "hydra.sweeper.sampler=grid", "hydra.sweeper.seeds=[1,2,6]")
    first = sweeps.study("seeds").trials[0]
    # By hand: the trivial run adds 0.001 a seed to 0: mean of 0.001, 0.002, 0.006 and their standard deviation.
    assert first.value == pytest.approx(0.003, abs=1e-12)
    assert first.user_attrs["spread"] == [pytest.approx(math.sqrt(7e-6), abs=1e-12)]
    runs = [run for run in sweeps.runs() if run.tags.get("promax.trial") == "0"]
    assert [run.params["seed"] for run in runs] == ["1", "2", "6"]
    assert first.user_attrs["runs"] == [run.run_id for run in runs]


def test_wilcoxon_ends_a_hopeless_trial_after_its_first_seeds(sweeps) -> None:
    starts = "hydra.sweeper.enqueue=[{optim.lr:1e-4},{optim.lr:0.01}]"
    words = ("optim.lr=0.01,0.0001", "hydra.sweeper.sampler=grid", "hydra.sweeper.seeds=[0,1,2,3,4,5]", starts)
    sweeps.run(*words, name("hopeless"), "hydra.sweeper.pruner=wilcoxon")
    good, bad = sweeps.study("hopeless").trials
    assert (good.state.name, bad.state.name) == ("COMPLETE", "PRUNED")
    # Each seed is worse: the one-sided p after n of them is 2^-n, below Optuna's 0.1 at the fourth.
    assert len(bad.user_attrs["runs"]) == 4
    assert len(good.user_attrs["runs"]) == 6
    # All of them are trained to their end; the last says why there is no other.
    runs = {run.run_id: run for run in sweeps.runs()}
    reasons = [runs[run_id].tags.get("promax.reason") for run_id in (*good.user_attrs["runs"], *bad.user_attrs["runs"])]
    assert reasons == [None] * 9 + ["pruned after 4 of 6 seeds (wilcoxon)"]
    assert {runs[run_id].status for run_id in bad.user_attrs["runs"]} == {"FINISHED"}
    assert "dev/spearman" in runs[bad.user_attrs["runs"][-1]].metrics


def test_the_record_of_a_study(sweeps) -> None:
    sweeps.with_figures()
    words = (LR, "optim.epochs=range(1,4)", name("record"), total(4), "hydra.sweeper.pruner=none")
    assert sweeps.run(*words)[0] == 0
    (folder,) = (sweeps.root / "mlruns" / "sweeps").iterdir()
    figures = {"history.png", "importances.png", "slice.png", "contour.png", "curves.png"}
    assert {path.name for path in (folder / "figures").iterdir()} == figures
    page = (folder / "study.html").read_text()
    assert all(f'id="{figure.removesuffix(".png")}"' in page for figure in figures)
    assert not [tag for tag in re.findall(r"<script[^>]*>", page) if "src=" in tag]
    parent = sweeps.runs()[0]
    study = sweeps.study("record")
    assert parent.metrics["best/dev/spearman"] == study.best_value
    assert parent.metrics["trials/complete"] == 4
    assert sum(value for key, value in parent.metrics.items() if key.startswith("importance/")) == pytest.approx(1)
    assert parent.tags["promax.best_run"] == study.best_trial.user_attrs["runs"][0]
    note = parent.tags["mlflow.note.content"]
    assert note.startswith("A sweep of 4 trials, chosen among on dev: 4 complete, 0 pruned, 0 failed\n\n- best: trial ")
    assert f"/runs/{parent.tags['promax.best_run']}?" in note
    top = Path(parent.artifact_uri.removeprefix("file://"))
    logged = {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}
    assert logged == {"best.yaml", "study.html", "trials.csv", *(f"figures/{name}" for name in figures)}
    rows = (folder / "trials.csv").read_text().splitlines()
    assert len(rows) == 5 and rows[0].startswith("trial,state,optim.lr,optim.epochs,dev/spearman,")


def test_best_yaml_trains_the_best_settings(sweeps) -> None:
    """A basic multirun of one, given to the trivial run as any other override would be."""
    sweeps.run(LR, name("best"), total(2), "hydra.sweeper.pruner=none")
    (file,) = (sweeps.root / "mlruns" / "sweeps").glob("*/best.yaml")
    study = sweeps.study("best")
    words = yaml.safe_load(file.read_text())
    assert f"optim.lr={study.best_params['optim.lr']!r}" in words and "study=best" in words
    # Under another name the sweep of nothing else takes the file's settings as what is fixed.
    assert sweeps.run(f"@{file}", "seed=0,1", name("again"), "hydra.sweeper.sampler=grid")[0] == 0
    again = [run for run in sweeps.runs() if run.study == "again" and run.name == "trivial"]
    assert [run.params["optim.lr"] for run in again] == [repr(study.best_params["optim.lr"])] * 2


def test_best_yaml_of_a_config_that_sweeps_trains_once(sweeps) -> None:
    """experiment=lr_epochs brings its own search and its own mode; the file, which names it, is one of its settings."""
    files = [f"data.{side}={sweeps.root / side}.jsonl" for side in ("train", "dev", "test")]
    words = ("experiment=lr_epochs", "data=pairs", *files, name("surface"), total(3), "hydra.sweeper.pruner=none")
    assert sweeps.promax("train", *words)[0] == 0
    (file,) = (sweeps.root / "mlruns" / "sweeps").glob("*/best.yaml")
    best = sweeps.study("surface").best_params
    before = {run.run_id for run in sweeps.runs()}
    code, out, err = sweeps.promax("train", f"@{file}")
    assert code == 0, out + err
    (run,) = [run for run in sweeps.runs() if run.run_id not in before]
    assert (run.params["optim.lr"], run.params["optim.epochs"]) == (repr(best["optim.lr"]), str(best["optim.epochs"]))
    assert len(sweeps.study("surface").trials) == 3


def test_best_yaml_means_the_same_files_from_another_folder(sweeps) -> None:
    """Typed relative to where the sweep was started; a folder with a quote and a space in its name."""
    odd = sweeps.root / "ann's pairs"
    odd.mkdir()
    sides = ("train", "dev", "test", "transfer")
    for side, of in zip(sides, (*sides[:3], "test"), strict=True):
        (odd / f"{side}.jsonl").write_bytes((sweeps.root / f"{of}.jsonl").read_bytes())
    sweeps.patch.chdir(odd)
    relative = [f"data.{side}={side}.jsonl" for side in sides]
    assert sweeps.run(LR, *relative, name("there"), total(1), "hydra.sweeper.pruner=none")[0] == 0
    (file,) = (sweeps.root / "mlruns" / "sweeps").glob("*/best.yaml")
    (logged,) = (sweeps.root / "mlruns" / "artifacts").rglob("best.yaml")
    assert str(odd) not in logged.read_text()
    assert "data.train=train.jsonl" in yaml.safe_load(logged.read_text())
    sweeps.patch.chdir("/")
    again = (f"@{file}", "seed=5,6", name("elsewhere"), "hydra.sweeper.sampler=grid", total(1))
    code, _, err = sweeps.run(*again)
    assert code == 0, err
    (run,) = [run for run in sweeps.runs() if run.study == "elsewhere" and run.name == "trivial"]
    assert [run.params[f"data.{side}"] for side in sides] == [str(odd / f"{side}.jsonl") for side in sides]


def test_a_file_that_holds_no_overrides_is_refused(sweeps) -> None:
    (sweeps.root / "mapping.yaml").write_text("optim.lr: 1e-4\n")
    for word, what in {
        "@missing.yaml": "can't be read: No such file or directory",
        "@mapping.yaml": "must be a YAML list of overrides, a line each, like - optim.lr=1e-4",
    }.items():
        code, _, err = sweeps.run(word)
        assert (code, err) == (2, f"promax: {word}: {what}\n")


def test_the_best_at_an_end_of_its_range_is_warned_of(sweeps) -> None:
    low = "hydra.sweeper.enqueue=[{optim.lr:1e-5},{optim.lr:3e-5}]"
    inside = "hydra.sweeper.enqueue=[{optim.lr:1e-4},{optim.lr:3e-4}]"
    _, out, _ = sweeps.run("optim.lr=tag(log,interval(1e-6,3e-5))", name("end"), total(2), low)
    assert "warning: optim.lr=3e-05 is at the upper end of 1e-06 to 3e-05; widen it, the best may lie beyond" in out
    high = "hydra.sweeper.enqueue=[{optim.lr:2e-4},{optim.lr:3e-3}]"
    _, out, _ = sweeps.run("optim.lr=tag(log,interval(2e-4,1e-2))", name("low"), total(2), high)
    assert "warning: optim.lr=0.0002 is at the lower end of 0.0002 to 0.01; widen it, the best may lie beyond" in out
    # Whole numbers are at an end or not.
    few, more = (
        f"hydra.sweeper.enqueue=[{{optim.epochs:{n},optim.lr:1e-4}},{{optim.epochs:3,optim.lr:1e-3}}]" for n in (2, 3)
    )
    space = ("optim.epochs=range(2,6)", "optim.lr=tag(log,interval(1e-6,1e-2))")
    _, out, _ = sweeps.run(*space, name("few"), total(2), few)
    assert "warning: optim.epochs=2 is at the lower end of 2 to 5; widen it, the best may lie beyond" in out
    _, out, _ = sweeps.run(*space, name("more"), total(2), more)
    assert "warning" not in out
    _, out, _ = sweeps.run("optim.lr=tag(log,interval(1e-6,1e-2))", name("inside"), total(2), inside)
    assert "warning" not in out
    # No seed is better than the others, so there is nothing beyond the last.
    _, out, _ = sweeps.run("seed=range(0,2)", name("seeds"), "hydra.sweeper.sampler=grid")
    assert "best: trial" in out
    assert "warning" not in out


def test_a_config_file_that_is_edited_meanwhile_changes_no_later_trial(sweeps) -> None:
    conf = sweeps.root / "conf"
    source = conf.resolve()
    conf.unlink()
    shutil.copytree(source, conf)
    edited = conf / "model" / "minilm_lora.yaml"
    run = sys.modules["promax.cli.train"]._train_one

    def editing(composed: object) -> object:
        edited.write_text(edited.read_text().replace("dropout: 0.1", "dropout: 0.3"))
        return run(composed)

    sweeps.patch.setattr(sys.modules["promax.cli.train"], "_train_one", editing)
    assert sweeps.run("optim.lr=tag(log,interval(1e-6,1e-2))", name("edited"), total(2))[0] == 0
    assert "dropout: 0.3" in edited.read_text()
    trials = [run for run in sweeps.runs() if "promax.trial" in run.tags]
    assert [run.params["model.lora.dropout"] for run in trials] == ["0.1", "0.1"]


REFUSED = {
    "objective=test/spearman": "objective=test/spearman: must be a dev metric, like dev/spearman; "
    "test is never optimised",
    "n_trials=0": "n_trials=0: must be at least 1, or null",
    "sampler=best": "sampler=best: must be 'tpe', 'gp', 'random', 'qmc', 'grid', 'cmaes' or 'nsgaii'",
    "pruner=soon": "pruner=soon: must be 'median', 'percentile', 'asha', 'hyperband', 'patient', 'wilcoxon' or 'none'",
    "storage=mysql://u:secret@h/d": "storage=mysql://***@h/d: must be one of null (mlruns/optuna.db), "
    "sqlite:////folder/file.db, postgresql://user@host/database",
    "storage=sqlite:///here.db": "storage=sqlite:///here.db: must be an absolute path, like sqlite:////f/file.db",
    "workers=2": "workers=2: the basic launcher has one process; add hydra/launcher=joblib"
    " (pip install hydra-joblib-launcher) or hydra/launcher=submitit_slurm (hydra-submitit-launcher)",
    "pruner=wilcoxon": "pruner=wilcoxon: compares a trial's seeds with the best trial's; hydra.sweeper.seeds=[]"
    " must hold several, like [0,1,2,3,4,5]",
    "seeds=[1,1]": "seeds=[1, 1]: each seed once",
    "direction=null": "direction=null: must be a list, like [1,5,10]",
    "objective=[dev/spearman,dev/roc_auc]": "pruner=median: with several objectives no trial can be pruned; use none",
    "sampler_options={seed:3}": "sampler_options.seed: set hydra.sweeper.seed instead",
    "enqueue=[{optim.lr:1}]": "enqueue: optim.lr=1 is not in the search space",
}


def test_a_wrong_request_is_refused_before_there_is_a_study(sweeps) -> None:
    for word, what in REFUSED.items():
        code, _, err = sweeps.run(LR, name("refused"), f"hydra.sweeper.{word}")
        assert (code, err) == (2, f"promax: hydra.sweeper.{what}\n")
    for words, what in {
        (): "nothing to search: give a range, like 'optim.lr=tag(log,interval(1e-6,1e-3))'",
        ("optim.lr=interval(0.5,2)",): "optim.lr=2.0: must be at most 1.0",
        ("optim.loss=cosine,cosin",): "optim.loss=cosin: must be 'cosine', 'cosent', 'angle', 'contrastive', "
        "'online_contrastive' or 'mnrl'",
        ("optim.loss=cosine,angle", "hydra.sweeper.sampler=cmaes"): "hydra.sweeper.sampler=cmaes: can't search choices "
        "(optim.loss); use tpe, gp, random, nsgaii or grid",
    }.items():
        code, _, err = sweeps.run(*words, name("refused"))
        assert (code, err) == (2, f"promax: {what}\n")
    assert sweeps.runs() == []
    assert optuna.get_all_study_names(sweeps.storage) == []


def test_what_fails_after_composing_is_not_told_as_a_wrong_override(sweeps) -> None:
    """Neither the command's words, a password among them, nor what a library says of them."""

    def away(*_: object) -> None:
        raise StorageInternalError("postgresql://ann:secret@db/x is away, said of 'printer on fire'")

    sweeps.patch.setattr("hydra_plugins.promax_sweeper._study.Study.enqueue", away)
    tracking = "tracking.uri=postgresql://ann:secret@127.0.0.1:9/x"
    code, _, err = sweeps.run(LR, name("away"), total(1), tracking)
    assert (code, "secret" in err, "printer" in err, "composed" in err) == (3, False, False, False)
    assert re.fullmatch(r"promax: failed with StorageInternalError at test_sweep\.py:\d+; .*", err.splitlines()[-1])


def test_a_sweeps_folder_that_is_a_file_is_refused_by_its_key(sweeps) -> None:
    taken = sweeps.root / "train.jsonl"
    code, _, err = sweeps.run(LR, name("taken"), total(1), f"hydra.sweep.dir={taken}")
    assert (code, err.splitlines()[-1]) == (2, f"promax: hydra.sweep.dir={taken}: can't be made a folder: File exists")
