"""One row a ticket, and what is said of exports that were cut."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import numpy as np
import pytest

HEADER = ["number", "short_description"]


@pytest.mark.parametrize(
    ("header", "marks"),
    [
        ("sys_mod_count", ["3", "10", "9"]),  # as counts 10 is after 9, as texts before it
        ("sys_updated_on", ["2016-03-01 02:53:00", "2016-03-06 03:00:00", "2016-03-01 02:55:00"]),
        ("sys_updated_at", ["29-02-2016 02:53", "06-03-2016 03:00", "01-03-2016 02:55"]),
    ],
    ids=["counts", "dates", "day_first"],
)
def test_of_repeated_numbers_the_last_is_kept(desk: Any, header: str, marks: list[str]) -> None:
    rows = [[*HEADER, header], *(["A1", f"text {mark}", mark] for mark in marks), ["A2", "another", marks[0]]]
    export = desk.read(rows)
    assert export.tickets.id == ["A1", "A2"]
    assert export.tickets.text == [f"text {marks[1]}", "another"]
    note = f"e.csv: ids on several rows: 1; the last by {header} is kept, rows left out: 2"
    assert note in export.notes


def test_the_moment_behind_a_displayed_date_tells_which_row_is_the_last(desk: Any) -> None:
    """The display values alone are in doubt, and the later row would be the last."""
    marks = [("01/02/2020", "2020-02-01 00:00:00"), ("02/01/2020", "2020-01-02 00:00:00")]
    rows = [
        {"number": "A1", "short_description": shown, "sys_updated_on": {"display_value": shown, "value": value}}
        for shown, value in marks
    ]
    assert desk.read(json.dumps(rows).encode(), name="e.json").tickets.text == ["01/02/2020"]


def test_without_such_a_column_the_later_row_is_the_last(desk: Any) -> None:
    export = desk.read([HEADER, ["A1", "first"], ["A2", "another"], ["A1", "second"]])
    assert (export.tickets.id, export.tickets.text) == (["A2", "A1"], ["another", "second"])
    assert export.notes[0] == (
        "e.csv: ids on several rows: 1; the last by their place in the file is kept, rows left out: 1"
    )


def test_a_tie_goes_to_the_later_row(desk: Any) -> None:
    rows = [[*HEADER, "sys_mod_count"], ["A1", "first", "4"], ["A1", "second", "4"], ["A1", "third", ""]]
    assert desk.read(rows).tickets.text == ["second"]


@pytest.mark.parametrize(("count", "said"), [(9_999, False), (10_000, True), (10_001, False)])
def test_exactly_ten_thousand_rows_are_probably_cut(desk: Any, count: int, said: bool) -> None:
    export = desk.read([HEADER, *([f"A{row}", "x y"] for row in range(count))])
    note = "e.csv: exactly 10,000 rows, the default limit of an export: probably cut"
    assert (note in export.notes) is said
    assert len(export.tickets) == count


@pytest.mark.parametrize(("length", "said"), [(31_999, False), (32_000, True), (32_767, True)])
def test_cells_at_the_limit_are_probably_cut(desk: Any, length: int, said: bool) -> None:
    rows = [["number", "description"], ["A1", "x" * length], ["A2", "y z"]]
    assert ("e.csv: texts of exactly 32,000 or 32,767 characters, probably cut: 1" in desk.read(rows).notes) is said


@pytest.mark.parametrize("length", [80, 160])
def test_short_descriptions_at_the_limit_are_probably_cut(desk: Any, length: int) -> None:
    cut, whole = "x" * length, "x" * (length - 1) + "."
    note = f"e.csv: short descriptions of exactly {length} characters, none longer, probably cut: 2"
    assert note in desk.read([HEADER, ["A1", cut], ["A2", whole], ["A3", cut]]).notes
    for longer in (cut + "y", cut[:-1]):
        notes = desk.read([HEADER, ["A1", longer], ["A2", longer]]).notes
        assert not any("short descriptions" in note for note in notes)


def test_tickets_that_say_nothing_are_left_out(desk: Any) -> None:
    rows = [[*HEADER, "category"], ["A1", "", "network"], ["A2", "VPN drops", "network"], ["A3", "- ?", ""]]
    export = desk.read(rows)
    assert export.tickets.id == ["A2"]
    assert export.notes[-1] == "e.csv: tickets without any text, left out: 2"
    assert desk.refusal([HEADER, ["A1", ""], ["A2", "?"]]) == (
        "e.csv: no ticket has a text; name its columns with export.columns.short and others"
    )


def test_parents_and_links_by_sys_id_become_ids(desk: Any) -> None:
    header = ["number", "sys_id", "short_description", "parent_incident", "u_same_as"]
    one, two, outside = "1" * 32, "2" * 32, "3" * 32
    rows = [
        ["INC0000001", one, "VPN drops", one, f"{two}, INC0000001 {one}"],
        ["INC0000002", two, "Tunnel closes", one, ""],
        ["INC0000003", "4" * 32, "Gate shut", "INC0000001", ""],
        ["INC0000004", "5" * 32, "No way in", outside, "INC9999999;INC0000002 INC0000002"],
    ]
    tickets = desk.read([header, *rows], {"duplicates": "u_same_as"}).tickets
    assert tickets.parent == ["", "INC0000001", "INC0000001", outside]
    assert tickets.links == [("INC0000002",), (), (), ("INC9999999", "INC0000002")]


def test_take_and_fingerprint(desk: Any) -> None:
    header = ["number", "short_description", "category", "opened_at", "problem_id", "duplicates"]
    rows = [["A1", "VPN drops", "net", "2016-02-03", "P1", "A2, A3"], ["A2", "Jam", "", "", "", ""]]
    tickets = desk.read([header, *rows]).tickets
    second, first = tickets.take(np.array([1, 0])), tickets.take(np.array([0]))
    assert second.id == ["A2", "A1"]
    assert (first.opened, first.problem, first.links) == ([datetime(2016, 2, 3)], ["P1"], [("A2", "A3")])
    assert second.take(np.array([1, 0])).fingerprint() == tickets.fingerprint()
    prints = {tickets.fingerprint(), second.fingerprint(), first.fingerprint()}
    for place, value in [(1, "VPN drop"), (2, "nets"), (3, "2016-02-04"), (4, "P2"), (5, "A2 A4"), (5, "A2")]:
        changed = [*rows[0][:place], value, *rows[0][place + 1 :]]
        prints.add(desk.read([header, changed, rows[1]]).tickets.fingerprint())
    prints.add(desk.read([header, [*rows[0][:5], "A3"], [*rows[1][:5], "A4"]]).tickets.fingerprint())
    prints.add(desk.read([header, [*rows[0][:5], "A3 A4"], rows[1]]).tickets.fingerprint())
    assert len(prints) == 11
