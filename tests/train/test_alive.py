"""Every hyperparameter is proven alive: engines that train otherwise than configured are caught, each by name.

The engines here train a single linear layer and differ from an honest one in one line each.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from promax.config import ConfigError, OptimConfig
from promax.train.alive import Witness, trainable_state, verify, verify_moved
from promax.train.course import BestState, Course
from promax.train.plan import Plan, make_plan
from promax.train.record import EpochRecord, FitReport

CFG = OptimConfig(lr=5e-5, epochs=12, batch_size=4, curriculum="phased", phase_split=[1.0, 1.0, 2.0])
LABELS = np.arange(24) % 2.0
PHASES = np.repeat(np.array([1, 2, 3]), 8)
PARAMETERS = 4

Schedule = Callable[[int], float]


def plan_for(cfg: OptimConfig) -> Plan:
    return make_plan(LABELS, PHASES, cfg, seed=0)


def layer() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def loss_of(model: nn.Module) -> torch.Tensor:
    loss: torch.Tensor = model(torch.ones(1, 3)).square().sum()
    return loss


def train(
    model: nn.Module,
    plan: Plan,
    course: Course,
    *,
    lr: Schedule,
    batches: range | None = None,
    parameters: list[nn.Parameter] | None = None,
    step: bool = True,
) -> None:
    """A small engine: honest with `lr=plan.lrs.__getitem__` and the rest left alone."""
    optimizer = torch.optim.AdamW(parameters or model.parameters(), lr=1.0)
    course.watch(optimizer)
    for number in batches or range(plan.steps):
        loss = loss_of(model)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = float(lr(number))
        if step:
            optimizer.step()
        course.after_step(plan.batches[number], loss.item())
        if course.stopped:
            return


def run(cfg: OptimConfig = CFG, *, dev: list[float] | None = None, **engine: Any) -> FitReport:
    """What `fit` does around an engine, with this module's."""
    model, plan = layer(), plan_for(cfg)
    scores = iter(dev or np.linspace(0.1, 0.2, cfg.epochs).tolist())
    with Course(model, plan, cfg, lambda: {"spearman": next(scores)}, lambda record: None) as course:
        train(model, plan, course, **{"lr": plan.lrs.__getitem__, **engine})
    report = course.report(cfg.batch_size)
    verify(report, plan, cfg, PARAMETERS)
    return report


def test_an_honest_engine_passes() -> None:
    report = run()
    assert report.lrs == plan_for(CFG).lrs.tolist()
    assert report.peak_lr == max(report.lrs) == CFG.lr
    assert report.examples_per_phase == {1: 24, 2: 24, 3: 48}
    assert (report.steps, report.epochs_run, report.trainable_parameters) == (24, 12, PARAMETERS)


def six_epochs() -> range:
    return range(plan_for(CFG).epoch_ends[5])


def without_phase_2() -> range | list[int]:
    plan = plan_for(CFG)
    return [number for number in range(plan.steps) if PHASES[plan.batches[number][0]] != 2]


PLANNED = plan_for(CFG)


@pytest.mark.parametrize(
    ("engine", "names"),
    [
        pytest.param(
            {"lr": lambda number: PLANNED.lrs[number] * 2e-5 / 5e-5},
            ["peak learning rate: 2e-05, but configured 5e-05", "learning rate schedule: 23 of 24 steps"],
            id="2e-5 instead of 5e-5",
        ),
        pytest.param(
            {"lr": lambda number: 2e-5},
            [
                "peak learning rate: 2e-05, but configured 5e-05",
                "learning rate schedule: 24 of 24 steps took another rate than planned, "
                "first step 1: 2e-05, but planned 0",
            ],
            id="a hard-coded rate",
        ),
        pytest.param(
            {"batches": six_epochs()},
            ["epochs: 6, but planned 12", "steps: 12, but planned 24", "batches: 12, but planned 24"],
            id="6 epochs instead of 12",
        ),
        pytest.param(
            {"batches": without_phase_2()},
            ["examples per phase: {1: 24, 3: 48}, but planned {1: 24, 2: 24, 3: 48}"],
            id="a phase skipped",
        ),
        pytest.param(
            {"lr": lambda number: PLANNED.lrs[number % 8]},
            [
                # Of steps 9-24, steps 11 and 18 meet their planned rates (2/3 and 1/3) by accident.
                "learning rate schedule: 14 of 24 steps took another rate than planned, "
                "first step 9: 0, but planned 3.80952e-05"
            ],
            id="the schedule restarted",
        ),
        pytest.param(
            {"step": False},
            ["steps: 0, but planned 24", "peak learning rate: 0, but configured 5e-05"],
            id="never a step",
        ),
        pytest.param(
            {"parameters": [layer().bias]},
            ["trainable parameters: 1, but planned 4"],
            id="an optimizer with other parameters",
        ),
    ],
)
def test_an_engine_that_trains_otherwise_is_caught_by_name(engine: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(RuntimeError) as caught:
        run(**engine)
    head, _, found = str(caught.value).partition(": ")
    assert head == "the training was not the one configured"
    for name in names:
        assert any(each.startswith(name) for each in found.split("; ")), found


def test_two_learning_rates_at_once_are_caught() -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.2}])
    Witness().watch(optimizer)
    with pytest.raises(RuntimeError, match=r"2 learning rates at once: \[0.1, 0.2\]"):
        optimizer.step()


def test_an_optimizer_on_another_object_is_caught() -> None:
    """FACTS 12: everything looks right, and every fine-tuned model scores exactly the baseline."""
    model, other, plan = layer(), layer(), plan_for(CFG)
    before = trainable_state(model)
    with Course(model, plan, CFG, lambda: {"spearman": 0.5}, lambda record: None) as course:
        train(other, plan, course, lr=plan.lrs.__getitem__)
    verify(course.report(CFG.batch_size), plan, CFG, PARAMETERS)
    with pytest.raises(RuntimeError, match="none of the encoder's 2 trainable tensors changed"):
        verify_moved(before, model)
    verify_moved(before, other)


