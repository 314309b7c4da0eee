"""Duplicate links in a file of their own."""

from __future__ import annotations

from pathlib import Path

from promax.config import ConfigError, ExportConfig
from promax.data.exports.cells import cell_text
from promax.data.exports.files import Table, open_table
from promax.data.exports.reading import ids_in
from promax.data.exports.roles import USUAL_HEADERS, header_key, seen


def read_links(path: Path, cfg: ExportConfig) -> list[tuple[str, str]]:
    """Pairs of ids (ticket, duplicate) in the file's order, as often as the file names them.

    One column holds a ticket's id, the other the ids of its duplicates, several a cell if need be;
    `cfg.links_columns` names both, else they are found by their usual headers, or are the file's only
    two. Ids need not stand in any export, and a row without a duplicate gives no pair.

    Raises:
        ConfigError: as for an export; columns that can't be found; a row with a duplicate but no id.
    """
    table = open_table(path, cfg.encoding)
    one, other = _columns(table, cfg.links_columns)
    links = []
    for number, cells in table.rows:
        try:
            own, duplicates = cell_text(cells[one]), ids_in(cell_text(cells[other]))
        except ValueError as error:
            raise ConfigError(f"{table.source}: {table.unit} {number}: an id {error}") from None
        if duplicates and not own:
            raise ConfigError(f"{table.source}: {table.unit} {number}: {table.header[one]} is empty; must be an id")
        links += [(own, each) for each in duplicates]
    return links


def _columns(table: Table, named: list[str] | None) -> tuple[int, int]:
    keys = [header_key(each) for each in table.header]
    if named is not None:
        places = [keys.index(header_key(each)) for each in named if header_key(each) in keys]
        if len(set(places)) != 2:
            raise ConfigError(
                f"{table.source}: export.links_columns=[{','.join(named)}]: must be two of its columns\n"
                f"{seen(table.header)}"
            )
        return places[0], places[1]
    found = [
        next((keys.index(name) for name in USUAL_HEADERS[role] if name in keys), None) for role in ("id", "duplicates")
    ]
    if found[0] is not None and found[1] is not None:
        return found[0], found[1]
    if len(table.header) == 2:
        return 0, 1
    raise ConfigError(
        f"{table.source}: no columns of ids and of their duplicates; name both with"
        f" export.links_columns=[ID,DUPLICATES]\n{seen(table.header)}"
    )
