"""A study that travels without its pairs: nothing of them is in the file, and with them it is what it was."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promax.config import ConfigError
from promax.reproduce import restored
from promax.tracking import RunInfo, Store, archive, open_store
from promax.tracking.query import fetch_artifacts

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workshop")]

SIDES = ("train", "dev", "test")
# Pairs of the embedded corpus, which have ids and categories, so that the diagnostic is made of some of test's; and all
# of their texts in the record.
GENERATED = [
    *("data=tickets", "data.tickets.train_pairs=48", "data.tickets.dev_pairs=40", "data.tickets.test_pairs=600"),
    *("data.train=null", "data.dev=null", "data.test=null", "tracking.log_text=true", "study=generated"),
]


@pytest.fixture(scope="module")
def scored(_workshop: Any) -> RunInfo:
    """A run on pairs of files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMAX_ROOT", str(_workshop.root))
        run: RunInfo = _workshop.train("study=scored")
    return run


@pytest.fixture
def elsewhere(tmp_path: Path, fresh_database: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Store]:
    """Moves to a project with an empty record and none of the workshop's files, and opens that."""

    def move() -> Store:
        root = tmp_path / "elsewhere"
        (root / "mlruns").mkdir(parents=True)
        shutil.copy(fresh_database, root / "mlruns" / "mlflow.db")
        monkeypatch.setenv("PROMAX_ROOT", str(root))
        monkeypatch.chdir(root)
        return open_store()

    return move


def files_of(store: Store, run_id: str, into: Path) -> dict[str, bytes]:
    into.mkdir()
    folder = fetch_artifacts(store, run_id, into)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def packed_bytes(packed: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(packed) as source:
        return {name: source.read(name) for name in source.namelist()}


def test_the_pairs_of_files_stay_at_home_and_are_put_back_where_they_are(
    workshop: Any, scored: RunInfo, tmp_path: Path, elsewhere: Callable[[], Store]
) -> None:
    store, packed = open_store(), tmp_path / "study.zip"
    before = files_of(store, scored.run_id, tmp_path / "before")
    archive(store, scored.study, packed, pairs=False)
    tables = {name: text for name, text in packed_bytes(packed).items() if "/scores/" in name}
    assert len(tables) == 4 and {text.partition(b"\n")[0] for text in tables.values()} == {b"pair,unit1,unit2,score"}
    other = elsewhere()
    with pytest.raises(ConfigError) as refused:
        restored(other, packed, None, [])
    missing = ", ".join(f"data.{side}={side}.jsonl" for side in SIDES)
    assert str(refused.value) == (
        f"{missing}: no such file in {tmp_path / 'elsewhere'}\n"
        f"say where it lies: promax restore {packed} data.train=FILE"
    )
    places = [f"data.{side}={workshop.root / side}.jsonl" for side in SIDES]
    with pytest.raises(ConfigError, match=r"^data\.dev=.*test\.jsonl: other bytes than the run had: sha256 .*\n"):
        restored(other, packed, None, [*places[:1], f"data.dev={workshop.root / 'test.jsonl'}", *places[2:]])
    with pytest.raises(ConfigError, match=r"^optim\.lr=1: every setting of a run stays as it was; "):
        restored(other, packed, None, ["optim.lr=1"])
    found = restored(other, packed, None, places)
    assert files_of(other, found.ids[scored.run_id], tmp_path / "after") == before
    # The whole again, of which nothing needs to be read.
    whole = tmp_path / "whole.zip"
    archive(other, scored.study, whole)
    with pytest.raises(ConfigError, match=r"has the ids and labels of its pairs, so none is read; leave it out$"):
        restored(other, whole, "again", places[:1])


def test_generated_pairs_are_put_back_without_any_file(
    workshop: Any, tmp_path: Path, elsewhere: Callable[[], Store]
) -> None:
    run = workshop.train(*GENERATED)
    store, packed = open_store(), tmp_path / "study.zip"
    before = files_of(store, run.run_id, tmp_path / "before")
    table = before["scores/adversarial.csv"].decode().splitlines()
    assert 1 < len(table) < 600 and any(name.startswith("texts/") for name in before)
    archive(store, "generated", packed, pairs=False)
    rows = before["scores/test.csv"].splitlines()[1:]
    ids = {value for row in rows for value in row.split(b",")[1:3]}
    texts = {json.loads(line)["text1"].encode() for line in before["texts/test.jsonl"].splitlines()}
    assert len(ids) > 100 and len(texts) > 100
    for name, content in packed_bytes(packed).items():
        assert "/texts/" not in name and not [each for each in (*ids, *texts) if each in content], name
    other = elsewhere()
    found = restored(other, packed, None, [])
    after = files_of(other, found.ids[run.run_id], tmp_path / "after")
    assert after == {name: content for name, content in before.items() if not name.startswith("texts/")}


def test_scores_that_were_changed_are_refused(
    workshop: Any, scored: RunInfo, tmp_path: Path, elsewhere: Callable[[], Store]
) -> None:
    """Even where the archive's own hashes were made to agree: the whole table's is of the record."""
    packed = tmp_path / "study.zip"
    archive(open_store(), scored.study, packed, pairs=False)
    files = packed_bytes(packed)
    manifest = json.loads(files["study.json"])
    run = next(run for run in manifest["runs"] if run["run_id"] == scored.first_id)
    name = f"artifacts/{run['run_id']}/scores/test.csv"
    places = [f"data.{side}={workshop.root / side}.jsonl" for side in SIDES]
    other = elsewhere()
    for old, new, reason in (
        (b"\n0,", b"\n1,", "with its pairs is not what it was; the archive is damaged"),
        (b"\n0,", b"\n60,", "is damaged: scores: pairs from 1 to 60: must be from 0 to 59"),
        (b"unit1", b"other", "is damaged: scores: columns pair,other,unit2,score: must be pair,unit1,unit2,score"),
    ):
        spoilt = files[name].replace(old, new, 1)
        run["files"]["scores/test.csv"] |= {"size": len(spoilt), "sha256": hashlib.sha256(spoilt).hexdigest()}
        with zipfile.ZipFile(tmp_path / "spoilt.zip", "w") as target:
            for path, content in {**files, name: spoilt, "study.json": json.dumps(manifest).encode()}.items():
                target.writestr(path, content)
        with pytest.raises(ConfigError) as refused:
            restored(other, tmp_path / "spoilt.zip", None, places)
        assert str(refused.value) == f"run {scored.short_id}: scores/test.csv {reason}"
    assert [each.name for each in other.client.search_experiments()] == ["Default"]
