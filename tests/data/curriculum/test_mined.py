"""`Mined`: similarity, bounds per ticket, draws in equal parts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promax.data.curriculum import measured
from promax.data.curriculum.mined import bounded, evenly

PAIRS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)).filter(lambda pair: pair[0] != pair[1]), max_size=40)


def test_the_similarity_is_the_cosine_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy's product of the whole matrix is the oracle."""
    monkeypatch.setattr("promax.data.curriculum.mined.BLOCK", 7)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = rng.integers(20, size=(30, 2))
    found = measured(rows, True, np.full(30, "link"), vectors)
    np.testing.assert_allclose(found.similarity, (vectors @ vectors.T)[rows[:, 0], rows[:, 1]], atol=1e-6)
    assert found.phase.tolist() == [0] * 30


@given(PAIRS, st.integers(1, 4))
def test_no_ticket_is_in_more_pairs_than_allowed(pairs: list[tuple[int, int]], most: int) -> None:
    kept = list(map(tuple, bounded(np.array(pairs, dtype=np.int64).reshape(-1, 2), most).tolist()))
    assert len(set(kept)) == len(kept)
    assert set(kept) <= {(min(pair), max(pair)) for pair in pairs}
    uses = Counter(ticket for pair in kept for ticket in pair)
    assert max(uses.values(), default=0) <= most
    # Nothing is left out without need: one end of it is used up.
    assert all(max(uses[a], uses[b]) == most for a, b in {(min(p), max(p)) for p in pairs} - set(kept))


@pytest.mark.parametrize(
    ("there", "count", "expected"),
    [((5, 5, 5), 6, [2, 2, 2]), ((1, 9, 9), 7, [1, 3, 3]), ((1, 2, 9), 8, [1, 2, 5]), ((1, 1, 1), 9, [1, 1, 1])],
)
def test_equal_parts_as_far_as_they_go(there: tuple[int, ...], count: int, expected: list[int]) -> None:
    """By hand."""
    origin = np.repeat(["a", "b", "c"], there)
    drawn = origin[evenly(origin, count, np.random.default_rng(0))]
    assert [int((drawn == name).sum()) for name in "abc"] == expected


def test_every_row_of_a_part_can_be_drawn() -> None:
    origin = np.repeat(["a", "b"], (6, 6))
    drawn = [evenly(origin, 4, np.random.default_rng(seed)).tolist() for seed in range(60)]
    assert {row for rows in drawn for row in rows} == set(range(12))


def test_a_pair_keeps_what_is_its_own() -> None:
    pairs = measured(np.array([[0, 1], [1, 2]]), False, np.array(["random", "nearest"]), np.eye(3, dtype=np.float32))
    last = pairs.take(np.array([1])).in_phase(2)
    assert (last.rows.tolist(), last.origin.tolist(), last.phase.tolist()) == ([[1, 2]], ["nearest"], [2])
    assert pairs.phase.tolist() == [0, 0]
