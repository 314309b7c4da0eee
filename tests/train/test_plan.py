"""The plan of a run: every pair in every epoch, even batches, one schedule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import get_scheduler

from promax.config import ConfigError, OptimConfig
from promax.train.plan import Plan, make_plan, split_epochs

HALF_AND_HALF = np.arange(40) % 2.0
THREE_PHASES = np.repeat(np.array([1, 2, 3]), [10, 20, 10])


def plan_of(
    labels: NDArray[np.float64] = HALF_AND_HALF, phases: NDArray[np.int64] | None = None, **options: Any
) -> Plan:
    return make_plan(labels, phases, OptimConfig(**options), seed=0)


def epochs_of(plan: Plan) -> list[list[NDArray[np.int64]]]:
    return [plan.batches[i:j] for i, j in zip([0, *plan.epoch_ends], plan.epoch_ends, strict=False)]


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 100), batch_size=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_an_epoch_is_every_row_once_in_batches_as_even_as_can_be(n: int, batch_size: int, seed: int) -> None:
    plan = make_plan(np.zeros(n), None, OptimConfig(epochs=2, batch_size=batch_size), seed)
    assert plan.epoch_ends == [math.ceil(n / batch_size), 2 * math.ceil(n / batch_size)]
    for epoch in epochs_of(plan):
        assert sorted(np.concatenate(epoch)) == list(range(n))
        sizes = [len(batch) for batch in epoch]
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1


def test_the_order_is_the_seeds_alone_and_new_each_epoch() -> None:
    def order(seed: int, epochs: int) -> list[list[int]]:
        plan = make_plan(HALF_AND_HALF, None, OptimConfig(epochs=epochs), seed)
        return [np.concatenate(epoch).tolist() for epoch in epochs_of(plan)]

    first = order(7, 2)
    assert first[0] != first[1]
    assert order(8, 1)[0] != first[0]
    # A longer run begins with the same batches, whatever else draws from numpy's global generator.
    np.random.seed(1)
    assert order(7, 5)[:2] == first


@settings(max_examples=60, deadline=None)
@given(
    schedule=st.sampled_from(["linear", "cosine", "constant"]),
    epochs=st.integers(1, 60),
    warmup_ratio=st.floats(0, 0.99),
    lr=st.floats(1e-7, 1),
)
def test_the_schedule_is_the_one_of_transformers(schedule: str, epochs: int, warmup_ratio: float, lr: float) -> None:
    """Oracle: transformers' scheduler, stepping a real optimizer."""
    cfg = OptimConfig(epochs=epochs, batch_size=40, schedule=schedule, warmup_ratio=warmup_ratio, lr=lr)  # type: ignore[arg-type]
    plan = make_plan(HALF_AND_HALF, None, cfg, seed=0)
    assert plan.steps == epochs
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    name = {"constant": "constant_with_warmup"}.get(schedule, schedule)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=plan.warmup_steps, num_training_steps=plan.steps)
    used = []
    for _ in range(plan.steps):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(plan.lrs, used, rtol=1e-12, atol=lr * 1e-15)
    assert plan.lrs.max() == lr
    assert plan.lrs[plan.warmup_steps] == lr
    # ceil(ratio * steps), as transformers' own arguments turn a ratio into steps, but never the whole run.
    assert plan.warmup_steps == min(math.ceil(warmup_ratio * epochs), epochs - 1)


@pytest.mark.parametrize("curriculum", ["none", "mixed", "phased"])
def test_one_schedule_over_the_whole_run_never_restarted(curriculum: str) -> None:
    plan = plan_of(phases=THREE_PHASES, curriculum=curriculum, epochs=6, batch_size=10, warmup_ratio=0.25)
    rises = np.diff(plan.lrs) > 0
    assert rises.tolist() == [True] * plan.warmup_steps + [False] * (plan.steps - 1 - plan.warmup_steps)
    assert 0 < plan.warmup_steps == math.ceil(plan.steps / 4)


def test_phased_trains_the_phases_in_ascending_order_and_counts_what_it_trains() -> None:
    """By hand: phases of 10, 20, 10 pairs; 8 epochs in shares 2:1:1 are 4, 2, 2; batches of 10."""
    shuffled = np.random.default_rng(0).permutation(THREE_PHASES)
    plan = plan_of(phases=shuffled, curriculum="phased", epochs=8, batch_size=10, phase_split=[2.0, 1.0, 1.0])
    assert plan.epoch_phases == [1, 1, 1, 1, 2, 2, 3, 3]
    assert plan.epoch_ends == [1, 2, 3, 4, 6, 8, 9, 10]
    assert plan.examples_after(plan.steps) == {1: 40, 2: 40, 3: 20}
    assert plan.examples_after(5) == {1: 40, 2: 10}
    for epoch, phase in zip(epochs_of(plan), plan.epoch_phases, strict=True):
        assert sorted(np.concatenate(epoch)) == np.flatnonzero(shuffled == phase).tolist()


