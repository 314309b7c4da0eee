"""Logged runs against their baselines: paired differences with intervals, and the tier each run reaches.

Everything is computed from the per-pair scores in the record; no model is loaded.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from promax import metrics
from promax.config import Config, ConfigError, EvalConfig, TiersConfig, from_yaml
from promax.data.pairs import positives
from promax.metrics import Difference, UndefinedMetric
from promax.scores import ScoreTable
from promax.tiers import Standing, standing
from promax.tracking import (
    BASELINE_RUN,
    RunInfo,
    Store,
    get_run,
    open_store,
    read_scores,
    read_text,
    runs_of,
    study_link,
    ui_address,
)

SHOWN = ("spearman", "roc_auc")
TITLES = {"spearman": "Spearman", "roc_auc": "ROC-AUC", "pr_auc": "PR-AUC"}
# Tags of a run: what its adversarial diagnostic came to, and why it is not passed.
ADVERSARIAL, ADVERSARIAL_REASON = "promax.adversarial", "promax.adversarial_reason"
# Tag of a run: the highest tier that it reached absolutely, or "none".
TIER = "promax.tier"
# Of a table that goes to a file or a pipe, in characters.
WIDTH = 140


@dataclass(frozen=True)
class Row:
    """One run of the comparison; `differences` is empty for a baseline, `absent` says why one has no value."""

    run: RunInfo
    config: Config
    differences: dict[str, Difference]
    absent: dict[str, str]
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
) -> tuple[dict[str, Difference], dict[str, str]]:
    """Tuned less baseline in Spearman, ROC-AUC and PR-AUC; and, for those without a value, why.

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
    asked = {"spearman": partial(pair_by_pair, metrics.spearman, target=tuned.label)}
    if positive is not None:
        asked["roc_auc"] = partial(pair_by_pair, metrics.roc_auc, target=positive)
        asked["pr_auc"] = partial(pair_by_pair, metrics.pr_auc, target=positive)
    found: dict[str, Difference] = {}
    absent: dict[str, str] = {}
    for name, difference in asked.items():
        try:
            found[name] = difference(scores_a=baseline.score, scores_b=tuned.score)
        except UndefinedMetric as reason:
            absent[name] = str(reason)
    return found, absent


def reached(
    tiers: TiersConfig, test: Mapping[str, float], baseline: RunInfo | None, adversarial: str | None
) -> Standing:
    """The tiers that a run's test metrics and adversarial diagnostic reach, absolutely and against its baseline."""
    return standing(
        tiers,
        spearman=test.get("spearman"),
        roc_auc=test.get("roc_auc"),
        baseline_spearman=baseline.metrics.get("test/spearman") if baseline is not None else None,
        adversarial=adversarial,
    )


def show(rows: Sequence[Row], store: Store) -> None:
    """Print the table, what it can't show, and where to look next."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    shown = [name for name in SHOWN if any(f"test/{name}" in row.run.metrics for row in rows)]
    levels = sorted({100 * row.config.eval.confidence for row in rows})
    table = Table(box=box.HORIZONTALS, title=f"on test, with {', '.join(f'{each:g}' for each in levels)} % intervals")
    table.add_column("run", ratio=1, min_width=12)
    for name in shown:
        table.add_column(TITLES[name], justify="right", no_wrap=True)
        table.add_column("less baseline", justify="right", no_wrap=True)
    table.add_column("tier", no_wrap=True)
    table.add_column("by gain", no_wrap=True)
    table.add_column("adversarial", no_wrap=True)
    for row in rows:
        cells = [cell for name in shown for cell in (_value(row, name), _difference(row, name))]
        tiers = (row.standing.absolute or "none", (row.standing.relative or "none") if row.differences else "")
        status = row.run.tags.get(ADVERSARIAL, "not run")
        table.add_row(f"{row.run.name}\n[dim]{row.run.short_id}[/dim]", *cells, *tiers, status)
    console.print(table)
    for remark in _remarks(rows, shown):
        console.print(f"- {remark}")
    console.print(f"Recorded in {store.label}", soft_wrap=True)
    where = "" if store.is_server else f"{_command()} ui, then "
    for study in dict.fromkeys(row.run.study for row in rows):
        link = study_link(ui_address(store), store.experiment_id(study))
        console.print(f"See it in the browser: {where}{link}", soft_wrap=True)


def _command() -> str:
    """How promax is called here: by name where the shell finds it, else by the path beside this Python."""
    if shutil.which("promax"):
        return "promax"
    script = Path(sys.executable).with_name("promax")
    return str(script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script)


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
            raise ConfigError(f"run {run.short_id}: is {run.status}; only a FINISHED run can be compared")
    baselines = {run.tags[BASELINE_RUN] for run in runs if BASELINE_RUN in run.tags} - {run.run_id for run in runs}
    return [*(get_run(store, each) for each in sorted(baselines)), *runs]


def _row(store: Store, run: RunInfo) -> Row:
    config = from_yaml(read_text(store, run.run_id, "config.yaml"))
    baseline = get_run(store, run.tags[BASELINE_RUN]) if BASELINE_RUN in run.tags else None
    found: dict[str, Difference] = {}
    absent: dict[str, str] = {}
    if baseline is not None:
        tables = (read_scores(store, baseline.run_id, "test"), read_scores(store, run.run_id, "test"))
        found, absent = differences(*tables, config.data.positive_from, config.eval, config.seed)
    test = {name.removeprefix("test/"): value for name, value in run.metrics.items() if name.startswith("test/")}
    return Row(run, config, found, absent, reached(config.tiers, test, baseline, run.tags.get(ADVERSARIAL)))


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
            remarks.append(f"{row.run.short_id} against its baseline: [bold]{verdict(spearman)}[/bold]{withheld}")
        remarks += [f"{row.run.short_id}: no difference in {TITLES[name]}: {why}" for name, why in row.absent.items()]
    remarks += _adversarial_remarks(rows)
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


def _adversarial_remarks(rows: Sequence[Row]) -> list[str]:
    """Why runs have not passed the adversarial diagnostic: one line a reason, with the runs that it is true of."""
    runs: dict[str, list[str]] = {}
    for row in rows:
        if reason := row.run.tags.get(ADVERSARIAL_REASON):
            runs.setdefault(f"{row.run.tags[ADVERSARIAL]}: {reason}", []).append(row.run.short_id)
    return [
        f"{'all runs' if len(ids) == len(rows) > 1 else ', '.join(ids)}: adversarial diagnostic {what}"
        for what, ids in runs.items()
    ]
