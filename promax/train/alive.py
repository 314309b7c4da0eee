"""Proof that a run was the one asked for: what the optimizer did, held against config and plan.

A learning rate that is set is not yet one that is used: code overrides it, schedules restart,
epochs are cut short, adapters are trained on another object. So what is compared here is read from
the optimizer as each step is taken, and from the encoder's own parameters.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from promax.config import OptimConfig
from promax.train.plan import Plan
from promax.train.record import FitReport

logger = logging.getLogger(__name__)


class Witness:
    """Writes down what an optimizer does, each time its step is called, whoever calls it.

    `lrs` has one learning rate a step; `trainable_parameters` is how many numbers the optimizer holds.
    """

    def __init__(self) -> None:
        self.lrs: list[float] = []
        self.trainable_parameters = 0

    def watch(self, optimizer: Optimizer) -> None:
        """Follow `optimizer` from now on; called once a run, before the first step."""
        held = {id(each): each.numel() for group in optimizer.param_groups for each in group["params"]}
        self.trainable_parameters += sum(held.values())
        optimizer.register_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        rates = {float(group["lr"]) for group in optimizer.param_groups}
        if len(rates) != 1:
            raise RuntimeError(f"the optimizer has {len(rates)} learning rates at once: {sorted(rates)}")
        self.lrs.append(rates.pop())


def verify(report: FitReport, plan: Plan, cfg: OptimConfig, expected_parameters: int) -> None:
    """Compare what the optimizer did with what was configured and planned.

    A run that stopped early is held against the part of the plan up to the end of its last epoch.
    Learning rates may differ by rounding, a relative 1e-9.

    Args:
        report: what happened.
        plan: what was to happen.
        cfg: what was asked for.
        expected_parameters: how many numbers of the encoder are trainable.

    Raises:
        RuntimeError: every mismatch at once, in one line.
    """
    epochs = report.epochs_run if report.stopped_early else len(plan.epoch_ends)
    steps = plan.epoch_ends[min(epochs, len(plan.epoch_ends)) - 1] if epochs else 0
    peak = float(plan.lrs[:steps].max(initial=0.0)) if report.stopped_early else cfg.lr
    expected: list[tuple[str, object, object]] = [
        ("epochs", report.epochs_run, epochs if report.stopped_early else cfg.epochs),
        ("steps", report.steps, steps),
        ("batches", len(report.losses), steps),
        ("trainable parameters", report.trainable_parameters, expected_parameters),
        ("examples per phase", report.examples_per_phase, plan.examples_after(steps)),
    ]
    found = [f"{name}: {was}, but planned {planned}" for name, was, planned in expected if was != planned]
    if not np.isclose(report.peak_lr, peak, rtol=1e-9, atol=0):
        found.append(f"peak learning rate: {report.peak_lr:g}, but configured {peak:g}")
    found += _schedule(report.lrs, plan.lrs[:steps].tolist())
    if report.stopped_early and cfg.patience is None:
        found.append("stopped early: yes, but optim.patience=null")
    if found:
        raise RuntimeError("the training was not the one configured: " + "; ".join(found))


def _schedule(lrs: list[float], planned: list[float]) -> list[str]:
    shared = min(len(lrs), len(planned))
    off = np.flatnonzero(~np.isclose(lrs[:shared], planned[:shared], rtol=1e-9, atol=0))
    if len(off) == 0:
        return []
    first = int(off[0])
    return [
        f"learning rate schedule: {len(off)} of {shared} steps took another rate than planned, "
        f"first step {first + 1}: {lrs[first]:g}, but planned {planned[first]:g}"
    ]


def trainable_state(encoder: nn.Module) -> dict[str, Tensor]:
    """A copy, in main memory, of every parameter that may change."""
    return {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in encoder.named_parameters()
        if parameter.requires_grad
    }


def verify_moved(before: dict[str, Tensor], encoder: nn.Module) -> None:
    """Compare the encoder's trainable parameters with `before`, their state before training.

    A tensor that never changed is warned of: it may be one the encoder has no use for.

    Raises:
        RuntimeError: no tensor changed, so whatever was trained was not this encoder.
    """
    after = trainable_state(encoder)
    still = [name for name, tensor in before.items() if name in after and torch.equal(tensor, after[name])]
    if len(still) == len(before):
        raise RuntimeError(
            "the training was not the one configured: "
            f"parameters moved: none of the encoder's {len(before)} trainable tensors changed"
        )
    if still:
        logger.warning("%d of %d trainable tensors never changed: %s", len(still), len(before), ", ".join(still[:5]))
