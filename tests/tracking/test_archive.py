"""A study as one file, and into another record: the same in all that is measured, whole or not at all."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Experiment

from promax.config import ConfigError
from promax.portable import VARIABLES
from promax.scores import ScoreTable
from promax.tracking import (
    BASELINE_RUN,
    DESCRIPTION_TAG,
    FIRST_ID,
    KIND_TAG,
    DatasetRecord,
    Store,
    Terminated,
    TrackingError,
    archive,
    compare_link,
    curves,
    get_run,
    open_sweep,
    read_datasets,
    read_scores,
    read_text,
    restore,
    run_link,
    runs_of,
    start_run,
)
from promax.tracking.query import search
from promax.tracking.restore import DRAFT, RESTORING

# The package has a function of that name.
ARCHIVE = importlib.import_module("promax.tracking.archive")
REPOSITORY = Path(__file__).resolve().parents[2]
LINE = "a value that is\nof two lines, é"


def record(store: Store, study: str = "fix") -> list[str]:
    """A baseline, a sweep, and two of its trials, one of which failed: their ids, the baseline's first."""
    table = ScoreTable(
        np.arange(2), ["a", "b"], ["c", "d"], np.array([[0, 1], [2, 3]]), np.ones(2), np.array([0.1, 1 / 3])
    )
    dataset = DatasetRecord(
        "pairs test", "ab" * 18, "test", "local", "test.jsonl sha256:12", {"pairs": 2, "share": 0.5}
    )
    with start_run(store, study, "baseline", {"optim.epochs": 0}, {KIND_TAG: "baseline"}) as baseline:
        baseline.log_scores("test", table)
        baseline.log_datasets([dataset])
    sweep = open_sweep(store, study, None, {"sampler": "grid"})
    ids = [baseline.run_id, sweep.run_id]
    for trial in range(2):
        tags = {KIND_TAG: "tuned", BASELINE_RUN: baseline.run_id, "promax.note": LINE}
        try:
            with start_run(
                store, study, f"trial {trial}", {"seed": trial, "optim.lr": 2e-5}, tags, sweep.run_id
            ) as run:
                ids.append(run.run_id)
                for epoch in (1, 2, 3):
                    run.log_metrics({"dev/spearman": epoch / 7, "train/loss": 1 / (3 * epoch)}, step=epoch)
                run.log_text("seed: 0\r\nname: é\n", "config.yaml")
                run.log_scores("test", table)
                number = store.experiment_id(study)
                links = [compare_link(number, [baseline.run_id, run.run_id]), run_link(number, baseline.run_id)]
                run.set_tags({DESCRIPTION_TAG: " and ".join(links)})
                if trial:
                    raise OSError("the disk is gone")
        except OSError:
            pass
    sweep.end("FINISHED")
    return ids


def everything(store: Store, study: str, ids: Mapping[str, str]) -> list[dict[str, Any]]:
    """All that the record holds of a study but what is one process' or one record's own, with ids renamed by `ids`."""
    found = []
    number = store.experiment_id(study)
    for each in sorted(search(store, "", experiments=[number]), key=lambda run: run.info.start_time):
        run = get_run(store, each.info.run_id)
        tags = {key: value for key, value in run.tags.items() if key not in ("promax.process", FIRST_ID)}
        text = json.dumps(
            {key: value for key, value in tags.items() if key == KIND_TAG or not key.startswith("mlflow.user")}
        )
        for here, there in ids.items():
            text = text.replace(here, there)
        text = text.replace(f"experiments/{number}/", "experiments/N/").replace(f"%22{number}%22%5D", "%22N%22%5D")
        files = {
            path: read_text(store, run.run_id, path)
            for path in ("config.yaml", "scores/test.csv")
            if path in {file.path for top in (None, "scores") for file in store.client.list_artifacts(run.run_id, top)}
        }
        found.append(
            {
                **{"name": run.name, "status": run.status, "params": run.params, "start": each.info.start_time},
                **{"end": each.info.end_time, "tags": json.loads(text), "curves": curves(store, run), "files": files},
                "datasets": read_datasets(store, run.run_id),
            }
        )
    return found


