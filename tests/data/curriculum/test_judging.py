"""Dev and test drawn alike, and the adversarial pairs."""

from __future__ import annotations

from collections import Counter

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from promax.config import ConfigError
from promax.data.curriculum import hard_pairs, measured, mixture
from promax.data.curriculum.judging import _matched


def test_dev_and_test_have_one_mixture_at_any_similarity(make_mined) -> None:
    """By hand: of 60, half is positive, and the other half ten of each origin."""
    rng = np.random.default_rng(0)
    candidates = make_mined(
        [True] * 100 + [False] * 300,
        rng.uniform(-1, 1, 400).tolist(),
        ["link"] * 100 + ["random", "nearest", "same_category"] * 100,
    )
    for name in ("dev", "test"):
        drawn = mixture(candidates, 60, name, rng)
        assert Counter(drawn.origin.tolist()) == {"link": 30, "random": 10, "nearest": 10, "same_category": 10}
        assert drawn.similarity.min() < -0.5 < 0.5 < drawn.similarity.max()
        assert len({tuple(row) for row in drawn.rows.tolist()}) == 60


def test_fewer_candidates_make_a_smaller_side_of_the_same_balance(make_mined) -> None:
    drawn = mixture(make_mined([True] * 3 + [False] * 9, [0.5] * 12), 60, "dev", np.random.default_rng(0))
    assert (drawn.positive.sum(), (~drawn.positive).sum()) == (3, 3)


def test_a_side_without_a_class_is_refused(make_mined) -> None:
    with pytest.raises(ConfigError) as refusal:
        mixture(make_mined([True] * 3, [0.5] * 3), 60, "dev", np.random.default_rng(0))
    assert str(refusal.value) == (
        "splits.dev: 3 positive and 0 negative pairs for dev; it needs both classes\n"
        "Give an export with more linked tickets, or a larger share; nothing was written"
    )


OVERLAPS = st.lists(st.integers(0, 6), max_size=8)


@given(OVERLAPS, OVERLAPS)
def test_as_many_are_matched_as_can_be(low: list[int], high: list[int]) -> None:
    """networkx's maximum matching is the oracle; each ticket of the second kind is in one pair here."""
    graph = nx.Graph()
    graph.add_nodes_from((("low", at) for at in range(len(low))), bipartite=0)
    graph.add_edges_from(
        (("low", at), ("high", other)) for at, a in enumerate(low) for other, b in enumerate(high) if b >= a
    )
    most = len(nx.bipartite.maximum_matching(graph, [("low", at) for at in range(len(low))])) // 2
    pairs = np.arange(2 * len(high)).reshape(-1, 2)
    found = _matched(np.array(low, dtype=float), np.array(high, dtype=float), pairs)
    assert len(found) == most
    assert all(high[b] >= low[a] for a, b in found.tolist())
    assert len(set(found[:, 0].tolist())) == len(set(found[:, 1].tolist())) == most


@pytest.fixture(scope="module")
def hard(make_tickets):
    """Sixty problems of four tickets in three categories; overlap is made up, by a hash of both texts."""
    rng = np.random.default_rng(0)
    category = rng.choice(["net", "db", "mail", ""], 240, p=[0.4, 0.3, 0.2, 0.1]).tolist()
    tickets = make_tickets([f"t{at}" for at in range(240)], category=category)
    group = np.repeat(np.arange(60), 4)
    rows = np.array([(a, b) for a in range(240) for b in range(a + 1, 240) if group[a] == group[b]])
    vectors = rng.normal(size=(240, 8)).astype(np.float32)
    positive = measured(rows, True, np.full(len(rows), "link", dtype="<U13"), vectors)

    def lexical(text1: list[str], text2: list[str]) -> np.ndarray:
        assert all("Context" not in text for text in (*text1, *text2))
        places = [(int(a.split("t")[-1]), int(b.split("t")[-1])) for a, b in zip(text1, text2, strict=True)]
        # Positives share more words, as they do in truth.
        return np.array([(a * 7919 + b * 104729) % 1000 / 2000 + 0.3 * (group[a] == group[b]) for a, b in places])

    def draw(most: int):
        return hard_pairs(positive, tickets, group, vectors, lexical, most, np.random.default_rng(0))

    return tickets, group, lexical, draw


def test_hard_pairs_mislead_by_category_and_words(hard) -> None:
    tickets, group, lexical, draw = hard
    drawn = draw(10_000)
    category = np.array(tickets.category)
    assert (category[drawn.rows] != "").all()
    same = category[drawn.rows[:, 0]] == category[drawn.rows[:, 1]]
    assert (same == ~drawn.positive).all()
    assert ((group[drawn.rows[:, 0]] == group[drawn.rows[:, 1]]) == drawn.positive).all()
    assert drawn.positive.sum() == (~drawn.positive).sum() > 50
    overlap = lexical(*([tickets.core[row] for row in column] for column in drawn.rows.T))
    # scikit-learn's ROC-AUC: words are of no help, and tell the label no better turned round.
    assert 0.4 <= roc_auc_score(drawn.positive, overlap) <= 0.5
    uses = Counter(drawn.rows[~drawn.positive].ravel().tolist())
    assert max(uses.values()) <= 4
    assert len({tuple(sorted(row)) for row in drawn.rows.tolist()}) == len(drawn)


def test_no_more_hard_pairs_than_are_wanted(hard) -> None:
    tickets, _, lexical, draw = hard
    few, every = (pairs.take(np.flatnonzero(pairs.positive)) for pairs in (draw(40), draw(10_000)))
    assert (len(few), len(draw(40))) == (20, 40)
    # Drawn from all that were matched, not the twenty of least overlap.
    overlap = [lexical(*([tickets.core[row] for row in column] for column in of.rows.T)) for of in (few, every)]
    assert overlap[0].max() > np.sort(overlap[1])[20]


def test_without_categories_there_are_none(make_tickets, make_mined) -> None:
    tickets = make_tickets([f"t{at}" for at in range(6)])
    positive = make_mined([True] * 3, [0.5] * 3)
    group, vectors = np.repeat(np.arange(3), 2), np.ones((6, 2), dtype=np.float32)
    nothing = hard_pairs(positive, tickets, group, vectors, lambda a, b: np.zeros(len(a)), 10, np.random.default_rng(0))
    assert len(nothing) == 0
