"""Components against networkx, and the rule that says which groups a bootstrap draws."""

from __future__ import annotations

import json
from pathlib import Path

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from promax.data.groups import components, resampling_units

ASKUBUNTU = Path(__file__).resolve().parents[2] / "../shared/data/askubuntu_titles_clean/test.jsonl"

edge_lists = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=25)


@settings(deadline=None, derandomize=True)
@given(edge_lists)
def test_components_are_networkxs_in_the_order_of_their_first_tickets(edges: list[tuple[int, int]]) -> None:
    count = max((max(edge) for edge in edges), default=-1) + 1
    graph = networkx.Graph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(edges)
    expected = np.full(count, -1)
    for number, members in enumerate(sorted(networkx.connected_components(graph), key=min)):
        expected[list(members)] = number
    found = components(np.array(edges, dtype=np.int64).reshape(-1, 2))
    assert found.tolist() == expected.tolist()
    assert found.dtype == np.int64


def separate(pairs: int) -> NDArray[np.int64]:
    """Pairs that share no ticket."""
    return np.arange(2 * pairs).reshape(-1, 2)


def test_many_small_components_are_drawn_whole() -> None:
    # 20 problems of tickets a, b, c with pairs ab and bc, the second one negative: 5 % of the pairs each.
    a, b, c = np.arange(60).reshape(-1, 3).T
    tickets = np.concatenate([np.column_stack([a, b]), np.column_stack([b, c])])
    units = resampling_units(tickets, np.arange(40) < 20)
    assert units.tolist() == [[problem, problem] for problem in range(20)] * 2
    assert units.dtype == np.int64
    # Nothing about it needs to know the positives.
    assert resampling_units(tickets, None).tolist() == units.tolist()


def test_fewer_than_twenty_components_are_not_drawn_whole() -> None:
    assert resampling_units(separate(20), None).tolist() == [[pair, pair] for pair in range(20)]
    # One fewer, and each ticket stands for itself.
    assert resampling_units(separate(19), None).tolist() == separate(19).tolist()


@pytest.mark.parametrize(("alone", "whole"), [(27, True), (26, False)])
def test_a_component_may_hold_a_tenth_of_the_pairs_and_no_more(alone: int, whole: bool) -> None:
    # Three pairs in a chain beside pairs on their own: 3 of 30 is a tenth, 3 of 29 more.
    chain = np.array([[0, 1], [1, 2], [2, 3]])
    tickets = np.concatenate([chain, separate(alone) + 4])
    positive = np.array([True, False, True] + [True] * alone)
    units = resampling_units(tickets, positive)
    assert (units[:, 0] == units[:, 1]).all() == whole
    if not whole:
        # {0, 1} and {2, 3}, and the negative pair between them.
        assert units[:3].tolist() == [[0, 0], [0, 1], [1, 1]]


def test_a_giant_component_falls_apart_into_its_problems() -> None:
    # 30 problems of 2 tickets, each joined to the next one by a negative pair: one component.
    inside = separate(30)
    between = np.column_stack([inside[:-1, 1], inside[1:, 0]])
    units = resampling_units(np.concatenate([inside, between]), np.arange(59) < 30)
    assert units[:30].tolist() == [[problem, problem] for problem in range(30)]
    assert units[30:].tolist() == [[problem, problem + 1] for problem in range(29)]


def test_a_giant_component_without_classes_falls_apart_into_tickets() -> None:
    star = np.column_stack([np.zeros(40, dtype=np.int64), np.arange(1, 41)])
    assert resampling_units(star, None).tolist() == star.tolist()


def test_tickets_of_negative_pairs_alone_are_groups_of_their_own() -> None:
    tickets = np.array([[0, 1], [1, 2], [2, 3]])
    units = resampling_units(tickets, np.array([True, False, False]))
    assert units.tolist() == [[0, 0], [0, 1], [1, 2]]
    assert resampling_units(tickets, np.zeros(3, dtype=np.bool_)).tolist() == tickets.tolist()


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.booleans()), max_size=60),
    st.booleans(),
)
def test_a_positive_pair_is_inside_one_group_and_numbers_have_no_gaps(
    rows: list[tuple[int, int, bool]], classes: bool
) -> None:
    # Ticket numbers with gaps, as a subset of a larger set's pairs has them.
    tickets = np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2) * 7
    positive = np.array([row[2] for row in rows], dtype=np.bool_)
    units = resampling_units(tickets, positive if classes else None)
    assert units.shape == tickets.shape
    assert sorted(set(units.ravel())) == list(range(len(set(units.ravel()))))
    if classes:
        assert (units[positive, 0] == units[positive, 1]).all()
    # One ticket is in one group, wherever it occurs.
    group = dict(zip(tickets.ravel().tolist(), units.ravel().tolist(), strict=True))
    assert [[group[a], group[b]] for a, b in tickets.tolist()] == units.tolist()


def test_gaps_in_the_ticket_numbers_are_no_components() -> None:
    # 10 pairs numbered 0, 100, 200, ...: the 1,890 numbers in between are tickets of other pairs.
    assert resampling_units(separate(10) * 100, None).tolist() == separate(10).tolist()


def test_arguments_of_another_shape_or_type_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^tickets of shape \(4,\): must be \(n, 2\)$"):
        resampling_units(np.arange(4), None)
    with pytest.raises(ValueError, match=r"^positive of shape \(1,\), bool: must be \(2,\) bool$"):
        resampling_units(separate(2), np.array([True]))
    with pytest.raises(ValueError, match=r"^positive of shape \(2,\), float64: must be \(2,\) bool$"):
        resampling_units(separate(2), np.array([0.0, 1.0]))


@pytest.mark.skipif(not ASKUBUNTU.is_file(), reason="the AskUbuntu titles are not beside this checkout")
def test_the_askubuntu_titles_are_one_component_of_many_problems() -> None:
    rows = [json.loads(line) for line in ASKUBUNTU.read_text(encoding="utf-8").splitlines()]
    texts: dict[str, int] = {}
    tickets = np.array([[texts.setdefault(row[key], len(texts)) for key in ("text1", "text2")] for row in rows])
    positive = np.array([row["label"] == 1 for row in rows])
    assert len(rows) == 2981
    assert set(components(tickets)) == {0}
    units = resampling_units(tickets, positive)
    # Oracle: networkx over the positive pairs, tickets of negative pairs alone included.
    graph = networkx.Graph(tickets[positive].tolist())
    graph.add_nodes_from(range(len(texts)))
    assert len(np.unique(units)) == networkx.number_connected_components(graph)
    assert (units[positive, 0] == units[positive, 1]).all()
