"""A study that travels without its pairs: nothing of them is in the file, and with them it is what it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from promax.config import ConfigError
from promax.reproduce import restored
from promax.tracking import BASELINE_RUN, KIND_TAG, RunInfo, Store, archive, open_store, runs_of
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
    assert len(tables) == 4 and {text.partition(b"\n")[0] for text in tables.values()} == {b"pair,score"}
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
    workshop: Any, tmp_path: Path, elsewhere: Callable[[], Store], caplog: pytest.LogCaptureFixture
) -> None:
    run = workshop.train(*GENERATED)
    store, packed = open_store(), tmp_path / "study.zip"
    before = files_of(store, run.run_id, tmp_path / "before")
    table = before["scores/adversarial.csv"].decode().splitlines()
    assert 1 < len(table) < 600 and any(name.startswith("texts/") for name in before)
    archive(store, "generated", packed, pairs=False)
    assert caplog.messages[-1] == "left out, since pairs may be in it: texts"
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


def spoilt(packed: Path, run: RunInfo, path: str, content: bytes) -> Path:
    """The archive with another file of a run, and with the archive's own hash of it made to agree."""
    files = packed_bytes(packed)
    manifest = json.loads(files["study.json"])
    (archived,) = [each for each in manifest["runs"] if each["run_id"] == run.first_id]
    archived["files"][path] |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    files |= {f"artifacts/{run.first_id}/{path}": content, "study.json": json.dumps(manifest).encode()}
    with zipfile.ZipFile(packed.with_name("spoilt.zip"), "w") as target:
        for name, each in files.items():
            target.writestr(name, each)
    return packed.with_name("spoilt.zip")


