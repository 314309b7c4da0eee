"""File formats -> numbered rows, the first of which is the header; cells keep the type the format gives them."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promax.config import ConfigError

Row = tuple[int, Sequence[Any]]
# (path, encoding, notes) -> what the rows are counted in, and the rows.
Reader = Callable[[Path, str, list[str]], tuple[str, Iterator[Row]]]

SEPARATORS = ",;\t|"
# No export is larger than both: 200,000 tickets of 2,000 characters are 0.4 GB, and such text shrinks to a tenth or so.
MOST_UNPACKED = 1_000_000_000  # bytes
MOST_RATIO = 100


def read_csv(path: Path, encoding: str, notes: list[str]) -> tuple[str, Iterator[Row]]:
    """Lines of a text file, by whichever of comma, semicolon, tab and bar gives the first line most cells.

    Excel's own first line, like `sep=;`, names the separator. A quoted cell may hold line breaks.
    """
    with _decoding(path, encoding), path.open(encoding=encoding, newline="") as file:
        first = file.readline(1 << 16).strip().strip('"')
        if first.lower().startswith("sep=") and len(first) == 5:
            return "line", _csv_rows(path, encoding, first[-1], named=True)
        file.seek(0)
        head = file.read(1 << 16).splitlines(keepends=True)
    widths = {each: _first_width(head, each) for each in SEPARATORS}
    return "line", _csv_rows(path, encoding, max(SEPARATORS, key=lambda each: widths[each]), named=False)


def _first_width(lines: list[str], separator: str) -> int:
    try:
        return len(next(csv.reader(lines, delimiter=separator), []))
    except csv.Error:
        return 0


def _csv_rows(path: Path, encoding: str, separator: str, *, named: bool) -> Iterator[Row]:
    with _decoding(path, encoding), path.open(encoding=encoding, newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        while True:
            line = reader.line_num + 1  # where the record begins
            try:
                record = next(reader, None)
            except csv.Error as error:
                rule = "quotes in a cell must be doubled, and every quoted cell closed"
                raise ConfigError(f"{path.name}: line {line}: {error}; {rule}") from None
            if record is None:
                return
            if not (named and line == 1):
                yield line, record


def read_xlsx(path: Path, encoding: str, notes: list[str]) -> tuple[str, Iterator[Row]]:
    """Rows of a workbook, numbered over all sheets; a sheet is read on where it repeats the first one's header."""
    _refuse_bomb(path)
    return "row", _xlsx_rows(path, notes)


def _refuse_bomb(path: Path) -> None:
    """A workbook is a zip whose sheets are unpacked in memory; a few megabytes can hold more than a machine has."""
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(each.file_size for each in packed.infolist())
    except (zipfile.BadZipFile, OSError):
        return  # the reader says what is wrong with it
    if size > MOST_UNPACKED and size > MOST_RATIO * path.stat().st_size:
        raise ConfigError(
            f"{path.name}: would be {size:,} bytes unpacked, {size // path.stat().st_size} times its size; must be "
            f"below {MOST_UNPACKED:,} bytes or {MOST_RATIO} times, so it isn't opened"
        )


def _xlsx_rows(path: Path, notes: list[str]) -> Iterator[Row]:
    from python_calamine import CalamineError, CalamineWorkbook

    header: Sequence[Any] | None = None
    number, skipped = 0, 0
    try:
        with CalamineWorkbook.from_path(path) as workbook:
            for name in workbook.sheet_names:
                rows = workbook.get_sheet_by_name(name).iter_rows()
                first = next(rows, None)
                number += 1
                if first is None:
                    continue
                if header is None:
                    header = first
                    yield number, first
                elif first != header:
                    skipped += 1
                    continue
                for cells in rows:
                    number += 1
                    yield number, cells
    except (CalamineError, OSError, ValueError):
        raise ConfigError(f"{path.name}: not a readable workbook; it may be cut short, damaged or protected") from None
    if skipped:
        notes.append(f"{path.name}: sheets left out since their first row is not the first sheet's: {skipped}")


def read_json(path: Path, encoding: str, notes: list[str]) -> tuple[str, Iterator[Row]]:
    """Objects of a list, or of the one list of objects in an object, like the Table API's `result`."""
    with _decoding(path, encoding):
        text = path.read_bytes().decode(encoding)
    content = _parsed(text, path.name)
    lists = [content] if isinstance(content, list) else []
    if isinstance(content, dict):
        lists = [each for each in content.values() if isinstance(each, list) and each and isinstance(each[0], dict)]
    if len(lists) != 1:
        raise ConfigError(f'{path.name}: must be a list of objects, or an object with one such list, like "result"')
    return "row", _object_rows(path.name, "row", list(enumerate(lists[0], start=1)))


def read_jsonl(path: Path, encoding: str, notes: list[str]) -> tuple[str, Iterator[Row]]:
    """One object a line; blank lines hold none."""
    objects = []
    with _decoding(path, encoding), path.open(encoding=encoding, newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                objects.append((number, _parsed(line, f"{path.name}: line {number}")))
    return "line", _object_rows(path.name, "line", objects)


def _object_rows(source: str, unit: str, objects: list[tuple[int, Any]]) -> Iterator[Row]:
    for number, each in objects:
        if not isinstance(each, dict):
            raise ConfigError(f"{source}: {unit} {number}: not an object; each row must be one")
    names = list(dict.fromkeys(name for _, each in objects for name in each))
    yield 0, names
    for number, each in objects:
        yield number, [each.get(name) for name in names]


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{where}: not JSON that can be read: a number too long or nested too deep") from None


@contextmanager
def _decoding(path: Path, encoding: str) -> Iterator[None]:
    try:
        yield
    except LookupError:
        raise ConfigError(f"export.encoding={encoding}: must be an encoding of texts that Python knows") from None
    except UnicodeError:
        raise ConfigError(f"{path.name}: not {encoding}; set export.encoding to the file's own encoding") from None


READERS: dict[str, Reader] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".xlsx": read_xlsx,
    ".json": read_json,
    ".jsonl": read_jsonl,
}
