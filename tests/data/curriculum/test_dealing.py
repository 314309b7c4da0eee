"""Which problem goes to which side."""

from __future__ import annotations

import numpy as np
import pytest

from promax.config import MiningConfig, SplitsConfig
from promax.data.curriculum.dealing import SIDES, sides_of
from promax.data.curriculum.truth import category_truth, linked_truth

SPLITS, MINING = SplitsConfig(), MiningConfig()


def dealt(make_tickets, sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    problem = [f"P{number}" for number, size in enumerate(sizes) for _ in range(size)]
    category = ["one", "other"] * len(problem)
    tickets = make_tickets([f"t{at}" for at in range(len(problem))], problem=problem, category=category[: len(problem)])
    truth = linked_truth(tickets, [])
    return truth.group, sides_of(tickets, truth, SPLITS, MINING, np.random.default_rng(seed))


def test_problems_of_each_size_are_divided_in_proportion(make_tickets) -> None:
    """By hand: of ten problems of a size, 6 are train's, 1 dev's, 2 test's, 1 adversarial, for each size."""
    sizes = [9] * 10 + [4] * 10 + [2] * 10
    group, side = dealt(make_tickets, sizes)
    for size in (9, 4, 2):
        of = [side[group == number][0] for number in np.unique(group) if (group == number).sum() == size]
        assert np.bincount(of, minlength=4).tolist() == [6, 1, 2, 1]


@pytest.mark.parametrize("seed", range(5))
def test_no_problem_is_on_two_sides(make_tickets, seed: int) -> None:
    group, side = dealt(make_tickets, np.random.default_rng(seed).integers(2, 30, 60).tolist(), seed)
    assert all(len(set(side[group == number].tolist())) == 1 for number in np.unique(group))
    assert set(side.tolist()) == set(range(len(SIDES)))


def test_huge_problems_stay_out_of_the_small_sides(make_tickets) -> None:
    """Each counts as the 100 pairs that it may give, not as its 124,750."""
    group, side = dealt(make_tickets, [500, 500] + [2] * 800)
    assert side[[0, 500]].tolist() == [0, 0]
    pairs = np.bincount([side[group == number][0] for number in np.unique(group)[2:]], minlength=4)
    # Of 1,000 pairs in all, 600 are train's: 200 of the huge problems and 400 others.
    assert pairs.tolist() == [400, 100, 200, 100]


def test_chance_decides_among_equals(make_tickets) -> None:
    first, second = (dealt(make_tickets, [3] * 50, seed)[1] for seed in (0, 1))
    assert (first != second).any()


def test_categories_are_dealt_ticket_by_ticket_and_leave_no_adversarial_side(make_tickets) -> None:
    tickets = make_tickets([f"t{at}" for at in range(100)], category=["net"] * 60 + ["db"] * 40)
    side = sides_of(tickets, category_truth(tickets), SPLITS, MINING, np.random.default_rng(0))
    assert np.bincount(side).tolist() == [70, 10, 20]


def test_without_categories_train_has_the_adversarial_share(make_tickets) -> None:
    tickets = make_tickets([f"t{at}" for at in range(200)], problem=[f"P{at // 2}" for at in range(200)])
    side = sides_of(tickets, linked_truth(tickets, []), SPLITS, MINING, np.random.default_rng(0))
    assert (np.bincount(side) // 2).tolist() == [70, 10, 20]
