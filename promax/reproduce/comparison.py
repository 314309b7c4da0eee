"""Two runs of one config side by side: every metric at every step, every loss, every pair's score.

Two notions of sameness. Equal to the bit is what the same code, packages, data and kind of processor give. Within
tolerance is what is left of that where sums are taken in another order, by another number of threads or another
processor: `SCORES` and `METRICS` say how much is let pass, and `experiments/reproduce/` what was measured.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promax.scores import ScoreTable
from promax.tracking import RunInfo, Store, artifacts_in, curves, read_text

# How long it took is not what came out.
TIMINGS = ("train/seconds", "train/pairs_per_second")
# A count or a setting that was read from the optimizer: rounding has no part in it.
EXACT = 0.0
# Absolute, of cosines and of what is computed from them.
SCORES, METRICS = 1e-4, 1e-3

State = Literal["equal", "close", "drifted"]


@dataclass(frozen=True)
class Compared:
    """One metric, or one column of a file, in both runs.

    `values` are compared, `equal` of them to the bit; `largest` is the largest difference, infinite where a value
    is missing on one side, `tolerance` what is let pass. `place` says where the largest difference is.
    """

    group: str
    name: str
    values: int
    equal: int
    largest: float
    tolerance: float
    place: str

    @property
    def state(self) -> State:
        if self.equal == self.values:
            return "equal"
        return "close" if self.largest <= self.tolerance else "drifted"


def compare(store: Store, then: RunInfo, now: RunInfo, stop_after: int | None) -> list[Compared]:
    """Everything that both runs were to have, in the order of a run; `stop_after` is where the first was ended."""
    found = [_losses(store, then, now)] if stop_after is None and "train/steps" in then.metrics else []
    before, after = curves(store, then), curves(store, now)
    for name in sorted({*before, *after} - set(TIMINGS), key=lambda name: (_rank(name), name)):
        sides = [
            {step: value for step, value in each.get(name, {}).items() if stop_after is None or step <= stop_after}
            for each in (before, after)
        ]
        if stop_after is None or sides[0]:
            found.append(_metric(name, *sides))
    if stop_after is None:
        paths = sorted({*artifacts_in(store, then.run_id, "scores"), *artifacts_in(store, now.run_id, "scores")})
        found += [_scores(store, path, then, now) for path in paths]
    return found


def _rank(name: str) -> int:
    order = ("train", "dev", "test", "transfer", "delta")
    group = name.partition("/")[0]
    return order.index(group) if group in order else len(order)


def _metric(name: str, then: dict[int, float], now: dict[int, float]) -> Compared:
    group = name.partition("/")[0]
    tolerance = EXACT if group == "train" and name != "train/loss" else METRICS
    steps = sorted({*then, *now})
    values = [np.array([side.get(step, np.nan) for step in steps]) for side in (then, now)]
    return _compared(f"{group} metrics", name, *values, tolerance, [f"step {step}" for step in steps])


def _losses(store: Store, then: RunInfo, now: RunInfo) -> Compared:
    columns = []
    for run in (then, now):
        rows = list(csv.DictReader(io.StringIO(read_text(store, run.run_id, "steps.csv"))))
        columns.append(np.array([float(row["loss"]) for row in rows]))
    longest = max(map(len, columns))
    padded = [np.pad(column, (0, longest - len(column)), constant_values=np.nan) for column in columns]
    places = [f"step {step}" for step in range(1, longest + 1)]
    return _compared("loss of each step", "steps.csv", *padded, METRICS, places)


def _scores(store: Store, path: str, then: RunInfo, now: RunInfo) -> Compared:
    """The scores of one side, by pair."""
    tables = [
        ScoreTable.from_csv(read_text(store, run.run_id, path))
        if path in artifacts_in(store, run.run_id, "scores")
        else None
        for run in (then, now)
    ]
    columns = [
        {} if table is None else dict(zip(table.pair.tolist(), table.score.tolist(), strict=True)) for table in tables
    ]
    pairs = sorted({*columns[0], *columns[1]})
    values = [np.array([column.get(pair, np.nan) for pair in pairs]) for column in columns]
    side = path.removeprefix("scores/").removesuffix(".csv")
    return _compared(f"scores on {side}", path, *values, SCORES, [f"pair {pair}" for pair in pairs])


def _compared(
    group: str, name: str, then: NDArray[np.float64], now: NDArray[np.float64], tolerance: float, places: list[str]
) -> Compared:
    """`nan` stands for a value that is missing; no recorded one is."""
    same = then.view(np.int64) == now.view(np.int64)
    off = np.nan_to_num(np.abs(then - now), nan=np.inf)
    off[same] = 0.0
    worst = int(off.argmax())
    return Compared(group, name, len(off), int(same.sum()), float(off[worst]), tolerance, places[worst])
