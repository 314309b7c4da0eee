"""Tickets, and near copies of them, in train and test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from promax.audit import splits
from promax.audit.finding import Finding

Make = Callable[..., Any]


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_disjoint_sides_are_clean(make: Make) -> None:
    found = one(splits.shared_tickets(make(0).side(), make(1).side("test")))
    assert (found.severity, found.text) == ("clean", "none of 300 test tickets is in train, by text or by id")


def test_a_ticket_on_both_sides_is_an_error_whatever_its_case_and_white_space(make: Make) -> None:
    train, test = make(0), make(1)
    text2 = list(test.pairs.text2)
    text2[5] = f"  {train.pairs.text1[0].upper()}\n"
    found = one(splits.shared_tickets(train.side(), test.side("test", text2=text2)))
    assert found.severity == "error"
    assert found.figures["shared_tickets"] == 1
    assert "1 of 301 test tickets are in train too, in 1 of 300 test pairs" in found.text


def test_an_id_with_another_text_is_a_warning(make: Make) -> None:
    """As of a ticket that was edited between two exports; or the ids are row numbers, which the advice says."""
    train, test = make(0), make(1)
    own = [f"INC{number}" for number in range(600)]
    sides = train.side(id1=own[:300]), test.side("test", id1=own[299:599])
    found = one(splits.shared_tickets(*sides))
    assert (found.severity, found.figures["shared_ids"]) == ("warning", 1)
    apart = train.side(id1=own[:300]), test.side("test", id1=own[300:])
    assert one(splits.shared_tickets(*apart)).severity == "clean"


@pytest.mark.parametrize(("copies", "severity"), [(0, "clean"), (1, "note"), (20, "warning"), (150, "error")])
def test_near_copies_across_the_sides(make: Make, copies: int, severity: str) -> None:
    """The same template with another number: `disk full on ... server 17`."""
    train, test = make(0), make(1)
    sentence = "the disk of the file server is full again and nobody can save a document today"
    text1, text2 = list(train.pairs.text1), list(test.pairs.text1)
    for row in range(copies):
        text1[row], text2[row] = f"{text1[row]} {sentence} {2 * row}", f"{text1[row]} {sentence} {2 * row + 1}"
    found = one(splits.near_duplicates(train.side(text1=text1), test.side("test", text1=text2)))
    assert found.severity == severity
    tickets = len({*text2, *test.pairs.text2})
    assert found.figures["near_duplicate_share"] == copies / tickets


def test_the_same_ticket_is_no_near_copy(make: Make) -> None:
    made = make(0)
    found = one(splits.near_duplicates(made.side(), made.side("test")))
    assert (found.severity, found.text) == ("unchecked", "every test ticket is in train itself")


def test_the_nearest_is_found_across_blocks() -> None:
    """Against a dense matrix of all cosines; more texts than a block holds."""
    random = np.random.default_rng(0)
    words = [f"{a}{b}" for a in ("disk", "print", "login", "mail") for b in ("full", "slow", "fail", "down", "lost")]
    texts = [" ".join(random.choice(words, 6)) for _ in range(2 * splits.BLOCK + 150)]
    asked, among = texts[: 2 * splits.BLOCK + 50], texts[2 * splits.BLOCK + 50 :]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4))
    known = vectorizer.fit_transform(among)
    expected = cosine_similarity(vectorizer.transform(asked), known).max(axis=1)
    np.testing.assert_allclose(splits.nearest(asked, among), expected, atol=1e-6)


def test_texts_without_letters_are_near_nothing() -> None:
    assert splits.nearest(["a", ""], ["b"]).tolist() == [0.0, 0.0]
