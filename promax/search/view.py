"""Two rankings side by side on the terminal."""

from __future__ import annotations

from itertools import zip_longest

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from promax.search.ranking import Hit

# Of output that goes to a file or a pipe, in characters.
WIDTH = 140
# Of a ticket's text: more than any terminal is wide, and little to look at.
LONGEST = 500


def show(
    query: str,
    names: tuple[str, str],
    rankings: tuple[list[Hit], list[Hit]],
    ids: list[str],
    texts: list[str],
    duplicates: set[int],
) -> None:
    """Print the rankings by the baseline and by the run: of each ticket, a line of facts over a line of its text."""
    console = _console()
    table = Table(box=box.HORIZONTALS, expand=True)
    table.add_column("", width=len(str(len(rankings[0]))), justify="right")
    for name in names:
        table.add_column(name, ratio=1, no_wrap=True, overflow="ellipsis")
    top = len(rankings[0])
    for left, right in zip_longest(*rankings):
        cells = [
            _cell(hit, moved, ids[hit.row], texts[hit.row], hit.row in duplicates)
            for hit, moved in ((left, _leaving(left, top)), (right, _moved(right, top)))
        ]
        table.add_row(str(left.rank), *cells)
    console.print(Text(f"query: {plain(query)}"), no_wrap=True, overflow="ellipsis")
    console.print(table)


def say(line: str) -> None:
    """Print a line as it is."""
    _console().print(line, soft_wrap=True)


def plain(text: str) -> str:
    """A text on one line, without what a terminal would take for commands.

    >>> plain("disk\\n full\\x1b[2J")
    'disk full [2J'
    """
    shown = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(shown.split())[:LONGEST]


def _console() -> Console:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def _cell(hit: Hit, moved: str, name: str, text: str, duplicate: bool) -> Text:
    facts = Text(f"{plain(name)}  {hit.score:.3f}", style="bold")
    if moved:
        facts.append(f"  {moved}", style="cyan")
    if duplicate:
        facts.append("  duplicate", style="green")
    return Text("\n").join([facts, Text(plain(text))])


def _moved(hit: Hit, top: int) -> str:
    """How a ticket came to its rank.

    >>> [_moved(Hit(0, 0.5, 2, before), top=5) for before in (2, 4, 1, 31)]
    ['', 'up from 4', 'down from 1', 'in from 31']
    """
    if hit.other_rank == hit.rank:
        return ""
    way = "in" if hit.other_rank > top else "up" if hit.other_rank > hit.rank else "down"
    return f"{way} from {hit.other_rank}"


def _leaving(hit: Hit, top: int) -> str:
    return f"out to {hit.other_rank}" if hit.other_rank > top else ""
