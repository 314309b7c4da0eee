"""Runs whose MLflow server is away: real servers, stopped, killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from promax.cli import main
from promax.tracking import (
    Run,
    Store,
    TrackingError,
    get_run,
    open_store,
    read_text,
    settle,
    start_run,
    sweep_dead_runs,
    ui_command,
    waiting_runs,
    waits,
)
from promax.tracking.pending import pending_folder
from promax.tracking.write import Write

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "s3cret-canary"


class Server:
    """An MLflow server on the embedded store of a project, at one port for all its lives."""

    def __init__(self, store: Store) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.command, self.environment = ui_command(store, "127.0.0.1", self.port)
        self.address = f"http://ann:{SECRET}@127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        # A group of its own: the server is a process with workers, and all of them stop.
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdout=quiet, stderr=quiet, start_new_session=True
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def server(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # The user's own settings come before promax's ten seconds.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    made = Server(store)
    made.start()
    try:
        yield made
    finally:
        made.kill()


def log(run: Run, step: int) -> None:
    run.log_metrics({"train/loss": 1 / step}, step=step, tags={"last": step})
    run.log_text(f"step {step}", f"texts/{step}.txt")


def steps(store: Store, run: Run) -> list[tuple[int, float]]:
    """Every point that the store's own database has of the loss: a doubled one would be here twice."""
    history = MlflowClient(store.uri).get_metric_history(run.run_id, "train/loss")
    # The times are those of logging, so that their order is the steps'.
    return [(each.step, each.value) for each in sorted(history, key=lambda each: (each.timestamp, each.step))]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def sync(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["sync", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def nothing_secret_in(folder: Path) -> int:
    """How many files of a folder hold no credentials; all of them, or this fails."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    return len(files)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_what_is_logged_meanwhile_is_sent_once_in_order(
    store: Store, server: Server, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    with start_run(open_store(server.address), "study", "name", {"a": 1}, {}) as run:
        log(run, 1)
        server.kill() if fault == "killed" else server.signal(signal.SIGSTOP)
        began = time.monotonic()
        log(run, 2)
        log(run, 3)
        assert time.monotonic() - began < 20, "the run is not held up by the minutes for which MLflow would try"
        assert [each.writes for each in waiting_runs()] == [4]
        assert nothing_secret_in(pending_folder()) == 8, "4 writes, 2 texts, the server's name, the lock"
        server.start() if fault == "killed" else server.signal(signal.SIGCONT)
        # Past the pause after which a server is asked again.
        time.sleep(4.5)
        log(run, 4)
        assert waiting_runs() == []
    assert steps(store, run) == [(1, 1.0), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4)]
    found = get_run(store, run.run_id)
    assert (found.status, found.tags["last"], found.params) == ("FINISHED", "4", {"a": "1"})
    texts = [read_text(run.store, run.run_id, f"texts/{step}.txt") for step in (1, 2, 3, 4)]
    assert texts == ["step 1", "step 2", "step 3", "step 4"]
    label = f"http://***@127.0.0.1:{server.port}"
    assert lines(caplog) == [
        f"{label} does not answer: what run {run.run_id[:8]} logs is kept on disk until it does",
        f"{label} is back: the 4 writes of run {run.run_id[:8]} that waited are sent",
    ]


@pytest.mark.slow
def test_what_is_left_is_sent_by_sync(
    store: Store, server: Server, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with start_run(open_store(server.address), "study", "name", {}, {}) as run:
        log(run, 1)
        server.kill()
        log(run, 2)
    label, short = f"http://***@127.0.0.1:{server.port}", run.run_id[:8]
    assert lines(caplog)[-1] == (
        f"run {short}: 3 writes wait on disk, as {label} does not answer; `promax sync` sends them"
    )
    assert get_run(store, run.run_id).status == "RUNNING"

    assert sync() == 1
    assert capsys.readouterr().out == (
        f"3 writes of 1 run wait\nrun {short}: 0 of 3 sent to {label}; the address with its credentials is not known;"
        f" give it: promax sync --uri http://user:password@127.0.0.1:{server.port}\n"
    )
    assert sync("--uri", server.address) == 1
    assert capsys.readouterr().out == (
        f"3 writes of 1 run wait\nrun {short}: 0 of 3 sent to {label}; tracking.uri={label}: no server answers there\n"
    )

    server.start()
    assert sync("--uri", server.address) == 0
    assert capsys.readouterr().out == f"3 writes of 1 run wait\nrun {short}: 3 of 3 sent to {label}\n"
    assert steps(store, run) == [(1, 1.0), (2, 1 / 2)]
    assert get_run(store, run.run_id).status == "FINISHED"
    assert sync() == 0
    assert capsys.readouterr().out == "nothing waits\n"
    assert list(pending_folder().iterdir()) == []


# Ends at the second thing that it has said to the server, before it could note so.
KILLED = """
import os, signal, sys
from promax.tracking import pending, send_waiting, sync
said, deliver = [], sync.deliver
def deliver_then_die(*what):
    deliver(*what)
    said.append(what)
    if len(said) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
sync.deliver = deliver_then_die
list(send_waiting(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_sync_that_is_killed_is_done_again(store: Store, server: Server) -> None:
    with start_run(open_store(server.address), "study", "name", {}, {}) as run:
        server.kill()
        for step in (1, 2, 3):
            log(run, step)
    server.start()
    died = subprocess.run([sys.executable, "-c", KILLED, server.address], cwd=REPOSITORY, check=False)
    assert died.returncode == -signal.SIGKILL
    assert [each.writes for each in waiting_runs()] == [6]
    assert sync("--uri", server.address) == 0
    assert steps(store, run) == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]
    assert get_run(store, run.run_id).tags["last"] == "3"


@pytest.mark.slow
def test_the_run_of_a_dead_process_ends_as_it_said(store: Store, server: Server) -> None:
    """Its last words wait on disk: whoever closes dead runs sends them first."""
    code = (
        "import os, sys; from promax.tracking import *\n"
        "with start_run(open_store(sys.argv[1]), 'study', 'name', {}, {}) as run:\n"
        "    print(run.run_id, flush=True); sys.stdin.readline(); run.log_metrics({'a': 0.5})\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, server.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().decode().strip()
        server.kill()
        process.communicate(b"\n", timeout=60)
    assert [each.run_id for each in waiting_runs()] == [run_id]
    server.start()
    with start_run(open_store(server.address), "study", "next", {}, {}):
        found = get_run(store, run_id)
    assert (found.status, found.metrics, "promax.reason" in found.tags) == ("FINISHED", {"a": 0.5}, False)
    assert waiting_runs() == []


@pytest.mark.slow
def test_what_is_needed_next_is_waited_for(
    store: Store, server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is measured against its baseline, which may have ended while the server was away."""
    remote = open_store(server.address)
    with start_run(remote, "study", "baseline", {}, {}) as run:
        server.kill()
        log(run, 1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with pytest.raises(TrackingError) as raised:
        settle(remote, run.run_id)
    label, short = f"http://***@127.0.0.1:{server.port}", run.run_id[:8]
    assert str(raised.value) == (
        f"{label} has not come back; run {short} waits on disk. Once it is, the same command goes on"
    )
    server.start()
    settle(remote, run.run_id)
    assert lines(caplog)[-1] == f"{label} is back: the 3 writes of run {short} that waited are sent"
    assert (get_run(store, run.run_id).status, steps(store, run)) == ("FINISHED", [(1, 1.0)])
    assert not waits(run.run_id)


@pytest.mark.slow
def test_a_process_killed_before_its_first_write_was_kept_leaves_no_run_open(store: Store, server: Server) -> None:
    """A folder is there, with nothing in it: that holds no run back from being closed."""
    code = (
        "import os, signal, sys; from promax.tracking import *; from promax.tracking import pending\n"
        "with start_run(open_store(sys.argv[1]), 'study', 'name', {}, {}) as run:\n"
        "    pending._put = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    print(run.run_id, flush=True); sys.stdin.readline(); run.log_metrics({'a': 0.5})\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, server.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().decode().strip()
        server.kill()
        process.communicate(b"\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in pending_folder().iterdir()] == [run_id]
    server.start()
    assert sweep_dead_runs(open_store(server.address)) == [run_id]
    assert get_run(store, run_id).status == "FAILED"


def test_a_server_away_at_the_start_is_refused_at_once(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(ValueError) as raised:
        open_store(f"http://ann:{SECRET}@127.0.0.1:{port}")
    assert str(raised.value) == f"tracking.uri=http://***@127.0.0.1:{port}: no server answers there"
    assert time.monotonic() - began < 5


def test_a_write_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Floats to the last bit; a file by its name alone, so that what is read lies where it was put."""
    write = Write(metrics=[("a", 0.1 + 0.2, 1700000000123, 3)], tags={"é": "ü"}, file=Path("/elsewhere/scores.csv"))
    found = Write.from_json(write.to_json(), tmp_path)
    assert tuple(found.metrics[0]) == ("a", 0.30000000000000004, 1700000000123, 3)
    assert (found.tags, found.file) == ({"é": "ü"}, tmp_path / "scores.csv")
