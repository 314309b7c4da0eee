from __future__ import annotations

import json
from typing import Any

import pytest

PAIRS = [("1", "2"), ("1", "9"), ("2", "1"), ("3", "4"), ("3", "5")]
ROWS = [["1", "2, 9"], ["2", "1"], ["4", ""], ["3", "4;5 4"]]


@pytest.mark.parametrize(
    "header",
    [["Issue id", "Duplicate id"], ["number", "duplicates"], ["Bug ID", "dupe_of"], ["this", "that"]],
    ids=["jira", "servicenow", "bugzilla", "two columns"],
)
def test_several_ids_a_cell_and_links_that_leave_the_file(desk: Any, header: list[str]) -> None:
    assert desk.links([header, *ROWS]) == PAIRS
    turned = [[header[0], "who", header[1]], *([one, "x", other] for one, other in ROWS)]
    assert desk.links(turned, links_columns=[header[0].upper(), header[1]]) == PAIRS


def test_other_formats(desk: Any) -> None:
    header = ["id", "duplicate_id"]
    assert desk.links(desk.xlsx([header, [1, 2], [3, 4]]), name="l.xlsx") == [("1", "2"), ("3", "4")]
    objects = [{"id": 1, "duplicates": [2, 9]}, {"id": 2, "duplicates": None}]
    assert desk.links(json.dumps(objects).encode(), name="l.json") == [("1", "2"), ("1", "9")]


REFUSED = {
    "columns": (
        [["a", "b", "c"], ["1", "2", "3"]],
        None,
        "links.csv: no columns of ids and of their duplicates; name both with export.links_columns=[ID,DUPLICATES]\n"
        "columns present: a, b, c",
    ),
    "names": (
        [["a", "b"], ["1", "2"]],
        ["a", "x"],
        "links.csv: export.links_columns=[a,x]: must be two of its columns\ncolumns present: a, b",
    ),
    "id": ([["id", "duplicates"], ["1", "2"], ["", "3"]], None, "links.csv: line 3: id is empty; must be an id"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(desk: Any, case: str) -> None:
    rows, named, message = REFUSED[case]
    assert desk.refusal(rows, links=True, links_columns=named) == message
