"""What a run will train on, fixed before any engine starts: its batches, epochs, phases and learning rates.

Every engine follows the same `Plan`, so two engines see the same pairs in the same order at the
same learning rates. Nothing here needs torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promax.config import ConfigError, OptimConfig

# Losses that compare the pairs of a batch with one another, so that a batch of one pair is worth nothing ...
IN_BATCH = frozenset({"cosent", "angle", "online_contrastive", "mnrl"})
# ... and those of them that rank by label, so that a batch of one label is worth nothing.
RANKING = IN_BATCH - {"mnrl"}


@dataclass(frozen=True)
class Plan:
    """The whole of one training run.

    `batches[s]` holds the rows (of the training pairs) of optimizer step s and `lrs[s]` its
    learning rate. `epoch_ends[e]` is the number of steps done when epoch e is over, and
    `epoch_phases[e]` the phase it trains (None: all pairs). `phases[i]` is the phase of row i, 0
    where the pairs have none.
    """

    batches: list[NDArray[np.int64]]
    epoch_ends: list[int]
    epoch_phases: list[int | None]
    warmup_steps: int
    lrs: NDArray[np.float64]
    phases: NDArray[np.int64]

    @property
    def steps(self) -> int:
        """Optimizer steps in the whole run."""
        return len(self.batches)

    def examples_after(self, steps: int) -> dict[int, int]:
        """Phase -> pairs trained on in the first `steps` steps, repeats included."""
        seen = np.concatenate([np.empty(0, np.int64), *self.batches[:steps]])
        values, counts = np.unique(self.phases[seen], return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))


def make_plan(
    labels: NDArray[np.float64],
    phases: NDArray[np.int64] | None,
    cfg: OptimConfig,
    seed: int,
    groups: NDArray[np.int64] | None = None,
) -> Plan:
    """Lay out the run for n training pairs.

    An epoch of m pairs is ceil(m / batch_size) batches whose sizes differ by at most one: no pair is
    left out, and none weighs more because it fell into a nearly empty last batch. For a loss that
    compares the pairs of a batch, no batch has fewer than two (with batch_size=2 and an odd m, one
    batch has three). Epoch e is shuffled by SeedSequence([seed, e]) alone, so the first epochs of a
    short and of a long run hold the same batches.

    Curriculum `none` shuffles all pairs. `mixed` deals each phase evenly over the batches: the
    count of a phase differs by at most one between any two batches of an epoch (by two where labels
    are dealt first, see below). `phased` trains the phases in ascending order; `cfg.epochs` is
    their total, split by `cfg.phase_split` or equally, every phase getting at least one.

    For cosent, angle and online_contrastive the labels are dealt evenly too, cut in two at the value
    that divides the pairs most evenly, so every batch holds two labels. For mnrl, where every other
    text of a batch is a negative, rows of one group are dealt to different batches as long as
    there are batches.

    Args:
        labels: (n,), in [0, 1].
        phases: (n,), or None where the pairs have none.
        cfg: how to train; `cfg.epochs` is at least 1.
        seed: the run's seed.
        groups: (n,), numbered from 0: rows of one group share texts. Used by mnrl alone.

    Raises:
        ConfigError: the curriculum, the phase split or the batch size doesn't fit the data.

    >>> pairs = np.array([1.0, 0.0, 1.0, 0.0, 1.0])
    >>> plan = make_plan(pairs, None, OptimConfig(lr=0.01, epochs=2, batch_size=2, warmup_ratio=0.2), seed=0)
    >>> [len(batch) for batch in plan.batches], plan.epoch_ends, plan.warmup_steps
    ([2, 2, 1, 2, 2, 1], [3, 6], 2)
    >>> plan.lrs.round(4).tolist()
    [0.0, 0.005, 0.01, 0.0075, 0.005, 0.0025]
    """
    assert cfg.epochs >= 1, "a run of no epochs is not trained"
    epoch_phases = _epoch_phases(phases, cfg)
    batches: list[NDArray[np.int64]] = []
    epoch_ends: list[int] = []
    for epoch, phase in enumerate(epoch_phases):
        rows = np.arange(len(labels)) if phases is None or phase is None else np.flatnonzero(phases == phase)
        count = _batch_count(labels[rows], phase, cfg)
        rng = np.random.default_rng([seed, epoch])
        keys = _strata(rows, labels, phases, groups, cfg, rng)
        batches += [rows[chosen] for chosen in _deal(len(rows), keys, count, rng)]
        epoch_ends.append(len(batches))
    warmup = min(math.ceil(cfg.warmup_ratio * len(batches)), len(batches) - 1)
    return Plan(
        batches=batches,
        epoch_ends=epoch_ends,
        epoch_phases=epoch_phases,
        warmup_steps=warmup,
        lrs=_learning_rates(cfg, len(batches), warmup),
        phases=np.zeros(len(labels), np.int64) if phases is None else phases,
    )


def _epoch_phases(phases: NDArray[np.int64] | None, cfg: OptimConfig) -> list[int | None]:
    if cfg.phase_split is not None and cfg.curriculum != "phased":
        raise ConfigError(
            f"optim.phase_split={cfg.phase_split}: only curriculum=phased splits the epochs, "
            f"and optim.curriculum={cfg.curriculum}"
        )
    if cfg.curriculum == "none":
        return [None] * cfg.epochs
    found = [] if phases is None else np.unique(phases).tolist()
    if len(found) < 2:
        seen = f"are all of phase {found[0]}" if found else "have no phases (data.columns.phase names their column)"
        raise ConfigError(
            f"optim.curriculum={cfg.curriculum}: the training pairs {seen}; a curriculum needs at least two phases"
        )
    if cfg.curriculum == "mixed":
        return [None] * cfg.epochs
    if cfg.epochs < len(found):
        raise ConfigError(
            f"optim.epochs={cfg.epochs}: with curriculum=phased it is the total over phases "
            f"{found} and must be at least {len(found)}"
        )
    if cfg.phase_split is not None and len(cfg.phase_split) != len(found):
        raise ConfigError(
            f"optim.phase_split={cfg.phase_split}: must hold {len(found)} shares, one for each of phases {found}"
        )
    counts = split_epochs(cfg.epochs, cfg.phase_split or [1.0] * len(found))
    return [phase for phase, count in zip(found, counts, strict=True) for _ in range(count)]


def split_epochs(epochs: int, shares: list[float]) -> list[int]:
    """Divide `epochs` in proportion to `shares` by largest remainder, at least one each.

    Ties go to the earlier share. `epochs` must be at least the number of shares.

    >>> split_epochs(12, [1, 1, 1]), split_epochs(7, [0.5, 0.25, 0.25]), split_epochs(4, [0.9, 0.05, 0.05])
    ([4, 4, 4], [3, 2, 2], [2, 1, 1])
    """
    quotas = np.array(shares) * epochs / np.sum(shares)
    counts = np.ones(len(shares), np.int64)
    # Giving each next epoch to the share furthest below its quota ends at the largest remainders.
    for _ in range(epochs - len(shares)):
        counts[np.argmax(quotas - counts)] += 1
    return [int(count) for count in counts]


def _batch_count(labels: NDArray[np.float64], phase: int | None, cfg: OptimConfig) -> int:
    """Batches in an epoch over pairs with these labels; refuses a size that leaves the loss without a signal."""
    count = math.ceil(len(labels) / cfg.batch_size)
    if cfg.loss not in IN_BATCH:
        return count
    if cfg.batch_size < 2:
        raise ConfigError(
            f"optim.batch_size={cfg.batch_size}: loss={cfg.loss} compares the pairs of a batch and needs at least 2"
        )
    count = max(1, min(count, len(labels) // 2))
    if cfg.loss in RANKING:
        rarer = int(np.bincount(_halves(labels), minlength=2).min())
        if rarer < count:
            place = "" if phase is None else f" of phase {phase}"
            raise ConfigError(
                f"optim.batch_size={cfg.batch_size}: loss={cfg.loss} needs two labels in every batch, "
                f"but only {rarer} of {len(labels)} training pairs{place} have the rarer one\n"
                f"use a batch size of at least {math.ceil(len(labels) / max(1, rarer))}, or loss=cosine"
            )
    return count


def _halves(labels: NDArray[np.float64]) -> NDArray[np.int64]:
    """0 or 1 for each label: cut between two values, as evenly as they allow."""
    values, counts = np.unique(labels, return_counts=True)
    below = np.cumsum(counts)[:-1]
    if len(below) == 0:
        return np.zeros(len(labels), np.int64)
    cut = values[np.argmin(np.abs(below - len(labels) / 2))]
    return np.asarray(labels > cut, np.int64)


def _strata(
    rows: NDArray[np.int64],
    labels: NDArray[np.float64],
    phases: NDArray[np.int64] | None,
    groups: NDArray[np.int64] | None,
    cfg: OptimConfig,
    rng: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """What the batches of an epoch must hold in even shares: one number a row, the weightier first."""
    keys = []
    if cfg.loss in RANKING:
        keys.append(_halves(labels[rows]))
    if cfg.curriculum == "mixed" and phases is not None:
        keys.append(phases[rows])
    if cfg.loss == "mnrl" and groups is not None:
        # Groups in a new order each epoch, or the same rows would meet in every one.
        keys.append(rng.permutation(int(groups.max()) + 1)[groups[rows]])
    return keys


def _deal(n: int, keys: list[NDArray[np.int64]], count: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Deal rows 0..n-1 like cards to `count` batches, in random order within equal keys.

    Rows of one stratum are neighbours in the deck, so a batch's share of it is the mean rounded up
    or down: nothing can be more even. The same holds for the batches' sizes.
    """
    deck = np.lexsort([rng.random(n), *reversed(keys)])
    return [deck[first::count] for first in rng.permutation(count)]


def _learning_rates(cfg: OptimConfig, steps: int, warmup: int) -> NDArray[np.float64]:
    """(steps,), equal to `transformers.get_scheduler` with these warm-up and total steps.

    A warm-up from 0, which step `warmup` ends at exactly `cfg.lr`; then constant, or down to 0 at
    the step after the last, along a line or half a cosine.
    """
    step = np.arange(steps)
    left = (steps - step) / max(1, steps - warmup)
    fall = {
        "constant": np.ones(steps),
        "linear": left,
        "cosine": 0.5 * (1.0 + np.cos(np.pi * (step - warmup) / max(1, steps - warmup))),
    }[cfg.schedule]
    return cfg.lr * np.where(step < warmup, step / max(1, warmup), fall)
