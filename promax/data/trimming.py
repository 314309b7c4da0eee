"""How train is cut down: to some of its phases, and to so many pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from promax.config import ConfigError, DataConfig
from promax.data.pairs import Pairs

# Graded labels without a threshold still need two classes for balanced sides: the middle of the scale.
MIDDLE = 0.5
# Up to so many different labels, each is a class of its own.
MOST_CLASSES = 10


def trimmed(train: Pairs, cfg: DataConfig) -> tuple[Pairs, list[str]]:
    """The pairs of `cfg.phases`, and of these `cfg.train_limit`, drawn by `cfg.seed`; and what to tell of it.

    Raises:
        ConfigError: train has no pair of a phase that is asked for.
    """
    notes: list[str] = []
    if cfg.phases is not None:
        rows = _of_phases(train, cfg.phases)
        notes.append(f"data.phases={cfg.phases}: {len(rows)} of {len(train)} train pairs are of them")
        train = train.take(rows)
    if cfg.train_limit is not None and cfg.train_limit > len(train):
        notes.append(f"data.train_limit={cfg.train_limit}: train has {len(train)} pairs, all are used")
    elif cfg.train_limit is not None:
        notes.append(f"data.train_limit={cfg.train_limit}: drawn from {len(train)} train pairs, seed {cfg.seed}")
        train = train.take(_drawn(train.labels, cfg.train_limit, cfg.seed))
    return train, notes


def _of_phases(train: Pairs, phases: list[int]) -> NDArray[np.int64]:
    own = np.empty(0, np.int64) if train.phases is None else train.phases
    there = np.unique(own).tolist()
    if missing := [phase for phase in phases if phase not in there]:
        has = f"phases {', '.join(map(str, there))}" if there else "no phases"
        asked = ",".join(map(str, phases))
        raise ConfigError(f"data.phases=[{asked}]: train has {has}, no pair of phase {missing[0]}")
    return np.flatnonzero(np.isin(own, phases))


def _drawn(labels: NDArray[np.float64], count: int, seed: int) -> NDArray[np.int64]:
    """`count` rows, ascending, with every class within one pair of its share; fewer are a subset of more.

    The pairs of a class, in random order, are spread evenly over (0, 1); the lowest are drawn.
    """
    classes = np.unique(labels, return_inverse=True)[1]
    if classes.max() >= MOST_CLASSES:
        classes = (labels >= MIDDLE).astype(np.int64)
    generator = np.random.default_rng(seed)
    position = np.empty(len(labels))
    for number in range(classes.max() + 1):
        rows = generator.permutation(np.flatnonzero(classes == number))
        position[rows] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    return np.sort(np.argsort(position, kind="stable")[:count])