def test_scores_that_were_changed_are_refused(
    workshop: Any, scored: RunInfo, tmp_path: Path, elsewhere: Callable[[], Store]
) -> None:
    """Even where the archive's own hashes were made to agree: that of the whole table is of the record."""
    packed = tmp_path / "study.zip"
    archive(open_store(), scored.study, packed, pairs=False)
    content = packed_bytes(packed)[f"artifacts/{scored.first_id}/scores/test.csv"]
    places = [f"data.{side}={workshop.root / side}.jsonl" for side in SIDES]
    other = elsewhere()
    for old, new, reason in (
        (b"\n0,", b"\n1,", "with its pairs is not what it was; the archive is damaged"),
        (b"\n0,", b"\n60,", "is damaged: scores: pairs from 1 to 60: must be from 0 to 59"),
        (b"\n0,", b"\n9\n0,", "is damaged: scores: row 0 has 1 values: must have 2"),
        (b"\n0,", b"\n" + b"9" * 20 + b",", "is damaged: scores: a whole number of more than 64 bits"),
        (b"\n0,", b"\n" + b"9" * 200_000 + b",", "is damaged: scores: field larger than field limit (131072)"),
        (b"score", b"label", "is damaged: scores: columns pair,label: must be pair,score"),
    ):
        with pytest.raises(ConfigError) as refused:
            restored(other, spoilt(packed, scored, "scores/test.csv", content.replace(old, new, 1)), None, places)
        assert str(refused.value) == f"run {scored.short_id}: scores/test.csv {reason}"
    assert [each.name for each in other.client.search_experiments()] == ["Default"]


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmnopqrstuvwxyz"))
OUTSIDE = "is outside of this folder\nsay where it lies: promax restore SPOILT data.test=FILE"
DAMAGED = "run RUN: no config.yaml that says where its pairs are; is it damaged?"
# What a stranger's archive may say of its pairs -> what is answered.
STRANGE: dict[str, tuple[str, str]] = {
    "absolute": ("data: {source: files, train: train.jsonl, test: /etc/hosts}", f"data.test=/etc/hosts: {OUTSIDE}"),
    "climbs": ("data: {source: files, train: train.jsonl, test: ../a.jsonl}", f"data.test=../a.jsonl: {OUTSIDE}"),
    "home": ("data: {source: files, train: train.jsonl, test: ~/a.jsonl}", f"data.test=~/a.jsonl: {OUTSIDE}"),
    "pipe": (
        "data: {source: files, train: train.jsonl, test: test.jsonl}",
        "data.train=ROOT/train.jsonl: can't be read: must be a regular file, no pipe or device",
    ),
    "hub": (
        "data: {source: hub, path: some/huge, train: train, test: test}",
        "data.path=some/huge: is a data set of the hub\n"
        "if it is to be fetched, say so: promax restore SPOILT data.path=some/huge",
    ),
    "generated for ever": (
        "data: {source: tickets, tickets: {count: 1000000000}}",
        "run RUN: config.yaml: data.tickets.count=1000000000: must be at most 1000000",
    ),
    "another key": ("data: {source: tickets, unheard: 1}", "run RUN: config.yaml: data.unheard: unknown key."),
    "bomb": (BOMB + "data: {source: tickets}", DAMAGED),
    "huge": ("data: {source: tickets} #" + "x" * 1_000_000, DAMAGED),
    "nothing": ("null", DAMAGED),
    "a list": ("[1]", DAMAGED),
    "no data": ("seed: 0", DAMAGED),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_a_strangers_archive_says_of_its_pairs_is_not_followed_far(
    workshop: Any, scored: RunInfo, tmp_path: Path, elsewhere: Callable[[], Store], kind: str
) -> None:
    config, answer = STRANGE[kind]
    packed = tmp_path / "study.zip"
    archive(open_store(), scored.study, packed, pairs=False)
    # Of the baseline, which comes first.
    (baseline,) = [run for run in runs_of(open_store(), scored.study) if run.tags[KIND_TAG] == "baseline"]
    strange = spoilt(packed, baseline, "config.yaml", config.encode())
    other = elsewhere()
    for name in ("train.jsonl", "test.jsonl"):
        os.mkfifo(name)
    with pytest.raises(ConfigError) as refused:
        restored(other, strange, None, [])
    said = str(refused.value).replace(str(strange), "SPOILT").replace(str(Path.cwd()), "ROOT")
    assert said.replace(baseline.short_id, "RUN").startswith(answer)
    assert [each.name for each in other.client.search_experiments()] == ["Default"]


def test_runs_with_other_files_each_get_theirs(workshop: Any, tmp_path: Path, elsewhere: Callable[[], Store]) -> None:
    """One has its dev cut from train, also for its baseline, and the other trains on another file."""
    root = workshop.root
    shutil.copy(root / "dev.jsonl", root / "more.jsonl")
    cut = workshop.train("study=files", "data.dev=null", "data.dev_share=0.4")
    other_file = workshop.train("study=files", "data.train=more.jsonl", "data.dev=train.jsonl")
    store, packed = open_store(), tmp_path / "study.zip"
    before = {run.run_id: files_of(store, run.run_id, tmp_path / run.run_id) for run in runs_of(store, "files")}
    assert len(before) == 4 and {cut.run_id, other_file.run_id} < set(before)
    # A baseline whose dev was cut is reproduced as well.
    assert workshop.reproduce(cut.tags[BASELINE_RUN], "--dry-run")[0] == 0
    archive(store, "files", packed, pairs=False)
    other = elsewhere()
    places = [f"data.{side}={root / side}.jsonl" for side in SIDES]
    places += [f"data.train={root / 'more.jsonl'}", f"data.dev={root / 'train.jsonl'}"]
    with pytest.raises(ConfigError, match=r"^data\.transfer=a: no run of study files had data\.transfer, so it can't "):
        restored(other, packed, None, [*places, "data.transfer=a"])
    found = restored(other, packed, None, places)
    for run_id, files in before.items():
        assert files_of(other, found.ids[run_id], tmp_path / f"after {run_id}") == files
