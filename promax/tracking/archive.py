"""A study's record as one file that another record takes in: committed beside a report, sent to a colleague.

A zip of a manifest, study.json, and the runs' files, each under artifacts/<run id>/. It is read as what it is, a
file from somebody else: the manifest by a strict schema, and nothing but the files that it names, each of the size
and with the hash that it says. No `unzip` is involved, so names that lead elsewhere and links lead nowhere.

Where pairs may not travel, it is written without them: of per-pair scores the scores alone, and of other files those
that are known to hold none.
"""

from __future__ import annotations

import hashlib
import logging
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import ValidationError
from tqdm import tqdm  # type: ignore[import-untyped]

from promax import __version__
from promax.config import ConfigError
from promax.files import make_folder, regular
from promax.scores import ScoreTable
from promax.tracking.address import mask
from promax.tracking.datasets import read_datasets
from promax.tracking.manifest import ArchivedFile, ArchivedRun, Manifest
from promax.tracking.pending import waits
from promax.tracking.query import FIRST_ID, KIND_TAG, experiment_of, fetch_artifacts, run_info, search
from promax.tracking.record import PROCESS_TAG
from promax.tracking.store import Store
from promax.tracking.view import DESCRIPTION_TAG

T = TypeVar("T")

_logger = logging.getLogger(__name__)

MANIFEST = "study.json"
# Bytes of a manifest: far above what studies have, far below what fills a disk.
MOST_MANIFEST = 200_000_000

# What of a run's files, by the first part of their path, says neither ids nor labels nor texts of pairs.
WITHOUT_PAIRS = frozenset(
    {
        *("config.yaml", "overrides.txt", "requirements.txt", "git.diff", "git_status.txt", "data_notes.txt"),
        *("steps.csv", "slices", "absent", "figures", "audit", "adversarial.json", "model", "reproduction.json"),
        *("best.yaml", "trials.csv", "study.html", "report.html", "verdict"),
    }
)

# MLflow's own tags of a run that say something in another record too.
_KEPT = ("mlflow.runName", "mlflow.parentRunId", DESCRIPTION_TAG)


def archive(store: Store, study: str, out: Path, *, pairs: bool = True) -> Manifest:
    """Write the whole record of a study, its baselines, sweeps and verdicts included, as the file `out`.

    The same record gives the same bytes. What a run is named by stays: a study that was itself restored is archived
    with its first ids. Without `pairs` no ids, labels and texts of pairs are written, only their scores; who has the
    same pairs puts them back as the study is restored.

    Raises:
        ConfigError: no such study or no run in it; a run that goes on, or of which something waits on disk; `out`
            can't be written.
    """
    experiment = experiment_of(store, study)
    found = sorted(search(store, "", experiments=[experiment]), key=lambda run: (run.info.start_time, run.info.run_id))
    if not found:
        raise ConfigError(f"study {study}: no run in it; nothing to archive")
    for run in found:
        if run.info.status not in ("FINISHED", "FAILED", "KILLED"):
            raise ConfigError(f"study {study}: run {run.info.run_id[:8]} goes on; archive it once it has ended")
        if waits(run.info.run_id):
            raise ConfigError(
                f"study {study}: something of run {run.info.run_id[:8]} waits on disk; first: promax sync"
            )
    make_folder(out.parent, f"--out {out}")
    beside = out.with_name(f".{out.name}.new")
    try:
        with _writing(out), zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as packed:
            first = {run.info.run_id: run_info(store, run, study).first_id for run in found}
            pack = _Pack(packed, pairs)
            runs = [_archived(store, run.info.run_id, first, pack) for run in watched(found, "archiving")]
            manifest = Manifest(
                format=1 if pairs else 2, promax=__version__, study=study, experiment=experiment, runs=runs
            )
            # Indented, so that a change of it can be read.
            packed.writestr(_entry(MANIFEST), manifest.model_dump_json(indent=1, exclude_none=True))
        with _writing(out):
            beside.replace(out)
        if pack.left_out:
            _logger.warning("left out, since pairs may be in it: %s", ", ".join(sorted(pack.left_out)))
    finally:
        beside.unlink(missing_ok=True)
    return manifest


