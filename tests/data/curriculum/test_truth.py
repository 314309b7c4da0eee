"""Ground truth: against networkx on drawn exports, and by hand."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from promax.data.curriculum.truth import NO_GROUP, category_truth, linked_truth, one_a_text, origins

# Fourteen tickets at most, so that drawn links meet; "x…" are ids outside the export.
NAMES = [f"t{at}" for at in range(14)]
ANY_ID = st.sampled_from([*NAMES, "x1", "x2"])


@st.composite
def exports(draw):
    count = draw(st.integers(1, len(NAMES)))
    each = lambda values: draw(st.lists(values, min_size=count, max_size=count))  # noqa: E731
    columns = {
        "problem": each(st.sampled_from(["", "", "P1", "P2"])),
        "parent": each(st.sampled_from(["", "", *NAMES[:4], "x1"])),
        "links": each(st.lists(ANY_ID, max_size=1).map(tuple)),
    }
    return NAMES[:count], columns, draw(st.lists(st.tuples(ANY_ID, ANY_ID), max_size=4))


@given(exports())
def test_problems_are_the_connected_components(make_tickets, export) -> None:
    """networkx is the oracle: records and parents are nodes, links that leave the export are no edges."""
    ids, columns, links = export
    graph = nx.Graph()
    graph.add_nodes_from(ids)
    for name, problem, parent, duplicates in zip(ids, *columns.values(), strict=True):
        if problem:
            graph.add_edge(name, ("problem", problem))
        if parent:
            graph.add_edge(name, parent if parent in ids else ("parent", parent))
        graph.add_edges_from((name, other) for other in duplicates if other in ids)
    graph.add_edges_from((a, b) for a, b in links if a in ids and b in ids)
    expected = {frozenset(each & set(ids)) for each in map(set, nx.connected_components(graph))}
    expected = {each for each in expected if len(each) > 1}

    group = linked_truth(make_tickets(ids, **columns), links).group
    found = {frozenset(np.array(ids)[group == number].tolist()) for number in set(group.tolist()) - {NO_GROUP}}
    assert found == expected


def test_what_each_pair_is_known_by(make_tickets) -> None:
    """By hand: c is a child of b, d a duplicate of c, and e shares a problem record with d alone."""
    tickets = make_tickets(
        "abcdefg",
        problem=["P1", "P1", "", "P2", "P2", "", ""],
        parent=["", "", "b", "", "", "gone", "gone"],
        links=[(), (), (), ("c",), (), (), ()],
    )
    truth = linked_truth(tickets, [])
    assert truth.group.tolist() == [0, 0, 0, 0, 0, 1, 1]
    pairs = {"ab": "problem", "bc": "parent", "cd": "link", "ac": "closure", "ce": "closure", "fg": "closure"}
    # Two records: the links say one problem, the records two, so nothing is said.
    pairs |= {"ad": "", "be": ""}
    rows = np.array([["abcdefg".index(name) for name in pair] for pair in pairs])
    assert origins(tickets, truth, rows).tolist() == list(pairs.values())


def test_a_link_stays_one_where_both_name_a_problem(make_tickets) -> None:
    tickets = make_tickets("ab", problem=["P1", "P2"])
    assert origins(tickets, linked_truth(tickets, [("b", "a")]), np.array([[0, 1]])).tolist() == ["link"]


def test_links_come_from_the_column_and_the_file_and_may_leave_the_export(make_tickets) -> None:
    """Five different links are named, one of them twice and from both ends; two leave."""
    tickets = make_tickets("abcd", links=[("b", "gone"), ("a",), (), ()])
    truth = linked_truth(tickets, [("c", "d"), ("b", "a"), ("away", "c"), ("c", "c")])
    assert truth.linked == {(0, 1), (2, 3)}
    assert truth.group.tolist() == [0, 0, 1, 1]
    assert truth.notes == [
        "ground truth: 4 of 4 tickets in 2 problems, the largest of 2; 0 name a problem record, 0 a parent,"
        " 2 duplicate links",
        "duplicate links that leave the export and say nothing: 2 of 4",
    ]


def test_a_ticket_that_nobody_linked_is_in_no_problem(make_tickets) -> None:
    """Not even one that names a record, or itself, alone."""
    truth = linked_truth(make_tickets("abc", problem=["P1", "", ""], parent=["", "b", ""]), [])
    assert truth.group.tolist() == [NO_GROUP] * 3


def test_the_same_words_are_one_ticket(make_tickets) -> None:
    """By hand: a and b say the same in one problem, c and e in two, f in none; d is alone with its words."""
    tickets = make_tickets(
        "abcdef",
        core=["VPN drops", "vpn  DROPS", "test", "mail is slow", "test", "mail is slow"],
        problem=["P1", "P1", "P1", "P2", "P2", ""],
    )
    rows, notes = one_a_text(tickets, linked_truth(tickets, []))
    assert rows.tolist() == [0, 3]
    assert notes == [
        "tickets left out, since they repeat another's words: 2",
        "texts left out, since they stand in tickets of several problems: 1",
    ]


def test_truth_about_some_of_the_tickets(make_tickets) -> None:
    tickets = make_tickets("abcd", parent=["", "", "d", ""])
    truth = linked_truth(tickets, [("a", "c")]).take(np.array([2, 0]))
    assert truth.linked == {(0, 1)}
    assert truth.parent.tolist() == [-1, -1]
    assert truth.group[0] == truth.group[1]


def test_categories_are_weak_and_say_so(make_tickets) -> None:
    tickets = make_tickets("abcd", category=["net", "", "db", "net"])
    truth = category_truth(tickets)
    assert truth.weak
    assert truth.group.tolist() == [1, NO_GROUP, 0, 1]
    assert origins(tickets, truth, np.array([[0, 3]])).tolist() == ["weak"]
    assert truth.notes == [
        "weak labels: a positive pair is two tickets of one of 2 categories, not of one problem;"
        " a model trained on them learns the category"
    ]
