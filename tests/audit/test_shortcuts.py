"""Rules without understanding, planted and not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from promax.audit import shortcuts
from promax.audit.finding import Finding
from promax.lexical import tfidf_similarity

Make = Callable[..., Any]


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def named(findings: list[Finding], check: str) -> Finding:
    return one([each for each in findings if each.check == check])


def categories(made: Any, agreement: tuple[float, float], seed: int = 3) -> dict[str, list[str]]:
    """Categories that agree in so many of the positives and of the negatives."""
    random = np.random.default_rng(seed)
    share = np.where(made.pairs.labels == 1, *agreement)
    first = random.integers(0, 5, len(share))
    second = np.where(random.random(len(share)) < share, first, (first + random.integers(1, 5, len(share))) % 5)
    return {"category1": [f"c{each}" for each in first], "category2": [f"c{each}" for each in second]}


@pytest.mark.parametrize(
    ("agreement", "severity"),
    [((1.0, 0.0), "error"), ((0.95, 0.04), "warning"), ((0.85, 0.55), "clean"), ((0.2, 0.2), "clean")],
    ids=["labels are the category", "nearly", "as tickets are", "by chance"],
)
def test_labels_that_are_same_category(make: Make, agreement: tuple[float, float], severity: str) -> None:
    made = make(problems=400)
    columns = categories(made, agreement)
    found = one(shortcuts.same_category(made.side(**columns)))
    assert (found.check, found.severity) == ("labels by category", severity)
    same = [float(a == b) for a, b in zip(columns["category1"], columns["category2"], strict=True)]
    assert found.figures["category_auc"] == pytest.approx(roc_auc_score(made.pairs.labels, same))


def test_one_category_for_both_tickets_has_nothing_to_compare(make: Make) -> None:
    made = make()
    shared = ["network"] * 300
    assert one(shortcuts.same_category(made.side(category1=shared, category2=shared))).severity == "unchecked"
    assert one(shortcuts.same_category(made.side())).text == "no categories are given"


def test_a_category_that_only_positives_have_is_the_rule(make: Make) -> None:
    """As where pairs were made from categories and the column says which one they share."""
    made = make()
    shared = ["network" if label else "" for label in made.pairs.labels]
    assert one(shortcuts.same_category(made.side(category1=shared, category2=shared))).severity == "error"


def test_labels_that_shared_words_made_are_an_error(make: Make) -> None:
    """The old kind of test set: TF-IDF above a bound is a positive pair, below another a negative one."""
    made = make()
    found = one(shortcuts.words(made.side(labels=(made.lexical > 0.3).astype(float))))
    assert found.severity == "error"
    assert found.figures["tfidf_auc"] == 1.0


def test_templates_are_a_warning_and_like_wording_in_both_classes_is_clean(make: Make) -> None:
    """Positives of one template share most words; scored by the TF-IDF that the audit uses."""
    made = make(problems=300)
    text2 = [
        f"{a.rsplit(' ', 3)[0]} x{row} y{row}" if label and row % 10 else b
        for row, (a, b, label) in enumerate(zip(made.pairs.text1, made.pairs.text2, made.pairs.labels, strict=True))
    ]
    lexical = tfidf_similarity(made.pairs.text1, text2)
    found = one(shortcuts.words(made.side(text2=text2, lexical=lexical)))
    assert found.severity == "warning"
    assert found.figures["tfidf_auc"] == pytest.approx(roc_auc_score(made.pairs.labels, lexical))
    plain = tfidf_similarity(made.pairs.text1, made.pairs.text2)
    assert one(shortcuts.words(made.side(lexical=plain))).severity == "clean"


def test_graded_labels_made_by_shared_words(make: Make) -> None:
    made = make()
    assert one(shortcuts.words(made.side(labels=made.lexical))).severity == "error"
    labels = np.random.default_rng(0).random(300)
    assert one(shortcuts.words(made.side(labels=labels))).severity == "clean"


@pytest.mark.parametrize("seed", range(3))
def test_no_blind_rule_predicts_pairs_whose_texts_are_in_both_classes(make: Make, seed: int) -> None:
    found = shortcuts.blind_rules(make(seed).side())
    assert [(each.check, each.severity) for each in found] == [
        ("labels by one text", "clean"),
        ("labels by frequency", "clean"),
        ("labels by length", "clean"),
    ]


@pytest.mark.parametrize("column", ["text1", "text2"])
def test_negatives_from_another_pool_are_told_by_one_text(make: Make, column: str) -> None:
    made = make()
    texts = [
        text if label else f"please advise {text} {row}"
        for row, (text, label) in enumerate(zip(getattr(made.pairs, column), made.pairs.labels, strict=True))
    ]
    found = named(shortcuts.blind_rules(made.side(**{column: texts})), "labels by one text")
    assert found.severity == "error"
    assert f"the words of {column}" in found.text


def test_a_problem_seen_before_is_not_recognised(make: Make) -> None:
    """Each problem has its words and its share of positives: who has read its other pairs knows the label.

    Tickets of a problem are kept in one fold, so that this does not count.
    """
    random = np.random.default_rng(0)
    text1, text2, labels = [], [], []
    for problem in range(120):
        tickets = [f"topic{problem} part{problem} v{problem}x{number}" for number in range(4)]
        label = float(random.random() < 0.5)
        # One positive pair ties a problem together; the other pairs are all of its one label.
        rows = [(tickets[0], tickets[1], 1.0), (tickets[1], tickets[2], 1.0), (tickets[2], tickets[3], 1.0)]
        rows += [
            (ticket, f"topic{problem} part{problem} o{problem}x{number}", label)
            for number, ticket in enumerate(tickets * 3)
        ]
        for row in rows:
            text1.append(row[0]), text2.append(row[1]), labels.append(row[2])
    made = make(problems=len(labels) // 2)
    side = made.side(text1=text1, text2=text2, labels=np.array(labels), id1=text1, id2=text2)
    assert named(shortcuts.blind_rules(side), "labels by one text").figures["one_text_auc"] < 0.6


def test_negatives_that_occur_once_are_told_by_frequency(make: Make) -> None:
    """Positives come from a few duplicates, each in many pairs; each negative brings a ticket of its own."""
    made = make()
    tickets = [[f"dup {problem} said {number}" for number in range(3)] for problem in range(30)]
    text1 = [tickets[row % 30][row % 2] for row in range(300)]
    text2 = [
        tickets[row % 30][2] if label else f"fresh {row} words {row * 7}" for row, label in enumerate(made.pairs.labels)
    ]
    found = named(shortcuts.blind_rules(made.side(text1=text1, text2=text2)), "labels by frequency")
    assert found.severity == "error"
    assert "0% are positive where a text occurs once, 100% elsewhere" in found.text


def test_pairs_of_one_problem_leave_nothing_to_judge_on(make: Make) -> None:
    tied = make().side(text1=["one"] * 300, text2=["other"] * 300)
    assert {each.severity for each in shortcuts.blind_rules(tied)} == {"unchecked"}


def test_long_negatives_are_told_by_length(make: Make) -> None:
    made = make()
    texts = [
        text if label else f"{text} {' '.join(['and'] * 12)}"
        for text, label in zip(made.pairs.text1, made.pairs.labels, strict=True)
    ]
    assert named(shortcuts.blind_rules(made.side(text1=texts)), "labels by length").severity == "error"
