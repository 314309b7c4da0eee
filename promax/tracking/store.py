"""Where runs are recorded: the embedded store, a database or an MLflow server."""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy import Engine, create_engine, event, inspect

from promax.config import ConfigError, project_root
from promax.tracking.address import kind_of, mask, sqlite_file, with_driver
from promax.tracking.view import VIEW_TAG, dress, study_link

SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql")
ALLOWED = "null (the embedded store), http(s)://host:port, postgresql://user@host/database, sqlite:////folder/file.db"

# Where `promax ui` listens, and of how many studies it tells.
HOST, PORT, LISTED = "127.0.0.1", 5000, 10

# Seconds in which a server must answer when the store is opened; later calls are retried for minutes.
ANSWER_WITHIN = 10
# Seconds to wait for another process that creates the database; it takes one or two.
CREATE_WITHIN = 120


class TrackingError(RuntimeError):
    """The record could not be read or written; one line, without credentials."""


class UnavailableError(TrackingError):
    """The record can't be reached now: the same may succeed later."""


@dataclass(frozen=True)
class Store:
    """An open record of runs.

    `artifacts` is the URI under which runs put their files, None where an MLflow server decides.
    The address stays out of `repr`, since it may hold a password: show `label`.
    """

    uri: str = field(repr=False)
    artifacts: str | None
    client: MlflowClient = field(repr=False)

    @property
    def label(self) -> str:
        """The address as it may be shown."""
        return mask(self.uri)

    @property
    def is_server(self) -> bool:
        return kind_of(self.uri) in SERVERS

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Whatever MLflow, the connection or the disk raises inside becomes a `TrackingError`.

        Their messages quote the server's address with the credentials in it, so they are not chained either.
        """
        try:
            yield
        except (MlflowException, OSError) as error:
            kind = UnavailableError if self._may_pass(error) else TrackingError
            raise kind(f"{self.label}: {_first_line(error)}") from None

    def _may_pass(self, error: Exception) -> bool:
        """Whether the server is away, slow or at fault itself, as any proxy before it says; or a database is locked."""
        if not self.is_server:
            return "database is locked" in str(error)
        if isinstance(error, MlflowException):
            code: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
        else:
            # Of files, MLflow passes on what requests raises.
            code = getattr(getattr(error, "response", None), "status_code", 0)
        return code >= 500 or code == 429

    def experiment_id(self, study: str) -> str:
        """The MLflow experiment of a study, created where there is none yet.

        Raises:
            ConfigError: the experiment was deleted in MLflow, which keeps its name taken.
        """
        with self.talking():
            found = self.client.get_experiment_by_name(study)
            if found is None:
                try:
                    made = str(self.client.create_experiment(study, artifact_location=self.artifacts))
                    self._dress(study, made, {})
                    return made
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    return self.experiment_id(study)  # another process was faster
            if found.lifecycle_stage != "active":
                raise ConfigError(
                    f"study={study}: this MLflow experiment was deleted; use another name, or restore it with"
                    f" `mlflow experiments restore --experiment-id {found.experiment_id}`"
                )
            if VIEW_TAG not in found.tags:  # of an older promax
                self._dress(study, str(found.experiment_id), found.tags)
            return str(found.experiment_id)

    def _dress(self, study: str, experiment_id: str, present: Mapping[str, str]) -> None:
        """Make a study readable in the UI; what someone has written there stays."""
        for key, value in dress(study, experiment_id).items():
            if key in present:
                continue
            try:
                self.client.set_experiment_tag(experiment_id, key, value)
            except MlflowException:
                # MLflow adds a tag that it has looked for and not found: another process may have been faster.
                if key not in self.client.get_experiment(experiment_id).tags:
                    raise


def address_of(uri: str | None) -> str:
    """The address of the record at `uri`, with its driver; None is the embedded one."""
    return f"sqlite:///{project_root() / 'mlruns' / 'mlflow.db'}" if uri is None else with_driver(uri)


def open_store(uri: str | None = None) -> Store:
    """Open the record at `uri`; None is the embedded store, mlruns/mlflow.db under the project root.

    A database is created on first use, by one process while others wait. With any database, files go to
    mlruns/artifacts/ under the project root; a server has its own place for them. SQLite stays in its default
    journal mode: write-ahead logging needs shared memory, which network folders lack, and gained nothing
    measurable with eight writing processes.

    Raises:
        ConfigError: an address of another kind, or one that can't be reached, opened or written to.
    """
    mlruns = project_root() / "mlruns"
    address = address_of(uri)
    kind, file = kind_of(address), sqlite_file(address)
    artifacts = None if kind in SERVERS else (mlruns / "artifacts").as_uri()
    try:
        if kind in SERVERS:
            _probe_server(address)
        elif file is not None:
            if not file.is_absolute():
                wanted = "must be an absolute path, like sqlite:////folder/file.db"
                raise ConfigError(f"tracking.uri={mask(address)}: {wanted}")
            _create_sqlite(file, str(artifacts))
            _probe_database(address)
        elif kind in DATABASES:
            _probe_database(address)
            _create_schema(address, mlruns)
        else:
            raise ConfigError(f"tracking.uri={mask(address)}: must be one of {ALLOWED}")
        return Store(address, artifacts, MlflowClient(address))
    except ConfigError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"tracking.uri={mask(address)}: the database driver {error.name} is not installed;"
            f" for PostgreSQL: pip install 'psycopg[binary]'"
        ) from None
    except Exception as error:
        # Each driver has exceptions of its own, with the address in their text.
        raise ConfigError(f"tracking.uri={mask(address)}: can't be opened: {_first_line(error)}") from None


def ui_command(store: Store, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """The command that serves the MLflow UI on `store`, and the environment it needs.

    The database's address is in the environment, since every user of a machine can read a command line. One
    worker and no job runner: the defaults start a dozen processes for features that a record of runs has not.

    Raises:
        ConfigError: the store is an MLflow server, which has a UI already.
    """
    if store.artifacts is None:
        raise ConfigError(f"--uri {store.label}: an MLflow server shows its own UI; open that address in a browser")
    argv = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port), "--workers", "1"]
    argv += ["--uvicorn-opts", "--loop promax.tracking.served:event_loop"]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store.uri,
        # Where the files of runs that come in over HTTP go; those of other runs are read from where they lie.
        "MLFLOW_ARTIFACTS_DESTINATION": store.artifacts,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return argv, environment


def serve_ui(store: Store, host: str, port: int) -> NoReturn:
    """Become the MLflow UI on `store`: the process is replaced, so Ctrl-C and SIGTERM reach the UI itself.

    Raises:
        ConfigError: the store is an MLflow server, or nothing can listen on that host and port.
    """
    argv, environment = ui_command(store, host, port)
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise ConfigError(f"--host {host} --port {port}: can't listen there: {error.strerror}") from None
    for line in _links(store, host, port):
        print(line)
    sys.stdout.flush()
    os.execve(argv[0], argv, environment)


def ui_address(store: Store, host: str = HOST, port: int = PORT) -> str:
    """Where the UI on a store is: a server's own, or where `promax ui` listens."""
    return store.label.rstrip("/") if store.is_server else f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _links(store: Store, host: str, port: int) -> list[str]:
    """The newest studies, each with the link to its prepared view; nothing where there is none yet."""
    with store.talking():
        found = store.client.search_experiments(max_results=LISTED, order_by=["creation_time DESC"])
    studies = [each for each in found if VIEW_TAG in each.tags]
    address, width = ui_address(store, host, port), max((len(each.name) for each in studies), default=0)
    links = [f"  {each.name:<{width}}  {study_link(address, each.experiment_id)}" for each in studies]
    return ["the newest studies, beside their baselines:", *links] if links else []


