"""A side as files: what promax's own reader finds in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from promax.config import ColumnsConfig
from promax.data.curriculum import Mined, write
from promax.data.readers import read_file


@pytest.fixture
def folder(make_tickets, tmp_path: Path) -> Path:
    tickets = make_tickets("abc", category=["net", "", "db"], core=["é 1", "two", "three"])
    pairs = Mined(
        rows=np.array([[0, 1], [2, 0]]),
        positive=np.array([False, True]),
        origin=np.array(["random", "link"]),
        similarity=np.array([0.1, 0.9]),
        phase=np.array([2, 1]),
    )
    write(pairs, tickets, tmp_path, "train", {"seed": 3})
    return tmp_path


def test_the_columns_are_those_that_were_promised(folder: Path) -> None:
    table = pq.read_table(folder / "train.parquet")
    assert table.column_names == ["text1", "text2", "label", "phase", "id1", "id2", "origin", "category1", "category2"]
    assert table.column("label").to_pylist() == [0, 1]
    assert table.column("origin").to_pylist() == ["random", "link"]


def test_the_columnar_json_is_the_known_one(folder: Path) -> None:
    held = json.loads((folder / "train.json").read_text(encoding="utf-8"))
    assert held["metadata"] == {"seed": 3}
    assert held["labels"] == [0, 1]
    assert held["phase_indicators"] == [2, 1]
    assert (held["categories1"], held["categories2"]) == (["net", "db"], ["", "net"])
    assert held["texts1"] == ["words of a (Context: [x])", "words of c (Context: [x])"]


def test_both_are_read_as_the_same_pairs(folder: Path) -> None:
    parquet, columnar = (
        read_file(str(folder / f"train.{kind}"), ColumnsConfig()).pairs for kind in ("parquet", "json")
    )
    assert parquet.fingerprint() == columnar.fingerprint()
    assert (parquet.id1, parquet.id2) == (["a", "c"], ["b", "a"])
    assert parquet.phases is not None
    assert parquet.phases.tolist() == [2, 1]
    assert parquet.category1 == ["net", "db"]


def test_no_pairs_are_a_file_too(make_tickets, folder: Path) -> None:
    nothing = np.empty(0, dtype=np.int64)
    write(
        Mined(nothing.reshape(0, 2), nothing.astype(bool), nothing.astype("<U13"), nothing.astype(float), nothing),
        make_tickets("a"),
        folder,
        "adversarial",
        {},
    )
    assert pq.read_table(folder / "adversarial.parquet").num_rows == 0
    assert json.loads((folder / "adversarial.json").read_text(encoding="utf-8"))["texts1"] == []
