"""The parts of a side, by phase or category, as a run's record keeps them: a table, and a chart of each kind."""

from __future__ import annotations

import csv
import io

from promax import figures
from promax.evaluate import Evaluation, Slice
from promax.tracking import Run, RunInfo, finished_slices

# A longer chart is no longer read; the table has them all.
MOST_BARS = 20
TITLES = {"roc_auc": "ROC-AUC", "spearman": "Spearman"}


def log_slices(record: Run, side: str, found: Evaluation, baseline: RunInfo | None) -> None:
    """Write slices/<side>.csv and, where the run is to have figures, figures/<kind>_<side>.png beside the baseline's.

    None of dev, which has chosen and therefore flatters.
    """
    if not found.slices:
        return
    record.log_text(_table(found), f"slices/{side}.csv")
    shown = next((name for name in TITLES if name in found.metrics), None)
    if not record.pictures or side == "dev" or shown is None:
        return
    before = _values(finished_slices(record.store, baseline.run_id, side), shown) if baseline is not None else {}
    for kind in dict.fromkeys(each.kind for each in found.slices):
        parts = [each for each in found.slices if each.kind == kind and shown in each.metrics]
        largest = sorted(parts, key=lambda each: -each.pairs)[:MOST_BARS]
        if largest:
            rows = [
                (each.name, each.pairs, each.metrics[shown], _interval(each, shown), before.get((kind, each.name)))
                for each in largest
            ]
            figure = figures.slices(rows, found.metrics[shown], f"{side}: {TITLES[shown]} by {kind}")
            record.log_figure(figure, f"figures/{kind}_{side}.png")


def _table(found: Evaluation) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("kind", "name", "pairs", "metric", "value", "low", "high"))
    for each in found.slices:
        for name, value in each.metrics.items():
            # Both ends are empty where too few resamples define them.
            ends = _interval(each, name)
            low, high = (repr(ends[0]), repr(ends[1])) if ends is not None else ("", "")
            writer.writerow((each.kind, each.name, each.pairs, name, repr(value), low, high))
    return text.getvalue()


def _values(table: str, metric: str) -> dict[tuple[str, str], float]:
    rows = csv.DictReader(io.StringIO(table))
    return {(row["kind"], row["name"]): float(row["value"]) for row in rows if row["metric"] == metric}


def _interval(part: Slice, name: str) -> tuple[float, float] | None:
    found = part.intervals.get(name)
    return (found.low, found.high) if found is not None else None
