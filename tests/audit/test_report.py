"""How findings are ordered, told, logged and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from promax.audit.examine import findings
from promax.audit.finding import SEVERITIES, Finding, Report
from promax.audit.report import markdown, show, summary

Make = Callable[..., Any]

SUBJECT: dict[str, dict[str, str | int]] = {
    "train": {"origin": "a.jsonl sha256:12", "pairs": 9000, "sampled": 2000, "fingerprint": "ab"},
    "test": {"origin": "b.jsonl sha256:34", "pairs": 100, "sampled": 100, "fingerprint": "cd"},
}


def report() -> Report:
    return Report(
        [
            Finding("balance of labels", "test", "clean", "50 of 100 pairs are positive", figures={"mean_label": 0.5}),
            Finding("phases", "train", "unchecked", "too few"),
            Finding("cut texts", "train", "note", "1 % | cut [all of it]", "shorten", {"truncated_share": 0.01}),
            Finding("tickets on both sides", "both", "error", "3 shared", "cut anew", {"shared_tickets": 3.0}),
            Finding("order of the rows", "test", "warning", "2 runs", "shuffle", {"runs": 2.0}),
        ],
        SUBJECT,
        "minilm",
    )


def test_the_worst_comes_first() -> None:
    assert tuple(each.severity for each in report().findings) == SEVERITIES


def test_figures_have_the_name_of_their_side_and_findings_are_counted() -> None:
    assert report().figures() == {
        "audit/errors": 1,
        "audit/warnings": 1,
        "audit/notes": 1,
        "audit/shared_tickets": 3,
        "audit/test/runs": 2,
        "audit/train/truncated_share": 0.01,
        "audit/test/mean_label": 0.5,
    }


def test_a_report_reads_back() -> None:
    assert Report.from_json(json.loads(json.dumps(report().to_json()))) == report()


def test_the_summary_counts() -> None:
    assert summary(report()) == "1 error, 1 warning, 1 note; 1 check found nothing; 1 could not be made"


def test_markdown_has_a_row_a_finding() -> None:
    page = markdown(report(), "audit of x").splitlines()
    assert page[0] == "# audit of x"
    assert "| **error** | tickets on both sides | both | 3 shared | cut anew |" in page
    assert "| **note** | cut texts | train | 1 % \\| cut [all of it] | shorten |" in page
    assert "| balance of labels | test | 50 of 100 pairs are positive |" in page
    assert "| phases | train | too few |" in page
    assert "train: 9000 pairs, a.jsonl sha256:12; 2000 drawn at random were read closely" in page


def test_the_terminal_shows_every_check_with_its_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    show(report())
    out = capsys.readouterr().out
    for told in ("3 shared", "→ cut anew", "cut [all of it]", "nothing found: balance of labels (test)"):
        assert told in out
    assert "not checked: phases (train): too few" in out
    assert out.index("error") < out.index("warning") < out.index("note")


def test_all_checks_are_silent_on_clean_sides_and_each_says_so(make: Make) -> None:
    found = findings(make(0).side(), make(1).side("test"))
    assert {each.severity for each in found} == {"clean", "unchecked"}
    unchecked = {(each.check, each.text) for each in found if each.severity == "unchecked"}
    assert unchecked == {
        ("labels by category", "no categories are given"),
        ("score edges", "no class of a phase has 250 pairs"),
    }
    across = [each.check for each in found if each.where == "both"]
    assert across == ["train easier than test", "distributions", "tickets on both sides", "near duplicates across"]
    of_sides = {side: [each.check for each in found if each.where == side] for side in ("train", "test")}
    assert of_sides["train"] == of_sides["test"]
    assert len(set(of_sides["train"])) == len(of_sides["train"]) == 14
