"""`promax train` with a run of a few milliseconds: everything but the training is real.

    python trivial.py train -m hydra/sweeper=promax_optuna ...
    python trivial.py --kill 20 --seed 0 train -m ...     begins 20 times, killed at a random moment each time

The objective is -(log10(lr) + 4)^2, at most 0 and there at lr=1e-4. Environment, a,b being numbers of trials:
TRIVIAL_FAIL=a,b lets them fail, TRIVIAL_MEMORY=a,b run out of memory, TRIVIAL_NAN=a,b have no value, TRIVIAL_DIE=a,b
kill the process once their run is finished; TRIVIAL_SLEEP=seconds lets each trial take so long, TRIVIAL_VALUE=x makes
each worth x; TRIVIAL_WAIT=a:n lets trial a take until n others have ended.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import time
from typing import Any

import optuna
import psutil
import torch

import promax.cli
import promax.cli.train
from promax.config import Config, build, flatten
from promax.tracking import open_store, start_run
from promax.trial import current

# Where each trial says that its run is open, if anyone asks.
BEGUN: int | None = None


def objective(lr: float) -> float:
    return -((math.log10(lr) + 4) ** 2)


def numbers(variable: str) -> list[str]:
    return os.environ.get(variable, "").split(",")


def run(composed: Any) -> dict[str, float]:
    cfg = build(composed, Config)
    trial = current()
    tags, parent = (trial.tags, trial.parent) if trial is not None else ({}, None)
    number = tags.get("promax.trial", "none")
    with start_run(open_store(cfg.tracking.uri), cfg.study, "trivial", flatten(cfg), tags, parent) as record:
        if trial is not None:
            trial.opened(record.run_id)
        if BEGUN is not None:
            os.write(BEGUN, b".")
        record.set_tags({"threads": os.environ.get("OMP_NUM_THREADS", "unset")})
        time.sleep(float(os.environ.get("TRIVIAL_SLEEP", "0")))
        slow, _, others = os.environ.get("TRIVIAL_WAIT", ":").partition(":")
        if number == slow:
            wait_for_others(trial.trial.study, int(others))  # type: ignore[attr-defined]
        if number in numbers("TRIVIAL_FAIL"):
            raise ValueError("a text that must not be recorded")
        if number in numbers("TRIVIAL_MEMORY"):
            # The processor's and a GPU's.
            raise MemoryError if int(number) % 2 else torch.OutOfMemoryError("CUDA out of memory")
        value = objective(cfg.optim.lr) + 0.001 * cfg.seed
        if "TRIVIAL_VALUE" in os.environ:
            value = float(os.environ["TRIVIAL_VALUE"])
        for epoch in range(1, cfg.optim.epochs + 1):
            metrics = {"dev/spearman": value * (1 + 1 / epoch)}
            record.log_metrics(metrics, step=epoch)
            if trial is not None:
                trial.report(metrics, epoch)
        record.log_metrics({"dev/spearman": value}, step=cfg.optim.epochs + 1)
    if number in numbers("TRIVIAL_DIE"):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"dev/spearman": math.nan if number in numbers("TRIVIAL_NAN") else value, "dev/roc_auc": -value}


def wait_for_others(study: optuna.Study, count: int) -> None:
    until = time.monotonic() + 240
    while sum(each.state.is_finished() for each in study.get_trials(deepcopy=False)) < count:
        assert time.monotonic() < until, "the others do not end"
        time.sleep(0.2)


def begin_and_kill(times: int, seed: int, arguments: list[str]) -> None:
    """Forks, so that the seconds which imports take are spent once."""
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    import hydra_plugins.promax_sweeper._sweep  # noqa: F401

    moments = random.Random(seed)
    first = _seconds_to_the_first_run(arguments)
    ended = 0
    for _ in range(times):
        pid = os.fork()
        if pid == 0:
            promax.cli.main(arguments)
        # Seconds that it computes, not seconds on the clock: how far it gets must not depend on what else runs.
        moment = first * moments.uniform(0.3, 1.8)
        while _computed(pid) < moment:
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        ended += os.WIFEXITED(os.waitpid(pid, 0)[1])
    print(f"ended before they were killed: {ended}")
    promax.cli.main(arguments)


def _seconds_to_the_first_run(arguments: list[str]) -> float:
    """What this processor computes until a run is open, by a beginning that is killed there."""
    global BEGUN
    asked, BEGUN = os.pipe()
    pid = os.fork()
    if pid == 0:
        promax.cli.main(arguments)
    os.close(BEGUN)
    BEGUN = None
    assert os.read(asked, 1), "it ended before it opened a run"
    seconds = _computed(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return seconds


def _computed(pid: int) -> float:
    try:
        process = psutil.Process(pid)
        used = process.cpu_times()
        return math.inf if process.status() == psutil.STATUS_ZOMBIE else float(used.user + used.system)
    except psutil.NoSuchProcess:
        return math.inf


if __name__ == "__main__":
    # By name: `promax.cli.train` is the function that the module `promax.cli` imported from there.
    sys.modules["promax.cli.train"]._train_one = run  # type: ignore[attr-defined]
    arguments = sys.argv[1:]
    if arguments[0] == "--kill":
        begin_and_kill(int(arguments[1]), int(arguments[3]), arguments[4:])
    else:
        promax.cli.main(arguments)