def test_examples_per_phase_without_phases_and_without_a_curriculum() -> None:
    plain, phased = plan_of(epochs=3), plan_of(phases=THREE_PHASES, epochs=3)
    assert plain.examples_after(plain.steps) == {0: 120}
    assert phased.examples_after(phased.steps) == {1: 30, 2: 60, 3: 30}
    assert plain.examples_after(0) == {}


def test_split_epochs_by_hand() -> None:
    assert split_epochs(12, [1.0, 1.0, 1.0]) == [4, 4, 4]
    assert split_epochs(11, [1.0, 1.0, 1.0]) == [4, 4, 3]
    assert split_epochs(10, [0.5, 0.3, 0.2]) == [5, 3, 2]
    assert split_epochs(3, [0.98, 0.01, 0.01]) == [1, 1, 1]


@settings(max_examples=200, deadline=None)
@given(shares=st.lists(st.floats(0.05, 10), min_size=1, max_size=5), epochs=st.integers(5, 200))
def test_split_epochs_is_largest_remainder_with_at_least_one_each(shares: list[float], epochs: int) -> None:
    """Oracle: Hamilton's rule, floors first and the rest to the largest remainders, where it gives each one epoch."""
    counts = split_epochs(epochs, shares)
    assert sum(counts) == epochs
    assert min(counts) >= 1
    quotas = np.array(shares) * epochs / np.sum(shares)
    if quotas.min() >= 1:
        hamilton = np.floor(quotas).astype(int)
        remainders = quotas - hamilton
        for i in np.argsort(-remainders, kind="stable")[: epochs - hamilton.sum()]:
            hamilton[i] += 1
        # Equal up to ties between remainders.
        assert sorted(np.round(quotas - counts, 9)) == sorted(np.round(quotas - hamilton, 9))


@settings(max_examples=100, deadline=None)
@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=4), batch_size=st.integers(1, 16))
def test_mixed_deals_every_phase_evenly(counts: list[int], batch_size: int) -> None:
    phases = np.repeat(np.arange(1, len(counts) + 1), counts)
    plan = make_plan(
        np.zeros(len(phases)), phases, OptimConfig(epochs=2, batch_size=batch_size, curriculum="mixed"), seed=3
    )
    for epoch in epochs_of(plan):
        assert sorted(np.concatenate(epoch)) == list(range(len(phases)))
        for phase, count in enumerate(counts, start=1):
            held = [int((phases[batch] == phase).sum()) for batch in epoch]
            assert {math.floor(count / len(epoch)), math.ceil(count / len(epoch))} >= set(held)


@pytest.mark.parametrize("loss", ["cosent", "angle", "online_contrastive"])
@pytest.mark.parametrize("curriculum", ["none", "mixed", "phased"])
def test_no_batch_of_one_label_where_labels_are_ranked(loss: str, curriculum: str) -> None:
    """FACTS 14. 16 positives, first of 320: as few as there are batches of 22, so not one may be misdealt."""
    labels = np.concatenate([np.ones(16), np.zeros(304)])
    phases = np.arange(320) % 3 + 1
    plan = plan_of(labels, phases, loss=loss, curriculum=curriculum, epochs=6, batch_size=22)
    assert plan.steps == {"none": 90, "mixed": 90, "phased": 30}[curriculum]
    for batch in plan.batches:
        assert set(labels[batch]) == {0.0, 1.0}
        assert len(batch) <= 22
    if curriculum == "mixed":
        for epoch in epochs_of(plan):
            for phase in (1, 2, 3):
                held = [int((phases[batch] == phase).sum()) for batch in epoch]
                assert max(held) - min(held) <= 2


@settings(max_examples=100, deadline=None)
@given(
    labels=st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.75, 1.0]), min_size=2, max_size=60).filter(
        lambda drawn: len(set(drawn)) > 1
    ),
    batch_size=st.integers(2, 10),
)
def test_graded_labels_too_and_the_batch_size_proposed_works(labels: list[float], batch_size: int) -> None:
    drawn = np.array(labels)
    try:
        plan = plan_of(drawn, loss="cosent", epochs=2, batch_size=batch_size)
    except ConfigError as error:
        proposed = int(str(error).split("at least ")[1].split(",")[0])
        assert proposed > batch_size
        plan = plan_of(drawn, loss="cosent", epochs=2, batch_size=proposed)
    for epoch in epochs_of(plan):
        assert sorted(np.concatenate(epoch)) == list(range(len(drawn)))
    assert min(len(set(drawn[batch])) for batch in plan.batches) >= 2


