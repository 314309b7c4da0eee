"""Writing one run: its parameters, metrics, files, and how it ended."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlflow.entities import Metric, Param, RunTag

from promax.process import has_died, this_process
from promax.scores import ScoreTable
from promax.tracking.datasets import DatasetRecord, as_input
from promax.tracking.ending import held_signals, status_and_reason, termination_raises
from promax.tracking.query import search
from promax.tracking.store import Store, TrackingError, mask

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
    """An open run. Every method writes at once and raises `TrackingError` where the store can't be written to.

    Credentials of URIs in parameters, tags and texts are masked. `pictures` says whether it is to have figures.
    """

    store: Store
    run_id: str
    pictures: bool = True

    def log_params(self, params: Mapping[str, object]) -> None:
        """Write parameters; they can't be changed afterwards.

        Raises:
            ValueError: a value of more than 6000 characters.
        """
        entities = [Param(key, _as_text(f"parameter {key}", value, LONGEST_PARAM)) for key, value in params.items()]
        with self.store.talking():
            self.store.client.log_batch(self.run_id, params=entities, synchronous=True)

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
        now = int(time.time() * 1000)
        values = [Metric(name, float(value), now, step) for name, value in metrics.items()]
        texts = [RunTag(key, _as_text(f"tag {key}", value, LONGEST_TAG)) for key, value in (tags or {}).items()]
        with self.store.talking():
            self.store.client.log_batch(self.run_id, metrics=values, tags=texts, synchronous=True)

    def log_text(self, text: str, path: str) -> None:
        """Write `text` as the artifact `path`, like "config.yaml"."""
        with self.store.talking():
            self.store.client.log_text(self.run_id, mask(text), path)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or the files of a folder, into the artifact folder `folder` (None: the top)."""
        log = self.store.client.log_artifacts if path.is_dir() else self.store.client.log_artifact
        with self.store.talking():
            log(self.run_id, str(path), folder)

    def log_figure(self, figure: Figure, path: str) -> None:
        """Write a matplotlib figure as the artifact `path`, like "figures/scores.png"."""
        with self.store.talking():
            self.store.client.log_figure(self.run_id, figure, path)

    def log_scores(self, side: Literal["dev", "test", "adversarial", "transfer"], table: ScoreTable) -> None:
        """Write the per-pair scores of one side as scores/<side>.csv, from which its metrics are computed again."""
        with self.store.talking():
            self.store.client.log_text(self.run_id, table.to_csv(), f"scores/{side}.csv")

    def log_datasets(self, datasets: Sequence[DatasetRecord]) -> None:
        """Write what the run was trained and evaluated on, shown by MLflow in the column "Dataset"."""
        inputs = [as_input(each) for each in datasets]
        with self.store.talking():
            self.store.client.log_inputs(self.run_id, inputs)


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
    machine left open when it died are closed first.

    Raises:
        ConfigError: the experiment `study` was deleted.
        TrackingError: the store can't be written to.
    """
    with termination_raises():
        sweep_dead_runs(store)
        created = create_run(store, study, name, {**tags, **({PARENT_TAG: parent} if parent else {})})
        run = replace(created, pictures=pictures)
        try:
            run.log_params(params)
            yield run
        except BaseException as error:
            with held_signals(unless=store.is_server):
                _close_after(error, run)
            raise
        with held_signals(unless=store.is_server), store.talking():
            store.client.set_terminated(run.run_id, "FINISHED")


def sweep_dead_runs(store: Store) -> list[str]:
    """Close as FAILED the runs that processes of this machine left open when they died, and return their ids.

    Nothing is done about a run whose process may still live: one on another machine, or in another container.
    """
    return [run_id for run_id in running(store)[1] if close_lost(store, run_id, "process died")]


def close_lost(store: Store, run_id: str, reason: str) -> bool:
    """Close as FAILED a run that was found open and has nobody to close it; False where it was closed meanwhile."""
    with store.talking():
        # Read again: it may have been closed properly since the search.
        if store.client.get_run(run_id).info.status != "RUNNING":
            return False
        close(Run(store, run_id), "FAILED", reason)
    return True


def running(store: Store) -> tuple[list[str], list[str]]:
    """The ids of the open runs: of those whose process may still live, and of those whose process has died."""
    alive: list[str] = []
    dead: list[str] = []
    for run in search(store, "attributes.status = 'RUNNING'"):
        died = has_died(run.data.tags.get(PROCESS_TAG, ""), run.info.start_time / 1000)
        (dead if died else alive).append(str(run.info.run_id))
    return alive, dead


def create_run(store: Store, study: str, name: str, tags: Mapping[str, object]) -> Run:
    """A run that belongs to this process, and that nothing closes but its process' death."""
    texts = {key: _as_text(f"tag {key}", value, LONGEST_TAG) for key, value in tags.items()}
    experiment = store.experiment_id(study)
    with store.talking():
        created = store.client.create_run(experiment, tags={**texts, PROCESS_TAG: this_process()}, run_name=name)
    return Run(store, created.info.run_id)


def close(run: Run, status: str, reason: str) -> None:
    """Close a run before its time, and say why."""
    run.set_tags({REASON_TAG: reason})
    with run.store.talking():
        run.store.client.set_terminated(run.run_id, status)


def _close_after(error: BaseException, run: Run) -> None:
    """Close a run that `error` ended; what goes wrong in this must not take that error's place."""
    status, reason = status_and_reason(error)
    try:
        close(run, status, reason)
    except TrackingError as failure:
        _logger.warning("run %s could not be closed as %s: %s", run.run_id, status, failure)


def _as_text(what: str, value: object, longest: int) -> str:
    """A value as config files write it: null, true, false, and floats with every digit."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else mask(str(value))
    if len(text) > longest:
        raise ValueError(f"{what}: {len(text)} characters: must be at most {longest}; log a text instead")
    return text