def _first_line(error: BaseException) -> str:
    lines = mask(str(error)).strip().splitlines()
    # SQLAlchemy's hint to who wrote the query, before what happened.
    told = [line for line in lines if not line.startswith("(raised as a result of Query-invoked autoflush")]
    return told[0] if told else type(error).__name__


def _create_sqlite(database: Path, artifacts: str) -> None:
    """Make the database beside its place and then rename it: a file at its place is always whole.

    MLflow commits each of its migrations, about a hundred times in all. What a crash would lose on the way is made
    again anyway, so the disk is waited for once, in the end: 2.0 s in place of 6.2 s on a slow one.
    """
    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock", timeout=CREATE_WITHIN):
        if database.exists():
            return
        fresh = database.with_name(f"{database.name}.new")
        fresh.unlink(missing_ok=True)
        with _not_waiting_for_the_disk(fresh):
            created = SqlAlchemyStore(f"sqlite:///{fresh}", artifacts)  # type: ignore[no-untyped-call]
        created.engine.dispose()
        with fresh.open("r+b") as written:
            os.fsync(written.fileno())
        fresh.replace(database)


@contextmanager
def _not_waiting_for_the_disk(database: Path) -> Iterator[None]:
    """SQLite's commits to this file return at once. MLflow makes its own engine, which is met at its connections."""

    def connected(connection: object, _record: object) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        _, _, file = connection.execute("PRAGMA database_list").fetchone()
        if Path(file).name == database.name:
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", connected)
    try:
        yield
    finally:
        event.remove(Engine, "connect", connected)


def _create_schema(uri: str, mlruns: Path) -> None:
    """Let MLflow create its tables, one process of this project at a time."""
    mlruns.mkdir(parents=True, exist_ok=True)
    with FileLock(mlruns / "schema.lock", timeout=CREATE_WITHIN):
        MlflowClient(uri)


def _probe_database(uri: str) -> None:
    """Connect once, since MLflow retries for more than a minute before it says that it can't."""
    engine = create_engine(uri)
    try:
        inspect(engine).get_table_names()
    finally:
        engine.dispose()


def _probe_server(uri: str) -> None:
    """Ask once for one experiment, since MLflow retries for minutes: it shows address, login and kind of server."""
    login = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
    try:
        answer = http_request(  # type: ignore[no-untyped-call]
            login,
            "/api/2.0/mlflow/experiments/search",
            "GET",
            params={"max_results": 1},
            max_retries=0,
            timeout=ANSWER_WITHIN,
            raise_on_status=False,
        )
    except MlflowException:
        raise ConfigError(f"tracking.uri={mask(uri)}: no server answers there") from None
    if answer.status_code != 200:
        raise ConfigError(f"tracking.uri={mask(uri)}: no MLflow server: it answered HTTP {answer.status_code}")
