"""Runs done again from their records, end to end, on real repositories, processes and servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from promax.cli import main
from promax.tracking import RunInfo, open_store, read_scores, read_text, runs_of
from promax.tracking.query import KIND_TAG

# Each run is a process, and so is each reproduction: `make fast` leaves these out.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workshop")]


def test_a_changed_tree_is_rebuilt_and_the_run_comes_out_to_the_last_bit(workshop: Any, original: RunInfo) -> None:
    """The commit alone, today's tree and today's conf/ all give other numbers: see `original`."""
    before = workshop.runs()
    code, out, err = workshop.reproduce(original.run_id[:8])
    assert (code, "equal to the last bit" in out) == (0, True), out + err
    (new,) = [run for run in workshop.runs() if run.run_id not in {each.run_id for each in before}]
    assert new.tags["promax.reproduces"] == new.tags["mlflow.parentRunId"] == original.run_id
    assert (new.tags[KIND_TAG], new.tags["promax.reproduction"], new.study) == ("reproduction", "equal", "promax")
    assert new.tags["promax.git_commit"] == original.tags["promax.git_commit"] != workshop.git("rev-parse", "HEAD")
    store = open_store()
    for file in ("git.diff", "steps.csv", "scores/dev.csv", "scores/test.csv"):
        assert read_text(store, new.run_id, file) == read_text(store, original.run_id, file)
    timings = {"train/seconds", "train/pairs_per_second", "train/other_seconds"}
    for name in original.metrics.keys() - timings:
        assert new.metrics[name].hex() == original.metrics[name].hex()
    # Measured against the recorded baseline, and no part of the study's evidence.
    assert new.tags["promax.baseline_run"] == original.tags["promax.baseline_run"]
    assert new.run_id not in {run.run_id for run in runs_of(store, "promax")}
    assert '"outcome": "equal"' in read_text(store, new.run_id, "reproduction.json")
    assert (
        f"commit {original.tags['promax.git_commit'][:12]} of {workshop.repository}, with its change of 2 files" in out
    )


def test_without_its_change_the_run_would_drift_and_the_table_says_where(
    workshop: Any, original: RunInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code change that the test above rebuilds, left out: its numbers, exit code and reason."""
    store = open_store()
    from promax.reproduce import record

    monkeypatch.setattr(record, "_is_changed", lambda run: False)
    code, out, err = workshop.reproduce(original.run_id)
    assert (code, "not the same" in out) == (1, True), out + err
    assert "- scores/test.csv: differs by " in out
    assert "likeliest reason: uncommitted change: true then, false now" in out
    assert workshop.runs(store)[0].tags["promax.reproduction"] == "drifted"


def test_a_dry_run_tells_and_leaves_nothing(workshop: Any, original: RunInfo) -> None:
    runs = len(workshop.runs())
    code, out, err = workshop.reproduce(original.run_id, "--dry-run")
    assert (code, err, len(workshop.runs())) == (0, "", runs)
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["run"].startswith(f"{original.run_id[:8]} tiny_lora lr=0.001 epochs=2 seed=0, study promax, ")
    assert lines["packages"] == "those installed here"
    assert lines["train"].startswith("✓ 48 pairs, train.jsonl sha256:")
    assert lines["encoder"] == "✓ tiny"
    assert lines["config"] == "lr 0.001, epochs 2, batch_size 16, loss cosine, seed 0, device cpu"
    assert lines["training"].startswith("took ")


