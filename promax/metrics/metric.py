"""What a metric of scored pairs is, and what every one of them refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Statistic = Callable[[NDArray[np.float64]], float]
"""Weights (n,) of the pairs -> the metric's value, or UndefinedMetric."""

Many = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Weights (r, n), a weighting a row -> the values (r,), or UndefinedMetric, with those rows, where any has none.

Rows are contiguous: of others, numpy sums the products in another order."""

Target = TypeVar("Target", NDArray[np.float64], NDArray[np.bool_])


class UndefinedMetric(ValueError):  # noqa: N818 - it names a state of the input, not a mistake
    """The metric has no value on this input; the text is the reason and may be shown to a user.

    `rows` (r,) says of many weightings which have none for that reason: some of them, where there are several reasons.
    """

    def __init__(self, reason: str, rows: NDArray[np.bool_] | np.bool_ | None = None) -> None:
        super().__init__(reason)
        self.rows = None if rows is None else np.atleast_1d(rows)


@dataclass(frozen=True)
class Batched:
    """A `Statistic` that can be asked for many weightings at once, which takes a fraction of the time.

    The values are those of one call each, to the last bit: a product of two rows is a `vecdot`, which for each row is
    what `@` is for two vectors, and weights are whole numbers, whose sums are exact in any order.

    Equal keys mean equal values; None is equal to no other.
    """

    many: Many
    key: Hashable | None = None

    def __call__(self, weights: NDArray[np.float64]) -> float:
        return float(self.many(weights[np.newaxis])[0])


class Metric(Generic[Target]):
    """A metric of scored pairs: call it for one value, `prepare` it for the values under many weightings.

    Both go through the same code: a call is a preparation and one weighting. Preparing does the sorting,
    which doesn't depend on the weights, so that a bootstrap sorts once and not once a replicate.

    `metric(scores, target, weights=None)` returns a float. It raises UndefinedMetric where the metric has no
    value (its docstring says when; fewer than two pairs always), and ValueError for what only a bug of
    the caller can cause: scores or labels that are not finite, shapes that differ, negative weights.

    >>> from promax.metrics import separability
    >>> scores, positive = np.array([0.9, 0.5, 0.1]), np.array([True, False, False])
    >>> round(separability(scores, positive), 3)
    0.6
    >>> statistic = separability.prepare(scores, positive)
    >>> [round(statistic(np.array(weights)), 3) for weights in ([1.0, 1.0, 1.0], [1.0, 2.0, 0.0])]
    [0.6, 0.4]
    """

    def __init__(self, prepare: Callable[[NDArray[np.float64], Target], Many]) -> None:
        self._prepare: Callable[[NDArray[np.float64], Target], Many] = prepare
        self._derivative: Callable[[NDArray[np.float64], Target], NDArray[np.float64]] | None = None
        update_wrapper(self, prepare)

    def derivative(
        self, function: Callable[[NDArray[np.float64], Target], NDArray[np.float64]]
    ) -> Callable[[NDArray[np.float64], Target], NDArray[np.float64]]:
        """Decorates the function behind `influence`."""
        self._derivative = function
        return function

    def __call__(
        self, scores: NDArray[np.float64], target: Target, weights: NDArray[np.float64] | None = None
    ) -> float:
        return self.prepare(scores, target)(checked_weights(weights, len(scores)))

    def prepare(self, scores: NDArray[np.float64], target: Target) -> Batched:
        """The metric as a function of the weights alone, for these scores and this target."""
        check_pairs(scores, target)
        return Batched(self._prepare(scores, target), (self, digest_of(scores), digest_of(target)))

    def influence(self, scores: NDArray[np.float64], target: Target) -> NDArray[np.float64]:
        """The derivative (n,) of the metric by each pair's weight, all weights being 1.

        They sum to 0, since a metric doesn't change when all weights are doubled. The metric of another sample
        differs from this one by about the sum of its pairs' influences (Hampel 1974), so a variance of sums is
        the metric's variance: on independent pairs, for ROC-AUC, that of DeLong, DeLong & Clarke-Pearson (1988).
        """
        check_pairs(scores, target)
        assert self._derivative is not None, f"{self.__name__} has no derivative"  # type: ignore[attr-defined]
        return self._derivative(scores, target)


def digest_of(array: NDArray[Any]) -> bytes:
    """A hash of an array's values, their type and its shape."""
    kind = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.blake2b(kind + array.tobytes(), digest_size=16).digest()


class Levels:
    """The distinct values of an array (n,), lowest first; `level` (n,) numbers the one that each row holds."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.level: NDArray[np.intp] = np.unique(values, return_inverse=True)[1]
        order = np.argsort(self.level, kind="stable")
        # Rows that are in order already, as a metric prepares them, need no gathering.
        self._order = None if np.array_equal(order, np.arange(len(order))) else order
        held = np.bincount(self.level)
        self._starts = np.cumsum(held) - held
        # Scores are rarely tied, and adding up a level of one row takes three times as long as copying it.
        self._tied = np.flatnonzero(held > 1)
        self._tied_rows = np.flatnonzero(np.repeat(held, held) > 1)
        self._tied_starts = np.cumsum(held[self._tied]) - held[self._tied]

    def sums(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., k): what the rows (..., n) on each of the k levels weigh together."""
        ordered = weights if self._order is None else np.take(weights, self._order, axis=-1)
        if not len(self._tied):
            return ordered
        if len(self._tied) == len(self._starts):
            return np.add.reduceat(ordered, self._starts, axis=-1)
        sums = np.take(ordered, self._starts, axis=-1)
        tied = np.take(ordered, self._tied_rows, axis=-1)
        sums[..., self._tied] = np.add.reduceat(tied, self._tied_starts, axis=-1)
        return sums


def ascending(values: NDArray[Any]) -> tuple[NDArray[np.intp], Levels]:
    """The order (n,) that sorts the values, and their levels in that order: weights so taken are summed in one go."""
    order = np.argsort(values, kind="stable")
    return order, Levels(values[order])


def check_pairs(scores: NDArray[np.float64], target: NDArray[Any]) -> None:
    """Refuse what no metric can be computed on.

    Raises:
        ValueError: not both (n,), or values that are not finite, with their count.
        UndefinedMetric: fewer than two pairs.
    """
    if scores.ndim != 1 or scores.shape != target.shape:
        raise ValueError(f"scores of shape {scores.shape} and a target of shape {target.shape}: both must be (n,)")
    for name, values in (("scores", scores), ("labels", target)):
        bad = np.count_nonzero(~np.isfinite(values))
        if bad:
            raise ValueError(f"{bad} of {len(values)} {name} are not finite")
    if len(scores) < 2:
        raise UndefinedMetric(f"too few pairs: {len(scores)}, at least 2 are needed")


def checked_weights(weights: NDArray[np.float64] | None, count: int) -> NDArray[np.float64]:
    """The weights of `count` rows, ones where none are given.

    Raises:
        ValueError: not (count,), or a weight that is negative or not finite.
    """
    if weights is None:
        return np.ones(count)
    if weights.shape != (count,):
        raise ValueError(f"weights of shape {weights.shape}: must be ({count},), one a row")
    bad = np.count_nonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad:
        raise ValueError(f"{bad} of {count} weights are negative or not finite")
    return weights
