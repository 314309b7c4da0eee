"""What is written at or after resolution stays out of the text, by its name and by when it is filled."""

from __future__ import annotations

from typing import Any

import pytest

from promax.data.corpus import LEAK_COLUMNS
from promax.data.exports.leaks import leaks_by_name, leaks_by_timing

LEAKS = [
    *LEAK_COLUMNS,
    *("Resolution notes", "Resolution code", "Resolution", "resolution_notes", "u_resolution_details", "Resolved by"),
    *("Closed by", "closed_code", "Close code", "CLOSE.NOTES", "Closure comments", "resolved_at", "closed_at"),
    *("Work notes", "worknotes", "Comments and Work notes", "Additional comments", "Comment", "comments", "Log Work"),
    *("Root cause", "Workaround", "Solution", "Fix Version/s", "incident_state", "Status", "problem_id", "Problem"),
    *("parent_incident", "Duplicate of", "calendar_duration", "Updated", "caused_by", "rfc", "knowledge", "sys_id"),
]
HARMLESS = [
    *("short_description", "Description", "u_symptom", "Problem description", "Business service", "Disclosure"),
    *("Affects Version/s", "cmdb_ci", "Priority", "Opened", "Parental leave", "u_what_happened", "contact_type"),
]


@pytest.mark.parametrize("header", LEAKS)
def test_names_that_leak(header: str) -> None:
    assert leaks_by_name(header)


@pytest.mark.parametrize("header", HARMLESS)
def test_names_that_do_not(header: str) -> None:
    assert not leaks_by_name(header)


ROWS = [["number", "summary", "Close Notes"], ["1", "VPN drops", "new cable"], ["2", "Jam", ""]]


def test_a_leak_in_the_text_is_refused_by_its_name(desk: Any) -> None:
    assert desk.refusal(ROWS, {"description": "close_notes"}) == (
        "e.csv: export.columns.description=Close Notes: by its name it is written when a ticket is worked on or"
        " resolved, and tells the answer\nname another column, or accept it with export.allow_leak=[Close Notes]"
    )
    assert desk.read(ROWS).tickets.text == ["VPN drops", "Jam"]


def test_a_leak_that_was_chosen_is_read_and_said(desk: Any) -> None:
    export = desk.read(ROWS, {"description": "Close Notes"}, allow_leak=["close notes"])
    assert export.tickets.text == ["VPN drops. new cable", "Jam"]
    assert export.notes[0] == (
        "e.csv: Close Notes is in the text as description by export.allow_leak: what it says may be known only when"
        " a ticket is resolved"
    )


def test_a_choice_without_effect_is_refused(desk: Any) -> None:
    assert desk.refusal(ROWS, allow_leak=["Close Notes"]) == (
        "export.allow_leak: Close Notes is no column of the text; it allows those of e.csv that export.columns puts"
        " into the text: summary"
    )


def test_context_that_stays_out_cannot_leak(desk: Any) -> None:
    """The column is then a label and no text."""
    rows = [["number", "summary", "Resolution code"], ["1", "VPN drops", "cable"]]
    assert desk.refusal(rows, {"category": "Resolution code"}).startswith("e.csv: export.columns.category=")
    assert desk.read(rows, {"category": "Resolution code"}, context="none").tickets.category == ["cable"]


def by_outcome(done: int, filled_done: int, still_open: int, filled_open: int) -> tuple[list[str], list[str]]:
    values = ["x"] * filled_done + [""] * (done - filled_done) + ["x"] * filled_open + [""] * (still_open - filled_open)
    return values, ["2019-07-29"] * done + [""] * still_open


@pytest.mark.parametrize(
    ("counts", "leaks"),
    [
        ((100, 100, 20, 0), True),
        ((100, 100, 19, 0), False),  # 19 expected: too few to tell
        ((100, 100, 20, 4), True),  # a fifth of the 20 expected
        ((100, 100, 20, 5), False),
        ((100, 50, 40, 0), True),  # half of the resolved: 20 expected
        ((100, 50, 39, 0), False),
        ((100, 100, 200, 150), False),  # an assignment group: most have one before they are resolved
        ((0, 0, 100, 50), False),
        ((100, 0, 100, 50), False),
    ],
)
def test_a_column_filled_at_resolution_is_known_by_its_timing(counts: tuple[int, int, int, int], leaks: bool) -> None:
    """Bounds by hand: expected = open tickets x share filled among resolved ones."""
    values, resolved = by_outcome(*counts)
    why = leaks_by_timing(values, resolved)
    done, filled_done, still_open, filled_open = counts
    said = f"it is filled for {filled_done} of {done} resolved tickets and {filled_open} of {still_open} others"
    assert why == (said if leaks else None)
    assert leaks_by_timing(values, None) is None


def table(header: str) -> list[list[str]]:
    values, resolved = by_outcome(60, 60, 40, 2)
    rows = zip(range(100), values, resolved, strict=True)
    return [["number", "summary", header, "resolved_at"], *([f"A{n}", "x y", value, at] for n, value, at in rows)]


def test_by_timing_the_config_is_refused_and_a_guess_left_out(desk: Any) -> None:
    why = "it is filled for 60 of 60 resolved tickets and 2 of 40 others, so it is written after a ticket is opened"
    assert desk.refusal(table("u_finding"), {"description": "u_finding"}) == (
        f"e.csv: export.columns.description=u_finding: {why}\n"
        "name another column, or accept it with export.allow_leak=[u_finding]"
    )
    guess = desk.read(table("details"))
    assert set(guess.tickets.text) == {"x y"}
    assert guess.notes == [f"e.csv: details is left out of the text (description): {why}"]
    allowed = desk.read(table("u_finding"), {"description": "u_finding"}, allow_leak=["u_finding"])
    assert set(allowed.tickets.text) == {"x y. x", "x y"}


@pytest.mark.parametrize(
    "entry", ["2019-07-29 11:48:43 - Jo Doe (Work notes)\nrebooted", "29.07.2019 11:48 - Jo Doe (Additional comments)"]
)
def test_a_journal_is_known_by_its_entries(desk: Any, entry: str) -> None:
    rows = [["number", "summary", "details"], *([f"A{n}", "x y", f"{n} z" if n else entry] for n in range(10))]
    assert desk.read(rows).notes[-1] == (
        "e.csv: details is left out of the text (description): 1 of its 10 values hold journal entries,"
        " so it is written after a ticket is opened"
    )
    # One entry pasted into one description of eleven makes no journal.
    assert desk.read([*rows, ["A10", "x y", "z"]]).tickets.core[1] == "x y. 1 z"
