"""What runs have to say to a server that is away: kept on disk in order, and sent when it is back.

A run whose server stops answering goes on. Each of its writes becomes a file under mlruns/pending/<run id>/, whole
or not there, behind those that wait already; it is deleted once the server has taken it. Whoever is killed between
the two sends it again, which changes nothing: see `Write`. The process that writes or sends holds a lock, which the
system takes back when it dies. No credentials are kept, so the server is known by its masked address.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from promax.config import project_root
from promax.tracking.ending import held_signals
from promax.tracking.store import Store, TrackingError, UnavailableError
from promax.tracking.write import Write, ask_once, deliver, insist

# Seconds between two questions whether a server is back: doubled from the first to the second with each that fails.
ASK_AGAIN = (2.0, 60.0)
# Seconds in which another process that sends what waits of a run should be done.
SENT_WITHIN = 60

SERVER = "server"

_logger = logging.getLogger(__name__)


class Outbox:
    """Brings the writes of one run to the record: at once, or, where that is a server that is away, in their order."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.run_id = run_id
        self.folder = pending_folder() / run_id
        self._store = store
        # One for all of this process, which may have several outboxes for a run.
        self._lock = FileLock(self.folder / "lock", is_singleton=True)
        self._gathered: Write | None = None
        self._sent = 0
        self._pause, self._ask_at = ASK_AGAIN[0], 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits on disk."""
        return not self.waiting()

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Within the block values are held back in memory, and sent as one at its end, however it ends."""
        self._gathered = Write()
        try:
            yield
        finally:
            gathered, self._gathered = self._gathered, None
            if gathered != Write():
                self._say(gathered)

    def send(self, write: Write) -> None:
        """Say it now, or keep it behind what waits; while gathering, values wait for what comes with them.

        An ending is kept at once where something waits, since Ctrl-C is held back for so long.

        Raises:
            TrackingError: the record refuses it, or neither record nor disk can be written to.
        """
        if self._gathered is not None and write.is_values:
            self._gathered = self._gathered.joined(write)
            return
        self._say(write)

    def _say(self, write: Write) -> None:
        if not self._store.is_server:
            insist(self._store, self.run_id, write)
            return
        is_time = write.ended is None and time.monotonic() >= self._ask_at
        if self.is_empty or (is_time and self.flush()):
            try:
                ask_once(self._store, self.run_id, write)
                return
            except UnavailableError:
                _logger.warning(
                    "%s does not answer: what run %s logs is kept on disk until it does",
                    *(self._store.label, self.run_id[:8]),
                )
                self._wait_longer()
        self._keep(write)

    def flush(self, wait: float = SENT_WITHIN) -> bool:
        """Send what waits, as long as the server answers at once; whether nothing is left.

        Raises:
            TrackingError: the record refuses something, which stays where it is with all that is behind it.
        """
        try:
            for _ in self.drain(ask_once, wait):
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
        # A process that waits for the lock may make it anew meanwhile, in which case the folder stays.
        shutil.rmtree(self.folder, ignore_errors=True)
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
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.hold(SENT_WITHIN)
            if not (self.folder / SERVER).exists():
                _put(self.folder / SERVER, self._store.label)
            numbers = [int(path.stem) for path in self.waiting()]
            entry = self.folder / f"{max(numbers, default=0) + 1:06}.json"
            if write.file is not None:
                _copy(write.file, entry.with_suffix(""))
            _put(entry, write.to_json())
        except OSError as error:
            raise TrackingError(
                f"{self._store.label} does not answer, and {self.folder} can't be written to: {error.strerror}"
            ) from None

    def _wait_longer(self) -> None:
        self._ask_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, ASK_AGAIN[1])


@dataclass(frozen=True)
class Pending:
    """What waits of one run, and for which server, by its masked address."""

    run_id: str
    server: str
    writes: int


def pending_folder(root: Path | None = None) -> Path:
    """Where what waits is kept, under the root of this project or of another: a folder for each run."""
    return (root or project_root()) / "mlruns" / "pending"


def waiting_runs() -> list[Pending]:
    """The runs of which something waits, by id."""
    found = []
    # Without a write, a process was killed before its first was whole, or after its last was sent.
    for folder in sorted({path.parent for path in pending_folder().glob("*/*.json")}):
        try:
            server = (folder / SERVER).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue  # another process has just sent it all
        found.append(Pending(folder.name, server, len(list(folder.glob("*.json")))))
    return found


def waits(run_id: str) -> bool:
    """Whether something of a run waits on disk."""
    return any((pending_folder() / run_id).glob("*.json"))


def take_over(root: Path) -> None:
    """Move what waits under another root, which no process writes to any more, to where this project sends it from.

    Raises:
        TrackingError: it can't be written here.
    """
    here = pending_folder()
    with held_signals():
        for folder in sorted({path.parent for path in pending_folder(root).glob("*/*.json")}):
            beside = here.with_name(f"{folder.name}.new")
            try:
                here.mkdir(parents=True, exist_ok=True)
                _copy(folder, beside)
                # Whoever sends at this moment finds all of it or nothing.
                (beside / folder.name).replace(here / folder.name)
                _to_disk(here)
            except OSError as error:
                why = f"{here} can't be written to: {error.strerror or error}"
                raise TrackingError(f"run {folder.name[:8]}: what waits of it is lost: {why}") from None
            finally:
                shutil.rmtree(beside, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)


def send_at_once(store: Store) -> None:
    """Send what waits for this server of runs that no process has in hand, as long as it answers at once.

    Where something is left, `promax sync` says why.
    """
    for each in waiting_runs():
        if each.server != store.label:
            continue
        outbox = Outbox(store, each.run_id)
        try:
            if not outbox.flush(wait=0):
                return  # what it does not answer for one run, it would not for the next
        except TrackingError:
            continue
        finally:
            outbox.release()


def settle(store: Store, run_id: str) -> None:
    """Have the record hold all that a run has logged, for as long as MLflow tries: some four minutes.

    Raises:
        TrackingError: the server has not come back, or refuses something.
    """
    outbox = Outbox(store, run_id)
    if outbox.is_empty:
        return
    _logger.warning("waiting for %s: what comes next needs run %s", store.label, run_id[:8])
    try:
        sent = sum(1 for _ in outbox.drain(deliver))
    except UnavailableError:
        raise UnavailableError(
            f"{store.label} has not come back; run {run_id[:8]} waits on disk. Once it is, the same command goes on"
        ) from None
    finally:
        outbox.release()
    _logger.warning("%s is back: the %d writes of run %s that waited are sent", store.label, sent, run_id[:8])


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
