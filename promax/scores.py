"""The scores of one evaluated side, pair by pair, and their file.

What is written reads back to the last bit, so the correlations, the areas under curves, their
intervals and the paired differences of a finished run can be computed again from its record.
Ids and numbers only: no ticket text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("pair", "id1", "id2", "unit1", "unit2", "label", "score")
PHASE = "phase"


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
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS if self.phases is None else (*COLUMNS, PHASE))
        writer.writerows(self._rows())
        return text.getvalue()

    def _rows(self) -> Iterator[tuple[object, ...]]:
        columns: list[list[object]] = [
            self.pair.tolist(),
            list(self.id1),
            list(self.id2),
            self.units[:, 0].tolist(),
            self.units[:, 1].tolist(),
            self.label.tolist(),
            self.score.tolist(),
        ]
        if self.phases is not None:
            columns.append(self.phases.tolist())
        return zip(*columns, strict=True)

    @classmethod
    def from_csv(cls, text: str) -> ScoreTable:
        """The table that `to_csv` wrote.

        Raises:
            ValueError: other columns, a row of another width, or a value of the wrong type.

        >>> table = ScoreTable.from_csv("pair,id1,id2,unit1,unit2,label,score\\n0,INC1,INC2,0,1,1.0,0.1\\n")
        >>> table.score.tolist(), table.units.tolist(), table.phases
        ([0.1], [[0, 1]], None)
        """
        reader = csv.reader(io.StringIO(text))
        header = tuple(next(reader, ()))
        if header not in (COLUMNS, (*COLUMNS, PHASE)):
            raise ValueError(f"scores: columns {','.join(header)}: must be {','.join(COLUMNS)}[,{PHASE}]")
        rows = list(reader)
        for number, row in enumerate(rows):
            if len(row) != len(header):
                raise ValueError(f"scores: row {number} has {len(row)} values: must have {len(header)}")
        column = dict(zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True))
        units = np.array([column["unit1"], column["unit2"]], dtype=np.int64).T.reshape(-1, 2)
        return cls(
            pair=np.array(column["pair"], dtype=np.int64),
            id1=list(column["id1"]),
            id2=list(column["id2"]),
            units=units,
            label=np.array(column["label"], dtype=np.float64),
            score=np.array(column["score"], dtype=np.float64),
            phases=np.array(column[PHASE], dtype=np.int64) if PHASE in column else None,
        )
