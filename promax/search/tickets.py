"""The tickets that are searched: those of an export, or the different ones of a pair file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promax.config import ColumnsConfig, ConfigError, ExportConfig
from promax.data.columns import USUAL_NAMES
from promax.data.curriculum import linked_truth
from promax.data.exports import read_export
from promax.data.exports.files import open_table
from promax.data.groups import components
from promax.data.pairs import Pairs, positives
from promax.data.readers import read_file


@dataclass(frozen=True, eq=False)
class Searched:
    """Tickets, column-wise.

    Attributes:
        id: each ticket's id, as the file has it first.
        text: what an encoder is given.
        row: every id that the file has -> the ticket's row.
        problem: (n,), what tickets that the file knows as duplicates share; -1 where a ticket has none.
    """

    id: list[str]
    text: list[str]
    row: dict[str, int]
    problem: NDArray[np.int64]

    def duplicates(self, row: int) -> NDArray[np.bool_]:
        """(n,): which tickets are known duplicates of one, itself not among them."""
        same: NDArray[np.bool_] = (self.problem == self.problem[row]) & (self.problem >= 0)
        same[row] = False
        return same


def read_tickets(path: Path, export: ExportConfig, columns: ColumnsConfig, positive_from: float | None) -> Searched:
    """The tickets of a file; a table with two texts a row is a pair file, any other an export.

    Duplicates are what an export links, and in a pair file what positive pairs say, both with their
    transitive closure.

    Raises:
        ConfigError: as `read_export` and `read_file`, never with a ticket's text.
    """
    if _holds_pairs(path, columns):
        return _of_pairs(read_file(str(path), columns).pairs, positive_from)
    tickets = read_export(path, export).tickets
    truth = linked_truth(tickets, [])
    return Searched(tickets.id, tickets.text, {name: row for row, name in enumerate(tickets.id)}, truth.group)


def _holds_pairs(path: Path, columns: ColumnsConfig) -> bool:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl", ".json"):
        return suffix == ".parquet"
    try:
        header = {name.strip().casefold() for name in open_table(path, None).header}
    except ConfigError:
        # No table of tickets: what is wrong with it, the reader of pairs says of JSON, that of exports of the others.
        return suffix == ".json" and path.exists()
    both = [(getattr(columns, role), *USUAL_NAMES[role]) for role in ("text1", "text2")]
    return all(any(name is not None and name.casefold() in header for name in names) for names in both)


def _of_pairs(pairs: Pairs, positive_from: float | None) -> Searched:
    numbers = pairs.tickets()
    ids = [name for both in zip(pairs.id1, pairs.id2, strict=True) for name in both]
    texts = [text for both in zip(pairs.text1, pairs.text2, strict=True) for text in both]
    row: dict[str, int] = {}
    for name, number in zip(ids, numbers.ravel().tolist(), strict=True):
        row.setdefault(name, number)
    first = np.unique(numbers.ravel(), return_index=True)[1].tolist()
    positive = positives(pairs.labels, positive_from)
    edges = numbers[pairs.labels == 1.0 if positive is None else positive]
    found = components(np.concatenate([np.arange(len(first))[:, None].repeat(2, axis=1), edges]))
    alone = np.bincount(found)[found] == 1
    return Searched([ids[at] for at in first], [texts[at] for at in first], row, np.where(alone, -1, found))
