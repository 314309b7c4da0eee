"""A report for people: on the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from promax.audit.finding import FOUND, Finding, Report

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
# Of a report that goes to a file or a pipe, in characters.
WIDTH = 120


def summary(report: Report) -> str:
    """The verdict in a line.

    >>> summary(Report([Finding("balance of labels", "test", "clean", "500 of 1000")], {}, ""))
    'nothing found by 1 check'
    """
    counts = [(len(report.of(severity)), severity) for severity in FOUND]
    found = ", ".join(f"{count} {name}{'s' * (count > 1)}" for count, name in counts if count)
    clean, skipped = len(report.of("clean")), len(report.of("unchecked"))
    checks = f"{clean} check{'s' * (clean != 1)}"
    told = f"{found}; {checks} found nothing" if found else f"nothing found by {checks}"
    return f"{told}; {skipped} could not be made" if skipped else told


def show(report: Report) -> None:
    """Print the report: what was found, worst first, then what was looked at in vain, and what could not be."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    for line in subject_lines(report):
        console.print(line, soft_wrap=True)
    if found := report.of(*FOUND):
        table = Table(box=box.HORIZONTALS, show_lines=True)
        table.add_column("severity", no_wrap=True)
        table.add_column("check", max_width=16)
        table.add_column("side", no_wrap=True)
        table.add_column("what was found, and what to do", ratio=1)
        for each in found:
            style = STYLES[each.severity]
            told = f"{_escaped(each.text)}\n[dim]→ {_escaped(each.advice)}[/dim]"
            table.add_row(f"[{style}]{each.severity}[/{style}]", each.check, each.where, told)
        console.print(table)
    for title, severity in (("nothing found", "clean"), ("not checked", "unchecked")):
        for each in report.of(severity):  # type: ignore[arg-type]
            told = _escaped(f"{each.check} ({each.where}): {each.text}")
            console.print(f"[dim]{title}:[/dim] {told}", soft_wrap=True)
    console.print(f"[bold]{summary(report)}[/bold]")


def markdown(report: Report, title: str) -> str:
    """The report as a Markdown page; `figures` beside it are named as the flow writes them."""
    parts = [f"# {title}", *subject_lines(report), f"**{summary(report).capitalize()}.**"]
    if found := report.of(*FOUND):
        rows = [(f"**{each.severity}**", each.check, each.where, each.text, each.advice) for each in found]
        parts.append(_table(("severity", "check", "side", "found", "what to do"), rows))
    if clean := report.of("clean"):
        parts += ["Nothing found:", _table(("check", "side", "looked at"), _plain(clean))]
    if unchecked := report.of("unchecked"):
        parts += ["Not checked:", _table(("check", "side", "why"), _plain(unchecked))]
    return "\n\n".join(parts) + "\n"


def subject_lines(report: Report) -> list[str]:
    """What was audited, a line a side, and by which encoder."""
    lines = []
    for side, of in report.subject.items():
        close = "" if of["sampled"] == of["pairs"] else f"; {of['sampled']} drawn at random were read closely"
        lines.append(f"{side}: {of['pairs']} pairs, {of['origin']}{close}")
    return [*lines, f"similarities: {report.encoder}, un-tuned; intervals in brackets at 99 %"]


def _plain(findings: Sequence[Finding]) -> list[tuple[str, ...]]:
    return [(each.check, each.where, each.text) for each in findings]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Brackets are rich's markup."""
    return text.replace("[", "\\[")
