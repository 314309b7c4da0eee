"""A reproduction for people: the plan before, the result after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from promax.reproduce.comparison import Compared
from promax.reproduce.reasons import UNEXPLAINED
from promax.reproduce.record import Recorded
from promax.tracking import RunInfo

# Of a report that goes to a file or a pipe, in characters.
WIDTH = 120
VERDICTS = {
    "equal": "equal to the last bit",
    "close": "the same within the stated tolerance",
    "drifted": "not the same",
}


def show_plan(
    recorded: Recorded,
    code: Path | None,
    checkout: Path | None,
    sides: dict[str, list[Any]],
    others: Sequence[str],
    fresh: bool,
) -> None:
    """What will be run again, in which code and packages, on which pairs, and how long it took then."""
    console, run = _console(), recorded.run
    lines = [("run", f"{run.short_id} {run.name}, study {run.study}, {run.start_time:%Y-%m-%d}")]
    if recorded.stop_after is not None:
        lines.append(("", f"was ended after epoch {recorded.stop_after}; so will this one be"))
    lines.append(("code", _code(recorded, code, checkout)))
    lines.append(("packages", f"{len(recorded.requirements)}, installed afresh" if fresh else "those installed here"))
    lines += [("differs", line) for line in others]
    lines += [(side, f"✓ {pairs} pairs, {origin}") for side, (_, pairs, origin) in sides.items()]
    checked = recorded.tag("model_files_sha256") is not None or recorded.config["model"].get("sha256") is not None
    lines.append(("encoder", f"{'✓' if checked else 'no hash recorded,'} {recorded.config['model']['path']}"))
    optim = recorded.config["optim"]
    settings = ", ".join(f"{name} {optim[name]}" for name in ("lr", "epochs", "batch_size", "loss") if name in optim)
    lines.append(("config", f"{settings}, seed {recorded.config['seed']}, device {recorded.tag('device')}"))
    if (seconds := run.metrics.get("train/seconds")) is not None:
        lines.append(("training", f"took {seconds:.0f} s then"))
    for name, text in lines:
        console.print(f"{name:<11} {escape(text)}", soft_wrap=True)


def _code(recorded: Recorded, code: Path | None, checkout: Path | None) -> str:
    if code is None or recorded.commit is None:
        return f"the installed promax {recorded.tag('version.promax')}"
    changed = recorded.diff.count("\ndiff --git ") + recorded.diff.startswith("diff --git ")
    change = f", with its change of {changed} file{'s' * (changed != 1)}" if recorded.diff else ""
    return f"commit {recorded.commit[:12]} of {checkout}{change}"


def outcome(found: Sequence[Compared]) -> str:
    """The state of the whole: that of its worst part."""
    states = {each.state for each in found}
    return next(state for state in ("drifted", "close", "equal") if state in states)


def show_result(found: Sequence[Compared], causes: Sequence[str], then: RunInfo, now: RunInfo) -> None:
    """What is equal to the bit, what is within tolerance, what drifted, and why that may be."""
    console, state = _console(), outcome(found)
    table = Table(box=box.HORIZONTALS, title=f"{now.short_id}, which reproduces {then.short_id}")
    for title in ("", "values", "equal to the bit", "within tolerance", "drifted", "largest difference", "tolerance"):
        table.add_column(title, justify="left" if not title else "right", no_wrap=True)
    for group in dict.fromkeys(each.group for each in found):
        table.add_row(group, *_cells([each for each in found if each.group == group]))
    console.print(table)
    drifted = [each for each in found if each.state == "drifted"]
    for group in dict.fromkeys(each.group for each in drifted):
        furthest = max((each for each in drifted if each.group == group), key=lambda each: each.largest)
        console.print(f"- {furthest.name}: {_difference(furthest)}")
    if state != "equal":
        for number, cause in enumerate(causes or [UNEXPLAINED]):
            console.print(f"{'likeliest reason' if number == 0 else 'then'}: {escape(cause)}", soft_wrap=True)
    equal, values = sum(each.equal for each in found), sum(each.values for each in found)
    console.print(f"[bold]{VERDICTS[state]}[/bold]: {equal} of {values} values are equal to the bit")


def as_json(found: Sequence[Compared], causes: Sequence[str]) -> str:
    """The comparison as it goes into the record of the new run; null stands for a value that one side lacks."""
    rows = [
        {**asdict(each), "largest": None if each.largest == float("inf") else each.largest, "state": each.state}
        for each in found
    ]
    return json.dumps({"outcome": outcome(found), "differs": list(causes), "compared": rows}, indent=2) + "\n"


def _cells(rows: Sequence[Compared]) -> list[str]:
    beyond = {state: sum(each.values - each.equal for each in rows if each.state == state) for state in VERDICTS}
    largest = max(each.largest for each in rows)
    tolerances = sorted({each.tolerance for each in rows})
    shown = " or ".join("none" if each == 0 else f"{each:g}" for each in tolerances)
    return [
        str(sum(each.values for each in rows)),
        str(sum(each.equal for each in rows)),
        str(beyond["close"]),
        f"[bold]{beyond['drifted']}[/bold]" if beyond["drifted"] else "0",
        "missing" if largest == float("inf") else f"{largest:.2g}",
        shown,
    ]


def _difference(each: Compared) -> str:
    if each.largest == float("inf"):
        return f"one run has no value at {each.place}"
    return f"differs by {each.largest:.2g} at {each.place}, where {each.tolerance:g} is let pass"


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console