def test_a_tensor_that_never_changed_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    model = layer()
    before = trainable_state(model)
    with torch.no_grad():
        model.weight += 1  # type: ignore[operator]
    verify_moved(before, model)
    assert caplog.messages == ["1 of 2 trainable tensors never changed: bias"]


def unphased(**options: Any) -> OptimConfig:
    return replace(CFG, curriculum="none", phase_split=None, **options)


def test_stopping_early_is_held_against_the_plan_so_far() -> None:
    """Best at epoch 2, then two epochs without a better one: over after 4."""
    report = run(unphased(patience=2), dev=[0.3, 0.4, 0.4, 0.3, 0.9])
    assert (report.stopped_early, report.epochs_run, report.steps, report.best_epoch) == (True, 4, 24, 2)
    plan = plan_for(unphased())
    with pytest.raises(RuntimeError, match=r"stopped early: yes, but optim\.patience=null"):
        verify(report, plan, unphased(), PARAMETERS)
    with pytest.raises(RuntimeError, match="learning rate schedule: 1 of 24"):
        verify(replace(report, lrs=[*report.lrs[:-1], 1.0]), plan, unphased(patience=2), PARAMETERS)


def test_stopping_before_the_peak_is_no_mismatch() -> None:
    report = run(unphased(patience=1, warmup_ratio=0.9), dev=[0.3, 0.2])
    assert report.epochs_run == 2
    assert 0 < report.peak_lr < CFG.lr


def test_patience_never_skips_a_phase() -> None:
    """Phases take epochs 1-3, 4-6, 7-12. Best at epoch 1; patience 2 is counted from epoch 7 on: over after 8."""
    report = run(replace(CFG, patience=2), dev=[0.9] + [0.1] * 11)
    assert (report.epochs_run, report.best_epoch, report.stopped_early) == (8, 1, True)
    assert [record.phase for record in report.epochs] == [1, 1, 1, 2, 2, 2, 3, 3]


def test_patience_that_ends_with_the_last_epoch_is_not_early() -> None:
    report = run(unphased(patience=11), dev=[0.9] + [0.1] * 11)
    assert (report.epochs_run, report.stopped_early) == (12, False)


def test_the_epochs_are_recorded_as_they_end() -> None:
    told: list[EpochRecord] = []
    plan = plan_for(CFG)
    scores = iter(range(12))
    with Course(layer(), plan, CFG, lambda: {"spearman": next(scores) / 12}, told.append) as course:
        for number in range(plan.steps):
            course.after_step(plan.batches[number], float(number))
    assert [record.epoch for record in told] == list(range(1, 13))
    assert [record.step for record in told] == plan.epoch_ends
    # Two batches an epoch, whose losses are their numbers.
    assert [record.loss for record in told] == [0.5 + 2 * epoch for epoch in range(12)]
    assert [record.dev["spearman"] for record in told] == [epoch / 12 for epoch in range(12)]


def test_a_terminal_gets_a_bar_which_an_interruption_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, plan = Terminal(), plan_for(CFG)
    monkeypatch.setattr(sys, "stderr", terminal)
    with (
        pytest.raises(KeyboardInterrupt),
        Course(layer(), plan, CFG, lambda: {"spearman": 0.25}, lambda record: None) as course,
    ):
        for number in range(3):
            course.after_step(plan.batches[number], 0.75)
        raise KeyboardInterrupt
    *_, last, after = terminal.getvalue().replace("\r", "\n").split("\n")
    assert last.startswith("epoch 2/12")
    assert "3/24" in last
    assert last.endswith("loss 0.7500, dev spearman 0.2500, best 0.2500]")
    assert after == ""


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run(loss: float) -> None:
    plan = plan_for(CFG)
    with Course(layer(), plan, CFG, lambda: {"spearman": 0.5}, lambda record: None) as course:
        course.after_step(plan.batches[0], 0.5)
        with pytest.raises(RuntimeError) as stopped:
            course.after_step(plan.batches[1], loss)
    assert str(stopped.value) == (
        f"the loss is {loss} at step 2 of 24; try a lower optim.lr than 5e-05 or optim.max_grad_norm than 1"
    )


def test_a_metric_without_a_value_on_dev_is_refused_at_the_first_epoch() -> None:
    plan = plan_for(CFG)
    dev = {"pearson": 0.5, "spearman": float("nan"), "f1": 0.1}
    with Course(layer(), plan, CFG, lambda: dev, lambda record: None) as course:
        course.after_step(plan.batches[0], 0.5)
        with pytest.raises(ConfigError) as refused:
            course.after_step(plan.batches[1], 0.5)
    assert str(refused.value) == (
        "optim.select_by=spearman: has no value on dev after epoch 1, as where all scores or all labels are equal; "
        "dev has pearson, f1"
    )


def test_the_best_state_is_the_best_over_all_phases() -> None:
    """FACTS 15: reset at each phase, the last phase's best overwrote a better one."""
    model = layer()
    best = BestState()
    kept: list[bool] = []
    for epoch, score in enumerate([0.3, 0.7, 0.2, 0.7, float("nan"), 0.5], start=1):
        nn.init.constant_(model.weight, epoch)  # type: ignore[arg-type]
        kept.append(best.offer(epoch, score, model, keep=True))
    assert kept == [True, True, False, False, False, False]
    assert (best.epoch, best.score) == (2, 0.7)
    best.restore(model)
    assert torch.equal(model.weight, torch.full((1, 3), 2.0))  # type: ignore[arg-type]
