"""The table in a file, whatever the file's quirks: its encoding, blank rows, the message that stands for a row."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from promax.config import ConfigError
from promax.data.exports.formats import READERS, Row
from promax.files import regular

# ServiceNow writes this as the last row where Excel's limit on cells stopped it.
ROW_LIMIT_MESSAGE = "export stopped due to excessive size"


@dataclass(frozen=True)
class Table:
    """A header and the rows below it, which can be gone through once.

    Attributes:
        source: the file's name; errors and notes begin with it.
        unit: what rows are counted in, "line" or "row".
        header: the names, as written, without a byte order mark.
        rows: a row's number in `unit` and its cells, one a name. Blank rows are left out.
        notes: what a user must be told; complete when `rows` has been gone through.
        sha256: of the file, in hex.
    """

    source: str
    unit: str
    header: list[str]
    rows: Iterator[Row]
    notes: list[str]
    sha256: str


def open_table(path: Path, encoding: str | None) -> Table:
    """The table in `path`, by suffix: .csv, .tsv, .xlsx, .json, .jsonl.

    Raises:
        ConfigError: a file that can't be read or holds no table, here or while going through the
            rows; with the line or row and the rule, never with a cell.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None and not path.is_dir():
        raise ConfigError(f"{path.name}: suffix {path.suffix or 'missing'}; must be {', '.join(READERS)}")
    try:
        sha256, found = _look_through(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: a folder, not a file") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    assert reader is not None  # a folder was refused above
    notes: list[str] = []
    if found == "cp1252" and encoding is None and path.suffix.lower() != ".xlsx":
        notes.append(f"{path.name}: not UTF-8, so read as Windows-1252; if letters come out wrong, set export.encoding")
    unit, records = reader(path, encoding or found, notes)
    _, names = next(records, (0, []))
    # A spreadsheet breaks lines in headers; with an encoding that was set, the byte order mark is still there.
    header = [" ".join(str("" if name is None else name).removeprefix("\ufeff").split()) for name in names]
    if not any(name.strip() for name in header):
        raise ConfigError(f"{path.name}: no table in it; must begin with a row of column names")
    return Table(path.name, unit, header, _tidy(path.name, unit, len(header), records, notes), notes, sha256)


def _look_through(path: Path) -> tuple[str, str]:
    """The file's sha256 and encoding: what its byte order mark says, else UTF-8 if it is that, else Windows-1252.

    No detector: of five samples of German tickets in Windows-1252 charset-normalizer 3.5 took two for mac_latin2.
    """
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    start, is_utf8 = b"", True
    with regular(path).open("rb") as file:
        while True:
            chunk = file.read(1 << 20)
            start = start or chunk[:2]
            digest.update(chunk)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                is_utf8 = False
            if not chunk:
                break
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return digest.hexdigest(), "utf-16"
    return digest.hexdigest(), "utf-8-sig" if is_utf8 else "cp1252"


def _tidy(source: str, unit: str, width: int, records: Iterator[Row], notes: list[str]) -> Iterator[Row]:
    """The rows without blank ones and without a row-limit message at the end."""
    message: Row | None = None
    for number, cells in records:
        filled = [cell for cell in cells if cell is not None and cell != ""]
        if not filled:
            continue
        if message is not None:  # rows come after it, so it was none
            yield _whole(source, unit, width, message)
        is_message = len(filled) == 1 and str(filled[0]).strip().lower().startswith(ROW_LIMIT_MESSAGE)
        message = (number, cells) if is_message else None
        if not is_message:
            yield _whole(source, unit, width, (number, cells))
    if message is not None:
        notes.append(
            f"{source}: ends with the message that it was stopped by a size limit, so tickets are missing;"
            " export it as CSV or in parts"
        )


def _whole(source: str, unit: str, width: int, row: Row) -> Row:
    number, cells = row
    if len(cells) != width:
        raise ConfigError(f"{source}: {unit} {number}: {len(cells)} cells; the header has {width}")
    return row
