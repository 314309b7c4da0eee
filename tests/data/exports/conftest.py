"""A desk at which exports are written down and read."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from promax.config import ConfigError, ExportColumnsConfig, ExportConfig
from promax.data.exports import Export, read_export, read_links

Rows = Sequence[Sequence[Any]]


class Desk:
    # Stands in for the text of a ticket, wherever a message must not quote one.
    canary = "zebrafish seven quits"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def csv(rows: Rows, **dialect: Any) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, **dialect).writerows(rows)
        return text.getvalue().encode()

    @staticmethod
    def xlsx(*sheets: Rows) -> bytes:
        from openpyxl import Workbook

        book = Workbook()
        book.remove(book.active)
        for rows in sheets:
            sheet = book.create_sheet()
            for row in rows:
                sheet.append(list(row))
        target = io.BytesIO()
        book.save(target)
        return target.getvalue()

    def read(
        self, data: bytes | Rows, columns: dict[str, str] | None = None, name: str = "e.csv", **cfg: Any
    ) -> Export:
        """Reads `data`, a file's bytes or the rows of a CSV; further keys are the config's."""
        path = self.folder / name
        path.write_bytes(data if isinstance(data, bytes) else self.csv(data))
        export = read_export(path, ExportConfig(columns=ExportColumnsConfig(**(columns or {})), **cfg))
        assert self.canary not in " ".join(export.notes)
        assert all("\n" not in note for note in export.notes)
        return export

    def links(self, data: bytes | Rows, name: str = "links.csv", **cfg: Any) -> list[tuple[str, str]]:
        path = self.folder / name
        path.write_bytes(data if isinstance(data, bytes) else self.csv(data))
        return read_links(path, ExportConfig(**cfg))

    def refusal(self, *args: Any, links: bool = False, **cfg: Any) -> str:
        """What a user is told; never more than two lines, never a ticket's text."""
        with pytest.raises(ConfigError) as caught:
            (self.links if links else self.read)(*args, **cfg)
        assert self.canary not in str(caught.value)
        assert len(str(caught.value).splitlines()) <= 2
        return str(caught.value)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
