"""The scores of one evaluated side, pair by pair, and their file.

What is written reads back to the last bit, so the correlations, the areas under curves, their
intervals and the paired differences of a finished run can be computed again from its record.
Ids and numbers only: no ticket text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("pair", "id1", "id2", "unit1", "unit2", "label", "score")
PHASE = "phase"
# What is left of the columns where the pairs may not travel. Units say which of them are positive, or share a ticket.
BARE = ("pair", "score")


@dataclass(frozen=True)
class ScoreTable:
    """Scored pairs, column-wise; row i of every column belongs to the same pair.

    `pair` (n,) is the pair's row number on its side, `units` (n, 2) the two resampling units that
    carry it, `score` (n,) the model's similarity, higher meaning more alike. `phases` (n,) is
    absent where the data says nothing about phases.

    Raises:
        ValueError: columns of different lengths, or a label or score that is not finite.
    """

    pair: NDArray[np.int64]
    id1: list[str]
    id2: list[str]
    units: NDArray[np.int64]
    label: NDArray[np.float64]
    score: NDArray[np.float64]
    phases: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        lengths = [len(self.pair), len(self.id1), len(self.id2), len(self.units), len(self.label), len(self.score)]
        if self.phases is not None:
            lengths.append(len(self.phases))
        if len(set(lengths)) != 1 or self.units.shape != (len(self.pair), 2):
            raise ValueError(f"scores: columns of lengths {lengths}, units of shape {self.units.shape}: must agree")
        for name, values in (("label", self.label), ("score", self.score)):
            if not np.isfinite(values).all():
                row = int(np.flatnonzero(~np.isfinite(values))[0])
                raise ValueError(f"scores: {name}={values[row]} in row {row}: must be finite")

    def __len__(self) -> int:
        return len(self.pair)

    def to_csv(self) -> str:
        """The table as CSV text: columns of `COLUMNS`, then `phase` where phases are known.

        Floats are written as the shortest digits that read back to the same bits (`repr`).
        """
        columns = [self.pair, self.id1, self.id2, *self.units.T, self.label, self.score]
        return _csv_of(COLUMNS, columns) if self.phases is None else _csv_of((*COLUMNS, PHASE), [*columns, self.phases])

    def to_bare_csv(self) -> str:
        """The columns of `BARE` as CSV text: all that the pairs don't say themselves."""
        return _csv_of(BARE, [self.pair, self.score])

    @classmethod
    def from_csv(cls, text: str) -> ScoreTable:
        """The table that `to_csv` wrote.

        Raises:
            ValueError: other columns, a row of another width, or a value of the wrong type.

        >>> table = ScoreTable.from_csv("pair,id1,id2,unit1,unit2,label,score\\n0,INC1,INC2,0,1,1.0,0.1\\n")
        >>> table.score.tolist(), table.units.tolist(), table.phases
        ([0.1], [[0, 1]], None)
        """
        column = _columns_of(text, [COLUMNS, (*COLUMNS, PHASE)])
        return cls(
            pair=_whole(column["pair"]),
            id1=list(column["id1"]),
            id2=list(column["id2"]),
            units=np.stack([_whole(column["unit1"]), _whole(column["unit2"])], axis=1),
            label=np.array(column["label"], dtype=np.float64),
            score=np.array(column["score"], dtype=np.float64),
            phases=_whole(column[PHASE]) if PHASE in column else None,
        )


def read_bare(text: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The pairs' numbers and scores that `to_bare_csv` wrote.

    Raises:
        ValueError: as `ScoreTable.from_csv`.

    >>> [each.tolist() for each in read_bare("pair,score\\n1,0.5\\n")]
    [[1], [0.5]]
    """
    column = _columns_of(text, [BARE])
    return _whole(column["pair"]), np.array(column["score"], dtype=np.float64)


def _csv_of(names: Sequence[str], columns: Sequence[Sequence[str] | NDArray[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*(each.tolist() if isinstance(each, np.ndarray) else each for each in columns), strict=True))
    return text.getvalue()


def _whole(values: Sequence[str]) -> NDArray[np.int64]:
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        raise ValueError("scores: a whole number of more than 64 bits") from None


def _columns_of(text: str, allowed: Sequence[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Name -> values of CSV text with the columns of one of `allowed`."""
    try:
        lines = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise ValueError(f"scores: {error}") from None
    header, rows = tuple(lines[0] if lines else ()), lines[1:]
    if header not in allowed:
        must = ",".join(allowed[0]) + (f"[,{PHASE}]" if len(allowed) > 1 else "")
        raise ValueError(f"scores: columns {','.join(header)}: must be {must}")
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(f"scores: row {number} has {len(row)} values: must have {len(header)}")
    return dict(zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True))
