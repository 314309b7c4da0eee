"""One table, however it is written: a file made for each quirk of real exports."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from datetime import datetime
from typing import Any

import pytest

HEADER = ["number", "short_description", "description", "opened_at", "category"]
# Line breaks, separators, quotes and letters of one to four bytes in cells.
ROWS: list[list[str]] = [
    ["INC0000001", 'VPN "drops"', "every ten\nminutes; größer, 打印机 🖨", "2019-07-29 11:48:43", "network"],
    ["INC0000002", "Printer jams", "", "2019-07-30 08:00:00", ""],
]
TEXTS = [
    'VPN "drops". every ten minutes; größer, 打印机 🖨 (Context: [network])',
    "Printer jams",
]


def objects() -> list[dict[str, str]]:
    return [dict(zip(HEADER, row, strict=True)) for row in ROWS]


def forms(desk: Any) -> dict[str, bytes]:
    plain = desk.csv([HEADER, *ROWS])
    labels = ["Number", "Short description", "Description", "Opened", "Category"]
    moments = [[*row[:3], datetime.fromisoformat(row[3]), row[4]] for row in ROWS]
    return {
        "plain.csv": plain,
        "PLAIN.CSV": plain,
        "quoted.csv": desk.csv([HEADER, *ROWS], quoting=1, lineterminator="\r\n"),
        "labels.csv": desk.csv([labels, *ROWS]),
        "shouted.csv": desk.csv([[name.upper().replace("_", ".") for name in HEADER], *ROWS]),
        "bom.csv": b"\xef\xbb\xbf" + plain,
        "utf16.csv": "\ufeff".encode("utf-16-le") + plain.decode().encode("utf-16-le"),
        "semicolons.csv": desk.csv([HEADER, *ROWS], delimiter=";"),
        "told.csv": b"sep=;\r\n" + desk.csv([HEADER, *ROWS], delimiter=";"),
        "tabs.tsv": desk.csv([HEADER, *ROWS], delimiter="\t"),
        "blanks.csv": plain + b"\r\n,,,,\r\n",
        "book.xlsx": desk.xlsx([labels, *moments]),
        # ServiceNow begins a new sheet every 32,000 rows, under the same header.
        "sheets.xlsx": desk.xlsx([labels, moments[0]], [labels, moments[1]], []),
        "list.json": json.dumps(objects()).encode(),
        "result.json": json.dumps({"result": objects()}).encode(),
        "records.json": b"\xef\xbb\xbf" + json.dumps({"count": 2, "fields": HEADER, "records": objects()}).encode(),
        "lines.jsonl": "\n".join(json.dumps(each, ensure_ascii=False) for each in objects()).encode() + b"\n\n",
    }


FORMS = [
    *("plain.csv", "PLAIN.CSV", "quoted.csv", "labels.csv", "shouted.csv", "bom.csv", "utf16.csv", "semicolons.csv"),
    *("told.csv", "tabs.tsv", "blanks.csv", "book.xlsx", "sheets.xlsx", "list.json", "result.json", "records.json"),
    *("lines.jsonl",),
]


@pytest.mark.parametrize("name", FORMS)
def test_every_form_holds_the_same_tickets(desk: Any, name: str) -> None:
    assert set(forms(desk)) == set(FORMS)
    data = forms(desk)[name]
    export = desk.read(data, name=name)
    tickets = export.tickets
    assert tickets.id == ["INC0000001", "INC0000002"]
    assert tickets.text == TEXTS
    assert tickets.core == ['VPN "drops". every ten minutes; größer, 打印机 🖨', "Printer jams"]
    assert tickets.opened == [datetime(2019, 7, 29, 11, 48, 43), datetime(2019, 7, 30, 8)]
    assert tickets.category == ["network", ""]
    assert export.origin == f"{name} sha256:{hashlib.sha256(data).hexdigest()}"
    assert export.notes == [f"{name}: no column of resolution dates, so leaks are told by name alone"]


def test_display_values_and_the_values_behind_them(desk: Any) -> None:
    """`sysparm_display_value=all`: names and labels as displayed, but moments in UTC, not as a user saw them."""
    ticket = {
        "number": {"display_value": "INC0000001", "value": "INC0000001"},
        "sys_id": {"display_value": "a" * 32, "value": "a" * 32},
        "short_description": {"display_value": "VPN drops", "value": "VPN drops"},
        "category": {"display_value": "Network", "value": "7"},
        "assignment_group": {"display_value": "Net Ops", "link": "https://x/b", "value": "b" * 32},
        "opened_at": {"display_value": "29.07.2019 13:48:43", "value": "2019-07-29 11:48:43"},
        "problem_id": {"display_value": "", "value": ""},
    }
    child = {
        "number": "INC0000002",
        "short_description": "Tunnel closes",
        "parent_incident": {"link": "https://x/a", "value": "a" * 32},
        "problem_id": None,
    }
    tickets = desk.read(json.dumps({"result": [ticket, child]}).encode(), name="e.json").tickets
    assert tickets.text == ["VPN drops (Context: [Network] Group: Net Ops.)", "Tunnel closes"]
    assert tickets.opened == [datetime(2019, 7, 29, 11, 48, 43), None]
    assert tickets.parent == ["", "INC0000001"]
    assert tickets.problem == ["", ""]


def test_sys_ids_and_codes_are_kept_as_values_but_say_nothing_in_a_text(desk: Any) -> None:
    header = ["number", "short_description", "category", "business_service", "assignment_group"]
    export = desk.read([header, ["INC0000001", "VPN drops", "7", "c" * 32, "Net Ops"]])
    assert export.tickets.text == ["VPN drops (Context: Group: Net Ops.)"]
    assert export.tickets.category == ["7"]
    assert export.tickets.service == ["c" * 32]
    assert "e.csv: left out of the context, being codes or sys_ids: 2 values" in export.notes


def test_windows_1252_is_read_and_said(desk: Any) -> None:
    data = desk.csv([["number", "short_description"], ["1", "größer – “quoted” €"]]).decode().encode("cp1252")
    export = desk.read(data)
    assert export.tickets.text == ["größer – “quoted” €"]
    assert export.notes[0] == (
        "e.csv: not UTF-8, so read as Windows-1252; if letters come out wrong, set export.encoding"
    )
    cyrillic = desk.csv([["number", "short_description"], ["1", "не работает"]]).decode().encode("cp1251")
    assert desk.read(cyrillic, encoding="cp1251").tickets.text == ["не работает"]


@pytest.mark.parametrize("name", ["limit.csv", "short.csv", "limit.xlsx"])
def test_the_row_limit_message_is_no_ticket(desk: Any, name: str) -> None:
    message = "Export stopped due to excessive size. Use CSV for a complete export"
    rows = [HEADER, *ROWS, [message] if name == "short.csv" else [message, "", "", "", ""]]
    export = desk.read(desk.xlsx(rows) if name.endswith("xlsx") else desk.csv(rows), name=name)
    assert len(export.tickets) == 2
    assert export.notes[0] == (
        f"{name}: ends with the message that it was stopped by a size limit, so tickets are missing;"
        " export it as CSV or in parts"
    )


def test_headers_are_on_one_line_and_without_a_byte_order_mark(desk: Any) -> None:
    data = b"\xef\xbb\xbf" + desk.csv([["Number", "Short\ndescription"], ["1", "VPN drops"]])
    for encoding in (None, "utf-8"):
        export = desk.read(data, encoding=encoding)
        assert export.mapping == {"id": "Number", "short": "Short description"}


def test_the_row_limit_message_counts_only_at_the_end(desk: Any) -> None:
    rows = [["number", "short_description"], ["Export stopped due to excessive size", ""], ["1", "VPN drops"]]
    export = desk.read(rows)
    assert not any("message" in note for note in export.notes)
    assert export.notes[-1] == "e.csv: tickets without any text, left out: 1"


def test_a_sheet_of_another_header_is_left_out_and_said(desk: Any) -> None:
    export = desk.read(desk.xlsx([HEADER, *ROWS], [["pivot", "sum"], ["a", 1]]), name="e.xlsx")
    assert len(export.tickets) == 2
    assert export.notes[0] == "e.xlsx: sheets left out since their first row is not the first sheet's: 1"


def test_numbers_and_truth_values_read_alike_from_every_format(desk: Any) -> None:
    header = ["Issue id", "Summary", "Category"]
    from_csv = desk.read([header, ["13404344", "x y", "TRUE"]])
    from_xlsx = desk.read(desk.xlsx([header, [13404344, "x y", True]]), name="e.xlsx")
    from_json = desk.read(json.dumps([dict(zip(header, [13404344, "x y", True], strict=True))]).encode(), name="e.json")
    for export in (from_csv, from_xlsx, from_json):
        assert export.tickets.id == ["13404344"]
        assert export.tickets.category == ["true"]


def test_missing_values_in_all_their_spellings(desk: Any) -> None:
    header = ["number", "short_description", "category", "business_service", "problem_id", "parent_incident"]
    rows = [
        header,
        ["1", "NULL : VPN drops", "?", "NULL", "", "-- None --"],
        ["2", "NULL: NULL pointer", "?", "", "?", "?"],
    ]
    tickets = desk.read(desk.csv(rows, quoting=1)).tickets
    assert tickets.text == ["VPN drops", "NULL pointer"]
    assert tickets.category == tickets.service == tickets.problem == tickets.parent == ["", ""]


def test_half_an_emoji_and_control_characters_do_not_stop_a_reader(desk: Any) -> None:
    data = b'[{"number": "1", "short_description": "a \\ud83d\\u0000 b"}]'
    assert desk.read(data, name="e.json").tickets.text == ["a \ufffd b"]


BAD_FILES = {
    "empty.csv": (b"", "empty.csv: no table in it; must begin with a row of column names"),
    "spaces.csv": (b" \r\n", "spaces.csv: no table in it; must begin with a row of column names"),
    "header.csv": (
        b"number,short_description\r\n",
        "header.csv: no rows below the header; must hold at least one ticket",
    ),
    "ragged.csv": (
        b"number,short_description\r\n1,zebrafish seven quits\r\n2,a,b\r\n",
        "ragged.csv: line 3: 3 cells; the header has 2",
    ),
    "open.csv": (
        b'number,short_description\r\n1,"zebrafish seven quits\r\n',
        "open.csv: line 2: unexpected end of data; quotes in a cell must be doubled, and every quoted cell closed",
    ),
    "quotes.csv": (
        b'number,short_description\r\n1,"zebrafish seven quits" it says\r\n',
        "quotes.csv: line 2: ',' expected after '\"'; quotes in a cell must be doubled, and every quoted cell closed",
    ),
    "noid.csv": (
        b"number,short_description\r\n1,a\r\n,zebrafish seven quits\r\n",
        "noid.csv: line 3: number is empty; must be a ticket's id",
    ),
    "no.json": (b'{"number": "1"', "no.json: not JSON: Expecting ',' delimiter at line 1 column 15"),
    "deep.json": (
        b"[" * 200_000,
        "deep.json: not JSON that can be read: a number too long or nested too deep",
    ),
    "error.json": (
        b'{"error": {"message": "No Record found"}, "status": "failure"}',
        'error.json: must be a list of objects, or an object with one such list, like "result"',
    ),
    "mixed.json": (b'[{"number": "1"}, 2]', "mixed.json: row 2: not an object; each row must be one"),
    "nested.json": (
        b'[{"number": {"a": "zebrafish seven quits"}, "short_description": "x"}]',
        "nested.json: row 1: number is an object; must be a text, a number or a display value",
    ),
    "line.jsonl": (
        b'{"number": "1"}\n{',
        "line.jsonl: line 2: not JSON: Expecting property name enclosed in double quotes at line 1 column 2",
    ),
    "no.xlsx": (b"PK\x03\x04", "no.xlsx: not a readable workbook; it may be cut short, damaged or protected"),
    "old.xls": (b"", "old.xls: suffix .xls; must be .csv, .tsv, .xlsx, .json, .jsonl"),
    "none": (b"", "none: suffix missing; must be .csv, .tsv, .xlsx, .json, .jsonl"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused(desk: Any, name: str) -> None:
    data, message = BAD_FILES[name]
    assert desk.refusal(data, name=name) == message


def test_no_file_a_folder_and_an_unknown_encoding(desk: Any) -> None:
    from promax.config import ConfigError, ExportConfig
    from promax.data.exports import read_export

    (desk.folder / "folder").mkdir()
    for name, message in (("missing.csv", "no such file"), ("folder", "a folder, not a file")):
        with pytest.raises(ConfigError) as caught:
            read_export(desk.folder / name, ExportConfig())
        assert str(caught.value) == f"{desk.folder / name}: {message}"
    rows = [["number", "short_description"], ["1", "größer"]]
    assert desk.refusal(rows, encoding="utf-9") == (
        "export.encoding=utf-9: must be an encoding of texts that Python knows"
    )
    assert desk.refusal(rows, encoding="ascii") == ("e.csv: not ascii; set export.encoding to the file's own encoding")


def test_a_workbook_that_would_fill_the_memory_is_not_opened(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promax.data.exports.formats.MOST_UNPACKED", 100_000)
    sheet = "<worksheet><sheetData>" + "<row><c><v>1</v></c></row>" * 100_000 + "</sheetData></worksheet>"
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/worksheets/sheet1.xml", sheet)
    assert re.fullmatch(
        rf"bomb.xlsx: would be {len(sheet):,} bytes unpacked, \d+ times its size; must be below 100,000 bytes or 100 "
        "times, so it isn't opened",
        desk.refusal(whole.getvalue(), name="bomb.xlsx"),
    )
