"""Order, repetition, balance and length, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from promax.audit import shape
from promax.audit.finding import Finding

Make = Callable[..., Any]


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_positives_first_are_seen(make: Make) -> None:
    """20 ones, 20 zeros: 2 runs, expected 2*20*20/40 + 1 = 21, variance 20*19/39, so z = -19 / 3.1215 = -6.087."""
    made = make(problems=20)
    found = one(shape.order(made.side(labels=np.repeat([1.0, 0.0], 20))))
    assert found.severity == "warning"
    assert found.text.startswith("all positives come first: 2 runs of equal labels where random order gives 21")
    assert found.figures["runs_z"] == pytest.approx(-6.087, abs=5e-4)


def test_labels_in_blocks_are_seen(make: Make) -> None:
    found = one(shape.order(make().side(labels=np.tile(np.repeat([1.0, 0.0], 25), 6))))
    assert (found.severity, found.figures["runs"]) == ("warning", 12)


def test_graded_labels_in_descending_order_are_seen(make: Make) -> None:
    assert one(shape.order(make().side(labels=np.linspace(1, 0, 300)))).severity == "warning"


@pytest.mark.parametrize("labels", [None, np.tile([1.0, 0.0], 150)], ids=["shuffled", "alternating"])
def test_mixed_labels_are_clean(make: Make, labels: Any) -> None:
    """Alternating labels have more runs than chance: no first rows are of one class."""
    made = make()
    found = one(shape.order(made.side(labels=made.pairs.labels if labels is None else labels)))
    assert found.severity == "clean"


def test_repeated_contradictory_and_self_pairs_are_counted(make: Make) -> None:
    """Of five pairs, (a, b) comes three times, once turned round and once with another label; (c, C) is one text."""
    made = make(problems=150)
    text1 = ["a", "B", "a", "c", *made.pairs.text1[4:]]
    text2 = ["b", "a", "b", "C ", *made.pairs.text2[4:]]
    labels = made.pairs.labels.copy()
    labels[:4] = (1, 1, 0, 1)
    found = one(shape.repeated(made.side(text1=text1, text2=text2, labels=labels)))
    assert found.figures == {"repeated_pairs": 2, "contradictory_pairs": 3, "self_pairs": 1}
    assert found.severity == "note"
    many = one(shape.repeated(made.side(text1=text1[:4] * 75, text2=text2[:4] * 75, labels=np.tile(labels[:4], 75))))
    assert many.severity == "warning"
    assert one(shape.repeated(made.side())).severity == "clean"


@pytest.mark.parametrize(
    ("name", "labels", "severity"),
    [
        ("train", np.ones(300), "warning"),
        ("test", np.ones(300), "error"),
        ("test", np.zeros(300), "error"),
        ("test", np.arange(300) % 50 == 0, "note"),
        ("test", np.arange(300) % 2 == 0, "clean"),
        ("test", np.linspace(0, 1, 300), "clean"),
    ],
    ids=["train positives", "test positives", "test negatives", "2 % positive", "half", "graded"],
)
def test_balance(make: Make, name: Any, labels: Any, severity: str) -> None:
    assert one(shape.balance(make().side(name, labels=labels.astype(float)))).severity == severity


@pytest.mark.parametrize(("long", "severity"), [(0, "clean"), (60, "clean"), (61, "warning")])
def test_texts_longer_than_what_is_read(make: Make, long: int, severity: str) -> None:
    """600 texts, read up to 128 tokens: 10 % may be cut."""

    def tokens(texts: list[str]) -> Any:
        return np.where(np.arange(len(texts)) < long, 129, 128)

    found = one(shape.truncation(make().side(tokens=tokens)))
    assert (found.severity, found.figures["truncated_share"]) == (severity, long / 600)
