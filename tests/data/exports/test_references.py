"""Ticket numbers in texts; expected texts by hand."""

from __future__ import annotations

from typing import Any

import pytest

from promax.data.exports.references import References

GONE = {
    "see INC0012345, prb0040001 and CHG-0030002": "see ,  and ",
    "child of RITM0010001/SCTASK0010002": "child of /",
    "like incident 12345 and Ticket #98765": "like  and ",
    "again (INC0012345; INC0012346) and [ INC0012347 ]": "again  and ",
    "incident.do?sys_id=0123456789abcdef0123456789abcdef&x=1": "incident.do?&x=1",
    "AU000004 and au000004-x": " and au000004-x",
    "id 13404344 it is": "id  it is",
}
STAY = [
    *("INC12 is short", "KB4012345 patch", "port 8080", "in 2019-07-29", "error 0x80070005", "ORA-01555", "run()"),
    *("13404345", "issue in 2 places", "UTF-8", "zinc0012345", "LT-12345", "u12345", "AU0000041", "XAU000004"),
]


@pytest.mark.parametrize("text", GONE)
def test_ticket_numbers_go(text: str) -> None:
    assert References(["AU000004", "13404344", "8080"]).without(text)[0] == GONE[text]


@pytest.mark.parametrize("text", STAY)
def test_other_numbers_stay(text: str) -> None:
    """8080 is an id of this export, but as a number too short to be told from others."""
    assert References(["AU000004", "13404344", "8080"]).without(text) == (text, 0)


def test_a_number_of_several_parts_is_one() -> None:
    assert References(["1234-1234"]).without("see 1234-1234 and 1234-1235") == ("see  and 1234-1235", 1)


def test_keys_are_of_the_exports_own_project() -> None:
    references = References(["HADOOP-17", "HADOOP-18"])
    text = "HADOOP-1234 HADOOP-1234.001.patch SPARK-1234 hadoop-3.2.1 HADOOP-3.2 HADOOP-9, XHADOOP-1234"
    assert references.without(text) == (" .001.patch SPARK-1234 hadoop-3.2.1 HADOOP-3.2 , XHADOOP-1234", 3)


def test_under_internal_ids_the_texts_tell_which_prefix_is_a_project() -> None:
    texts = [f"after HDFS-{number} and SHA-256 in YARN-7" for number in range(1, 11)]
    references = References(["13404344"], texts)
    assert references.without(texts[0]) == ("after  and SHA-256 in YARN-7", 1)
    assert References(["13404344"], texts[1:]).without(texts[0]) == (texts[0], 0)
    zeros = [f"ORA-0{number}" for number in range(1000, 1100)]  # no key begins with a zero
    assert References(["13404344"], zeros).without(zeros[0]) == (zeros[0], 0)


def test_no_ticket_number_enters_a_text(desk: Any) -> None:
    header = ["Issue key", "Summary", "Description", "Category"]
    rows = [
        header,
        ["ABC-7", "As ABC-12", "<p>like <a href='https://x/browse/ABC-13'>ABC-13</a> INC0012345</p>", "ABC-14 tools"],
        ["ABC-8", "Nothing", "to see", "tools"],
        ["ABC-9", "ABC-8", "", "tools"],
    ]
    export = desk.read(rows)
    assert export.tickets.text == ["As. like (Context: [tools])", "Nothing. to see (Context: [tools])"]
    assert "e.csv: ticket numbers taken out of the texts: 4 in 2 tickets" in export.notes
    assert export.notes[-1] == "e.csv: tickets without any text, left out: 1"
