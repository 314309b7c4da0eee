"""What runs have to say to a server that is away: kept on disk in order, and sent when it is back.

A run whose server stops answering goes on. Each of its writes becomes a file under mlruns/pending/<run id>/, whole
or not there, behind those that wait already; it is deleted once the server has taken it. Whoever is killed between
the two sends it again, which changes nothing: see `Write`. The process that writes or sends holds a lock, which the
system takes back when it dies. No credentials are kept, so the server is known by its masked address.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from mlflow.entities import Metric, Param, RunTag

from promax.config import project_root
from promax.tracking.datasets import DatasetRecord, as_input
from promax.tracking.store import ANSWER_WITHIN, Store, TrackingError, UnavailableError

# Seconds to wait for a database that another process has locked; MLflow itself waits for 20.
LOCKED_AT_MOST = 120
# Seconds between two questions whether a server is back: doubled from the first to the second with each that fails.
ASK_AGAIN = (2.0, 60.0)
# Seconds in which another process that sends what waits of a run should be done.
SENT_WITHIN = 60

SERVER = "server"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Write:
    """Something a run has to say; said twice it changes nothing, so that after a doubt it is said again.

    MLflow's store drops a metric of the same key, value, time and step, and a data set that the run has; parameters,
    tags, files and the status are set to what they are already. (Read in `SqlAlchemyStore` of MLflow 3.17.)

    A metric is (name, value, Unix milliseconds, step). `file` is a file or a folder whose files go into the artifact
    folder `folder`; `ended` is a status with the Unix milliseconds of the end.
    """

    metrics: Sequence[tuple[str, float, int, int]] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: Sequence[DatasetRecord] = ()
    file: Path | None = None
    folder: str | None = None
    ended: tuple[str, int] | None = None

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "file": self.file and self.file.name})

    @classmethod
    def from_json(cls, text: str, beside: Path) -> Write:
        """What `to_json` gave, with its file in the folder `beside`."""
        found = json.loads(text)
        found["file"] = found["file"] and beside / Path(found["file"]).name
        found["datasets"] = [DatasetRecord(**each) for each in found["datasets"]]
        return cls(**found)


def deliver(store: Store, run_id: str, write: Write) -> None:
    """Say it to the record, once.

    Raises:
        UnavailableError: the record can't be reached now.
        TrackingError: it refuses.
    """
    client = store.client
    metrics = [Metric(*each) for each in write.metrics]
    params = [Param(*each) for each in write.params.items()]
    tags = [RunTag(*each) for each in write.tags.items()]
    with store.talking():
        if metrics or params or tags:
            client.log_batch(run_id, metrics, params, tags, synchronous=True)
        if write.datasets:
            client.log_inputs(run_id, [as_input(each) for each in write.datasets])
        for file, folder in _files(write):
            client.log_artifact(run_id, str(file), folder)
        if write.ended is not None:
            client.set_terminated(run_id, *write.ended)


def _files(write: Write) -> Iterator[tuple[Path, str | None]]:
    """The files of a write, each with its artifact folder; weights come last.

    A folder with a model is put into the record file by file. Without its weights it can't be opened, and
    safetensors that are cut short can't either: so a part of it is nothing that could be taken for the whole.
    """
    if write.file is None:
        return
    if not write.file.is_dir():
        yield write.file, write.folder
        return
    files = sorted(path for path in write.file.rglob("*") if path.is_file())
    for path in sorted(files, key=lambda each: each.suffix == ".safetensors"):
        parts = [write.folder or "", *path.relative_to(write.file).parent.parts]
        yield path, "/".join(part for part in parts if part) or None


class Outbox:
    """Brings the writes of one run to the record: at once, or, where that is a server that is away, in their order."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.run_id = run_id
        self.folder = pending_folder() / run_id
        self._store = store
        # One for all of this process, which may have several outboxes for a run.
        self._lock = FileLock(self.folder / "lock", is_singleton=True)
        self._sent = 0
        self._pause, self._ask_at = ASK_AGAIN[0], 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits on disk."""
        return not self.folder.exists()

    def send(self, write: Write) -> None:
        """Say it now, or keep it behind what waits.

        An ending is kept at once where something waits, since Ctrl-C is held back for so long.

        Raises:
            TrackingError: the record refuses it, or neither record nor disk can be written to.
        """
        if not self._store.is_server:
            _insist(self._store, self.run_id, write)
            return
        is_time = write.ended is None and time.monotonic() >= self._ask_at
        if self.is_empty or (is_time and self.flush()):
            try:
                _ask_once(self._store, self.run_id, write)
                return
            except UnavailableError:
                _logger.warning(
                    "%s does not answer: what run %s logs is kept on disk until it does",
                    *(self._store.label, self.run_id[:8]),
                )
                self._wait_longer()
        self._keep(write)

    def flush(self) -> bool:
        """Send what waits, as long as the server answers at once; whether nothing is left.

        Raises:
            TrackingError: the record refuses something, which stays where it is with all that is behind it.
        """
        try:
            for _ in self.drain(_ask_once):
                self._sent += 1
        except UnavailableError:
            self._wait_longer()
            return False
        if self._sent:
            _logger.warning(
                "%s is back: the %d writes of run %s that waited are sent",
                *(self._store.label, self._sent, self.run_id[:8]),
            )
        self._sent, self._pause, self._ask_at = 0, ASK_AGAIN[0], 0.0
        return True

    def close(self) -> None:
        """A last try, after which `promax sync` may send what still waits."""
        if self.is_empty:
            return
        try:
            if self.flush():
                return
            reason = f"{self._store.label} does not answer"
        except TrackingError as error:
            reason = str(error)
        _logger.warning(
            "run %s: %d writes wait on disk, as %s; `promax sync` sends them",
            *(self.run_id[:8], len(self.waiting()), reason),
        )
        self.release()

    def drain(self, say: Callable[[Store, str, Write], None], wait: float = SENT_WITHIN) -> Iterator[Write]:
        """Send what waits by `say`, in order; yields each once the record has it and it is gone from the disk.

        Raises:
            TrackingError: the record refuses one, or another process has them in hand and still after `wait` seconds.
        """
        if self.is_empty:
            return
        self.hold(wait)
        for path in self.waiting():
            beside = path.with_suffix("")
            write = Write.from_json(path.read_text(encoding="utf-8"), beside)
            say(self._store, self.run_id, write)
            path.unlink()
            shutil.rmtree(beside, ignore_errors=True)
            yield write
        shutil.rmtree(self.folder)
        self.release()

    def waiting(self) -> list[Path]:
        """The files of what waits, in order."""
        return sorted(self.folder.glob("*.json"))

    def hold(self, seconds: float) -> None:
        """Keep other processes from sending what waits of this run.

        Raises:
            TrackingError: another one has it, and still after `seconds`.
        """
        if self._lock.is_locked:
            return
        try:
            self._lock.acquire(timeout=seconds)
        except Timeout:
            raise TrackingError(f"run {self.run_id[:8]}: another process has what waits of it in hand") from None

    def release(self) -> None:
        self._lock.release(force=True)

    def _keep(self, write: Write) -> None:
        with self._store.talking():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.hold(SENT_WITHIN)
            if not (self.folder / SERVER).exists():
                _put(self.folder / SERVER, self._store.label)
            numbers = [int(path.stem) for path in self.waiting()]
            entry = self.folder / f"{max(numbers, default=0) + 1:06}.json"
            if write.file is not None:
                _copy(write.file, entry.with_suffix(""))
            _put(entry, write.to_json())

    def _wait_longer(self) -> None:
        self._ask_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, ASK_AGAIN[1])


def pending_folder() -> Path:
    """Where what waits is kept: a folder for each run."""
    return project_root() / "mlruns" / "pending"


def _insist(store: Store, run_id: str, write: Write) -> None:
    """Say it to a database, which another process may have locked for a while."""
    until = time.monotonic() + LOCKED_AT_MOST
    while True:
        try:
            return deliver(store, run_id, write)
        except UnavailableError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _ask_once(store: Store, run_id: str, write: Write) -> None:
    """Say it to a server that has seconds to answer, where MLflow would try for minutes; not so where the user's
    environment says how long.

    A file may take its time. But a server that hangs shows it before the file is on its way.
    """
    soon = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(ANSWER_WITHIN)}
    if write.file is not None:
        with _environment(soon), store.talking():
            store.client.get_run(run_id)
        del soon["MLFLOW_HTTP_REQUEST_TIMEOUT"]
    with _environment(soon):
        deliver(store, run_id, write)


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """MLflow reads its settings at each request, from these variables and nowhere else; the user's own come first."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _put(path: Path, text: str) -> None:
    """`text` as the file `path`, on the disk itself, whole or not there."""
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    _to_disk(beside)
    beside.replace(path)
    _to_disk(path.parent)


def _copy(source: Path, folder: Path) -> None:
    """A file or folder as it is now, into a folder of its own, on the disk itself."""
    # What a process left that was killed here.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copy = folder / source.name
    shutil.copytree(source, copy) if source.is_dir() else shutil.copyfile(source, copy)
    for path in (folder, *folder.rglob("*")):
        _to_disk(path)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
