"""Runs whose MLflow server is away: a real server behind a door that can be shut."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from promax.cli import main
from promax.tracking import (
    Run,
    Store,
    TrackingError,
    close_lost_runs,
    get_run,
    open_store,
    pending,
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
from promax.trial import TRIAL_TAG

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "s3cret-canary"
# What Cloudflare says of a server that is away; of the codes at which requests are repeated it is none.
DOWN = b"HTTP/1.1 521 Web Server Is Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Passing(socketserver.BaseRequestHandler):
    """One connection from a client to the server behind the door."""

    server: Door

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.behind)) as inner:
            self.server.passing += [self.request, inner]
            threading.Thread(target=self._back, args=[inner], daemon=True).start()
            with suppress(OSError):
                passes = True
                while said := self.request.recv(65536):
                    if said.startswith(self.server.fails):
                        self.request.sendall(DOWN)
                        passes = False
                    # What follows, as a file does its request, is for nobody.
                    if passes:
                        inner.sendall(said)

    def _back(self, inner: socket.socket) -> None:
        with suppress(OSError):
            while said := inner.recv(65536):
                self.request.sendall(said)


class Door(socketserver.ThreadingTCPServer):
    """Open, it passes on what is said; but requests that begin with one of `fails` it answers as a proxy does."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, behind: int) -> None:
        super().__init__(("127.0.0.1", port), Passing)
        self.behind = behind
        self.passing: list[socket.socket] = []
        self.fails: tuple[bytes, ...] = ()
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()

    def shut(self) -> None:
        self.shutdown()
        self.server_close()
        for each in self.passing:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Server:
    """An MLflow server; shut, its address refuses, as when it was killed: but it need not start for seconds again.

    Real kills are in experiments/faults.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.port, self._inner = store, free_port(), free_port()
        self.address = f"http://ann:{SECRET}@127.0.0.1:{self.port}"
        self.label = f"http://***@127.0.0.1:{self.port}"
        command, environment = ui_command(store, "127.0.0.1", self._inner)
        quiet = subprocess.DEVNULL
        # A group of its own: the server is a process with workers, and a signal is for all of them.
        self.process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
        self.door: Door | None = None
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)

    def open(self) -> None:
        self.door = Door(self.port, self._inner)

    def shut(self) -> None:
        if self.door is not None:
            self.door.shut()
            self.door = None

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._inner}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture(scope="module")
def started(fresh_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("served")
    (root / "mlruns").mkdir()
    shutil.copy(fresh_database, root / "mlruns" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMAX_ROOT", str(root))
        made = Server(open_store())
    try:
        yield made
    finally:
        made.signal(signal.SIGKILL)
        made.process.wait()


@pytest.fixture
def server(started: Server, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # The user's own settings come before promax's ten seconds.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(pending, "ASK_AGAIN", (0.3, 60.0))
    started.open()
    yield started
    started.signal(signal.SIGCONT)
    started.shut()


@pytest.fixture
def store(server: Server) -> Store:
    """The server's own database, asked behind its back."""
    return server.store


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
@pytest.mark.parametrize("fault", ["shut", "stopped", "521", "521 to files"])
def test_what_is_logged_meanwhile_is_sent_once_in_order(
    store: Store, server: Server, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    assert server.door is not None
    with start_run(open_store(server.address), "study", "name", {"a": 1}, {}) as run:
        log(run, 1)
        if fault == "shut":
            server.shut()
        elif fault == "stopped":
            server.signal(signal.SIGSTOP)
        else:
            server.door.fails = (b"PUT",) if fault == "521 to files" else (b"GET", b"POST", b"PUT")
        began = time.monotonic()
        log(run, 2)
        log(run, 3)
        assert time.monotonic() - began < 20, "the run is not held up by the minutes for which MLflow would try"
        kept = 3 if fault == "521 to files" else 4
        assert [each.writes for each in waiting_runs()] == [kept]
        assert nothing_secret_in(pending_folder()) == kept + 4, "the writes, 2 texts, the server's name, the lock"
        if fault == "shut":
            server.open()
        elif fault == "stopped":
            server.signal(signal.SIGCONT)
        else:
            server.door.fails = ()
        # Past the pause after which a server is asked again.
        time.sleep(1.5)
        log(run, 4)
        assert waiting_runs() == []
    assert steps(store, run) == [(1, 1.0), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4)]
    found = get_run(store, run.run_id)
    assert (found.status, found.tags["last"], found.params) == ("FINISHED", "4", {"a": "1"})
    texts = [read_text(run.store, run.run_id, f"texts/{step}.txt") for step in (1, 2, 3, 4)]
    assert texts == ["step 1", "step 2", "step 3", "step 4"]
    assert lines(caplog) == [
        f"{server.label} does not answer: what run {run.run_id[:8]} logs is kept on disk until it does",
        f"{server.label} is back: the {kept} writes of run {run.run_id[:8]} that waited are sent",
    ]