def test_batches_of_graded_labels_are_new_each_epoch() -> None:
    """All labels distinct: rows dealt by label would meet in every epoch."""
    plan = plan_of(np.linspace(0, 1, 40), loss="cosent", epochs=2, batch_size=8)
    first, second = ({frozenset(batch.tolist()) for batch in epoch} for epoch in epochs_of(plan))
    assert first.isdisjoint(second)


@pytest.mark.parametrize("n", [2, 3, 5, 17, 33])
@pytest.mark.parametrize("batch_size", [2, 3, 16])
def test_no_batch_of_one_pair_where_a_batch_is_compared(n: int, batch_size: int) -> None:
    plan = plan_of(np.ones(n), loss="mnrl", epochs=2, batch_size=batch_size)
    sizes = [len(batch) for batch in plan.batches]
    assert min(sizes) >= 2
    assert max(sizes) <= batch_size + (batch_size == 2 and n % 2)


def test_mnrl_keeps_pairs_that_share_texts_apart() -> None:
    """20 groups of 4 rows, 5 batches of 16: every group fits into different batches, as other rows of it would be
    false negatives."""
    groups = np.repeat(np.arange(20), 4)
    plan = make_plan(np.ones(80), None, OptimConfig(loss="mnrl", epochs=3), seed=0, groups=groups)
    for batch in plan.batches:
        assert len(set(groups[batch])) == len(batch) == 16
    first, second, _ = ({frozenset(batch.tolist()) for batch in epoch} for epoch in epochs_of(plan))
    assert first.isdisjoint(second)


def test_mnrl_spreads_a_group_larger_than_there_are_batches() -> None:
    groups = np.repeat(np.arange(2), 20)
    plan = make_plan(np.ones(40), None, OptimConfig(loss="mnrl", epochs=1, batch_size=8), seed=0, groups=groups)
    assert [np.bincount(groups[batch]).tolist() for batch in plan.batches] == [[4, 4]] * 5


@pytest.mark.parametrize(
    ("options", "phases", "text"),
    [
        (
            {"curriculum": "phased"},
            None,
            "optim.curriculum=phased: the training pairs have no phases (data.columns.phase names their column); "
            "a curriculum needs at least two phases",
        ),
        (
            {"curriculum": "mixed"},
            np.ones(40, np.int64),
            "optim.curriculum=mixed: the training pairs are all of phase 1; a curriculum needs at least two phases",
        ),
        (
            {"curriculum": "phased", "epochs": 2},
            THREE_PHASES,
            "optim.epochs=2: with curriculum=phased it is the total over phases [1, 2, 3] and must be at least 3",
        ),
        (
            {"curriculum": "phased", "phase_split": [0.5, 0.5]},
            THREE_PHASES,
            "optim.phase_split=[0.5, 0.5]: must hold 3 shares, one for each of phases [1, 2, 3]",
        ),
        (
            {"curriculum": "mixed", "phase_split": [0.5, 0.25, 0.25]},
            THREE_PHASES,
            "optim.phase_split=[0.5, 0.25, 0.25]: only curriculum=phased splits the epochs, and optim.curriculum=mixed",
        ),
        (
            {"loss": "mnrl", "batch_size": 1},
            None,
            "optim.batch_size=1: loss=mnrl compares the pairs of a batch and needs at least 2",
        ),
    ],
)
def test_refusals_to_the_letter(options: dict[str, Any], phases: NDArray[np.int64] | None, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        plan_of(phases=phases, **options)
    assert str(refused.value) == text


def test_too_few_of_the_rarer_label_is_refused_with_the_batch_size_that_works() -> None:
    """By hand: 100 pairs in batches of 16 are 7; 3 positives reach 3 batches, of at least ceil(100 / 3) = 34."""
    labels = np.concatenate([np.ones(3), np.zeros(97)])
    with pytest.raises(ConfigError) as refused:
        plan_of(labels, loss="cosent")
    assert str(refused.value) == (
        "optim.batch_size=16: loss=cosent needs two labels in every batch, "
        "but only 3 of 100 training pairs have the rarer one\n"
        "use a batch size of at least 34, or loss=cosine"
    )
    with pytest.raises(ConfigError, match="only 3 of 100 training pairs of phase 2 have"):
        plan_of(
            np.concatenate([np.arange(100) % 2.0, labels]),
            np.repeat(np.array([1, 2]), 100),
            loss="cosent",
            curriculum="phased",
        )
