"""What should not stand in texts: each pattern on what it must and must not take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from promax.audit import texts
from promax.audit.finding import Finding

Make = Callable[..., Any]


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def figures(made: Any, check: Callable[[Any], list[Finding]], text: str) -> Finding:
    """The check on a clean set with `text` put into one ticket."""
    return one(check(made.side(text1=[text, *made.pairs.text1[1:]])))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("same as INC0012345 last week", "ticket_numbers"),
        ("see prb0040001", "ticket_numbers"),
        ("RITM0010001 not delivered", "ticket_numbers"),
        ("VPN down.\nClose notes: restarted the gateway", "resolution_headings"),
        ("VPN down. Resolution: restarted", "resolution_headings"),
        ("Resolution code: Solved", "resolution_headings"),
        ("VPN down\nClosed by: somebody", "resolution_headings"),
        ("blocked by HADOOP-17912", "issue_keys"),
    ],
)
def test_a_leak_is_counted(make: Make, text: str, name: str) -> None:
    found = figures(make(), texts.leaks, text)
    assert {key for key, value in found.figures.items() if value} == {name}
    assert found.severity == ("note" if name == "issue_keys" else "warning")


@pytest.mark.parametrize(
    "text",
    [
        "incident with 12345 users",
        "Screen resolution: 1920x1080 is wrong",
        "Resolution: 1920 x 1080 after the update",
        "read as UTF-8, not ISO-8859-1; SHA-256 differs; CVE-2022-42889",
        "what is the resolution?",
        "task 12345 hangs",
        "cannot close notes, the app hangs",
    ],
)
def test_what_only_looks_like_a_leak_is_not(make: Make, text: str) -> None:
    assert figures(make(), texts.leaks, text).severity == "clean"


def test_leaks_in_many_texts_are_an_error(make: Make) -> None:
    made = make()
    text1 = [f"{text} INC00{number:05}" if number < 30 else text for number, text in enumerate(made.pairs.text1)]
    assert one(texts.leaks(made.side(text1=text1))).severity == "error"


def test_a_text_that_names_its_partner_is_an_error(make: Make) -> None:
    made = make()
    ids = [f"bug-{number}" for number in range(300)]
    text1 = [f"{made.pairs.text1[0]} like bug-0", f"{made.pairs.text1[1]} unlike bug-12", *made.pairs.text1[2:]]
    found = one(texts.leaks(made.side(text1=text1, id2=ids)))
    assert (found.severity, found.figures["partners_named"]) == ("error", 1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("write to jane.doe@mail.example.com", "emails"),
        ("call +49 170 1234567", "phones"),
        ("call +1 (555) 123-4567 after ten", "phones"),
        ("extension 030 1234 5678", "phones"),
        ("(555) 123-4567", "phones"),
        ("host 10.20.30.40 is down", "ips"),
        ("host 203.0.113.77 is down", "ips"),
        ("the gateway 10.2.0.5 of a private network", "ips"),
        ("Hi Sandra, the printer jams", "names"),
        ("the printer jams. Thanks, Jane Doe", "names"),
        ("Kind regards\nMiguel", "names"),
        ("Mr. Smith can't log in", "names"),
        ("Caller: Jane Doe", "names"),
    ],
)
def test_personal_data_is_counted(make: Make, text: str, name: str) -> None:
    found = figures(make(), texts.personal_data, text)
    assert {key for key, value in found.figures.items() if value} == {name}
    assert found.severity == ("note" if name == "ips" else "warning")


@pytest.mark.parametrize(
    "text",
    [
        "java 1.8.0.292 crashes, 12.0.4.4 does not",
        "mask 255.255.255.0, address 127.0.0.1",
        "error 0x80070005 at 2021-09-30 17:20:11",
        "order 4711 0815 not found",
        "build 20210930123456",
        "Hi Team, the printer jams. Best regards Human Resources",
        "Hello, Outlook crashes",
        "Thanks for the help with Windows",
        "kind regards administrator",
        "version @ 2.3 of user@host",
    ],
)
def test_what_only_looks_personal_is_not(make: Make, text: str) -> None:
    assert figures(make(), texts.personal_data, text).severity == "clean"


def test_texts_are_counted_once_and_never_told(make: Make) -> None:
    made = make()
    text = "zyxwvut INC0012345 jane@mail.example.com +49 170 1234567 HADOOP-17912"
    side = made.side(text1=[text] * 300)
    for finding in (one(texts.leaks(side)), one(texts.personal_data(side))):
        assert max(finding.figures.values()) == 1
        for told in (finding.text, finding.advice):
            assert not {"zyxwvut", "INC0012345", "jane", "1234567", "17912"} & set(told.replace("@", " ").split())
