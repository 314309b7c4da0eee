"""Which column is what: guesses by usual headers, what the config says, and what is refused."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from omegaconf import OmegaConf

from promax.config import ConfigError, ExportColumnsConfig, ExportConfig, build
from promax.data.exports.leaks import TEXT_ROLES, leaks_by_name
from promax.data.exports.roles import USUAL_HEADERS, find_columns, header_key

SERVICENOW_FIELDS = [
    *("number", "sys_id", "short_description", "description", "category", "subcategory", "business_service"),
    *("service_offering", "assignment_group", "opened_at", "resolved_at", "sys_mod_count", "problem_id"),
    *("parent_incident", "close_notes", "work_notes", "sys_created_on", "closed_at", "sys_updated_on"),
]
SERVICENOW_LABELS = [
    *("Number", "Sys ID", "Short description", "Description", "Category", "Subcategory", "Service"),
    *("Service offering", "Assignment group", "Opened", "Resolved", "Updates", "Problem", "Parent Incident"),
    *("Resolution notes", "Work notes", "Created", "Closed", "Updated"),
]
SERVICENOW_ROLES = [
    *("id", "sys_id", "short", "description", "category", "subcategory", "service", "offering", "group"),
    *("opened", "resolved", "updated", "problem", "parent"),
]
JIRA = [
    *("Summary", "Issue key", "Issue id", "Project name", "Component/s", "Component/s", "Created", "Updated"),
    *("Resolved", "Description", "Outward issue link (Duplicate)", "Outward issue link (Duplicate)", "Comment"),
    *("Inward issue link (Duplicate)", "Comment", "Parent id"),
]
BUGZILLA = ["Bug ID", "Product", "Component", "Assignee", "Status", "Resolution", "Summary", "Changed", "Opened"]


@pytest.mark.parametrize("header", [SERVICENOW_FIELDS, SERVICENOW_LABELS], ids=["fields", "labels"])
def test_servicenow(header: list[str]) -> None:
    found, guessed = find_columns("e.csv", header, ExportColumnsConfig())
    assert found == {role: [place] for place, role in enumerate(SERVICENOW_ROLES)}
    assert guessed == set(SERVICENOW_ROLES)


def test_jira_spreads_components_and_links_over_columns() -> None:
    found, _ = find_columns("e.csv", JIRA, ExportColumnsConfig())
    assert found == {
        **{"short": [0], "id": [1], "service": [3], "category": [4, 5], "opened": [6], "updated": [7]},
        **{"resolved": [8], "description": [9], "duplicates": [10, 11, 13]},
    }


def test_bugzilla() -> None:
    found, _ = find_columns("e.csv", BUGZILLA, ExportColumnsConfig())
    assert found == {"id": [0], "service": [1], "category": [2], "short": [6], "updated": [7], "opened": [8]}


def test_every_role_can_be_configured_and_no_usual_text_leaks() -> None:
    assert set(USUAL_HEADERS) == {each.name for each in fields(ExportColumnsConfig)}
    assert len(USUAL_HEADERS) == 15
    usual = [name for role in TEXT_ROLES for name in USUAL_HEADERS[role]]
    assert len(usual) == 25
    assert [name for name in usual if leaks_by_name(name)] == []
    assert [name for names in USUAL_HEADERS.values() for name in names if header_key(name) != name] == []


def test_values_of_repeated_columns(desk: Any) -> None:
    header = ["Issue key", "Summary", "Component/s", "Component/s", *["Outward issue link (Duplicate)"] * 2]
    export = desk.read([header, ["A-1", "x y", "", "ui", "A-2", "B-7"], ["A-2", "z w", "db", "ui", "", ""]])
    assert export.tickets.category == ["ui", "db"]
    assert export.tickets.links == [("A-2", "B-7"), ()]
    assert export.mapping["duplicates"] == "Outward issue link (Duplicate)"


def test_guesses_are_told_apart_from_what_was_said(desk: Any) -> None:
    header = ["\ufeffTicket", "u_what_happened", "Description", "u_area"]
    columns = {"short": "U_What_Happened", "category": "u_area"}
    export = desk.read([header, ["1", "VPN drops", "every hour", "network"]], columns)
    assert export.tickets.text == ["VPN drops. every hour (Context: [network])"]
    assert export.mapping == {
        **{"id": "Ticket", "short": "u_what_happened", "description": "Description", "category": "u_area"},
    }
    assert export.guessed == {"id", "description"}


def test_what_the_config_says_of_a_column_beats_a_guess(desk: Any) -> None:
    """`Category` would be guessed as the category; said to be the service, it is nothing else."""
    export = desk.read([["number", "summary", "category"], ["1", "x y", "VPN"]], {"service": "category"})
    assert (export.tickets.service, export.tickets.category) == (["VPN"], [""])
    assert export.guessed == {"id", "short"}


def test_context_can_stay_out(desk: Any) -> None:
    rows = [["number", "summary", "category", "service"], ["1", "x y", "network", "VPN"]]
    assert desk.read(rows).tickets.text == ["x y (Context: [VPN] [network])"]
    assert desk.read(rows).tickets.core == ["x y"]
    without = desk.read(rows, context="none").tickets
    assert without.text == without.core == ["x y"]
    assert without.category == ["network"]


def test_a_file_without_any_description_column(desk: Any) -> None:
    export = desk.read([["number", "opened_at", "short_description"], ["1", "2019-07-29 11:48:43", "VPN drops"]])
    assert export.tickets.text == ["VPN drops"]
    assert "description" not in export.mapping


def test_rows_can_be_numbered_where_there_are_no_ids(desk: Any) -> None:
    export = desk.read([["title", "body"], ["x y", ""], ["z", "w\nv"], ["z", "u"]], number_rows=True)
    assert export.tickets.id == ["line 2", "line 3", "line 5"]
    assert "id" not in export.mapping


USUAL_IDS = ", ".join(USUAL_HEADERS["id"])
REFUSED = {
    "no id": (
        [["nr", "summary"], ["1", "x"]],
        {},
        f"e.csv: no id column (looked for {USUAL_IDS}); name it with export.columns.id, or set"
        " export.number_rows=true\ncolumns present: nr, summary",
    ),
    "no text": (
        [["number", "u_symptom", "state"], ["1", "x", "New"]],
        {},
        "e.csv: no text column (looked for short description, summary, title, subject, description, details, body,"
        " body html, text); name it with export.columns.short or export.columns.description\n"
        "columns present: number, u_symptom, state",
    ),
    "a ticket in place of a header": (
        [["zebrafish seven quits", "1"], ["x", "2"]],
        {},
        f"e.csv: no id column (looked for {USUAL_IDS}); name it with export.columns.id, or set"
        " export.number_rows=true\ncolumns present: 1, 1 unlike a name (not shown)",
    ),
    "a name that is not there": (
        [["number", "summary"], ["1", "x"]],
        {"description": "Body"},
        "e.csv: no column Body (export.columns.description=Body)\ncolumns present: number, summary",
    ),
    "one header twice": (
        [["number", "Summary", "summary"], ["1", "x", "y"]],
        {},
        "e.csv: Summary and summary could each be the short column; rename all but one",
    ),
    "two texts in doubt": (
        [["number", "summary", "title"], ["1", "x", "y"]],
        {},
        "e.csv: summary and title could each be the short column; choose one with export.columns.short",
    ),
    "one column for two roles": (
        [["number", "summary"], ["1", "x"]],
        {"short": "summary", "description": "Summary"},
        "e.csv: column summary is named for two roles, short and description;"
        " set export.columns.description to another",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(desk: Any, case: str) -> None:
    rows, columns, message = REFUSED[case]
    assert desk.refusal(rows, columns) == message


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            {"columns": {"title": "x"}},
            "columns.title: unknown key. Allowed in columns: id, sys_id, short, description,",
        ),
        ({"columns": {"id": 3}}, "columns.id=3: must be a text, or null"),
        ({"links_columns": ["a"]}, "links_columns=['a']: must hold at least 2 value(s), or null"),
        ({"day_first": "yes"}, "day_first=yes: must be true or false, or null"),
        ({"context": "first"}, "context=first: must be 'last' or 'none'"),
        ({"allow_leak": "Notes"}, "allow_leak=Notes: must be a list"),
    ],
    ids=["unknown", "type", "links", "dates", "context", "leak"],
)
def test_a_wrong_wantedis_refused(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(OmegaConf.create(wanted), ExportConfig)
    assert str(caught.value).startswith(message)


def test_a_name_in_its_own_spelling_ends_a_doubt(desk: Any) -> None:
    rows = [["number", "Summary", "summary"], ["1", "x", "y"]]
    assert desk.read(rows, {"short": "summary"}).tickets.text == ["y"]