@pytest.fixture
def packed(store: Store, tmp_path: Path) -> Path:
    record(store)
    archive(store, "fix", tmp_path / "fix.zip")
    return tmp_path / "fix.zip"


def test_a_study_is_in_another_record_what_it_was(store: Store, tmp_path: Path, elsewhere: Callable[[], Store]) -> None:
    ids = record(store)
    before = everything(store, "fix", {})
    assert [each["status"] for each in before] == ["FINISHED", "FINISHED", "FINISHED", "FAILED"]
    archive(store, "fix", tmp_path / "fix.zip")
    other = elsewhere()
    # So that its experiment has another number.
    other.experiment_id("something else")
    taken = restore(other, tmp_path / "fix.zip")
    assert taken.study == "fix" and set(taken.ids) == set(ids) and not set(taken.ids.values()) & set(ids)
    assert everything(other, "fix", {here: there for there, here in taken.ids.items()}) == before
    tuned = get_run(other, ids[2][:12])
    assert (tuned.run_id, tuned.first_id) == (taken.ids[ids[2]], ids[2])
    assert tuned.tags[BASELINE_RUN] == taken.ids[ids[0]]
    assert tuned.tags["mlflow.parentRunId"] == taken.ids[ids[1]]
    assert read_scores(other, tuned.run_id).score.tolist() == [0.1, 1 / 3]
    # The study looks like any other in the UI.
    view = other.client.get_experiment(tuned.experiment_id).tags
    assert "mlflow.sharedViewState.promax" in view and RESTORING not in view


def test_the_same_record_gives_the_same_bytes_from_wherever_it_lies(
    store: Store, packed: Path, tmp_path: Path, elsewhere: Callable[[], Store]
) -> None:
    time.sleep(1.1)
    archive(store, "fix", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()
    other = elsewhere()
    restore(other, packed)
    archive(other, "fix", tmp_path / "theirs.zip")
    one, two = (zipfile.ZipFile(tmp_path / name) for name in ("fix.zip", "theirs.zip"))
    assert sorted(one.namelist()) == sorted(two.namelist())
    for name in one.namelist():
        assert one.read(name) == two.read(name), name


def test_a_study_that_is_there_is_not_written_over(store: Store, packed: Path) -> None:
    with pytest.raises(ConfigError, match=r"^study fix: the record has one of that name; give another: --study NAME$"):
        restore(store, packed)
    # Beside itself, under another name: the original is found by its id, the copy by its own.
    (first, copy), *_ = restore(store, packed, "theirs").ids.items()
    assert get_run(store, first).study == "fix" and get_run(store, copy).study == "theirs"
    assert len(runs_of(store, "theirs")) == len(runs_of(store, "fix")) == 3
    store.client.delete_experiment(store.experiment_id("theirs"))
    with pytest.raises(ConfigError, match=r"^study theirs: the record has one of that name, deleted in MLflow; "):
        restore(store, packed, "theirs")


def test_a_run_that_was_restored_twice_is_asked_for_by_its_id_here(
    packed: Path, elsewhere: Callable[[], Store]
) -> None:
    other = elsewhere()
    first = [restore(other, packed, name).ids for name in ("one", "two")]
    run_id = next(iter(first[0]))
    here = sorted(f"{ids[run_id][:8]} in study {study}" for study, ids in zip(("one", "two"), first, strict=True))
    with pytest.raises(ConfigError, match=rf"^run {run_id}: was restored more than once and is here ") as refused:
        get_run(other, run_id)
    assert all(each in str(refused.value) for each in here)


def test_what_can_t_be_archived_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^study none: not in the record; studies: none yet"):
        archive(store, "none", tmp_path / "none.zip")
    store.experiment_id("empty")
    with pytest.raises(ConfigError, match=r"^study empty: no run in it; nothing to archive$"):
        archive(store, "empty", tmp_path / "none.zip")
    record(store)
    with start_run(store, "fix", "goes on", {}, {}) as run, pytest.raises(ConfigError) as refused:
        archive(store, "fix", tmp_path / "none.zip")
    assert str(refused.value) == f"study fix: run {run.run_id[:8]} goes on; archive it once it has ended"
    (tmp_path / "mlruns" / "pending" / run.run_id).mkdir(parents=True)
    (tmp_path / "mlruns" / "pending" / run.run_id / "000001.json").write_text("{}")
    with pytest.raises(ConfigError, match=rf"^study fix: something of run {run.run_id[:8]} waits on disk; first: "):
        archive(store, "fix", tmp_path / "none.zip")
    with start_run(store, "moved", "baseline", {}, {KIND_TAG: "baseline"}) as run:
        pass
    with pytest.raises(ConfigError, match=rf"^run {run.run_id[:8]}: its files are not in .*; was the project moved\?$"):
        archive(store, "moved", tmp_path / "none.zip")
    record(store, "other")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^--out .*file/none.zip: can't be made a folder: "):
        archive(store, "other", tmp_path / "file" / "none.zip")
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob(".*.new"))


