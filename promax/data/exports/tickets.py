"""`Tickets`, what an export comes to: one row a ticket, its text ready for an encoder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Tickets:
    """Tickets, column-wise; row i of every column belongs to ticket i, and each id stands once.

    Attributes:
        id: as in the export (number, issue key or id, bug id).
        text: by `promax.data.template.ticket_text`, with or without its context as the config says.
        core: the same without context.
        category, service: "" where a ticket has none.
        opened: without time zone (a zone that was written has been converted to UTC); None: not known.
        problem: what tickets of one problem share, "" where there is none.
        parent: id of the parent ticket, "" where there is none. A parent outside the export may be a sys_id.
        links: ids that the export's own link columns name as duplicates, in or outside the export.
    """

    id: list[str]
    text: list[str]
    core: list[str]
    category: list[str]
    service: list[str]
    opened: list[datetime | None]
    problem: list[str]
    parent: list[str]
    links: list[tuple[str, ...]]

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, each.name)) for each in fields(self)}
        assert len(lengths) == 1, f"columns of different lengths: {sorted(lengths)}"
        assert len(set(self.id)) == len(self.id), "an id stands twice"

    def __len__(self) -> int:
        return len(self.id)

    def take(self, rows: NDArray[np.int64]) -> Tickets:
        """The tickets at `rows`, in that order; no row twice."""
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        return Tickets(**{name: [column[row] for row in rows] for name, column in columns.items()})

    def fingerprint(self) -> str:
        """sha256, in hex, over all columns in order.

        Every column, value and list of links is preceded by its length, so no two contents give the same bytes.
        """
        digest = hashlib.sha256()
        for each in fields(self):
            column = getattr(self, each.name)
            digest.update(len(column).to_bytes(8, "little"))
            for value in column:
                if isinstance(value, tuple):
                    digest.update(len(value).to_bytes(8, "little") + b"".join(map(_counted, value)))
                else:
                    digest.update(_counted("" if value is None else str(value)))
        return digest.hexdigest()


@dataclass(frozen=True)
class Export:
    """A ticket export that was read.

    Attributes:
        tickets: in the file's order.
        mapping: role -> header, as the file writes it.
        guessed: the roles of `mapping` that the config did not name.
        notes: what a user must be told, one line each, without any ticket's text.
        origin: what identifies the content later: file name and sha256.
    """

    tickets: Tickets
    mapping: dict[str, str]
    guessed: frozenset[str]
    notes: list[str]
    origin: str


def _counted(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(8, "little") + data
