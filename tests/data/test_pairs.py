from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promax.data.pairs import Pairs, is_binary, positives, text_id, text_key


def pairs_of(*rows: tuple[str, str], **columns: object) -> Pairs:
    given_columns = {
        "labels": np.linspace(0, 1, len(rows)),
        "id1": [f"L{i}" for i in range(len(rows))],
        "id2": [f"R{i}" for i in range(len(rows))],
    }
    return Pairs(text1=[a for a, _ in rows], text2=[b for _, b in rows], **{**given_columns, **columns})  # type: ignore[arg-type]


FULL = pairs_of(
    ("a", "b"),
    ("c", "d"),
    ("e", "f"),
    phases=np.array([1, 2, 3]),
    category1=["x", "y", "z"],
    category2=["u", "v", ""],
)


def test_take_keeps_every_column_together_in_the_order_asked_for() -> None:
    taken = FULL.take(np.array([2, 0]))
    assert (taken.text1, taken.text2) == (["e", "a"], ["f", "b"])
    assert (taken.id1, taken.id2) == (["L2", "L0"], ["R2", "R0"])
    assert (taken.category1, taken.category2) == (["z", "x"], ["", "u"])
    assert taken.labels.tolist() == [1.0, 0.0]
    assert taken.phases is not None
    assert taken.phases.tolist() == [3, 1]
    assert len(taken) == 2


def test_take_of_nothing_is_empty_and_columns_that_are_absent_stay_absent() -> None:
    taken = pairs_of(("a", "b")).take(np.array([], dtype=np.int64))
    assert len(taken) == 0
    assert (taken.phases, taken.category1, taken.category2) == (None, None, None)
    assert taken.tickets().shape == (0, 2)


def test_columns_of_different_lengths_are_our_own_bug() -> None:
    with pytest.raises(AssertionError, match=r"different lengths: \[1, 2\]"):
        Pairs(["a"], ["b"], np.zeros(1), ["1"], ["2"], category1=["x", "y"])


def test_tickets_are_one_where_texts_differ_in_white_space_and_case_only() -> None:
    # By hand: "VPN down" is 0, "mail" 1, "straße" 2 ("ß" folds to "ss"), "vpn-down" 3.
    pairs = pairs_of(("VPN down", "mail"), ("STRASSE", " vpn\n\tdown "), ("straße", "vpn-down"))
    assert pairs.tickets().tolist() == [[0, 1], [2, 0], [2, 3]]


@given(st.lists(st.tuples(st.text("aB \n", max_size=3), st.text("aB \n", max_size=3)), max_size=12))
def test_tickets_have_equal_numbers_exactly_where_keys_are_equal(rows: list[tuple[str, str]]) -> None:
    numbers = pairs_of(*rows).tickets().ravel().tolist()
    keys = [text_key(text) for row in rows for text in row]
    assert [a == b for a in numbers for b in numbers] == [a == b for a in keys for b in keys]
    assert sorted(set(numbers)) == list(range(len(set(keys))))


def test_a_ticket_without_an_id_is_named_by_its_text() -> None:
    assert text_id("Drucker geht nicht") == hashlib.sha256(b"Drucker geht nicht").hexdigest()[:12]


def test_equal_contents_have_equal_fingerprints() -> None:
    assert FULL.fingerprint() == FULL.take(np.arange(3)).fingerprint()
    assert len(FULL.fingerprint()) == 64


@pytest.mark.parametrize(
    "other",
    [
        FULL.take(np.array([1, 0, 2])),
        FULL.take(np.array([0, 1])),
        pairs_of(("a", "b"), ("c", "d"), ("e", "f")),
        pairs_of(("a", "b"), ("c", "d"), ("e", "f"), phases=np.array([1, 2, 3]), category1=["x", "y", "z"]),
        pairs_of(
            ("a", "b"),
            ("c", "d"),
            ("e", "f"),
            phases=np.array([1, 2, 2]),
            category1=["x", "y", "z"],
            category2=["u", "v", ""],
        ),
        pairs_of(
            ("a", "b"),
            ("c", "d"),
            ("e", "f"),
            labels=np.array([0.0, 0.5, np.nextafter(1.0, 0.0)]),
            phases=np.array([1, 2, 3]),
            category1=["x", "y", "z"],
            category2=["u", "v", ""],
        ),
    ],
    ids=["order", "fewer rows", "no phases", "no category2", "one phase", "one label by one ulp"],
)
def test_any_difference_changes_the_fingerprint(other: Pairs) -> None:
    assert other.fingerprint() != FULL.fingerprint()


@given(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3), st.text(max_size=3))
def test_a_text_that_moves_across_a_border_changes_the_fingerprint(a: str, b: str, c: str, d: str) -> None:
    """Plain concatenation would give ("ab", "c") and ("a", "bc") one fingerprint."""
    one, two = pairs_of((a, b)), pairs_of((c, d))
    assert (one.fingerprint() == two.fingerprint()) == ((a, b) == (c, d))


def test_absent_categories_differ_from_empty_ones() -> None:
    assert pairs_of(("a", "b")).fingerprint() != pairs_of(("a", "b"), category1=[""]).fingerprint()


def test_the_fingerprint_stays_what_it_is_between_releases() -> None:
    """By hand: the bytes that the docstring describes, written out for one pair."""

    def counted(data: bytes) -> bytes:
        return len(data).to_bytes(8, "little") + data

    one = (1).to_bytes(8, "little")
    expected = b"".join(
        [
            counted(b"text1") + b"string" + one + counted(b"a"),
            counted(b"text2") + b"string" + one + counted("ü".encode()),
            counted(b"labels") + b"number" + counted(bytes.fromhex("000000000000e03f")),  # 0.5, little-endian
            counted(b"id1") + b"string" + one + counted(b"1"),
            counted(b"id2") + b"string" + one + counted(b"2"),
            counted(b"phases") + b"number" + counted((3).to_bytes(8, "little")),
            counted(b"category1") + b"absent",
            counted(b"category2") + b"absent",
        ]
    )
    pairs = Pairs(["a"], ["ü"], np.array([0.5]), ["1"], ["2"], phases=np.array([3]))
    assert pairs.fingerprint() == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize(
    ("labels", "positive_from", "expected"),
    [
        ([0.0, 1.0], None, [False, True]),
        ([0.0, 1.0], 0.5, [False, True]),
        ([0.0, 0.5, 1.0], None, None),
        ([0.0, 0.5, 1.0], 0.5, [False, True, True]),
        ([0.0, 0.5, 1.0], 1.0, [False, False, True]),
    ],
)
def test_positives(labels: list[float], positive_from: float | None, expected: list[bool] | None) -> None:
    found = positives(np.array(labels), positive_from)
    assert (None if found is None else found.tolist()) == expected


def test_is_binary() -> None:
    assert is_binary(np.array([0.0, 1.0, 1.0]))
    assert not is_binary(np.array([0.0, 0.999]))
    assert is_binary(np.array([]))