def rewritten(packed: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> Path:
    """The archive with its manifest and its files changed."""
    with zipfile.ZipFile(packed) as source:
        files = {name: source.read(name) for name in source.namelist()}
    manifest = json.loads(files.pop("study.json"))
    change(manifest, files)
    spoilt = packed.with_name("spoilt.zip")
    with zipfile.ZipFile(spoilt, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
        target.writestr("study.json", json.dumps(manifest))
    return spoilt


def _moved(to: str) -> Callable[[dict[str, Any], dict[str, bytes]], None]:
    """A file of a run, listed and packed under another path."""

    def change(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
        run = next(run for run in manifest["runs"] if "config.yaml" in run["files"])
        run["files"][to] = run["files"].pop("config.yaml")
        files[f"artifacts/{run['run_id']}/{to}"] = files.pop(f"artifacts/{run['run_id']}/config.yaml")

    return change


def _in_run(key: str, value: Any) -> Callable[[dict[str, Any], dict[str, bytes]], None]:
    return lambda manifest, files: manifest["runs"][0].update({key: value})


def _size(by: int) -> Callable[[dict[str, Any], dict[str, bytes]], None]:
    def change(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
        for file in manifest["runs"][0]["files"].values():
            file["size"] += by

    return change


def _other_bytes(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    name = next(name for name in files if name.endswith("config.yaml"))
    files[name] = files[name].replace(b"seed: 0", b"seed: 1")


def _unlisted(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    files["../outside"] = b"x"


def _missing(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    del files[next(name for name in files if name.endswith("config.yaml"))]


def _same_id(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    manifest["runs"].append(manifest["runs"][1])


def _bare_as_before(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    next(iter(manifest["runs"][0]["files"].values()))["whole"] = "0" * 64


def _bare(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    manifest["format"] = 2


HOSTILE = {
    "climbs": (_moved("../../outside"), "is no path within a run"),
    "absolute": (_moved("/outside"), "is no path within a run"),
    "backslash": (_moved("..\\outside"), "is no path within a run"),
    "drive": (_moved("C:outside"), "is no path within a run"),
    "dot": (_moved("./outside"), "is no path within a run"),
    "empty": (_moved(""), "is no path within a run"),
    "unlisted": (_unlisted, "its files are not those that it lists"),
    "missing": (_missing, "its files are not those that it lists"),
    "same id": (_same_id, "its files are not those that it lists"),
    "bytes": (_other_bytes, "has not the bytes that were archived"),
    "longer": (_size(-1), "has not the bytes that were archived"),
    "shorter": (_size(1), "has not the bytes that were archived"),
    "huge": (_size(1 << 40), "Input should be less than or equal to 2000000000"),
    "run id": (_in_run("run_id", "../" * 10), "String should match pattern"),
    "status": (_in_run("status", "RUNNING"), "Input should be 'FINISHED', 'FAILED' or 'KILLED'"),
    "not finite": (_in_run("metrics", [["dev/x", float("nan"), 0, 0]]), "Input should be a finite number"),
    "a tag that would be cut": (_in_run("tags", {"a": "x" * 8001}), "String should have at most 8000 characters"),
    "unknown": (_in_run("_target_", "os.system"), "Extra inputs are not permitted"),
    "version": (lambda manifest, files: manifest.update(format=3), "format: Input should be 1 or 2"),
    "no pairs, and of format 1": (_bare_as_before, "a table without its pairs: must be of format 2"),
    "no pairs": (_bare, "was archived without its pairs, which are needed to restore it"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_archive_that_is_not_what_promax_writes_is_refused(store: Store, packed: Path, kind: str) -> None:
    change, message = HOSTILE[kind]
    before = {path for path in packed.parent.rglob("*") if path.is_file()}
    spoilt = rewritten(packed, change)
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        restore(store, spoilt, "theirs")
    assert str(refused.value).startswith(f"{spoilt}: ") and "\n" not in str(refused.value)
    assert [each.name for each in _experiments(store)] == ["fix"]
    new = {path for path in packed.parent.rglob("*") if path.is_file()} - before - {spoilt}
    assert not {path.name for path in new} & {"outside"} and not Path("/outside").exists()


def _experiments(store: Store) -> list[Experiment]:
    return [each for each in store.client.search_experiments() if each.name != "Default"]


def test_two_entries_of_one_name_are_refused(store: Store, packed: Path) -> None:
    with zipfile.ZipFile(packed, "a") as target, pytest.warns(UserWarning, match="Duplicate name"):
        target.writestr("study.json", zipfile.ZipFile(packed).read("study.json"))
    with pytest.raises(ConfigError, match=r"its files are not those that it lists \('a name twice'\)$"):
        restore(store, packed, "theirs")


@pytest.mark.parametrize("kind", ["cut", "text", "none", "folder", "zip of something else", "huge manifest"])
def test_a_file_that_is_no_archive_is_refused(
    store: Store, packed: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed.with_name("other.zip")
    if kind == "cut":
        path.write_bytes(packed.read_bytes()[:-200])
    elif kind == "text":
        path.write_text("study: fix\n")
    elif kind == "folder":
        path.mkdir()
    elif kind == "zip of something else":
        with zipfile.ZipFile(path, "w") as target:
            target.writestr("readme.txt", "x")
    elif kind == "huge manifest":
        path = packed
        monkeypatch.setattr(ARCHIVE, "MOST_MANIFEST", 100)
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}: [^\n]+$"):
        restore(store, path, "theirs")


def test_what_the_disk_can_t_hold_is_refused_first(store: Store, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(packed.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(ConfigError, match=r"^.*fix.zip: its files need [\d,]+ bytes, of which 10 are free$"):
        restore(store, packed, "theirs")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TrackingError("the disk is full")])
def test_a_restoration_that_is_stopped_leaves_nothing(
    store: Store, packed: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    module = importlib.import_module("promax.tracking.restore")
    insist, said = module.insist, []

    def stopped(*given: Any) -> None:
        said.append(given)
        if len(said) == 5:
            raise error
        insist(*given)

    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(module, "insist", stopped)
        restore(store, packed, "theirs")
    assert [each.name for each in _experiments(store)] == ["fix"]
    assert len(search(store, "")) == 4
    assert restore(store, packed, "theirs").study == "theirs"


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_restoration_that_is_stopped_as_it_gets_its_name_leaves_nothing_either(
    store: Store, packed: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, raised: type[BaseException]
) -> None:
    """The signal is held until that is done, and the name is free for the same command."""
    rename = store.client.rename_experiment

    def stopped(experiment: str, name: str) -> None:
        rename(experiment, name)
        if name == "theirs":
            signal.raise_signal(number)

    with monkeypatch.context() as patch, pytest.raises(raised):
        patch.setattr(store.client, "rename_experiment", stopped)
        restore(store, packed, "theirs")
    assert [each.name for each in _experiments(store)] == ["fix"]
    assert restore(store, packed, "theirs").study == "theirs"


KILLED = """
import os, sys, importlib
from pathlib import Path
module = importlib.import_module("promax.tracking.restore")
insist, said = module.insist, []
def dies(*given):
    said.append(given)
    if len(said) == 5:
        os.kill(os.getpid(), 9)
    insist(*given)
module.insist = dies
module.restore(module.Store and __import__("promax.tracking", fromlist=["x"]).open_store(), Path(sys.argv[1]), "theirs")
"""


def test_what_a_killed_restoration_leaves_the_next_one_removes(store: Store, packed: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(packed)], capture_output=True, text=True, timeout=120)
    assert done.returncode == -9, done.stderr
    (half,) = (each for each in _experiments(store) if each.name != "fix")
    assert half.name.startswith(f"theirs{DRAFT}")
    # A whole study keeps its place, though its process died before it could take the mark away.
    store.client.set_experiment_tag(store.experiment_id("fix"), RESTORING, half.tags[RESTORING])
    restore(store, packed, "theirs")
    assert sorted(each.name for each in _experiments(store)) == ["fix", "theirs"]
    assert not search(store, "attributes.status = 'RUNNING'")


def test_a_server_takes_a_study_in(
    packed: Path, elsewhere: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calls are those of a client, whatever is behind it: nothing reaches into the embedded database."""
    other = elsewhere()
    used: set[str] = set()
    get = MlflowClient.__getattribute__

    def noted(client: MlflowClient, name: str) -> Any:
        used.add(name)
        return get(client, name)

    monkeypatch.setattr(MlflowClient, "__getattribute__", noted)
    restore(other, packed)
    assert {
        "create_experiment",
        "create_run",
        "log_batch",
        "log_artifact",
        "set_terminated",
        "rename_experiment",
    } <= used


def test_the_verbs(
    store: Store,
    tmp_path: Path,
    elsewhere: Callable[[], Store],
    outcome: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(store)
    monkeypatch.chdir(tmp_path)
    code, out, err = outcome("archive", "fix")
    size = (tmp_path / "fix.zip").stat().st_size
    assert (code, err) == (0, "")
    assert out == f"fix.zip: 4 runs of study fix, {size:,} bytes\nin another checkout: promax restore fix.zip\n"
    told = outcome("archive", "fix", "--without-pairs", "--out", "bare.zip")
    assert told[0] == 0 and told[1].endswith(
        "\nin another checkout, where its pairs are too: promax restore bare.zip\n"
    )
    elsewhere()
    monkeypatch.chdir(tmp_path)
    code, out, err = outcome("restore", "bare.zip")
    assert (code, out) == (2, "") and "no config.yaml that says where its pairs are; is it damaged?" in err
    told = outcome("restore", "fix.zip", "data.test=a.jsonl")
    why = "data.test=a.jsonl: fix.zip has the ids and labels of its pairs, so none is read; leave it out"
    assert told == (2, "", f"promax: {why}\n")
    code, out, err = outcome("restore", "fix.zip", "--study", "theirs")
    assert (code, err) == (0, "")
    assert out == (
        "study theirs: 4 runs restored\nnext: promax compare --study theirs\n      promax confirm theirs --out report\n"
    )
    assert outcome("restore", "fix.zip", "--study", "theirs")[::2] == (
        2,
        "promax: study theirs: the record has one of that name; give another: --study NAME\n",
    )
    assert outcome("restore", "none.zip")[::2] == (2, "promax: none.zip: can't be read: No such file or directory\n")


def test_the_recorded_demo_still_opens(store: Store) -> None:
    restored = restore(store, REPOSITORY / "experiments" / "demo" / "study.zip")
    tuned = get_run(store, "5a0d9fa6")
    assert {run.run_id for run in runs_of(store, "demo")} == set(restored.ids.values())
    # As experiments/demo/README.md has them.
    assert round(tuned.metrics["test/spearman"], 4) == 0.6885
    page = (REPOSITORY / "experiments" / "demo" / "README.md").read_text(encoding="utf-8")
    assert f"promax reproduce {tuned.first_id[:8]}" in page


def test_the_run_that_the_readme_reproduces_is_restored_as_it_says(store: Store) -> None:
    restored = restore(store, REPOSITORY / "experiments" / "reproduce" / "study.zip")
    tuned = get_run(store, "c8d1aa4e")
    assert {run.run_id for run in runs_of(store, "portable")} == set(restored.ids.values())
    assert tuned.tags["promax.precision"] == "portable"
    told = dict(word.split("=", 1) for word in tuned.tags["promax.environment"].split())
    assert told.keys() >= VARIABLES.keys()
    # As experiments/reproduce/README.md has it.
    assert round(tuned.metrics["test/spearman"], 4) == 0.6580
    assert f"promax reproduce {tuned.first_id[:8]}" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
