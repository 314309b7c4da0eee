"""Taking an archived study into a record: whole or not at all, under ids of this record's own."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from promax.config import ConfigError, project_root
from promax.process import has_died, this_process
from promax.tracking.archive import Archive, renamed, watched
from promax.tracking.ending import held_signals, termination_raises
from promax.tracking.manifest import ArchivedRun, Manifest
from promax.tracking.query import FIRST_ID
from promax.tracking.record import PROCESS_TAG
from promax.tracking.store import Store, TrackingError
from promax.tracking.write import Write, insist

# Of an experiment on its way here: the process that brings it. It has a name of its own until it is whole.
RESTORING, DRAFT = "promax.restoring", " (being restored) "


@dataclass(frozen=True)
class Restored:
    """A study that was taken in: its name here, and for each run its first id and the one that it has here."""

    study: str
    ids: dict[str, str]


Complete = Callable[[ArchivedRun, Path], None]
"""A run that was archived without its pairs, and the folder of its files -> its tables of scores are whole again."""
Rejoin = Callable[[Manifest], Complete]
"""What an archive says of itself -> how its runs get their pairs back."""


def restore(store: Store, path: Path, study: str | None = None, rejoin: Rejoin | None = None) -> Restored:
    """Take the study in the file `path` into a record, under its own name or as `study`.

    Its runs have new ids, and links between them lead to these. Their first ids stay with them: `get_run` finds them by
    either, and what is reported names the first. Where this is stopped the record shows nothing of it, and where it is
    killed, the next one removes what it had begun. `rejoin` says how the pairs are put back into a study that was
    archived without them, which comes to the bytes that it had; it may refuse any study.

    Raises:
        ConfigError: `path` is no archive or a damaged one; the record has a study of that name already; pairs that
            are not there, or not those of the study.
        TrackingError: the record can't be written to.
    """
    archive = Archive(path)
    try:
        manifest = archive.manifest
        complete = rejoin(manifest) if rejoin is not None else None
        if manifest.is_bare and complete is None:
            raise ConfigError(f"{path}: was archived without its pairs, which are needed to restore it")
        name = study or manifest.study
        _remove_halves(store)
        _refuse_taken(store, name)
        if archive.size > (free := shutil.disk_usage(project_root()).free):
            raise ConfigError(f"{path}: its files need {archive.size:,} bytes, of which {free:,} are free")
        with termination_raises(), _experiment(store, name) as experiment:
            ids = {run.run_id: _create(store, experiment, run) for run in manifest.runs}
            for run in watched(manifest.runs, "restoring"):
                _fill(store, archive, run, ids, experiment, complete)
        return Restored(name, ids)
    finally:
        archive.close()


def _refuse_taken(store: Store, study: str) -> None:
    with store.talking():
        found = store.client.get_experiment_by_name(study)
    if found is not None:
        state = "" if found.lifecycle_stage == "active" else ", deleted in MLflow"
        raise ConfigError(f"study {study}: the record has one of that name{state}; give another: --study NAME")


@contextmanager
def _experiment(store: Store, study: str) -> Iterator[str]:
    """An experiment that gets its name once the block has ended well, and is deleted where it has not."""
    draft = f"{study}{DRAFT}{secrets.token_hex(4)}"
    with store.talking():
        made = str(store.client.create_experiment(draft, store.artifacts, {RESTORING: this_process()}))
    try:
        yield made
        with held_signals():
            with store.talking():
                store.client.rename_experiment(made, study)
                store.client.delete_experiment_tag(made, RESTORING)
            store.experiment_id(study)
    except BaseException:
        # What ended the block is what the user is told.
        with held_signals(), suppress(TrackingError), store.talking():
            # Ctrl-C may have come as it got its name, which a deleted experiment would keep from the next try.
            store.client.rename_experiment(made, draft)
            store.client.delete_experiment(made)
        raise


def _remove_halves(store: Store) -> None:
    """Delete what processes of this machine had begun to restore when they died."""
    with store.talking():
        for each in store.client.search_experiments(filter_string=f"tags.`{RESTORING}` LIKE '%'"):
            # One that has its name is whole, whatever its tag says.
            if DRAFT in each.name and has_died(each.tags[RESTORING]):
                store.client.delete_experiment(each.experiment_id)


def _create(store: Store, experiment: str, run: ArchivedRun) -> str:
    tags = {FIRST_ID: run.run_id, PROCESS_TAG: this_process()}
    with store.talking():
        made = store.client.create_run(experiment, start_time=run.start_time, tags=tags, run_name=run.name)
    return str(made.info.run_id)


def _fill(
    store: Store, archive: Archive, run: ArchivedRun, ids: dict[str, str], experiment: str, complete: Complete | None
) -> None:
    """All that an archive holds of a run, its end last."""
    number = archive.manifest.experiment
    tags = {key: _here(renamed(value, ids), number, experiment) for key, value in run.tags.items()}
    with tempfile.TemporaryDirectory(prefix="promax-") as scratch:
        archive.extract(run, Path(scratch))
        if run.bare:
            assert complete is not None, "an archive that needs it was refused without"
            complete(run, Path(scratch))
            _verify(run, Path(scratch))
        insist(store, ids[run.run_id], Write(metrics=run.metrics, params=run.params, tags=tags, datasets=run.datasets))
        if run.files:
            insist(store, ids[run.run_id], Write(file=Path(scratch)))
    insist(store, ids[run.run_id], Write(ended=(run.status, run.end_time)))


def _verify(run: ArchivedRun, folder: Path) -> None:
    for path, expected in run.bare.items():
        if hashlib.sha256((folder / path).read_bytes()).hexdigest() != expected:
            raise ConfigError(f"run {run.run_id[:8]}: {path} with its pairs is not what it was; the archive is damaged")


def _here(text: str, there: str, here: str) -> str:
    """`text` with the links to a study's experiment leading to it in this record."""
    text = text.replace(f"#/experiments/{there}/", f"#/experiments/{here}/")
    return text.replace(f"experiments=%5B%22{there}%22%5D", f"experiments=%5B%22{here}%22%5D")
