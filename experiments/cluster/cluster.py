"""A study on Slurm, one of whose jobs is cancelled in the middle; then every trial is accounted for.

    sudo python experiments/cluster/cluster.py

Needs root, Debian's `slurm-wlm` and `munge`, and promax's extra `dev`. Nothing is left running or changed outside a
scratch folder but record.json beside this file. Exit code 0: every trial is accounted for.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table
from servers import POSTGRES, mlflow_server, output, postgresql, slurm, with_

from promax.tracking import open_store
from promax.tracking.query import RunInfo, run_info, search

STUDY, TRIALS, WORKERS = "cluster", 12, 2
# Real training, small: 60 pairs and at most five epochs of MiniLM with LoRA.
WORDS = [
    *("hydra/sweeper=promax_optuna", "hydra/launcher=submitit_slurm", f"hydra.sweeper.workers={WORKERS}"),
    *(f"hydra.sweeper.study_name={STUDY}", f"hydra.sweeper.n_trials={TRIALS}", "hydra.sweeper.heartbeat=5"),
    *("hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=30"),
    "hydra.launcher.setup=['export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK']",
    *("data.tickets.count=800", "data.tickets.train_pairs=60", "data.tickets.dev_pairs=60"),
    *("data.tickets.test_pairs=60", "model.max_seq_length=32", "eval.bootstrap=100", "save=none", "device=cpu"),
    *("optim.lr=tag(log,interval(1e-5,1e-3))", "optim.epochs=range(2,6)"),
]
# How the run of a trial is to have ended. A pruned run is closed as KILLED, and so is a cancelled one.
RUN_OF = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "KILLED"}
RECORD = Path(__file__).with_name("record.json")


def main() -> None:
    # SIGTERM too is to stop what was started.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="promax-cluster-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)
        with (
            slurm(scratch / "slurm") as cluster,
            postgresql(scratch / "postgresql", ("trials", "runs")) as (port, password),
            mlflow_server(scratch / "artifacts", _uri(port, "runs", "+psycopg"), password) as tracker,
        ):
            # The password is found through PGPASSFILE here, in this process too, and in Slurm's jobs.
            os.environ.update(password)
            began = time.time()
            words = [f"hydra.sweeper.storage={_uri(port, 'trials')}", f"tracking.uri={tracker}"]
            with sweep([*WORDS, *words], {**cluster, **password}) as process:
                cancelled = cancel_one(_uri(port, "trials", "+psycopg"), process, cluster)
                code = process.wait()
            seconds = round(time.time() - began)
            trials = optuna.load_study(study_name=STUDY, storage=_uri(port, "trials", "+psycopg")).trials
            store = open_store(tracker)
            runs = [run_info(store, run) for run in reversed(search(store, ""))]
        rows = [row(trial, runs) for trial in trials]
        checks = {"the command ends with exit code 0": code == 0, **account(trials, runs, cancelled["trial"])}
        show(rows, checks)
        record = {**about(cluster), "seconds": seconds, "cancelled": cancelled, "checks": checks, "trials": rows}
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.exit(not all(checks.values()))


@contextmanager
def sweep(words: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`promax train -m`, which is given Ctrl-C where this process ends before it."""
    command = [sys.executable, "-m", "promax.cli", "train", "-m", *words]
    process = subprocess.Popen(command, env=with_(dict(environment)), start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait()


def cancel_one(storage: str, process: subprocess.Popen[bytes], cluster: dict[str, str]) -> dict[str, Any]:
    """Once every worker has ended a trial, cancel the job of one that has seen an epoch of its next; say which."""
    while process.poll() is None:
        time.sleep(0.2)
        try:
            trials = optuna.load_study(study_name=STUDY, storage=storage).trials
        except KeyError:
            continue  # not created yet
        ended = {trial.user_attrs["slurm_job"] for trial in trials if trial.state.is_finished()}
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        amid = [each for each in running if 1 <= len(each.intermediate_values) < each.params["optim.epochs"] - 1]
        if len(ended) == WORKERS and amid:
            job = amid[0].user_attrs["slurm_job"]
            subprocess.run(["scancel", job], env=with_(cluster), check=True)
            return {"trial": amid[0].number, "slurm_job": job, "after_epochs": len(amid[0].intermediate_values)}
    raise RuntimeError("the study ended before a job could be cancelled")


def row(trial: FrozenTrial, runs: list[RunInfo]) -> dict[str, Any]:
    own = [run for run in runs if run.tags.get("promax.trial") == str(trial.number)]
    attrs = trial.user_attrs
    return {
        "trial": trial.number,
        "state": trial.state.name,
        "slurm_job": attrs.get("slurm_job"),
        "lr": float(f"{trial.params['optim.lr']:.3g}"),
        "epochs": trial.params["optim.epochs"],
        "dev_spearman": round(trial.value, 4) if trial.value is not None else None,
        "seconds": round(trial.duration.total_seconds(), 1) if trial.duration is not None else None,
        "retry_of": attrs.get("retry_of"),
        "runs": [{"status": run.status, "reason": run.tags.get("promax.reason")} for run in own],
    }


def account(trials: list[FrozenTrial], runs: list[RunInfo], cancelled: int) -> dict[str, bool]:
    """What must hold of the two databases."""
    lost = trials[cancelled]
    again = [trial for trial in trials if trial.user_attrs.get("retry_of") == cancelled]
    of = {trial.number: [run for run in runs if run.tags.get("promax.trial") == str(trial.number)] for trial in trials}
    (parent,) = [run for run in runs if run.tags.get("promax.kind") == "sweep"]
    children = [run for run in runs if run is not parent and run.tags.get("promax.kind") != "baseline"]
    return {
        f"exactly {TRIALS} trials complete or pruned": sum(_counts(trial) for trial in trials) == TRIALS,
        "all others are the cancelled one": [trial.number for trial in trials if not _counts(trial)] == [cancelled],
        "each trial has one run, which names that run": all(
            [run.run_id for run in of[trial.number]] == trial.user_attrs["runs"] and len(of[trial.number]) == 1
            for trial in trials
        ),
        "each run ended as its trial did": all(
            run.status == RUN_OF[trial.state] for trial in trials for run in of[trial.number]
        ),
        "the cancelled run says why": [run.tags["promax.reason"] for run in of[cancelled]] == ["terminated (SIGTERM)"],
        "its setting was run again, once": [trial.params for trial in again] == [lost.params],
        "by another job": all(trial.user_attrs["slurm_job"] != lost.user_attrs["slurm_job"] for trial in again),
        "no run without a trial": sum(map(len, of.values())) == len(children),
        "all runs are the sweep's": {run.tags["mlflow.parentRunId"] for run in children} == {parent.run_id},
        "no run left open": all(run.status != "RUNNING" for run in runs) and parent.status == "FINISHED",
        "every worker took part": len({trial.user_attrs["slurm_job"] for trial in trials}) >= WORKERS,
    }


def _counts(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def about(cluster: dict[str, str]) -> dict[str, Any]:
    """With what, when and how the record was made."""
    packages = ("promax", "hydra-core", "hydra-submitit-launcher", "submitit", "optuna", "mlflow", "psycopg", "torch")
    git = ["git", "-C", str(RECORD.parent)]
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "commit": output([*git, "rev-parse", "HEAD"], {}),
        "uncommitted_changes": bool(output([*git, "status", "--porcelain", "--untracked-files=no"], {})),
        "command": ["promax", "train", "-m", *WORDS, "hydra.sweeper.storage=$STORAGE", "tracking.uri=$TRACKER"],
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, no GPU; one node",
        "versions": {
            "python": platform.python_version(),
            "slurm": output(["sinfo", "--version"], cluster).removeprefix("slurm-wlm "),
            "postgresql": output([str(POSTGRES / "postgres"), "--version"], {}).split()[-1],
            **{name: metadata.version(name) for name in packages},
        },
    }


def show(rows: list[dict[str, Any]], checks: Mapping[str, bool]) -> None:
    table = Table("trial", "state", "job", "lr", "epochs", "dev Spearman", "seconds", "retry of", "run")
    for each in rows:
        ends = ", ".join(f"{run['status']}{': ' + run['reason'] if run['reason'] else ''}" for run in each["runs"])
        cells = [value for key, value in each.items() if key != "runs"]
        table.add_row(*("" if cell is None else str(cell) for cell in cells), ends)
    Console(width=120).print(table)
    for what, holds in checks.items():
        print(f"{'yes' if holds else 'NO '}  {what}")


def _uri(port: int, database: str, driver: str = "") -> str:
    return f"postgresql{driver}://promax@127.0.0.1:{port}/{database}"


if __name__ == "__main__":
    main()
