"""What a run says to the record, piece by piece, and how long each piece is tried."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mlflow.entities import Metric, Param, RunTag

from promax.tracking.datasets import DatasetRecord, as_input
from promax.tracking.store import ANSWER_WITHIN, Store, UnavailableError

# Seconds to wait for a database that another process has locked; MLflow itself waits for 20.
LOCKED_AT_MOST = 120


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

    @property
    def is_values(self) -> bool:
        """Whether it is metrics, parameters and tags alone, which MLflow takes in one transaction."""
        return not self.datasets and self.file is None and self.ended is None

    def joined(self, later: Write) -> Write:
        """The values of both as one, where a parameter or tag of both is as `later` says."""
        return Write(
            metrics=[*self.metrics, *later.metrics],
            params={**self.params, **later.params},
            tags={**self.tags, **later.tags},
        )

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
        for file, folder in files_of(write):
            client.log_artifact(run_id, str(file), folder)
        if write.ended is not None:
            client.set_terminated(run_id, *write.ended)


def files_of(write: Write) -> Iterator[tuple[Path, str | None]]:
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


def insist(store: Store, run_id: str, write: Write) -> None:
    """Say it to a database, which another process may have locked for a while."""
    until = time.monotonic() + LOCKED_AT_MOST
    while True:
        try:
            return deliver(store, run_id, write)
        except UnavailableError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def ask_once(store: Store, run_id: str, write: Write) -> None:
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
