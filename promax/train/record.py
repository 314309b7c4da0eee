"""What a training run reports: one row per epoch, and the whole."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EpochRecord:
    """One row of the learning curve.

    `epoch` counts from 1 over the whole run, phases included. `step` is the number of optimizer
    steps done so far, `loss` the mean training loss over the epoch's steps, `lr` the learning rate
    read from the optimizer at the epoch's last step, `dev` the dev metrics after it. `seconds` are those of its steps.
    """

    epoch: int
    phase: int | None
    step: int
    loss: float
    lr: float
    dev: dict[str, float]
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class FitReport:
    """What a training run really did, as opposed to what was asked of it.

    `lrs` has one entry for each call of the optimizer's step, read from the optimizer at that
    moment; `steps` is their number and `peak_lr` the highest. `losses` has one entry a batch.
    `trainable_parameters` counts the numbers the optimizer holds. `examples_per_phase` maps a phase
    (0 where pairs have none) to the pairs trained on, repeats included. `best_epoch` is the epoch
    with the highest dev score, the earliest of equals. `micro_batch_size` is below
    `optim.batch_size` when memory ran out and batches were split. `engine` is the one that took the
    steps, with its precision. `seconds` is wall-clock time, dev scoring included.
    """

    epochs: list[EpochRecord]
    best_epoch: int
    losses: list[float]
    lrs: list[float]
    peak_lr: float
    steps: int
    epochs_run: int
    trainable_parameters: int
    examples_per_phase: dict[int, int]
    micro_batch_size: int
    stopped_early: bool
    seconds: float
    engine: str = "reference fp32"
