"""The verb and the audit of a training run, on the real encoder and a few generated tickets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from promax.audit import training
from promax.audit.finding import Report
from promax.cli import main
from promax.data import corpus
from promax.data.pairs import Pairs
from promax.tracking import RunInfo, get_run, open_store, read_text, runs_of
from promax.tracking.query import search

CANARY = "zyxwvut-canary"


def promax(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def write(path: Path, pairs: Pairs) -> Path:
    columns = zip(pairs.text1, pairs.text2, pairs.labels, strict=True)
    rows = [
        {"text1": f"{text1} {CANARY}", "text2": f"{text2} {CANARY}", "label": float(label >= 1)}
        for text1, text2, label in columns
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project root with train.jsonl, test.jsonl and sorted.jsonl, whose labels are sorted and shared with train."""
    root = tmp_path_factory.mktemp("it's a project")
    (root / "conf").symlink_to(Path(__file__).resolve().parents[2] / "conf")
    train, _, test = corpus.draw_pairs(corpus.generate(2000, seed=1), train=80, dev=20, test=60, seed=1)
    write(root / "train.jsonl", train)
    write(root / "test.jsonl", test)
    write(root / "leaky.jsonl", train.take(np.argsort(-train.labels, kind="stable")))
    write(root / "positives.jsonl", replace(test, labels=np.ones(len(test))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMAX_ROOT", str(root))
        patch.chdir(root)
        yield root


QUICK = ("device=cpu", "model.max_seq_length=32")


def audits(study: str) -> list[RunInfo]:
    store = open_store()
    found = search(store, f"tags.`promax.kind` = 'audit' and attributes.run_name = 'audit of {study}'")
    return [get_run(store, run.info.run_id) for run in found]


def test_a_clean_pair_of_sides_ends_with_zero_and_is_recorded(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(root / "train.jsonl"), "--test", str(root / "test.jsonl"), "--out", str(root / "out" / "clean")]
    assert promax("data", "audit", *files, *QUICK, "data.name=clean") == 0
    out = capsys.readouterr().out
    assert "nothing found: tickets on both sides (both)" in out
    (run,) = audits("clean")
    assert (run.status, run.study, run.metrics["audit/errors"]) == ("FINISHED", "promax", 0)
    assert run.metrics["audit/near_duplicate_share"] == 0
    assert run.params["data.train"] == str(root / "train.jsonl")
    written = {path.name for path in (root / "out" / "clean").iterdir()}
    assert written == {"report.md", "report.json", "similarities.png", "rules.png"}
    kept = (root / "out" / "clean" / "report.json").read_text()
    assert read_text(open_store(), run.run_id, "audit/report.json") == kept
    for text in (out, kept, (root / "out" / "clean" / "report.md").read_text()):
        assert CANARY not in text


def test_the_same_request_gives_the_same_bytes(root: Path) -> None:
    for folder in ("one", "two"):
        assert promax("data", "audit", str(root / "test.jsonl"), "--out", str(root / folder), *QUICK) == 0
    for file in ("report.md", "report.json", "similarities.png", "rules.png"):
        assert (root / "one" / file).read_bytes() == (root / "two" / file).read_bytes(), file


def test_what_training_would_refuse_is_found_and_ends_with_one(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert promax("data", "audit", str(root / "leaky.jsonl"), "--test", str(root / "train.jsonl"), *QUICK) == 1
    out = capsys.readouterr().out
    assert "test tickets are in train too" in out and "all positives come first" in out
    assert promax("data", "audit", str(root / "positives.jsonl"), *QUICK) == 1
    assert "one label only: all 60 are 1" in capsys.readouterr().out


def test_phases_are_judged_where_they_order_training(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A phase of one class is an error in what is trained on; `data build` sorts test by how hard a pair looks."""
    rows = [json.loads(line) for line in (root / "test.jsonl").read_text().splitlines()]
    phased = root / "phased.jsonl"
    phased.write_text("".join(json.dumps({**row, "phase": 1 + int(row["label"])}) + "\n" for row in rows))
    assert promax("data", "audit", str(phased), *QUICK) == 1
    assert "one class" in capsys.readouterr().out
    assert promax("data", "audit", str(root / "train.jsonl"), "--test", str(phased), *QUICK) == 0


def test_an_audit_is_no_run_to_compare(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert promax("data", "audit", str(root / "test.jsonl"), *QUICK, "study=alone", "data.name=alone") == 0
    assert len(audits("alone")) == 1
    assert runs_of(open_store(), "alone") == []
    assert promax("compare", "--study", "alone") == 2
    assert "no finished run in it yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["missing.jsonl"], "promax: missing.jsonl: no such file in "),
        (["test.jsonl", "data.trian=x"], "promax: data.trian: unknown key, did you mean data.train?"),
        (["test.jsonl", "--out", "test.jsonl"], "promax: --out test.jsonl: can't be made a folder: File exists"),
        (["tickets", "data.tickets.count=3"], "promax: data.tickets.count=3: must be at least 500"),
    ],
)
def test_a_wrong_request_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert promax("data", "audit", *arguments) == 2
    assert capsys.readouterr().err.startswith(text)


def test_the_embedded_corpus_is_audited_by_its_name(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["data.tickets.train_pairs=60", "data.tickets.dev_pairs=20", "data.tickets.test_pairs=60"]
    assert promax("data", "audit", "tickets", "data.tickets.count=500", *few, *QUICK) == 0
    assert "train: 60 pairs, tickets seed=0 count=500 train=60" in capsys.readouterr().out


def test_a_training_run_logs_the_audit_once_for_the_same_pairs(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its training texts is a test text with a word and a number more."""
    rows = [json.loads(line) for line in (root / "test.jsonl").read_text().splitlines()]
    near = [{**row, "text1": f"{row['text1']} again 17", "text2": f"{row['text2']} again 18"} for row in rows]
    (root / "near.jsonl").write_text("".join(json.dumps(row) + "\n" for row in near))
    files = ["data=pairs", f"data.train='{str(root).replace(chr(39), chr(92) + chr(39))}/near.jsonl'"]
    files.append("data.test=test.jsonl")
    quick = ["optim.epochs=1", "eval.bootstrap=100", "save=none", "study=audited", *QUICK]
    assert promax("train", *files, *quick) == 0
    said = capsys.readouterr().err
    assert "audit: error: near duplicates across (both):" in said
    monkeypatch.setattr(training, "examine", lambda *_: pytest.fail("examined again"))
    assert promax("train", *files, *quick, "seed=1") == 0
    assert "audit: error: near duplicates across (both):" in capsys.readouterr().err
    runs = [run for run in runs_of(open_store(), "audited") if run.tags["promax.kind"] == "tuned"]
    assert len(runs) == 2
    for run in runs:
        assert run.metrics["audit/errors"] >= 1
        assert {name for name in run.metrics if name.startswith("audit/")} == {
            *("audit/errors", "audit/warnings", "audit/notes"),
        }
        report = Report.from_json(json.loads(read_text(open_store(), run.run_id, "audit/report.json")))
        assert report.figures()["audit/near_duplicate_share"] > 0.5
        assert CANARY not in read_text(open_store(), run.run_id, "audit/report.md")
