"""Reading runs back."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Literal

from mlflow.entities import Run as MlflowRun

from promax.config import ConfigError
from promax.scores import ScoreTable
from promax.tracking.store import Store, TrackingError

# Of a baseline: what it is found by. Of every other run: its baseline's id.
BASELINE_KEY = "promax.baseline_key"
BASELINE_RUN = "promax.baseline_run"

# What a run is: a baseline, a tuned encoder, a sweep that has the runs of its trials under it, an audit of pairs, or
# the verdict on a study whose runs are no sweep's, or another run done again from its record.
KIND_TAG = "promax.kind"
SWEEP, AUDIT, VERDICT, REPRODUCTION = "sweep", "audit", "verdict", "reproduction"

# The id of a run in the record in which it was made, of one that came here in an archive.
FIRST_ID = "promax.first_id"

# How many runs or studies MLflow is asked for at once.
PAGE = 1000


@dataclass(frozen=True)
class RunInfo:
    """A run as it stands in the record; a metric's value is the one of its last step."""

    run_id: str
    name: str
    study: str
    status: Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    start_time: datetime
    artifact_uri: str
    experiment_id: str

    @property
    def first_id(self) -> str:
        """Its id where it was made: the same in every record, while `run_id` is this record's."""
        return self.tags.get(FIRST_ID, self.run_id)

    @property
    def short_id(self) -> str:
        """The digits by which it is named to people: the first eight of `first_id`."""
        return self.first_id[:8]


def find_baseline(store: Store, study: str, key: str) -> RunInfo | None:
    """The latest finished run of a study whose tag promax.baseline_key is `key`, a hex digest; None where none is.

    Raises:
        ValueError: `key` is no hex digest.
    """
    if not re.fullmatch("[0-9a-f]+", key):
        raise ValueError(f"baseline key {key!r}: must be a hex digest")
    within = [experiment_id for experiment_id, name in _studies(store).items() if name == study]
    condition = f"tags.`{BASELINE_KEY}` = '{key}' and attributes.status = 'FINISHED'"
    found = search(store, condition, experiments=within, at_most=1) if within else []
    return run_info(store, found[0], study) if found else None


def get_run(store: Store, run_id: str) -> RunInfo:
    """The run with this id, or the only one whose id starts with it; else the one that had it in another record.

    Raises:
        ConfigError: no such run, or several.
    """
    listing = f"list them with `promax compare --study NAME`, or in the MLflow UI (store {store.label})"
    if not re.fullmatch("[0-9a-f]{1,32}", run_id):
        raise ConfigError(f"run {run_id}: must be a run id, 32 hex digits or the first few; {listing}")
    found = [run_info(store, run) for run in search(store, f"attributes.run_id LIKE '{run_id}%'", at_most=3)]
    if not found:
        found = [run_info(store, run) for run in search(store, f"tags.`{FIRST_ID}` LIKE '{run_id}%'", at_most=3)]
    if not found:
        raise ConfigError(f"run {run_id}: no such run; {listing}")
    if len({run.first_id for run in found}) > 1:
        some = ", ".join(run.first_id[: len(run_id) + 4] for run in found[:2])
        raise ConfigError(f"run {run_id}: several runs start so, as {some}; give more digits")
    if len(found) > 1:
        here = ", ".join(f"{run.run_id[:8]} in study {run.study}" for run in found)
        raise ConfigError(f"run {run_id}: was restored more than once and is here {here}; give one of these ids")
    return found[0]


def runs_of(store: Store, study: str) -> list[RunInfo]:
    """All runs of a study that are its evidence: the finished ones first, and within each kind the newest first.

    The runs of sweeps themselves, of audits and of verdicts are left out, and so are reproductions, which would
    count twice.

    Raises:
        ConfigError: no such study.
    """
    found = search(store, "", experiments=[experiment_of(store, study)])
    beside = (SWEEP, AUDIT, VERDICT, REPRODUCTION)
    runs = [run_info(store, run, study) for run in found if run.data.tags.get(KIND_TAG) not in beside]
    return sorted(runs, key=lambda run: (run.status != "FINISHED", -run.start_time.timestamp()))


def experiment_of(store: Store, study: str) -> str:
    """The id of the MLflow experiment that holds a study.

    Raises:
        ConfigError: no such study.
    """
    studies = _studies(store)
    for experiment_id, name in studies.items():
        if name == study:
            return experiment_id
    known = ", ".join(sorted(name for name in studies.values() if name != "Default")) or "none yet"
    raise ConfigError(f"study {study}: not in the record; studies: {known} (store {store.label})")