@pytest.mark.slow
def test_what_is_left_is_sent_by_sync(
    store: Store, server: Server, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with start_run(open_store(server.address), "study", "name", {}, {}) as run:
        log(run, 1)
        server.shut()
        log(run, 2)
    label, short = server.label, run.run_id[:8]
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

    server.open()
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
        server.shut()
        for step in (1, 2, 3):
            log(run, step)
    server.open()
    died = subprocess.run([sys.executable, "-c", KILLED, server.address], cwd=REPOSITORY, check=False)
    assert died.returncode == -signal.SIGKILL
    assert [each.writes for each in waiting_runs()] == [6]
    assert sync("--uri", server.address) == 0
    assert steps(store, run) == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]
    assert get_run(store, run.run_id).tags["last"] == "3"


@pytest.mark.slow
def test_what_the_server_refuses_stays_with_all_behind_it(
    store: Store, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was deleted meanwhile: sync says so each time, and sends the others."""
    remote = open_store(server.address)
    with start_run(remote, "study", "deleted", {}, {}) as deleted, start_run(remote, "study", "other", {}, {}) as other:
        server.shut()
        log(deleted, 1)
        log(other, 1)
    server.open()
    store.client.delete_run(deleted.run_id)
    assert sync("--uri", server.address) == 1
    said = capsys.readouterr().out
    assert "6 writes of 2 runs wait\n" in said
    assert f"run {deleted.run_id[:8]}: 0 of 3 sent to {server.label}; {server.label}: " in said
    assert f"run {other.run_id[:8]}: 3 of 3 sent to {server.label}\n" in said
    assert [each.run_id for each in waiting_runs()] == [deleted.run_id]
    assert get_run(store, other.run_id).status == "FINISHED"


@pytest.mark.slow
def test_the_run_of_a_dead_process_ends_as_it_said(store: Store, server: Server) -> None:
    """Its last words wait on disk: whoever closes dead runs, or a sweep's lost ones, sends them first."""
    code = (
        "import os, sys; from promax.tracking import *\n"
        f"tags = {{'mlflow.parentRunId': 'parent', {TRIAL_TAG!r}: '0'}}\n"
        "with start_run(open_store(sys.argv[1]), 'lost', 'name', {}, tags) as run:\n"
        "    print(run.run_id, flush=True); sys.stdin.readline(); run.log_metrics({'a': 0.5})\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, server.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().decode().strip()
        server.shut()
        process.communicate(b"\n", timeout=60)
    assert [each.run_id for each in waiting_runs()] == [run_id]
    server.open()
    # Its trial has ended, and its run is open on the server: that is no loss.
    close_lost_runs(store, "lost", "parent", lambda trial: True)
    assert get_run(store, run_id).status == "RUNNING"
    with start_run(open_store(server.address), "lost", "next", {}, {}):
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
        server.shut()
        log(run, 1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with pytest.raises(TrackingError) as raised:
        settle(remote, run.run_id)
    label, short = server.label, run.run_id[:8]
    assert str(raised.value) == (
        f"{label} has not come back; run {short} waits on disk. Once it is, the same command goes on"
    )
    server.open()
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
        server.shut()
        process.communicate(b"\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in pending_folder().iterdir()] == [run_id]
    server.open()
    assert sweep_dead_runs(open_store(server.address)) == [run_id]
    assert get_run(store, run_id).status == "FAILED"


@pytest.mark.slow
def test_a_disk_that_is_full_while_the_server_is_away(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then there is no place left for what a run logs: it ends, and says which two things failed."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pending, "_to_disk", full)
    with pytest.raises(TrackingError) as raised, start_run(open_store(server.address), "study", "name", {}, {}) as run:
        server.shut()
        log(run, 1)
    folder = pending_folder() / run.run_id
    assert str(raised.value) == (
        f"{server.label} does not answer, and {folder} can't be written to: No space left on device"
    )
    assert lines(caplog)[-1] == f"run {run.run_id} could not be closed as FAILED: {raised.value}"
    assert waiting_runs() == []


def test_a_server_away_at_the_start_is_refused_at_once(project: Path) -> None:
    port = free_port()
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
