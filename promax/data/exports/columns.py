"""The columns of an export, cell by cell, and one row a ticket of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from promax.config import ConfigError
from promax.data.exports.cells import cell_text
from promax.data.exports.dates import read_dates
from promax.data.exports.files import Table
from promax.data.exports.leaks import TEXT_ROLES

# ServiceNow's default limit on the rows of an export, and where it and Excel cut a cell.
ROW_LIMIT = 10_000
CELL_LIMITS = (32_000, 32_767)
# Usual lengths of ServiceNow's short_description.
SHORT_LIMITS = (80, 160)
# Of a display value and the value behind it, these are read as the latter: dates in UTC, not as a user saw them.
_RAW = ("sys_id", "opened", "resolved", "updated")


@dataclass(frozen=True, eq=False)
class Columns:
    """What an export says in each role, one row a ticket: `by_role[role][i]`, "" where it says nothing."""

    by_role: dict[str, list[str]]

    def get(self, role: str) -> list[str]:
        return self.by_role.get(role) or [""] * len(self)

    def __len__(self) -> int:
        return len(self.by_role["id"])


def read_columns(table: Table, found: dict[str, list[int]], day_first: bool | None) -> tuple[Columns, list[str]]:
    """Every cell as a text, the last row of each ticket kept; and notes on what is cut, repeated or missing.

    Without an id column, tickets are named by their row. Rows of one id are told apart by the role
    `updated`, as counts or as dates; the later row wins a tie.

    Raises:
        ConfigError: a row without an id, no rows at all, a cell that can't be a text.
    """
    by_role: dict[str, list[str]] = {role: [] for role in {"id": 0, **found}}
    cut = 0
    known: dict[str, str] = {}  # one object for all equal names: most columns repeat few values
    rows = 0
    for number, cells in tqdm(table.rows, desc="rows", unit="", disable=None, leave=False):
        rows += 1
        if "id" not in found:
            by_role["id"].append(f"{table.unit} {number}")
        for role, places in found.items():
            try:
                text = _cell(cells, role, places)
            except ValueError as error:
                raise ConfigError(f"{table.source}: {table.unit} {number}: {table.header[places[0]]} {error}") from None
            if role == "id" and not text:
                raise ConfigError(
                    f"{table.source}: {table.unit} {number}: {table.header[places[0]]} is empty; must be a ticket's id"
                )
            by_role[role].append(known.setdefault(text, text) if len(text) <= 64 else text)
            cut += len(text) in CELL_LIMITS and role in TEXT_ROLES
    if not rows:
        raise ConfigError(f"{table.source}: no rows below the header; must hold at least one ticket")
    columns, notes = _one_row_a_ticket(Columns(by_role), table, found, day_first)
    if rows == ROW_LIMIT:
        notes.insert(0, f"exactly {ROW_LIMIT:,} rows, the default limit of an export: probably cut")
    if cut:
        notes.append(f"texts of exactly 32,000 or 32,767 characters, probably cut: {cut}")
    return columns, notes + _cut_shorts(columns.get("short"))


def _cell(cells: Sequence[Any], role: str, places: list[int]) -> str:
    if len(places) == 1:
        return cell_text(cells[places[0]], raw=role in _RAW)
    filled = [text for place in places if (text := cell_text(cells[place]))]
    return ", ".join(filled) if role == "duplicates" else next(iter(filled), "")


def _one_row_a_ticket(
    columns: Columns, table: Table, found: dict[str, list[int]], day_first: bool | None
) -> tuple[Columns, list[str]]:
    ids = columns.by_role["id"]
    repeated = {each for each, count in Counter(ids).items() if count > 1}
    if not repeated:
        return columns, []
    rank, by = _ranks(columns.by_role.get("updated"), day_first), "their place in the file"
    if rank is not None:
        by = table.header[found["updated"][0]]
    last: dict[str, int] = {}
    for row, each in enumerate(ids):
        if each not in last or rank is None or rank(row) >= rank(last[each]):
            last[each] = row
    kept = sorted(last.values())
    note = f"ids on several rows: {len(repeated)}; the last by {by} is kept, rows left out: {len(ids) - len(kept)}"
    return Columns({role: [values[row] for row in kept] for role, values in columns.by_role.items()}), [note]


def _ranks(updated: list[str] | None, day_first: bool | None) -> Callable[[int], float] | None:
    """Row -> how late it is, by a column of counts or of dates; None: no such column, or none that can be read."""
    if updated is None:
        return None
    if all(each == "" or (each.isascii() and each.isdecimal()) for each in updated):
        counts = [int(each or -1) for each in updated]
        return counts.__getitem__
    moments, _ = read_dates(updated, day_first)
    seconds = [(moment - datetime.min).total_seconds() if moment else -1.0 for moment in moments]
    return seconds.__getitem__ if any(moments) else None


def _cut_shorts(shorts: list[str]) -> list[str]:
    """A note where the longest short description is as long as the column may be, and ends in the middle of a word."""
    longest = max(map(len, shorts), default=0)
    cut = sum(len(each) == longest and each[-1].isalnum() for each in shorts) if longest in SHORT_LIMITS else 0
    return [f"short descriptions of exactly {longest} characters, none longer, probably cut: {cut}"] if cut else []
