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

from promax.journal import LOSS, is_of_epochs
from promax.scores import ScoreTable
from promax.tracking import RunInfo, Store, artifacts_in, curves, read_text

# How long it took is not what came out.
TIMINGS = ("train/seconds", "train/other_seconds", "train/pairs_per_second")
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
    """Everything that both runs were to have, in the order of a run.

    `stop_after` is the epoch after which both were ended, if they were. Their epochs alone are compared then: the first
    may have been on its way through its evaluation, and the second was ended before one.
    """
    found = [_losses(store, then, now)] if stop_after is None and "train/steps" in then.metrics else []
    before, after = (_curves(store, run, stop_after) for run in (then, now))
    for name in sorted({*before, *after} - set(TIMINGS), key=lambda name: (_rank(name), name)):
        found.append(_metric(name, before.get(name, {}), after.get(name, {})))
    if stop_after is None:
        paths = sorted({*artifacts_in(store, then.run_id, "scores"), *artifacts_in(store, now.run_id, "scores")})
        found += [_scores(store, path, then, now) for path in paths]
    return found


def _curves(store: Store, run: RunInfo, stop_after: int | None) -> dict[str, dict[int, float]]:
    """Every metric at every step; those of the epochs up to `stop_after`, where that is given."""
    if stop_after is None:
        return curves(store, run)
    found = curves(store, run, [name for name in run.metrics if is_of_epochs(name)])
    within = {
        name: {step: value for step, value in points.items() if step <= stop_after} for name, points in found.items()
    }
    # What only the evaluation has of dev, such as the ends of intervals, has no point among the epochs.
    return {name: points for name, points in within.items() if points}


def _rank(name: str) -> int:
    order = ("train", "dev", "test", "transfer", "delta")
    group = name.partition("/")[0]
    return order.index(group) if group in order else len(order)


def _metric(name: str, then: dict[int, float], now: dict[int, float]) -> Compared:
    group = name.partition("/")[0]
    tolerance = EXACT if group == "train" and name != LOSS else METRICS
    return _compared(f"{group} metrics", name, "step", then, now, tolerance)


def _losses(store: Store, then: RunInfo, now: RunInfo) -> Compared:
    def by_step(run: RunInfo) -> dict[int, float]:
        rows = csv.DictReader(io.StringIO(read_text(store, run.run_id, "steps.csv")))
        return {int(row["step"]): float(row["loss"]) for row in rows}

    return _compared("loss of each step", "steps.csv", "step", by_step(then), by_step(now), METRICS)


def _scores(store: Store, path: str, then: RunInfo, now: RunInfo) -> Compared:
    """The scores of one side, by pair; none where a run has no such file."""

    def by_pair(run: RunInfo) -> dict[int, float]:
        if path not in artifacts_in(store, run.run_id, "scores"):
            return {}
        table = ScoreTable.from_csv(read_text(store, run.run_id, path))
        return dict(zip(table.pair.tolist(), table.score.tolist(), strict=True))

    side = path.removeprefix("scores/").removesuffix(".csv")
    return _compared(f"scores on {side}", path, "pair", by_pair(then), by_pair(now), SCORES)


def _compared(
    group: str, name: str, unit: str, then: dict[int, float], now: dict[int, float], tolerance: float
) -> Compared:
    """Value by value; `unit` is what their numbers count. No recorded value is NaN, so it stands for a missing one."""
    places = sorted({*then, *now})
    before, after = (np.array([side.get(place, np.nan) for place in places]) for side in (then, now))
    same = before.view(np.int64) == after.view(np.int64)
    off = np.nan_to_num(np.abs(before - after), nan=np.inf)
    worst = int(off.argmax())
    return Compared(group, name, len(places), int(same.sum()), float(off[worst]), tolerance, f"{unit} {places[worst]}")
