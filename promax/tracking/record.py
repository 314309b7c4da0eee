"""Writing one run: its parameters, metrics, files, and how it ended."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from promax.config import as_text
from promax.process import has_died, is_here, this_process
from promax.scores import ScoreTable
from promax.tracking.address import mask
from promax.tracking.datasets import DatasetRecord
from promax.tracking.ending import held_signals, status_and_reason, termination_raises
from promax.tracking.pending import Outbox, send_at_once, waits
from promax.tracking.query import search
from promax.tracking.store import Store, TrackingError
from promax.tracking.write import Write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROCESS_TAG = "promax.process"
REASON_TAG = "promax.reason"
PARENT_TAG = "mlflow.parentRunId"

# MLflow would cut longer values off without a word.
LONGEST_PARAM = 6000
LONGEST_TAG = 8000

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """An open run. Every method writes at once, but within `together`, and raises `TrackingError` if the store refuses.

    A server that is away is waited for without holding the run up: see `promax.tracking.pending`. Credentials of URIs
    in parameters, tags and texts are masked. `pictures` says whether it is to have figures.
    """

    store: Store
    run_id: str
    pictures: bool = True
    outbox: Outbox = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "outbox", Outbox(self.store, self.run_id))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within the block metrics, parameters and tags are gathered, and written in one transaction at its end.

        They are also written where the block ends in an exception. Files are written at once.
        """
        with self.outbox.gathering():
            yield

    def log_params(self, params: Mapping[str, object]) -> None:
        """Write parameters; they can't be changed afterwards.

        Raises:
            ValueError: a value of more than 6000 characters.
        """
        texts = {key: _as_text(f"parameter {key}", value, LONGEST_PARAM) for key, value in params.items()}
        self.outbox.send(Write(params=texts))

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Write tags, over those of the same name.

        Raises:
            ValueError: a value of more than 8000 characters.
        """
        self.log_metrics({}, tags=tags)

    def log_metrics(
        self, metrics: Mapping[str, float], step: int = 0, tags: Mapping[str, object] | None = None
    ) -> None:
        """Write the metrics of one step, and tags, in one transaction.

        Raises:
            ValueError: a value that is not finite; a metric without a value is left out, and said so elsewhere. Or
                a tag of more than 8000 characters.
        """
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {name}={value} at step {step}: must be finite")
        now = _now()
        values = [(name, float(value), now, step) for name, value in metrics.items()]
        self.outbox.send(Write(metrics=values, tags=_tags(tags or {})))

    def log_text(self, text: str, path: str) -> None:
        """Write `text` as the artifact `path`, like "config.yaml"."""
        self._log_file(path, lambda file: file.write_text(mask(text), encoding="utf-8"))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or the files of a folder, into the artifact folder `folder` (None: the top)."""
        self.outbox.send(Write(file=path, folder=folder))

    def log_figure(self, figure: Figure, path: str) -> None:
        """Write a matplotlib figure as the artifact `path`, like "figures/scores.png"."""
        self._log_file(path, figure.savefig)

    def log_scores(self, side: Literal["dev", "test", "adversarial", "transfer"], table: ScoreTable) -> None:
        """Write the per-pair scores of one side as scores/<side>.csv, from which its metrics are computed again."""
        self._log_file(f"scores/{side}.csv", lambda file: file.write_text(table.to_csv(), encoding="utf-8"))

    def log_datasets(self, datasets: Sequence[DatasetRecord]) -> None:
        """Write what the run was trained and evaluated on, shown by MLflow in the column "Dataset"."""
        self.outbox.send(Write(datasets=datasets))

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"], reason: str | None = None) -> None:
        """Close the run, and say why where there is a reason. A second Ctrl-C or SIGTERM does not cut this short."""
        with held_signals():
            self.outbox.send(Write(tags=_tags({} if reason is None else {REASON_TAG: reason}), ended=(status, _now())))
        self.outbox.close()

    def _log_file(self, path: str, write: Callable[[Path], object]) -> None:
        folder, _, name = path.rpartition("/")
        with self.store.talking(), tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / name
            write(file)
            self.log_artifact(file, folder or None)


