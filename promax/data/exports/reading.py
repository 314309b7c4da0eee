"""`read_export`, top to bottom: file, columns, leaks, texts, tickets."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from promax.config import ConfigError, ExportConfig
from promax.data.exports.columns import Columns, read_columns
from promax.data.exports.dates import read_dates
from promax.data.exports.files import Table, open_table
from promax.data.exports.leaks import TEXT_ROLES, leaks_by_name, leaks_by_timing
from promax.data.exports.roles import find_columns, header_key, require
from promax.data.exports.texts import Texts, write_texts
from promax.data.exports.tickets import Export, Tickets

_BETWEEN_IDS = re.compile(r"[\s,;|]+")


def read_export(path: Path, cfg: ExportConfig) -> Export:
    """The tickets of an export: CSV, XLSX, JSON or JSON Lines, as ServiceNow, Jira or Bugzilla write them.

    Columns that the config doesn't name are guessed by their header. A column that tells how a ticket
    ended is refused where the config puts it into the text without `allow_leak`, and left out of the
    text where it was guessed. Tickets without any text are left out.

    Raises:
        ConfigError: a file that can't be read, that is no table, or in which the ids or texts can't be
            found; a cell, row or column that breaks a rule; with file, row and rule, and no ticket text.
    """
    table = open_table(path, cfg.encoding)
    found, guessed = find_columns(table.source, table.header, cfg.columns)
    require(table.source, table.header, found, number_rows=cfg.number_rows)
    used = [role for role in (TEXT_ROLES[:2] if cfg.context == "none" else TEXT_ROLES) if role in found]
    notes = _allowed(table, found, used, cfg)
    columns, told = read_columns(table, found, cfg.day_first)
    roles, left_out = _without_leaks(table, found, used, guessed, columns, cfg)
    texts = write_texts(
        columns, roles, jira_ids="id" in found and header_key(table.header[found["id"][0]]) == "issue id"
    )
    tickets, dropped = _tickets(columns, texts, cfg)
    if not len(tickets):
        raise ConfigError(
            f"{table.source}: no ticket has a text; name its columns with export.columns.short and others"
        )
    notes += [f"{table.source}: {each}" for each in [*told, *left_out, *texts.notes, *dropped]]
    mapping = {
        role: ", ".join(dict.fromkeys(table.header[place] for place in places)) for role, places in found.items()
    }
    return Export(tickets, mapping, frozenset(guessed), [*table.notes, *notes], f"{table.source} sha256:{table.sha256}")


def _allowed(table: Table, found: dict[str, list[int]], used: list[str], cfg: ExportConfig) -> list[str]:
    """Refuse what leaks by name and isn't allowed; notes on what is."""
    allowed = {header_key(each) for each in cfg.allow_leak}
    in_text = {table.header[place]: role for role in used for place in found[role]}
    for named in cfg.allow_leak:
        if header_key(named) not in map(header_key, in_text):
            raise ConfigError(
                f"export.allow_leak: {named} is no column of the text; it allows those of {table.source}"
                f" that export.columns puts into the text: {', '.join(in_text)}"
            )
    for header, role in in_text.items():
        if leaks_by_name(header) and header_key(header) not in allowed:
            raise ConfigError(
                f"{table.source}: export.columns.{role}={header}: by its name it is written when a ticket is worked on"
                f" or resolved, and tells the answer\nname another column, or accept it with"
                f" export.allow_leak=[{header}]"
            )
    return [
        f"{table.source}: {header} is in the text as {role} by export.allow_leak: what it says may be known only"
        " when a ticket is resolved"
        for header, role in in_text.items()
        if header_key(header) in allowed
    ]


def _without_leaks(
    table: Table, found: dict[str, list[int]], used: list[str], guessed: set[str], columns: Columns, cfg: ExportConfig
) -> tuple[frozenset[str], list[str]]:
    """The roles that may enter the text by when they are filled, and notes on those that may not."""
    allowed = {header_key(each) for each in cfg.allow_leak}
    resolved = columns.by_role.get("resolved")
    notes = [] if resolved is not None else ["no column of resolution dates, so leaks are told by name alone"]
    roles = set(used)
    for role in used:
        header = table.header[found[role][0]]
        why = None if header_key(header) in allowed else leaks_by_timing(columns.by_role[role], resolved)
        if why is not None and role not in guessed:
            raise ConfigError(
                f"{table.source}: export.columns.{role}={header}: {why}, so it is written after a ticket is opened\n"
                f"name another column, or accept it with export.allow_leak=[{header}]"
            )
        if why is not None:
            roles.remove(role)
            notes.append(f"{header} is left out of the text ({role}): {why}, so it is written after a ticket is opened")
    return frozenset(roles), notes


def _tickets(columns: Columns, texts: Texts, cfg: ExportConfig) -> tuple[Tickets, list[str]]:
    ids = columns.by_role["id"]
    opened, notes = read_dates(columns.get("opened"), cfg.day_first)
    id_of = dict(zip(columns.get("sys_id"), ids, strict=True))
    id_of.pop("", None)
    named = [[id_of.get(each, each) for each in ids_in(cell)] for cell in columns.get("duplicates")]
    parents = [id_of.get(each, each) for each in columns.get("parent")]
    tickets = Tickets(
        id=ids,
        text=texts.text,
        core=texts.core,
        category=columns.get("category"),
        service=columns.get("service"),
        opened=opened,
        problem=columns.get("problem"),
        parent=["" if parent == own else parent for parent, own in zip(parents, ids, strict=True)],
        links=[tuple(each for each in several if each != own) for several, own in zip(named, ids, strict=True)],
    )
    rows = np.array([row for row, core in enumerate(texts.core) if core], dtype=np.int64)
    dates = [f"opened: {each}" for each in notes]
    if len(rows) == len(tickets):
        return tickets, dates
    return tickets.take(rows), [*dates, f"tickets without any text, left out: {len(tickets) - len(rows)}"]


def ids_in(cell: str) -> list[str]:
    """The ids of a cell, each once: between them stand spaces, commas, semicolons or bars.

    >>> ids_in("13547000, 13396667")
    ['13547000', '13396667']
    """
    return list(dict.fromkeys(each for each in _BETWEEN_IDS.split(cell) if each))
