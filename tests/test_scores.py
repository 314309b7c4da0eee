"""The file of per-pair scores."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from promax.scores import ScoreTable


def table(n: int = 40, *, phases: bool = False) -> ScoreTable:
    rng = np.random.default_rng(0)
    return ScoreTable(
        pair=rng.permutation(n),
        id1=[f"INC{number}" for number in range(n)],
        id2=[f"INC{number + 1}" for number in range(n)],
        units=rng.integers(0, 5, (n, 2)),
        label=rng.random(n),
        score=rng.standard_normal(n) * 10.0 ** rng.integers(-300, 300, n),
        phases=rng.integers(1, 4, n) if phases else None,
    )


@pytest.mark.parametrize("phases", [False, True])
def test_what_is_written_is_read_back_to_the_last_bit(phases: bool) -> None:
    written = table(phases=phases)
    found = ScoreTable.from_csv(written.to_csv())
    for name in ("pair", "units", "label", "score"):
        one, two = getattr(written, name), getattr(found, name)
        assert (one.dtype, one.shape, one.tobytes()) == (two.dtype, two.shape, two.tobytes())
    assert (found.id1, found.id2) == (written.id1, written.id2)
    if phases:
        assert written.phases is not None and found.phases is not None
        assert found.phases.tolist() == written.phases.tolist()
    else:
        assert found.phases is None


def test_the_file_is_plain_csv() -> None:
    one = ScoreTable(
        np.array([7]), ["INC1"], ['a,"b"'], np.array([[3, 4]]), np.array([1.0]), np.array([0.1]), np.array([2])
    )
    assert one.to_csv() == 'pair,id1,id2,unit1,unit2,label,score,phase\n7,INC1,"a,""b""",3,4,1.0,0.1,2\n'


def test_ids_keep_every_character() -> None:
    odd = ["", " x ", "a,b", '"', "é\n2", "a\r\nb", "None"]
    n = len(odd)
    written = replace(table(n), id1=odd)
    assert ScoreTable.from_csv(written.to_csv()).id1 == odd


def test_no_pairs_are_a_table_too() -> None:
    assert len(ScoreTable.from_csv(table(0).to_csv())) == 0


@pytest.mark.parametrize(("column", "value"), [("score", np.nan), ("score", np.inf), ("label", np.nan)])
def test_a_score_or_label_that_is_no_number_is_refused(column: str, value: float) -> None:
    good = table()
    bad = getattr(good, column).copy()
    bad[3] = value
    with pytest.raises(ValueError, match=rf"^scores: {column}={value} in row 3: must be finite$"):
        replace(good, **{column: bad})


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(
        ValueError, match=re.escape("columns of lengths [40, 39, 40, 40, 40, 40], units of shape (40, 2)")
    ):
        replace(table(), id1=table(39).id1)
    with pytest.raises(ValueError, match=re.escape("units of shape (40, 3): must agree")):
        replace(table(), units=np.zeros((40, 3), dtype=np.int64))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "scores: columns : must be pair,id1,id2,unit1,unit2,label,score[,phase]"),
        ("pair,score\n", "scores: columns pair,score: must be pair,id1,id2,unit1,unit2,label,score[,phase]"),
        ("pair,id1,id2,unit1,unit2,label,score\n0,a,b,0,1,1.0\n", "scores: row 0 has 6 values: must have 7"),
        ("pair,id1,id2,unit1,unit2,label,score\n0,a,b,0,1,1.0,high\n", "could not convert string to float"),
    ],
)
def test_a_damaged_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ScoreTable.from_csv(text)