@contextmanager
def start_run(
    store: Store,
    study: str,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, object],
    parent: str | None = None,
    *,
    pictures: bool = True,
) -> Iterator[Run]:
    """A run under the MLflow experiment `study`, open for the length of a `with` block.

    The end of the block closes it as FINISHED. Ctrl-C and SIGTERM close it as KILLED, any other exception as
    FAILED, both with the tag promax.reason and with all that was written so far; the exception goes on. SIGTERM
    arrives as `Terminated`. `parent` is the id of the run to show this one under. Runs that a process of this
    machine left open when it died are closed first; under a parent that was done when the parent was opened.

    Raises:
        ConfigError: the experiment `study` was deleted.
        TrackingError: the store can't be written to.
    """
    with termination_raises():
        if parent is None:
            sweep_dead_runs(store)
        else:
            send_at_once(store)
        created = create_run(store, study, name, {**tags, **({PARENT_TAG: parent} if parent else {})})
        run = replace(created, pictures=pictures)
        try:
            run.log_params(params)
            yield run
        except BaseException as error:
            _close_after(error, run)
            raise
        run.end("FINISHED")


def sweep_dead_runs(store: Store) -> list[str]:
    """Close as FAILED the runs that processes of this machine left open when they died, and return their ids.

    What waits of any run is sent first. Nothing is done about a run whose process may still live: one on another
    machine, or in another container.
    """
    send_at_once(store)
    return [run_id for run_id in running(store).dead if close_lost(store, run_id, "process died")]


def close_lost(store: Store, run_id: str, reason: str) -> bool:
    """Close as FAILED a run that was found open and has nobody to close it.

    False where it was closed meanwhile, or where something of it waits on disk: its end may be in that.
    """
    if waits(run_id):
        return False
    with store.talking():
        # Read again: it may have been closed properly since the search.
        if store.client.get_run(run_id).info.status != "RUNNING":
            return False
    Run(store, run_id).end("FAILED", reason)
    return True


@dataclass(frozen=True)
class OpenRuns:
    """The ids of the open runs, by their processes: alive and dead of this machine; of others nothing is known."""

    alive: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


def running(store: Store) -> OpenRuns:
    """The open runs of a record."""
    found = OpenRuns()
    for run in search(store, "attributes.status = 'RUNNING'"):
        owner = run.data.tags.get(PROCESS_TAG, "")
        of_here = found.dead if has_died(owner) else found.alive
        (of_here if is_here(owner) else found.elsewhere).append(str(run.info.run_id))
    return found


def create_run(store: Store, study: str, name: str, tags: Mapping[str, object]) -> Run:
    """A run that belongs to this process, and that nothing closes but its process' death."""
    texts = _tags(tags)
    experiment = store.experiment_id(study)
    with store.talking():
        created = store.client.create_run(experiment, tags={**texts, PROCESS_TAG: this_process()}, run_name=name)
    return Run(store, created.info.run_id)


def _close_after(error: BaseException, run: Run) -> None:
    """Close a run that `error` ended; what goes wrong in this must not take that error's place."""
    status, reason = status_and_reason(error)
    try:
        run.end(status, reason)
    except TrackingError as failure:
        _logger.warning("run %s could not be closed as %s: %s", run.run_id, status, failure)


def _tags(tags: Mapping[str, object]) -> dict[str, str]:
    return {key: _as_text(f"tag {key}", value, LONGEST_TAG) for key, value in tags.items()}


def _now() -> int:
    """Unix milliseconds, as MLflow counts."""
    return int(time.time() * 1000)


def _as_text(what: str, value: object, longest: int) -> str:
    text = mask(as_text(value))
    if len(text) > longest:
        raise ValueError(f"{what}: {len(text)} characters: must be at most {longest}; log a text instead")
    return text
