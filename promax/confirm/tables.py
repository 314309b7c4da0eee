"""The figures of a verdict as tables: every run, every claim, every effect; as CSV to compute with."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

import numpy as np

from promax.confirm.findings import Findings
from promax.confirm.study import Judged, Member
from promax.metrics import Interval
from promax.tracking import RunInfo

Table = list[list[object]]


def results(findings: Findings) -> str:
    """results.csv: one row a run, the un-tuned baseline first; floats with every digit."""
    study, varied = findings.study, findings.study.rule.varied
    judged = [(side, metric) for side, metric in findings.evidence]
    dev = f"dev_{study.config.optim.select_by}"
    header = [
        *("learning_rate", "epochs", *varied, "seed", "run_id", "commit"),
        *(f"{side}_{metric}" for side, metric in judged),
        *("best_epoch", f"{dev}_best", f"{dev}_last", "train_loss_last", "train_seconds"),
    ]
    cells = len(study.settings)
    untuned = [None, 0, *[None] * len(varied), None, *_made(study.baseline)]
    rows: Table = [[*untuned, *_scores(findings, judged, cells, 0), *[None] * 5]]
    for cell, runs in enumerate(study.members):
        for seed, member in enumerate(runs):
            setting = [member.setting.lr, member.setting.epochs, *(member.setting.also[key] for key in varied)]
            named = [*setting, member.seed, *_made(member.run)]
            rows.append([*named, *_scores(findings, judged, cell, seed), *_course(member)])
    return _csv(header, rows)


def _made(run: RunInfo) -> list[object]:
    return [run.first_id, run.tags.get("promax.git_commit")]


def _scores(findings: Findings, judged: Sequence[tuple[Judged, str]], cell: int, seed: int) -> list[object]:
    return [float(findings.evidence[each].values[cell, seed]) for each in judged]


def _course(member: Member) -> list[object]:
    best, last = int(np.nanargmax(member.dev)), member.dev[-1]
    return [
        best + 1,
        member.dev[best],
        None if math.isnan(last) else last,
        member.loss[-1],
        member.run.metrics.get("train/seconds"),
    ]


def claims(findings: Findings) -> str:
    """claims.csv: one row a claim. Relative figures are shares: 0.02 is 2 %."""
    header = [
        *("claim", "of", "published", "at_least", "verdict", "lacks", "p_holm"),
        *("effect", "low", "high", "relative", "relative_low", "relative_high", "smallest_seen"),
    ]
    rows: Table = [
        [
            *(each.claim.name, each.claim.of, each.claim.published, each.claim.at_least),
            *(each.verdict, each.lacks, each.p),
            *_ends(each.measured.estimate, each.measured.interval),
            *_relative(each.relative),
            each.tested.smallest,
        ]
        for each in findings.judgements
    ]
    return _csv(header, rows)


def effects(findings: Findings) -> str:
    """effects.csv: one row an effect, metric and side, with the parts of its standard error."""
    header = [
        *("side", "metric", "effect", "estimate", "low", "high", "relative", "relative_low", "relative_high"),
        *("p", "standard_error", "from_tickets", "from_seeds", "from_both", "smallest_seen"),
    ]
    rows: Table = [
        [
            *(each.side, each.metric, each.contrast.name),
            *_ends(each.effect.estimate, each.effect.interval),
            *_relative(each.relative),
            *(each.effect.p, each.effect.spread.error),
            *(part**0.5 for part in (each.effect.spread.tickets, each.effect.spread.seeds, each.effect.spread.both)),
            each.effect.smallest,
        ]
        for each in findings.effects
    ]
    return _csv(header, rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a Markdown page."""
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ends(estimate: float, interval: Interval) -> list[object]:
    return [estimate, interval.low, interval.high]


def _relative(of: tuple[float, Interval] | None) -> list[object]:
    return [None, None, None] if of is None else _ends(*of)


def _csv(header: list[str], rows: Table) -> str:
    """Empty cells for what there is none of; floats as the shortest digits that read back to the same bits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([repr(cell) if isinstance(cell, float) else cell for cell in row] for row in rows)
    return text.getvalue()
