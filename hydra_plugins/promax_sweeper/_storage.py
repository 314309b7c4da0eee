"""The database that the workers of a study share, and whose turn it is."""

from __future__ import annotations

import signal
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from promax.config import ConfigError, project_root

ALLOWED = "null (mlruns/optuna.db), sqlite:////folder/file.db, postgresql://user@host/database"
# Seconds that a worker waits for another's write or turn before it gives up.
PATIENCE = 600
# A trial without a sign of life for so many heartbeats is taken for dead: one may be late.
MISSED = 4
# Any number that other programs on the server do not use for their own advisory locks.
PG_LOCK = 0x70726F6D6178
# A machine that is gone without a word is missed within a minute, and its turn passes on; nobody waits for ever.
_PG_SETTINGS = (
    *("tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3"),
    f"lock_timeout = '{PATIENCE}s'",
)

# Each trial has a line of ours.
optuna.logging.set_verbosity(optuna.logging.WARNING)


class Storage:
    """An open storage. Every process opens its own; an object never goes from one to another."""

    def __init__(self, uri: str | None, heartbeat: int) -> None:
        """Open the storage at `uri`, creating it on first use; None is the embedded one.

        Raises:
            ConfigError: an address of another kind, or one that can't be opened.
        """
        from promax.tracking import DATABASES, kind_of, sqlite_file, with_driver

        self.uri = with_driver(uri or f"sqlite:///{project_root() / 'mlruns' / 'optuna.db'}")
        self._heartbeat = heartbeat
        if kind_of(self.uri) not in DATABASES:
            raise ConfigError(f"hydra.sweeper.storage={_masked(self.uri)}: must be one of {ALLOWED}")
        self._file = sqlite_file(self.uri)
        try:
            self._locks = create_engine(self.uri, pool_pre_ping=True)
            if self._file is not None:
                _create(self._file)
            else:
                event.listen(self._locks, "connect", _set_up)
            # Optuna looks for its tables and then creates them: two that do so at once get in each other's way.
            with self.turn():
                self.rdb = self._open()
        except (SQLAlchemyError, ImportError, OSError, sqlite3.Error) as error:
            reason = (_masked(str(error)).splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"hydra.sweeper.storage={_masked(self.uri)}: can't be opened: {reason}") from None

    def _open(self) -> RDBStorage:
        arguments = {"connect_args": {"timeout": PATIENCE}} if self._file is not None else {"pool_pre_ping": True}
        with warnings.catch_warnings():
            # Heartbeats are experimental in Optuna 5; ours have tests.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return RDBStorage(
                self.uri,
                engine_kwargs=arguments,
                heartbeat_interval=self._heartbeat,
                grace_period=MISSED * self._heartbeat,
            )

    @property
    def label(self) -> str:
        """The address as it may be shown."""
        return _masked(self.uri)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One worker at a time, over all machines: counting what is left and taking it must be one step.

        A worker that dies inside loses its turn with its connection or its file handle.
        """
        if self._file is not None:
            with FileLock(f"{self._file}.lock", timeout=PATIENCE):
                yield
            return
        with self._locks.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": PG_LOCK})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": PG_LOCK})

    def beating(self, trial_id: int, stop_asked: Callable[[], bool] = lambda: False) -> Heartbeat:
        """Signs of life of a trial, for the length of a `with` block; with each, it is asked whether to go on."""
        return Heartbeat(self.rdb, trial_id, self._heartbeat, stop_asked)

    def close(self) -> None:
        self.rdb.remove_session()
        self.rdb.engine.dispose()
        self._locks.dispose()


class Heartbeat:
    """A thread that says every few seconds that a trial's worker lives; Optuna's own works in `optimize` alone.

    Where the worker is asked to stop, it is as if SIGTERM had arrived.
    """

    def __init__(self, rdb: RDBStorage, trial_id: int, interval: int, stop_asked: Callable[[], bool]) -> None:
        self._rdb, self._trial_id, self._interval, self._stop_asked = rdb, trial_id, interval, stop_asked
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while True:
            try:
                self._rdb.record_heartbeat(self._trial_id)
                stop = self._stop_asked()
            except Exception:  # each driver has its own; a beat that is missed is no reason to end the trial
                self._rdb.remove_session()
                stop = False
            if stop:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            if stop or self._over.wait(self._interval):
                self._rdb.remove_session()
                return


def _set_up(connection: Any, _record: object) -> None:
    """Once for a connection and not for each turn."""
    with connection.cursor() as cursor:
        for setting in _PG_SETTINGS:
            cursor.execute(f"SET {setting}")
    # What is set in a transaction that is rolled back, as a turn's is, is set no more.
    connection.commit()


def _create(file: Path) -> None:
    """Switch a new SQLite file to write-ahead logging, which it keeps: readers then never wait for a writer."""
    if not file.is_absolute():
        raise ConfigError(
            f"hydra.sweeper.storage=sqlite:///{file}: must be an absolute path, like sqlite:////f/file.db"
        )
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=PATIENCE), closing(sqlite3.connect(file, timeout=PATIENCE)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def _masked(uri: str) -> str:
    from promax.tracking import mask

    return mask(uri)