def test_all_that_the_runs_code_is_asked_is_asked_in_its_environment(
    workshop: Any, original: RunInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an environment that is made here instead of by pip from an index: `test_environment.py` has that part."""
    from promax.reproduce import child, flow, request

    asked: list[tuple[str, ...]] = []

    def environment(requirements: tuple[str, ...], version: str | None, folder: Path) -> Path:
        asked.append(requirements)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "shared.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
        return folder / "bin" / "python"

    start, started = subprocess.Popen, list[list[str]]()

    def recording(command: list[str], *given: Any, **named: Any) -> Any:
        started.append(command)
        return start(command, *given, **named)

    monkeypatch.setattr(flow, "fresh_environment", environment)
    monkeypatch.setattr(request.subprocess, "Popen", recording)
    code, out, err = workshop.reproduce(original.run_id, "--env")
    assert (code, "equal to the last bit" in out) == (0, True), out + err
    assert asked == [tuple(read_text(open_store(), original.run_id, "requirements.txt").splitlines())]
    children = [command[0] for command in started if str(child.__file__) in command]
    assert len(children) == 2 and all(python.endswith("/environment/bin/python") for python in children)


def test_a_baseline_is_reproduced_and_never_taken_for_one(workshop: Any, original: RunInfo) -> None:
    baseline = original.tags["promax.baseline_run"]
    code, out, err = workshop.reproduce(baseline)
    assert (code, "equal to the last bit" in out) == (0, True), out + err
    new = workshop.runs()[0]
    assert (new.tags["promax.reproduces"], new.tags["promax.baseline_key"]) == (baseline, "")


def test_files_that_lie_elsewhere_are_named(workshop: Any, original: RunInfo, tmp_path: Path) -> None:
    moved = tmp_path / "moved.jsonl"
    here = workshop.root / "train.jsonl"
    here.rename(moved)
    try:
        code, _, err = workshop.reproduce(original.run_id)
        assert (code, err) == (
            2,
            f"promax: data.train=train.jsonl: no such file in {workshop.root}\n"
            f"say where it lies: promax reproduce {original.run_id[:8]} data.train=FILE\n",
        )
        code, out, _ = workshop.reproduce(original.run_id, "--dry-run", f"data.train={moved}")
        assert (code, "train       ✓ 48 pairs, moved.jsonl sha256:" in out) == (0, True)
    finally:
        moved.rename(here)


@contextmanager
def changed(file: Path, content: bytes) -> Iterator[None]:
    held = file.read_bytes()
    try:
        file.write_bytes(content)
        yield
    finally:
        file.write_bytes(held)


def test_changed_bytes_are_refused_before_anything_is_trained(workshop: Any, original: RunInfo) -> None:
    file, runs = workshop.root / "test.jsonl", len(workshop.runs())
    # The pairs are the same; the bytes are not.
    with changed(file, file.read_bytes() + b"\n"):
        code, out, err = workshop.reproduce(original.run_id)
    assert (code, out, len(workshop.runs())) == (2, "", runs)
    first, second = err.splitlines()
    assert first.startswith(f"promax: data.test={file}: other bytes than the run had: sha256 ")
    assert second == (
        f"nothing was done; give the file as it was: promax reproduce {original.run_id[:8]} data.test=FILE"
    )


def test_pairs_that_come_out_otherwise_of_the_same_bytes_are_refused(workshop: Any, original: RunInfo) -> None:
    """As another library's draw would make them: the file is the one, its fingerprint isn't."""
    client, runs = open_store().client, len(workshop.runs())
    held = original.tags["promax.data.dev"]
    try:
        client.set_tag(original.run_id, "promax.data.dev", "0" * 64)
        code, out, err = workshop.reproduce(original.run_id)
    finally:
        client.set_tag(original.run_id, "promax.data.dev", held)
    assert (code, out, len(workshop.runs())) == (2, "", runs)
    assert err == (
        f"promax: run {original.run_id[:8]}: dev: other pairs than the run had: fingerprint 000000000000… then,"
        f" {held[:12]}… now\nnothing was trained\n"
    )


def test_other_encoder_files_are_refused(workshop: Any, original: RunInfo) -> None:
    file, runs = workshop.root / "tiny" / "tokenizer_config.json", len(workshop.runs())
    with changed(file, file.read_bytes() + b" "):
        code, out, err = workshop.reproduce(original.run_id)
    assert (code, out, len(workshop.runs())) == (2, "", runs)
    expected = (
        f"promax: run {original.run_id[:8]}: model.path={workshop.root / 'tiny'}: other files than the run had: sha256 "
    )
    assert err.startswith(expected)


def test_a_seed_of_a_multirun(workshop: Any, original: RunInfo) -> None:
    """The values that Hydra dealt out are in the record of each run, its command line among them."""
    workshop.train("-m", "seed=4,5", "study=seeds", "optim.epochs=1")
    (run,) = [
        run
        for run in workshop.runs()
        if run.study == "seeds" and run.tags[KIND_TAG] == "tuned" and run.params["seed"] == "5"
    ]
    code, out, err = workshop.reproduce(run.run_id)
    assert (code, "equal to the last bit" in out) == (0, True), out + err
    new = workshop.runs()[0]
    assert (new.tags["promax.reproduces"], new.params["seed"]) == (run.run_id, "5")


def test_a_trial_of_a_sweep(workshop: Any, original: RunInfo) -> None:
    sweep = ["-m", "hydra/sweeper=promax_optuna", "optim.lr=tag(log,interval(1e-4,1e-2))", "hydra.sweeper.n_trials=1"]
    workshop.train(*sweep, "study=swept", "seed=3", "optim.epochs=1")
    (trial,) = [run for run in workshop.runs() if "promax.trial" in run.tags]
    code, out, err = workshop.reproduce(trial.run_id)
    assert (code, "equal to the last bit" in out) == (0, True), out + err
    new = workshop.runs()[0]
    assert (new.params["seed"], new.params["optim.lr"]) == ("3", trial.params["optim.lr"])
    assert "promax.sweep" not in new.tags
    (whole,) = [run for run in workshop.runs() if run.tags.get(KIND_TAG) == "sweep"]
    code, _, err = workshop.reproduce(whole.run_id)
    assert (code, err) == (
        2,
        f"promax: run {whole.run_id[:8]}: is a sweep; name one of its trials, each of which is a run\n",
    )


def test_a_run_that_was_ended_is_ended_where_it_was(workshop: Any, original: RunInfo) -> None:
    process = workshop.start("train", *workshop.words, "optim.epochs=900", "study=ended")
    try:
        ended = _training(workshop, "ended", process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    code, out, err = workshop.reproduce(ended.run_id)
    assert (code, "equal to the last bit" in out) == (0, True), out + err
    new = workshop.runs()[0]
    last = len(open_store().client.get_metric_history(ended.run_id, "train/loss"))
    assert f"was ended after epoch {last}; so will this one be" in out
    assert len(open_store().client.get_metric_history(new.run_id, "train/loss")) == last
    assert (new.status, new.tags["promax.reason"]) == (
        "KILLED",
        f"ended after epoch {last}, as the run that it reproduces",
    )


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_closes_its_run_and_removes_its_worktree(
    workshop: Any, original: RunInfo, sent: signal.Signals, status: int, tmp_path: Path
) -> None:
    process = workshop.start("train", *workshop.words, "optim.epochs=900", f"study=long{status}")
    try:
        long = _training(workshop, f"long{status}", process)
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        again = workshop.start("reproduce", long.run_id, TMPDIR=str(tmp_path))
        new = _training(workshop, f"long{status}", again, besides=long.run_id, epochs=0)
        again.send_signal(sent)
        _, errors = again.communicate(timeout=60)
    finally:
        process.kill()
    assert again.returncode == status, errors
    assert [path for path in tmp_path.iterdir() if path.name.startswith("promax-reproduce")] == []
    assert open_store().client.get_run(new.run_id).info.status == "KILLED"


def _training(workshop: Any, study: str, process: subprocess.Popen[str], besides: str = "", epochs: int = 1) -> RunInfo:
    """The tuned run of a study that a process trains, once it has finished so many epochs."""
    deadline = time.monotonic() + 120
    while True:
        for run in workshop.runs():
            trains = run.study == study and run.tags[KIND_TAG] != "baseline" and run.run_id != besides
            if trains and ("train/loss" in run.metrics or not epochs):
                return run
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.3)


@pytest.fixture
def server(workshop: Any, original: RunInfo) -> Iterator[str]:
    """A tracking server on the loopback address, on the workshop's store."""
    port = _free_port()
    with serving(workshop, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def serving(workshop: Any, port: int) -> Iterator[Callable[[], None]]:
    """A server on that port for the length of a block; what it gives kills it before."""
    code = f"from promax.tracking import *; serve_ui(open_store(), '127.0.0.1', {port})"
    # A group of its own: the server is a process with workers.
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=workshop.environment(), stdout=-3, stderr=-3, start_new_session=True
    )

    def kill() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)

    try:
        deadline = time.monotonic() + 90
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.3)
        yield kill
    finally:
        kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_run_that_another_machine_logged_through_a_server(
    workshop: Any, original: RunInfo, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tree was changed; here is another clone, root and folder: the store, files and encoder are named."""
    encoder = workshop.repository / "promax" / "encoder.py"
    code = encoder.read_bytes()
    other = code.replace(b"default_generator.manual_seed(seed)", b"default_generator.manual_seed(seed + 5)")
    assert other != code
    with changed(encoder, other):
        run = workshop.train(f"tracking.uri={server}", "study=remote", "optim.epochs=1")
    clone = tmp_path / "clone"
    workshop.git("clone", "--quiet", str(workshop.repository), str(clone))
    monkeypatch.setattr("promax.reproduce.flow.checkout", lambda: clone)
    monkeypatch.setenv("PROMAX_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    places = [f"data.{side}={workshop.root / side}.jsonl" for side in ("train", "dev", "test")]
    places.append(f"model.path={workshop.root / 'tiny'}")
    ended, out, err = workshop.reproduce(run.run_id, *places, "--uri", server)
    assert (ended, "equal to the last bit" in out) == (0, True), out + err
    assert f"of {clone}, with its change of 1 file" in out
    remote = open_store(server)
    new = workshop.runs(remote)[0]
    assert new.tags["promax.reproduces"] == run.run_id
    assert read_scores(remote, new.run_id).score.tobytes() == read_scores(remote, run.run_id).score.tobytes()
    assert not (tmp_path / "mlruns").exists()
    assert os.environ["PROMAX_ROOT"] == str(tmp_path)


def test_what_a_server_that_died_was_not_told_is_sent_by_sync(
    workshop: Any, original: RunInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worktree in which its run was recorded is gone by then."""
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    # MLflow's patience is of minutes.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    store, known = open_store(), {run.run_id for run in workshop.runs()}

    def begun() -> list[RunInfo]:
        return [run for run in workshop.runs(store) if run.run_id not in known and run.params]

    def watch(kill: Callable[[], None]) -> None:
        while not begun():
            time.sleep(0.1)
        kill()

    with serving(workshop, port) as kill:
        watching = threading.Thread(target=watch, args=[kill], daemon=True)
        watching.start()
        code, out, err = workshop.reproduce(original.run_id, "--uri", address)
        watching.join(timeout=30)
    (new,) = begun()
    assert (code, new.status) == (3, "RUNNING"), out + err
    assert err.endswith(
        f"promax: run {new.run_id[:8]} can't be compared: {address} has not come back;"
        " `promax sync` sends what waits on disk of it\n"
    )
    with serving(workshop, port), pytest.raises(SystemExit) as ended:
        main(["sync", "--uri", address])
    assert ended.value.code == 0
    (sent,) = begun()
    assert sent.status == "FINISHED"
    timings = {"train/seconds", "train/pairs_per_second", "train/other_seconds"}
    for name in original.metrics.keys() - timings:
        assert sent.metrics[name].hex() == original.metrics[name].hex()
    for file in ("steps.csv", "scores/dev.csv", "scores/test.csv"):
        assert read_text(store, sent.run_id, file) == read_text(store, original.run_id, file)