def read_text(store: Store, run_id: str, path: str) -> str:
    """A text artifact of a run, like "config.yaml".

    Raises:
        ConfigError: the run has no such artifact, or it can't be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with store.talking():
                file = Path(store.client.download_artifacts(run_id, path, folder))
                # Not read_text, which would change line ends.
                return file.read_bytes().decode("utf-8")
        except TrackingError as error:
            raise ConfigError(f"run {run_id}: its {path} can't be read: {error}") from None


def fetch_folder(store: Store, run_id: str, name: str, into: Path) -> Path | None:
    """A run's artifact folder, copied to a folder of that name in `into`; None where the run has none.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        with store.talking():
            if not store.client.list_artifacts(run_id, name):
                return None
            return Path(store.client.download_artifacts(run_id, name, str(into)))
    except TrackingError as error:
        raise ConfigError(f"run {run_id}: its {name} can't be read: {error}") from None


def fetch_artifacts(store: Store, run_id: str, into: Path) -> Path:
    """All files of a run, copied into a folder in `into`.

    Raises:
        ConfigError: they can't be read.
    """
    try:
        with store.talking():
            # Of a run without files, MLflow finds no folder.
            if not store.client.list_artifacts(run_id):
                return into
            return Path(store.client.download_artifacts(run_id, "", str(into)))
    except TrackingError as error:
        raise ConfigError(f"run {run_id}: its files can't be read: {error}") from None


def artifacts_in(store: Store, run_id: str, folder: str | None = None) -> list[str]:
    """The paths of a run's files in a folder, like "scores/test.csv" in "scores" (None: the top); sorted."""
    with store.talking():
        return sorted(each.path for each in store.client.list_artifacts(run_id, folder) if not each.is_dir)


def curves(store: Store, run: RunInfo, names: Sequence[str] | None = None) -> dict[str, dict[int, float]]:
    """The named metrics of a run at every step, by ascending step; None is every metric, sorted by name.

    One that the run does not have has no steps.
    """
    with store.talking():
        histories = {
            name: store.client.get_metric_history(run.run_id, name)
            for name in (sorted(run.metrics) if names is None else names)
        }
    return {
        name: {point.step: point.value for point in sorted(history, key=lambda point: point.step)}
        for name, history in histories.items()
    }


def read_scores(store: Store, run_id: str, side: str = "test") -> ScoreTable:
    """The per-pair scores that a run wrote for one side: dev, test, adversarial or transfer.

    Raises:
        ConfigError: the run has none, or the file is damaged.
    """
    path = f"scores/{side}.csv"
    try:
        return ScoreTable.from_csv(read_text(store, run_id, path))
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"run {run_id}: {path} is damaged: {error}") from None


@lru_cache(maxsize=4)
def finished_scores(store: Store, run_id: str, side: str) -> ScoreTable:
    """The scores of a finished run, which stay what they are: the trials of a worker have their baseline in common."""
    return read_scores(store, run_id, side)


@lru_cache(maxsize=4)
def finished_slices(store: Store, run_id: str, side: str) -> str:
    """The table of the parts of a side, slices/<side>.csv, of a finished run."""
    return read_text(store, run_id, f"slices/{side}.csv")


@lru_cache(maxsize=1)
def read_ahead(store: Store, run_id: str) -> None:
    """Have both of the above answer for every side of a run from now on, whether or not the record can be reached."""
    for path in artifacts_in(store, run_id, "scores"):
        finished_scores(store, run_id, Path(path).stem)
    for path in artifacts_in(store, run_id, "slices"):
        finished_slices(store, run_id, Path(path).stem)


def search(
    store: Store, condition: str, *, experiments: list[str] | None = None, at_most: int | None = None
) -> list[MlflowRun]:
    """The runs that satisfy a condition in MLflow's filter language, newest first; None is every experiment."""
    runs: list[MlflowRun] = []
    token: str | None = None
    with store.talking():
        within = list(_studies(store)) if experiments is None else experiments
        while True:
            page = store.client.search_runs(
                within,
                condition,
                max_results=at_most or PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            runs.extend(page)
            token = page.token
            if not token or at_most:
                return runs


def _studies(store: Store) -> dict[str, str]:
    """Experiment id -> name, of those not deleted."""
    studies: dict[str, str] = {}
    token: str | None = None
    with store.talking():
        while True:
            page = store.client.search_experiments(max_results=PAGE, page_token=token)
            studies.update({each.experiment_id: each.name for each in page})
            token = page.token
            if not token:
                return studies


def run_info(store: Store, run: MlflowRun, study: str | None = None) -> RunInfo:
    """MLflow's run as ours; `study` spares asking for its experiment's name."""
    if study is None:
        with store.talking():
            study = store.client.get_experiment(run.info.experiment_id).name
    return RunInfo(
        run_id=run.info.run_id,
        name=run.info.run_name,
        study=study,
        status=run.info.status,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
        start_time=datetime.fromtimestamp(run.info.start_time / 1000, tz=timezone.utc),
        artifact_uri=run.info.artifact_uri,
        experiment_id=run.info.experiment_id,
    )
