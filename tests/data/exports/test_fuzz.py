"""Whatever a file holds: a result, or a `ConfigError`; never a traceback."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from promax.config import ConfigError, ExportConfig
from promax.data.exports import Export, read_export, read_links
from promax.data.exports.markup import plain
from promax.data.exports.references import References
from promax.data.exports.roles import USUAL_HEADERS

FUZZ = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
HEADERS = st.sampled_from([name for names in USUAL_HEADERS.values() for name in names])
CELLS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["?", "NULL", "TRUE", "03/04/2020", "30/Sep/21 17:20", "<p>&nbsp;", "{code}x", "INC0012345", "a\nb"]
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), CELLS)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(HEADERS, st.sampled_from(["display_value", "value", "result"])), inner, max_size=6),
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module")
def workbook() -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    for row in (["number", "summary", "opened_at"], ["1", "VPN drops", 3.5], ["2", "Jam", None]):
        book.active.append(row)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def survive(path: Path, data: bytes) -> Export | None:
    path.write_bytes(data)
    cfg = ExportConfig(number_rows=len(data) % 2 == 0)
    with suppress(ConfigError):
        read_links(path, cfg)
    try:
        export = read_export(path, cfg)
    except ConfigError as error:
        assert len(str(error).splitlines()) <= 2
        return None
    assert len(export.tickets) > 0
    assert len(export.tickets.fingerprint()) == 64
    return export


@FUZZ
@given(data=st.binary(max_size=400), suffix=st.sampled_from([".csv", ".tsv", ".xlsx", ".json", ".jsonl"]))
@example(data=b"\xff\xfe", suffix=".csv")
@example(data=b"\xff\xfea", suffix=".json")
@example(data=b"sep=;", suffix=".csv")
@example(data=b"number,summary\n1,\x81\n", suffix=".csv")
@example(data=b"number,summary\n1,a\rb\n", suffix=".csv")
@example(data=b'number,summary\n1,"' + b"x" * 200_000, suffix=".csv")
def test_bytes(folder: Path, data: bytes, suffix: str) -> None:
    survive(folder / f"e{suffix}", data)


@FUZZ
@given(header=st.lists(HEADERS, min_size=1, max_size=8), cells=st.lists(CELLS, min_size=1, max_size=40))
def test_tables(folder: Path, desk: Any, header: list[str], cells: list[str]) -> None:
    rows = [cells[start : start + len(header)] for start in range(0, len(cells), len(header))]
    # Python 3.10 can't write a NUL into a CSV; a file may hold one all the same.
    told = [[cell.replace("\0", "\ue000") for cell in row] for row in [header, *rows]]
    data = desk.csv(told).replace("\ue000".encode(), b"\0")
    survive(folder / "e.csv", data)
    survive(folder / "e.csv", data.decode().encode("cp1252", "ignore"))


@FUZZ
@given(content=JSON)
def test_json(folder: Path, content: Any) -> None:
    data = json.dumps(content).encode()
    for name in ("e.json", "e.jsonl"):
        survive(folder / name, data)


@FUZZ
@given(rows=st.lists(st.dictionaries(HEADERS, JSON, max_size=5), min_size=1, max_size=4))
def test_json_of_known_columns(folder: Path, rows: list[dict[str, Any]]) -> None:
    named = [{"number": f"A{number}", "short_description": "VPN drops", **row} for number, row in enumerate(rows)]
    survive(folder / "e.json", json.dumps(named).encode())


@FUZZ
@given(cut=st.integers(0, 6000), flips=st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), max_size=4))
def test_damaged_workbooks(folder: Path, workbook: bytes, cut: int, flips: list[tuple[int, int]]) -> None:
    whole = bytearray(workbook)
    for place, value in flips:
        whole[place % len(whole)] = value
    survive(folder / "e.xlsx", bytes(whole[: len(whole) - cut % len(whole)]))


@FUZZ
@given(text=st.text(st.sampled_from("<>/&;{}[]|!~*#pbrcode.- \n1aé\x00"), max_size=60))
def test_markup_and_numbers(text: str) -> None:
    assert isinstance(plain(text), str)
    without, count = References(["A-1", "111111"]).without(text.replace("\x00", ""))
    assert count >= 0
    assert count > 0 or without == text.replace("\x00", "")
