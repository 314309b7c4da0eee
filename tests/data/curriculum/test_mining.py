"""Candidates: positive pairs of each problem, negative ones between problems."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from promax.config import MiningConfig
from promax.data.curriculum import measured, negatives, positive_rows
from promax.data.curriculum.truth import category_truth, linked_truth


def unit(rng: np.random.Generator, count: int, size: int = 8) -> np.ndarray:
    vectors = rng.normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def exported(make_tickets, sizes: list[int], categories: int = 3):
    problem = [f"P{number}" for number, size in enumerate(sizes) for _ in range(size)]
    category = [f"c{at % categories}" for at in range(len(problem))]
    return make_tickets([f"t{at}" for at in range(len(problem))], problem=problem, category=category)


def positives(tickets, truth, seed: int = 0, **bounds: int):
    side = np.zeros(len(tickets), dtype=np.int64)
    return positive_rows(tickets, truth, side, MiningConfig(**bounds), np.random.default_rng(seed))


def test_small_problems_give_all_their_pairs(make_tickets) -> None:
    tickets = exported(make_tickets, [2, 5, 9])
    rows, origin, notes = positives(tickets, linked_truth(tickets, []))
    expected = {pair for pair in combinations(range(16), 2) if tickets.problem[pair[0]] == tickets.problem[pair[1]]}
    assert set(map(tuple, rows.tolist())) == expected
    assert len(rows) == len(expected) == 1 + 10 + 36
    assert set(origin.tolist()) == {"problem"}
    assert notes == []


def test_a_huge_problem_is_bounded_and_it_is_said(make_tickets) -> None:
    tickets = exported(make_tickets, [400, 3])
    rows, _, notes = positives(tickets, linked_truth(tickets, []))
    uses = Counter(rows.ravel().tolist())
    assert (rows[:, 0] < 400).sum() == 100
    assert max(uses.values()) <= 8
    # Drawn over all of it: 100 pairs of 400 tickets can't come from a corner.
    assert len([ticket for ticket in uses if ticket < 400]) > 120
    # 400 * 399 / 2 + 3 by hand.
    assert notes == [
        "103 of 79803 positive pairs are candidates: no ticket is in more than 8 and no problem gives more than 100"
        " (mining.pairs_per_ticket, mining.pairs_per_group)"
    ]


def test_a_large_problem_uses_its_tickets_evenly(make_tickets) -> None:
    tickets = exported(make_tickets, [50])
    rows = positives(tickets, linked_truth(tickets, []), pairs_per_ticket=6, pairs_per_group=10_000)[0]
    assert set(Counter(rows.ravel().tolist()).values()) == {6}
    assert len({tuple(pair) for pair in rows.tolist()}) == 150


def test_pairs_that_contradict_are_left_out(make_tickets) -> None:
    tickets = make_tickets("abcd", problem=["P1", "P1", "P2", "P2"], links=[(), ("c",), (), ()])
    rows, origin, notes = positives(tickets, linked_truth(tickets, []))
    found = {"abcd"[a] + "abcd"[b]: name for (a, b), name in zip(rows.tolist(), origin.tolist(), strict=True)}
    assert found == {"ab": "problem", "cd": "problem", "bc": "link"}
    assert notes == ["pairs left out, since links join their tickets but these name different problems: 3"]


def test_no_pair_joins_two_sides_and_categories_have_no_bound(make_tickets) -> None:
    tickets = exported(make_tickets, [2] * 100, categories=2)
    side = np.arange(200) % 4 // 2
    rows, _, _ = positive_rows(tickets, category_truth(tickets), side, MiningConfig(), np.random.default_rng(0))
    assert (side[rows[:, 0]] == side[rows[:, 1]]).all()
    # Two categories on two sides are four times 50 tickets, each in eight pairs.
    assert len(rows) == 4 * 50 * 8 // 2


@pytest.fixture(scope="module")
def case(make_tickets):
    """Forty problems of two to seven tickets with vectors around a centre each, and their candidates."""
    rng = np.random.default_rng(1)
    sizes = rng.integers(2, 8, 40).tolist()
    tickets = exported(make_tickets, sizes)
    truth = linked_truth(tickets, [])
    vectors = np.repeat(unit(rng, 40), sizes, axis=0) + 0.5 * unit(rng, len(tickets))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    rows, origin, _ = positives(tickets, truth)
    return tickets, truth.group, vectors, measured(rows, True, origin, vectors)


def mine(case, seed: int = 0, **settings: object):
    tickets, group, vectors, positive = case
    rng = np.random.default_rng(seed)
    return negatives(positive, tickets, group, vectors, MiningConfig(**settings), rng, side="train")


def test_negatives_are_of_different_problems_once_each_and_bounded(case) -> None:
    found = mine(case)
    group, category = case[1], np.array(case[0].category)
    assert not found.positive.any()
    assert (group[found.rows[:, 0]] != group[found.rows[:, 1]]).all()
    assert len({tuple(pair) for pair in np.sort(found.rows, axis=1).tolist()}) == len(found)
    same = found.origin == "same_category"
    assert (category[found.rows[same, 0]] == category[found.rows[same, 1]]).all()
    assert set(found.origin.tolist()) == {"random", "same_category", "nearest"}
    for name in set(found.origin.tolist()):
        of = found.rows[found.origin == name]
        assert 0 < len(of) <= len(case[3])
        assert max(Counter(of.ravel().tolist()).values()) <= 8
    np.testing.assert_allclose(found.similarity, (case[2] @ case[2].T)[tuple(found.rows.T)], atol=1e-6)


def test_nearest_is_the_nearest_of_another_problem_under_the_margin(case) -> None:
    """Brute force over all tickets is the oracle: for each positive pair and each of its ends."""
    _, group, vectors, positive = case
    similar = vectors @ vectors.T
    allowed = set()
    for (a, b), similarity in zip(positive.rows.tolist(), positive.similarity.tolist(), strict=True):
        for anchor in (a, b):
            row = np.where((group != group[anchor]) & (similar[anchor] <= 0.95 * similarity), similar[anchor], -2)
            # A ticket of several pairs takes another neighbour for each, so the next ones count too.
            for other in np.argsort(-row)[: len(positive.rows[(positive.rows == anchor).any(axis=1)])]:
                if row[other] > -2:
                    allowed.add((min(anchor, int(other)), max(anchor, int(other))))
    found = mine(case)
    near = found.rows[found.origin == "nearest"]
    assert {tuple(pair) for pair in np.sort(near, axis=1).tolist()} <= allowed
    # And it is near: above what chance gives by far.
    assert found.similarity[found.origin == "nearest"].mean() > found.similarity[found.origin == "random"].mean() + 0.3


def test_the_margin_is_read(case) -> None:
    tight, wide = mine(case, margin=0.5), mine(case, margin=1.0)
    most = case[3].similarity.max()
    assert tight.similarity[tight.origin == "nearest"].max() <= 0.5 * most + 1e-6
    assert wide.similarity[wide.origin == "nearest"].max() > 0.5 * most


def test_only_so_many_neighbours_are_looked_through(case) -> None:
    """With one neighbour, which is the ticket itself, there is nothing to mine."""
    assert (mine(case, neighbours=1).origin != "nearest").all()


def test_tickets_without_a_category_are_in_no_same_category_pair(case) -> None:
    tickets, group, vectors, positive = case
    bare = exported(lambda ids, **columns: tickets.__class__(**{**vars(tickets), "category": [""] * len(tickets)}), [1])
    found = mine((bare, group, vectors, positive))
    assert set(found.origin.tolist()) == {"random", "nearest"}


def test_one_text_alone_says_nothing_of_the_label(case) -> None:
    """A ticket is in random negatives about as often as in positives; drawn evenly, the correlation would be 0."""
    found = mine(case)
    random = found.rows[found.origin == "random"]
    of = [np.bincount(rows.ravel(), minlength=len(case[0])) for rows in (case[3].rows, random)]
    assert np.corrcoef(*of)[0, 1] > 0.7


def test_the_seed_decides(case) -> None:
    first, again, other = mine(case, 0), mine(case, 0), mine(case, 1)
    assert first.rows.tolist() == again.rows.tolist() != other.rows.tolist()
