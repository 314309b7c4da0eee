"""Filtered ranks against a loop over every ticket, and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from promax.metrics import (
    UndefinedMetric,
    bootstrap,
    mean_reciprocal_rank,
    recall_at,
    retrieval,
    retrieval_ranks,
)


def unit_rows(tickets: int, dimension: int, seed: int) -> NDArray[np.float64]:
    rows = np.random.default_rng(seed).normal(size=(tickets, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ranks_by_hand(embeddings: NDArray[np.float64], links: NDArray[np.int64]) -> list[int]:
    """The definition, one ticket at a time."""
    known = {(int(a), int(b)) for a, b in links} | {(int(b), int(a)) for a, b in links}
    ranks = []
    for query, partner in [*links, *links[:, ::-1]]:
        cosine = float(np.dot(embeddings[query], embeddings[partner]))
        rank = 1
        for other in range(len(embeddings)):
            if other in (query, partner) or (int(query), other) in known:
                continue
            rank += float(np.dot(embeddings[query], embeddings[other])) >= cosine - 1e-6
        ranks.append(rank)
    return ranks


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(2, 15), st.integers(0, 10_000), st.data())
def test_ranks_are_those_of_the_definition(tickets: int, seed: int, data: st.DataObject) -> None:
    number = st.integers(0, tickets - 1)
    pairs = data.draw(st.lists(st.tuples(number, number).filter(lambda pair: pair[0] != pair[1]), max_size=12))
    links = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    embeddings = unit_rows(tickets, 3, seed)
    # Some tickets with the same embedding, so that there are ties.
    embeddings[: tickets // 3] = embeddings[0]
    assert retrieval_ranks(embeddings, links).tolist() == ranks_by_hand(embeddings, links)


def test_the_block_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = unit_rows(60, 8, seed=3).astype(np.float32)
    links = np.random.default_rng(4).permutation(60)[:40].reshape(-1, 2)
    links = np.concatenate([links, np.column_stack([links[:-1, 0], links[1:, 1]])])
    whole = retrieval_ranks(embeddings, links)
    assert whole.tolist() == ranks_by_hand(embeddings.astype(np.float64), links)
    for entries in (1, 60 * 7):
        monkeypatch.setattr(retrieval, "BLOCK_ENTRIES", entries)
        assert retrieval_ranks(embeddings, links).tolist() == whole.tolist()


def test_known_partners_are_left_out() -> None:
    # On a circle at 0, 10, 20 and 30 degrees; 0, 1 and 2 are one problem, 3 is another ticket.
    angle = np.radians([0.0, 10.0, 20.0, 30.0])
    embeddings = np.column_stack([np.cos(angle), np.sin(angle)])
    links = np.array([[0, 1], [0, 2], [1, 2]])
    # 0 finds 1 and 2 first, each without the other. 1 finds 0 and 2 likewise; 2 finds 3 as near as 1 (a tie, which
    # stands before it), and before 0.
    assert retrieval_ranks(embeddings, links).tolist() == [1, 1, 1, 1, 2, 2]


def test_one_embedding_for_all_tickets_ranks_every_partner_last() -> None:
    links = np.array([[0, 1], [7, 30]])
    embeddings = np.repeat(unit_rows(1, 384, seed=0).astype(np.float32), 50, axis=0)
    assert retrieval_ranks(embeddings, links).tolist() == [49] * 4
    # And so where rounding alone tells them apart: at most 1e-3 radians, a cosine of 1 - 5e-7.
    angle = np.random.default_rng(0).uniform(0, 1e-3, size=50)
    embeddings = np.column_stack([np.cos(angle), np.sin(angle)])
    assert retrieval_ranks(embeddings, links).tolist() == [49] * 4


def test_perfect_and_opposite_neighbours() -> None:
    # Each link on an axis of its own, or against it.
    axes = np.repeat(np.eye(5), 2, axis=0)
    links = np.arange(10).reshape(-1, 2)
    assert retrieval_ranks(axes, links).tolist() == [1] * 10
    axes[1::2] *= -1
    assert retrieval_ranks(axes, links).tolist() == [9] * 10


def test_ranks_refuse_what_only_a_bug_gives() -> None:
    embeddings = unit_rows(4, 3, seed=0)
    links = np.array([[0, 1], [2, 3]])
    broken = embeddings.copy()
    broken[2, 0] = np.nan
    with pytest.raises(ValueError, match=r"^1 of 4 embeddings are not finite$"):
        retrieval_ranks(broken, links)
    with pytest.raises(ValueError, match=r"^4 of 4 embeddings are not of length 1$"):
        retrieval_ranks(embeddings * 1.1, links)
    with pytest.raises(ValueError, match=r"^2 ticket numbers in the links are outside 0\.\.3$"):
        retrieval_ranks(embeddings, np.array([[0, 4], [-1, 2]]))
    with pytest.raises(ValueError, match=r"^1 of 2 links join a ticket to itself$"):
        retrieval_ranks(embeddings, np.array([[0, 1], [2, 2]]))
    with pytest.raises(ValueError, match=r"must be \(t, d\) and \(m, 2\)$"):
        retrieval_ranks(embeddings, np.array([0, 1]))


def test_recall_and_reciprocal_rank_by_hand() -> None:
    ranks = np.array([1, 3, 7, 2])
    assert [recall_at(ranks, k) for k in (1, 2, 3, 6, 7)] == [0.25, 0.5, 0.75, 0.75, 1]
    assert mean_reciprocal_rank(ranks) == pytest.approx((1 + 1 / 3 + 1 / 7 + 1 / 2) / 4)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=20))
def test_a_weight_of_k_is_the_rank_repeated_k_times(rows: list[tuple[int, int]]) -> None:
    ranks, times = np.array(rows).T
    weights = times.astype(np.float64)
    if not weights.any():
        with pytest.raises(UndefinedMetric, match=r"^no positive pairs: there is no partner to find$"):
            recall_at(ranks, 1, weights)
        return
    repeated = np.repeat(ranks, times)
    assert recall_at(ranks, 3, weights) == pytest.approx(np.mean(repeated <= 3))
    assert mean_reciprocal_rank(ranks, weights) == pytest.approx(np.mean(1 / repeated))


def test_no_ranks_are_undefined_and_ranks_below_one_refused() -> None:
    none = retrieval_ranks(unit_rows(3, 2, seed=0), np.empty((0, 2), dtype=np.int64))
    assert none.shape == (0,)
    for function in (mean_reciprocal_rank, lambda ranks: recall_at(ranks, 5)):
        with pytest.raises(UndefinedMetric, match=r"^no positive pairs: there is no partner to find$"):
            function(none)
        with pytest.raises(ValueError, match=r"^1 of 2 ranks are below 1$"):
            function(np.array([0, 3]))
    with pytest.raises(ValueError, match=r"^k=0: must be at least 1$"):
        recall_at(np.array([1]), 0)


def test_both_directions_of_a_link_are_drawn_together() -> None:
    # 20 links, every other one found in both directions: each resample is a mean of 0/1 over whole links.
    ranks = np.tile(np.where(np.arange(20) % 2 == 0, 1, 9), 2)
    units = np.repeat(np.arange(20)[:, None], 2, axis=1)
    samples = bootstrap(lambda weights: recall_at(ranks, 1, weights), np.tile(units, (2, 1)), 300, seed=0)
    assert np.allclose(samples * 20, np.round(samples * 20))
    # The binomial's sd, sqrt(.25 / 20); drawn apart, the directions would give sqrt(.25 / 40).
    assert samples.std() == pytest.approx(np.sqrt(0.25 / 20), rel=0.15)
