"""Runs of processes that died are closed; those of living ones are left alone. All processes here are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from promax.process import birth, has_died, this_process
from promax.tracking import RunInfo, Store, get_run, start_run, sweep_dead_runs

TRAINING = """
import time
from promax.tracking import open_store, start_run
with start_run(open_store(), "study", "name", {"optim.lr": 5e-05}, {}) as run:
    run.log_metrics({"dev/spearman": 0.5}, step=1)
    print(run.run_id, flush=True)
    time.sleep(120)
"""


@pytest.fixture
def training(store: Store) -> Iterator[list[tuple[subprocess.Popen[str], str]]]:
    """Three processes with an open run each, and the runs' ids."""
    command = [sys.executable, "-c", TRAINING]
    repository = Path(__file__).resolve().parents[2]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository) for _ in range(3)]
    try:
        yield [(process, process.stdout.readline().strip()) for process in processes if process.stdout]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_signals_end_a_run_and_the_dead_are_swept(
    store: Store, training: list[tuple[subprocess.Popen[str], str]]
) -> None:
    (terminated, first), (interrupted, second), (dead, third) = training
    terminated.send_signal(signal.SIGTERM)
    interrupted.send_signal(signal.SIGINT)
    assert terminated.wait(timeout=30) == 143
    assert interrupted.wait(timeout=30) == -signal.SIGINT
    assert ended(store, first) == ("KILLED", "terminated (SIGTERM)")
    assert ended(store, second) == ("KILLED", "interrupted (Ctrl-C)")

    # Alive, it is left alone; killed outright, it has no chance to close its run.
    assert sweep_dead_runs(store) == []
    dead.kill()
    dead.wait(timeout=30)
    assert get_run(store, third).status == "RUNNING"
    with start_run(store, "study", "next", {}, {}) as run:
        assert ended(store, third) == ("FAILED", "process died")
        assert get_run(store, run.run_id).status == "RUNNING"
    assert sweep_dead_runs(store) == []


def ended(store: Store, run_id: str) -> tuple[str, str]:
    """Status and reason of a run that wrote one metric before it ended."""
    found: RunInfo = get_run(store, run_id)
    assert found.metrics == {"dev/spearman": 0.5}
    assert found.params == {"optim.lr": "5e-05"}
    return found.status, found.tags["promax.reason"]


def test_a_process_is_known_by_its_number_and_its_birth() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    where, _pid, _birth = this_process().split("/")
    owner = f"{where}/{child.pid}/{birth(child.pid)}"
    assert not has_died(this_process())
    assert not has_died(owner)
    # An older process had the same number.
    assert has_died(f"{where}/{child.pid}/{birth(os.getpid())}")
    # As runs recorded it once.
    assert not has_died(f"{where}/{child.pid}")
    child.kill()
    # Its parent has not asked for its exit status yet: a zombie.
    deadline = time.monotonic() + 10
    while not has_died(owner) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert has_died(owner)
    child.communicate()
    assert has_died(owner)
    assert has_died(f"{where}/{child.pid}")


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="reads the kernel's own figures")
def test_a_process_lives_on_while_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel reckons its boot's time of day, which psutil adds to, from the clock as it is set now."""
    before, born = this_process(), psutil.Process().create_time()
    boot = psutil.boot_time()
    for shift in (3600, -3600):
        monkeypatch.setattr(psutil._pslinux, "boot_time", lambda shift=shift: boot + shift)
        monkeypatch.setattr(psutil._pslinux, "BOOT_TIME", boot + shift, raising=False)
        assert abs(psutil.Process().create_time() - born) > 3000, "the fault is there"
        assert this_process() == before
        assert not has_died(before)


@pytest.mark.parametrize(
    "owner", ["", "elsewhere/1", f"{os.getpid()}", "no number/x"], ids=["none", "host", "pid", "text"]
)
def test_nothing_is_claimed_about_processes_elsewhere(owner: str) -> None:
    assert not has_died(owner)
