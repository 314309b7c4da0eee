"""What happens around the steps of a run, whichever engine takes them.

An engine trains on the plan's batches, lets the course watch its optimizer and calls `after_step`
once a batch. The course scores dev at each epoch's end, keeps the best state, decides when to stop,
shows progress and, at the end, reports.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm  # type: ignore[import-untyped]

from promax.config import ConfigError, OptimConfig
from promax.train.alive import Witness, trainable_state
from promax.train.plan import Plan
from promax.train.record import EpochRecord, FitReport


@dataclass
class BestState:
    """The trainable parameters of the best epoch so far, over all epochs and phases of a run.

    `epoch` counts from 1 and is 0 before any epoch was scored. An equal score is not better: the
    earliest of equals is kept. Held in main memory, so nothing is written to disk.
    """

    score: float = -math.inf
    epoch: int = 0
    _state: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def offer(self, epoch: int, score: float, encoder: nn.Module, *, keep: bool) -> bool:
        """Whether `score` is the best so far; if so and `keep`, remember the encoder's trainable parameters.

        A score of NaN is never better.
        """
        if not score > self.score:
            return False
        self.score, self.epoch = score, epoch
        self._state = trainable_state(encoder) if keep else {}
        return True

    def restore(self, encoder: nn.Module) -> None:
        """Put the remembered parameters back."""
        assert self._state, "nothing was kept"
        parameters = dict(encoder.named_parameters())
        with torch.no_grad():
            for name, kept in self._state.items():
                parameters[name].copy_(kept)


class Course:
    """The course of one run; a context manager, which closes the progress bar whatever happens.

    Args:
        encoder: what is trained.
        plan: what on.
        cfg: how the best epoch is chosen, and when to stop.
        dev_score: dev metrics of the encoder as it is; called at each epoch's end.
        on_epoch: told of each epoch after it was scored.
        label: what to begin the line of an epoch with; such a run shows no bar, as it shares its terminal with others.
    """

    def __init__(
        self,
        encoder: nn.Module,
        plan: Plan,
        cfg: OptimConfig,
        dev_score: Callable[[], dict[str, float]],
        on_epoch: Callable[[EpochRecord], None],
        label: str | None = None,
    ) -> None:
        self.best = BestState()
        self.stopped = False
        self._encoder, self._plan, self._cfg = encoder, plan, cfg
        self._dev_score, self._on_epoch = dev_score, on_epoch
        self._witness = Witness()
        self._losses: list[float] = []
        self._epochs: list[EpochRecord] = []
        self._seen: dict[int, int] = {}
        self._started = self._epoch_began = time.perf_counter()
        self._progress = _Progress(plan, label)

    def __enter__(self) -> Course:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.close()

    def watch(self, optimizer: Optimizer) -> None:
        """To be called once, before the first step, with the optimizer that will take the steps."""
        self._witness.watch(optimizer)
        self._epoch_began = time.perf_counter()

    def after_step(self, rows: NDArray[np.int64], loss: float) -> None:
        """To be called after each optimizer step, with the rows it was taken on and their loss.

        Sets `stopped` when the run is to end early.

        Raises:
            RuntimeError: the loss is not finite.
            ConfigError: at the first epoch's end, the dev metric `optim.select_by` has no value.
        """
        self._losses.append(loss)
        step = len(self._losses)
        if not math.isfinite(loss):
            raise RuntimeError(
                f"the loss is {loss} at step {step} of {self._plan.steps}; "
                f"try a lower optim.lr than {self._cfg.lr:g} or optim.max_grad_norm than {self._cfg.max_grad_norm:g}"
            )
        values, counts = np.unique(self._plan.phases[rows], return_counts=True)
        for phase, count in zip(values.tolist(), counts.tolist(), strict=True):
            self._seen[phase] = self._seen.get(phase, 0) + count
        self._progress.step(loss)
        if step in self._plan.epoch_ends:
            self._end_epoch(step)

    def _end_epoch(self, step: int) -> None:
        seconds = time.perf_counter() - self._epoch_began
        epoch = len(self._epochs) + 1
        dev = self._dev_score()
        score = dev.get(self._cfg.select_by, math.nan)
        if epoch == 1 and math.isnan(score):
            has = ", ".join(name for name, value in dev.items() if not math.isnan(value)) or "none"
            raise ConfigError(
                f"optim.select_by={self._cfg.select_by}: has no value on dev after epoch 1, "
                f"as where all scores or all labels are equal; dev has {has}"
            )
        self.best.offer(epoch, score, self._encoder, keep=self._cfg.keep == "best")
        begin = self._epochs[-1].step if self._epochs else 0
        record = EpochRecord(
            epoch=epoch,
            phase=self._plan.epoch_phases[epoch - 1],
            step=step,
            loss=float(np.mean(self._losses[begin:])),
            lr=self._witness.lrs[-1] if self._witness.lrs else math.nan,
            dev=dev,
            seconds=seconds,
        )
        self._epochs.append(record)
        self.stopped = self._out_of_patience(epoch)
        self._progress.epoch(record, f"{self._cfg.select_by} {score:.4f}, best {self.best.score:.4f}")
        self._on_epoch(record)
        self._epoch_began = time.perf_counter()

    def _out_of_patience(self, epoch: int) -> bool:
        """Whether the epochs without a better one are enough, counting those of the last phase alone.

        A phased run that ended in an early phase would have skipped the others.
        """
        phases = self._plan.epoch_phases
        if self._cfg.patience is None or epoch == len(phases):
            return False
        last_phase_from = phases.index(phases[-1])
        return epoch - max(self.best.epoch, last_phase_from) >= self._cfg.patience

    def report(self, micro_batch_size: int) -> FitReport:
        """What was done so far."""
        return FitReport(
            epochs=list(self._epochs),
            best_epoch=self.best.epoch,
            losses=list(self._losses),
            lrs=list(self._witness.lrs),
            peak_lr=max(self._witness.lrs, default=0.0),
            steps=len(self._witness.lrs),
            epochs_run=len(self._epochs),
            trainable_parameters=self._witness.trainable_parameters,
            examples_per_phase=dict(sorted(self._seen.items())),
            micro_batch_size=micro_batch_size,
            stopped_early=self.stopped,
            seconds=time.perf_counter() - self._started,
        )


class _Progress:
    """Progress on stderr: a bar with the time left on a terminal, else a line an epoch."""

    def __init__(self, plan: Plan, label: str | None) -> None:
        self._label = "" if label is None else f"{label}, "
        self._epochs = len(plan.epoch_ends)
        self._steps = plan.steps
        self._best = ""
        self._started = time.perf_counter()
        # None: no bar where stderr is not a terminal.
        off = None if label is None else True
        self._bar = tqdm(total=plan.steps, desc=f"epoch 1/{self._epochs}", unit="step", file=sys.stderr, disable=off)

    def step(self, loss: float) -> None:
        self._bar.set_postfix_str(f"loss {loss:.4f}{self._best}", refresh=False)
        self._bar.update()

    def epoch(self, record: EpochRecord, dev: str) -> None:
        self._best = f", dev {dev}"
        if not self._bar.disable:
            self._bar.set_description(f"epoch {min(record.epoch + 1, self._epochs)}/{self._epochs}")
            return
        left = (time.perf_counter() - self._started) * (self._steps / record.step - 1)
        phase = "" if record.phase is None else f", phase {record.phase}"
        print(
            f"{self._label}epoch {record.epoch}/{self._epochs}{phase}: loss {record.loss:.4f}, dev {dev}, "
            f"{tqdm.format_interval(left)} left",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        self._bar.close()
