"""Logged runs against their baselines: paired differences with intervals, and the tier each run reaches.

Everything is computed from the per-pair scores in the record; no model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from promax import metrics
from promax.config import Config, ConfigError, EvalConfig, from_yaml
from promax.data.pairs import positives
from promax.metrics import Difference, UndefinedMetric
from promax.scores import ScoreTable
from promax.tiers import Standing, standing
from promax.tracking import RunInfo, Store, get_run, open_store, read_scores, read_text, runs_of

BASELINE_RUN = "promax.baseline_run"
SHOWN = ("spearman", "roc_auc")
TITLES = {"spearman": "Spearman", "roc_auc": "ROC-AUC"}
# Of a table that goes to a file or a pipe, in characters.
WIDTH = 120


@dataclass(frozen=True)
class Row:
    """One run of the comparison; `differences` is empty for a baseline."""

    run: RunInfo
    config: Config
    differences: dict[str, Difference]
    standing: Standing


def compare(references: Sequence[str], study: str | None, uri: str | None) -> list[Row]:
    """Print the comparison table of the named runs, or of a study's finished runs, and return its rows.

    Each run is set against its own baseline, on the pairs both were tested on.

    Raises:
        ConfigError: an unknown run or study, nothing finished in it, or runs tested on different pairs.
    """
    store = open_store(uri)
    rows = [_row(store, run) for run in _chosen(store, references, study)]
    show(rows, store)
    return rows


def differences(
    baseline: ScoreTable, tuned: ScoreTable, positive_from: float | None, cfg: EvalConfig, seed: int
) -> dict[str, Difference]:
    """Tuned less baseline in Spearman, ROC-AUC and PR-AUC, as far as the labels define them.

    Each resample is given to both.

    Raises:
        ConfigError: the two were not scored on the same pairs.
    """
    same = len(baseline) == len(tuned) and (baseline.id1, baseline.id2) == (tuned.id1, tuned.id2)
    if not same or not np.array_equal(baseline.label, tuned.label):
        raise ConfigError(
            f"the run and its baseline were tested on different pairs ({len(tuned)} and {len(baseline)}): can't compare"
        )
    positive = positives(tuned.label, positive_from)
    pair_by_pair = partial(
        metrics.paired_difference,
        units=tuned.units,
        replicates=cfg.bootstrap,
        seed=seed,
        confidence=cfg.confidence,
    )
    found: dict[str, Difference] = {}
    try:
        found["spearman"] = pair_by_pair(metrics.spearman, baseline.score, tuned.score, tuned.label)
        if positive is not None:
            found["roc_auc"] = pair_by_pair(metrics.roc_auc, baseline.score, tuned.score, positive)
            found["pr_auc"] = pair_by_pair(metrics.pr_auc, baseline.score, tuned.score, positive)
    except UndefinedMetric:
        # Said where the metric itself is reported: a difference exists only between two values.
        pass
    return found


def show(rows: Sequence[Row], store: Store) -> None:
    """Print the table, what it can't show, and where to look next."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    shown = [name for name in SHOWN if any(f"test/{name}" in row.run.metrics for row in rows)]
    table = Table(box=box.HORIZONTALS, title=f"on test, with {rows[0].config.eval.confidence:.0%} intervals")
    table.add_column("run", min_width=24)
    for name in shown:
        table.add_column(TITLES[name], justify="right")
        table.add_column("less baseline", justify="right")
    table.add_column("tier")
    table.add_column("by gain")
    for row in rows:
        cells = [cell for name in shown for cell in (_value(row, name), _difference(row, name))]
        tiers = (row.standing.absolute or "none", (row.standing.relative or "none") if row.differences else "")
        table.add_row(f"{row.run.name}\n[dim]{row.run.run_id[:8]}[/dim]", *cells, *tiers)
    console.print(table)
    for remark in _remarks(rows, shown):
        console.print(f"- {remark}")
    console.print(f"Recorded in {store.label}\nSee it in the browser: promax ui", soft_wrap=True)


def _chosen(store: Store, references: Sequence[str], study: str | None) -> list[RunInfo]:
    if references and study is not None:
        raise ConfigError(f"--study {study}: give runs or a study, not both")
    if not references:
        runs = [run for run in runs_of(store, study or "promax") if run.status == "FINISHED"]
        if not runs:
            raise ConfigError(f"--study {study or 'promax'}: no finished run in it yet")
        return sorted(runs, key=lambda run: (BASELINE_RUN in run.tags, run.start_time))
    runs = [get_run(store, reference) for reference in references]
    for run in runs:
        if run.status != "FINISHED":
            raise ConfigError(f"run {run.run_id[:8]}: is {run.status}; only a FINISHED run can be compared")
    baselines = {run.tags[BASELINE_RUN] for run in runs if BASELINE_RUN in run.tags} - {run.run_id for run in runs}
    return [*(get_run(store, each) for each in sorted(baselines)), *runs]


def _row(store: Store, run: RunInfo) -> Row:
    config = from_yaml(read_text(store, run.run_id, "config.yaml"))
    found: dict[str, Difference] = {}
    baseline_spearman = None
    if baseline_id := run.tags.get(BASELINE_RUN):
        tables = (read_scores(store, baseline_id, "test"), read_scores(store, run.run_id, "test"))
        found = differences(*tables, config.data.positive_from, config.eval, config.seed)
        baseline_spearman = get_run(store, baseline_id).metrics.get("test/spearman")
    reached = standing(
        config.tiers,
        spearman=run.metrics.get("test/spearman"),
        roc_auc=run.metrics.get("test/roc_auc"),
        baseline_spearman=baseline_spearman,
        adversarial=None,
    )
    return Row(run, config, found, reached)


def _value(row: Row, name: str) -> str:
    value, low, high = (row.run.metrics.get(f"test/{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "absent"
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f}\n{low:.4f} to {high:.4f}"


def _difference(row: Row, name: str) -> str:
    difference = row.differences.get(name)
    if difference is None:
        return ""
    return f"{difference.estimate:+.4f}\n{difference.interval.low:+.4f} to {difference.interval.high:+.4f}"


def verdict(difference: Difference) -> str:
    """What a difference with its interval says in a word or two.

    >>> from promax.metrics import Interval
    >>> verdict(Difference(0.02, Interval(-0.01, 0.05, 0.95)))
    'undecided'
    """
    if difference.interval.low > 0:
        return "better"
    return "worse" if difference.interval.high < 0 else "undecided"


def _remarks(rows: Sequence[Row], shown: Sequence[str]) -> list[str]:
    remarks = []
    for row in rows:
        if spearman := row.differences.get("spearman"):
            withheld = f"; withheld: {row.standing.withheld}" if row.standing.withheld else ""
            remarks.append(f"{row.run.run_id[:8]} against its baseline: [bold]{verdict(spearman)}[/bold]{withheld}")
    ceilings = sorted(
        {
            round(row.run.metrics["test/spearman_ceiling"], 3)
            for row in rows
            if "test/spearman_ceiling" in row.run.metrics
        }
    )
    if ceilings and ceilings[0] < 1:
        remarks.append(f"no scoring without ties can pass Spearman {', '.join(map(str, ceilings))} on these labels")
    if "roc_auc" not in shown:
        remarks.append("ROC-AUC is absent: graded labels; data.positive_from says which make a pair positive")
    elif all(row.run.tags.get("promax.labels") == "binary" for row in rows):
        remarks.append("with 0/1 labels Spearman and ROC-AUC are one piece of evidence, not two")
    return remarks
