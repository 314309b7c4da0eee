from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from promax.data.dealing import SLACK, deal

THREE = {"train": 0.7, "dev": 0.1, "test": 0.2}

Edges = tuple[NDArray[np.int64], NDArray[np.bool_]]


def numbered(edges: list[tuple[int, int, bool]]) -> Edges:
    tickets = np.array([[a, b] for a, b, _ in edges], dtype=np.int64).reshape(-1, 2)
    positive = np.array([is_positive for *_, is_positive in edges], dtype=np.bool_)
    return np.unique(tickets, return_inverse=True)[1].reshape(-1, 2), positive


def duplicates(problems: int, tickets: int, negatives: int, seed: int) -> Edges:
    """A set of marked duplicates: each problem a chain of positives, negatives between any two problems."""
    generator = np.random.default_rng(seed)
    edges = [(p * tickets + t, p * tickets + t + 1, True) for p in range(problems) for t in range(tickets - 1)]
    for _ in range(negatives):
        one, other = generator.choice(problems, size=2, replace=False)
        edges.append((int(one * tickets + generator.integers(tickets)), int(other * tickets), False))
    return numbered(edges)


GRAPHS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.booleans()), min_size=1, max_size=80)
SHARES = st.sampled_from([THREE, {"train": 0.9, "dev": 0.1}, {"dev": 0.4, "test": 0.6}])


@given(GRAPHS, SHARES, st.integers(0, 5))
def test_no_ticket_is_on_two_sides_and_no_positive_pair_is_lost(
    edges: list[tuple[int, int, bool]], shares: dict[str, float], seed: int
) -> None:
    tickets, positive = numbered(edges)
    rows = deal(tickets, positive, shares, seed)
    assert list(rows) == list(shares)
    held = [set(tickets[of].ravel().tolist()) for of in rows.values()]
    assert sum(len(one) for one in held) == len(set().union(*held))
    kept = np.concatenate(list(rows.values()))
    assert len(set(kept.tolist())) == len(kept)
    assert set(np.flatnonzero(positive)) <= set(kept.tolist())
    assert all((np.diff(of) > 0).all() for of in rows.values())


@given(st.integers(0, 60), st.integers(0, 60), SHARES, st.integers(0, 5))
def test_pairs_that_share_nothing_are_dealt_in_proportion_class_by_class(
    positives: int, negatives: int, shares: dict[str, float], seed: int
) -> None:
    count = positives + negatives
    positive = np.arange(count) < positives  # files list all positives first
    rows = deal(np.arange(2 * count).reshape(-1, 2), positive, shares, seed)
    for side, share in shares.items():
        assert abs(positive[rows[side]].sum() - share * positives) <= SLACK
        assert abs((~positive[rows[side]]).sum() - share * negatives) <= SLACK
    assert sum(len(of) for of in rows.values()) == count


@settings(max_examples=20)
@given(st.integers(30, 80), st.integers(2, 5), st.integers(0, 100))
def test_small_components_stay_whole_and_meet_the_shares(problems: int, tickets: int, seed: int) -> None:
    """Negatives only within small neighbourhoods: nothing needs to be dropped. Components by networkx."""
    generator = np.random.default_rng(seed)
    positives = [(p * tickets + t, p * tickets + t + 1, True) for p in range(problems) for t in range(tickets - 1)]
    negatives = [(p * tickets, (p + 1) * tickets, False) for p in range(0, problems - 1, 2)]
    edges, positive = numbered([positives[i] for i in generator.permutation(len(positives))] + negatives)
    rows = deal(edges, positive, THREE, seed)
    assert sum(len(of) for of in rows.values()) == len(edges)
    side_of = {ticket: side for side, of in rows.items() for ticket in edges[of].ravel().tolist()}
    for component in nx.connected_components(nx.Graph(edges.tolist())):
        assert len({side_of[ticket] for ticket in component}) == 1
    largest = 2 * (tickets - 1) + 1  # two problems and the negative between them
    for side, share in THREE.items():
        # Dev and test may each be off by one component, and train by what they have too much or too little.
        off = 2 * largest if side == "train" else largest
        for counted, total in ((positive[rows[side]].sum(), positive.sum()), (len(rows[side]), len(edges))):
            assert abs(counted - share * total) <= off


@pytest.mark.parametrize("seed", range(3))
def test_a_set_of_marked_duplicates_is_cut_by_problem(seed: int) -> None:
    """One giant component. A random side for each problem would keep 0.7^2 + 0.1^2 + 0.2^2 = 54 % of the negatives."""
    tickets, positive = duplicates(problems=400, tickets=3, negatives=1600, seed=seed)
    assert nx.number_connected_components(nx.Graph(tickets.tolist())) == 1
    rows = deal(tickets, positive, THREE, seed)
    for side, share in THREE.items():
        assert positive[rows[side]].sum() == pytest.approx(share * positive.sum(), abs=2)
    negatives = {side: int((~positive[of]).sum()) for side, of in rows.items()}
    assert sum(negatives.values()) > 0.65 * 1600
    # Dev and test are drawn alike: the share of positives in them differs by a tenth at most.
    shares = [positive[rows[side]].mean() for side in ("dev", "test")]
    assert abs(shares[0] - shares[1]) < 0.1


def test_the_largest_component_goes_where_it_fits() -> None:
    """By hand: 60 of 100 pairs hang together, so only the train side, of 70, can take them."""
    chain = [(i, i + 1, i % 2 == 0) for i in range(60)]
    apart = [(1000 + 2 * i, 1001 + 2 * i, i % 2 == 0) for i in range(40)]
    tickets, positive = numbered(chain + apart)
    rows = deal(tickets, positive, THREE, seed=0)
    assert set(range(60)) <= set(rows["train"].tolist())
    assert [len(rows[side]) for side in THREE] == [70, 10, 20]


def test_the_draw_depends_on_the_seed_alone() -> None:
    tickets, positive = duplicates(problems=50, tickets=3, negatives=100, seed=0)
    draws = [deal(tickets, positive, THREE, seed) for seed in (0, 0, 1)]
    assert all((draws[0][side] == draws[1][side]).all() for side in THREE)
    assert draws[0]["test"].tolist() != draws[2]["test"].tolist()