class Archive:
    """An archive, opened: its manifest, and the files of its runs, believed only as far as they are as it says.

    Raises:
        ConfigError: no archive, one of a later promax, or one that is damaged or not what promax writes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _reading(path):
            self._packed = zipfile.ZipFile(regular(path))
        self.manifest = self._read_manifest()
        self._refuse_doubles()

    def close(self) -> None:
        self._packed.close()

    @property
    def size(self) -> int:
        """Bytes of all its files, unpacked."""
        return sum(file.size for run in self.manifest.runs for file in run.files.values())

    def extract(self, run: ArchivedRun, folder: Path) -> None:
        """The files of a run, into an empty folder.

        Raises:
            ConfigError: one is missing or is not the one that the manifest names; the folder can't be written.
        """
        for path, expected in run.files.items():
            target = folder.joinpath(*path.split("/"))
            with _reading(self._path):
                target.parent.mkdir(parents=True, exist_ok=True)
                digest = hashlib.sha256()
                with self._packed.open(_name(run.run_id, path)) as source, target.open("xb") as file:
                    # One byte more than it may have is enough to know, and all that is ever unpacked.
                    left = expected.size + 1
                    while left and (chunk := source.read(min(left, 1 << 20))):
                        digest.update(chunk)
                        file.write(chunk)
                        left -= len(chunk)
            if left != 1 or digest.hexdigest() != expected.sha256:
                raise ConfigError(
                    f"{self._path}: damaged: {_name(run.run_id, path)} has not the bytes that were archived"
                )

    def _read_manifest(self) -> Manifest:
        with _reading(self._path):
            if self._packed.getinfo(MANIFEST).file_size > MOST_MANIFEST:
                raise ConfigError(f"{self._path}: its {MANIFEST} is larger than {MOST_MANIFEST:,} bytes")
            with self._packed.open(MANIFEST) as file:
                text = file.read(MOST_MANIFEST)
        try:
            return Manifest.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "it"
            raise ConfigError(f"{self._path}: {MANIFEST}: {where}: {first['msg']}") from None

    def _refuse_doubles(self) -> None:
        """What is named twice could be one thing for the check and another for the use."""
        names = self._packed.namelist()
        wanted = {MANIFEST, *(_name(run.run_id, path) for run in self.manifest.runs for path in run.files)}
        ids = {run.run_id for run in self.manifest.runs}
        if sorted(names) != sorted(wanted) or len(ids) < len(self.manifest.runs):
            odd = sorted(set(names) ^ wanted) or ["a name twice"]
            raise ConfigError(f"{self._path}: damaged: its files are not those that it lists ({odd[0]!r})")


def _archived(store: Store, run_id: str, first: Mapping[str, str], pack: _Pack) -> ArchivedRun:
    with store.talking():
        run = store.client.get_run(run_id)
        metrics = [
            (name, float(point.value), int(point.timestamp), int(point.step))
            for name in sorted(run.data.metrics)
            for point in store.client.get_metric_history(run_id, name)
        ]
    with tempfile.TemporaryDirectory(prefix="promax-") as scratch:
        folder = fetch_artifacts(store, run_id, Path(scratch))
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        if not files and run.data.tags.get(KIND_TAG) in ("tuned", "baseline") and run.info.status == "FINISHED":
            raise ConfigError(
                f"run {run_id[:8]}: its files are not in {mask(run.info.artifact_uri)}; was the project moved?"
            )
        packing = {path: pack.add(first[run_id], path, file) for path, file in files.items()}
    return ArchivedRun(
        run_id=first[run_id],
        name=run.info.run_name,
        status=run.info.status,
        start_time=run.info.start_time,
        end_time=run.info.end_time or run.info.start_time,
        params=dict(sorted(run.data.params.items())),
        tags={key: renamed(value, first) for key, value in sorted(run.data.tags.items()) if _is_kept(key)},
        metrics=sorted(metrics, key=lambda each: (each[0], each[3], each[2])),
        datasets=read_datasets(store, run_id),
        files={path: found for path, found in packing.items() if found is not None},
    )


def renamed(text: str, ids: Mapping[str, str]) -> str:
    """`text` with each run id in it that is a key of `ids` replaced by its value."""
    return re.sub(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", lambda found: ids.get(found[0], found[0]), text)


def _is_kept(key: str) -> bool:
    """Whether a tag speaks of the run; whose process it was, and what MLflow keeps in tags, it doesn't."""
    return key in _KEPT or not (key.startswith("mlflow.") or key in (PROCESS_TAG, FIRST_ID))


class _Pack:
    """The files of an archive that is being written, with their pairs or without."""

    def __init__(self, packed: zipfile.ZipFile, pairs: bool) -> None:
        self._packed, self._pairs = packed, pairs
        self.left_out: set[str] = set()

    def add(self, run_id: str, path: str, file: Path) -> ArchivedFile | None:
        """Pack a file of a run; None where that is to travel without its pairs, and they may be in it."""
        name, top = _name(run_id, path), PurePosixPath(path).parts[0]
        if self._pairs or top in WITHOUT_PAIRS:
            return self._whole(name, file)
        if top == "scores":
            try:
                return self._bare(name, file)
            except ValueError as error:
                raise ConfigError(f"run {run_id[:8]}: {path} is damaged: {error}") from None
        self.left_out.add(top)
        return None

    def _whole(self, name: str, file: Path) -> ArchivedFile:
        digest, size = hashlib.sha256(), 0
        with file.open("rb") as source, self._packed.open(_entry(name), "w", force_zip64=True) as target:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
                target.write(chunk)
        return ArchivedFile(size=size, sha256=digest.hexdigest())

    def _bare(self, name: str, file: Path) -> ArchivedFile:
        content = file.read_bytes()
        bare = ScoreTable.from_csv(content.decode()).to_bare_csv().encode()
        self._packed.writestr(_entry(name), bare)
        here, whole = (hashlib.sha256(each).hexdigest() for each in (bare, content))
        return ArchivedFile(size=len(bare), sha256=here, whole=whole)


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry without a date, so that the same record gives the same bytes."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    return entry


def _name(run_id: str, path: str) -> str:
    return f"artifacts/{run_id}/{path}"


def watched(items: Sequence[T], what: str) -> Iterator[T]:
    """One by one, with a bar on a terminal."""
    return iter(tqdm(items, desc=what, unit="run", disable=None, file=sys.stderr))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror or error}") from None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever is wrong with the file becomes a refusal that names it."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, EOFError) as error:
        # In the order of the library's own: no zip, bytes cut or changed, no manifest, a password, an end too early.
        raise ConfigError(f"{path}: no archive of a study, or a damaged one: {error}") from None
