"""A verdict on the terminal: the claims, what a reader must know first, the causes that the record supports."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from promax.compare import TITLES, WIDTH
from promax.confirm import wording
from promax.confirm.findings import Findings
from promax.confirm.report import answer, labels

STYLES = {"CONFIRMED": "green", "REFUTED": "red", "UNDECIDED": "yellow"}


def show(findings: Findings) -> None:
    """Print the claims, what a reader must know first, and the causes that the record supports."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    study = findings.study
    console.print(study.rule.question, markup=False, soft_wrap=True)
    level = f"{100 * study.rule.confidence:g} % intervals"
    table = Table(box=box.HORIZONTALS, title=f"{TITLES[study.rule.metric]} on test, {level}, p by Holm")
    for name in ("claim", "holds from", "measured", "p"):
        table.add_column(name, no_wrap=name != "claim", justify="left" if name == "claim" else "right")
    table.add_column("verdict", no_wrap=True)
    table.add_column("what would decide it", ratio=1)
    for each in findings.judgements:
        style = STYLES[each.verdict]
        cells = (each.claim.name, wording.bound(each, study.rule), wording.measured(each), wording.probability(each.p))
        table.add_row(*map(_escaped, cells), f"[{style}]{each.verdict}[/{style}]", _escaped(each.lacks))
    console.print(table)
    for line in [answer(findings), *study.notes, *labels(findings)]:
        console.print(f"- {line}", markup=False, soft_wrap=True)
    if findings.causes:
        supported = ", ".join(each.name for each in findings.causes if each.standing == "supported")
        console.print(f"- known causes that the record supports: {supported or 'none'}", soft_wrap=True)


def _escaped(text: str) -> str:
    """Brackets are rich's markup."""
    return text.replace("[", "\\[")
