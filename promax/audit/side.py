"""A pair set as the checks see it: all of its pairs, and a sample of them read closely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promax import metrics
from promax.data.groups import resampling_units
from promax.data.pairs import Pairs, positives
from promax.metrics import Interval, Statistic, UndefinedMetric

SAMPLE = 2000
"""Pairs of a side that are embedded and compared word by word; of larger sets, as many are drawn."""

FEWEST = 20
"""Of a class: with fewer pairs, a check that needs both classes says nothing."""

# 99 %, since an audit makes some twenty checks of a side: at 95 % every clean set would be accused of something.
CONFIDENCE = 0.99
REPLICATES = 1000

Similarity = Callable[[list[str], list[str]], NDArray[np.float64]]
"""Texts of equal number -> the similarity of the i-th of each (n,)."""


@dataclass(frozen=True)
class Ruler:
    """What pairs are measured with.

    Attributes:
        encoder: the un-tuned encoder's cosine.
        lexical: the cosine of TF-IDF vectors fitted on the texts given.
        tokens: texts -> how many tokens each has, uncut (n,).
        longest: the number of tokens the encoder reads.
    """

    encoder: Similarity
    lexical: Similarity
    tokens: Callable[[list[str]], NDArray[np.int64]]
    longest: int


@dataclass(frozen=True)
class Sample:
    """The pairs of a side that are read closely, by row of the side.

    Attributes:
        positive: (n,) or None: the labels are graded without a threshold.
        units: (n, 2), the groups of tickets by which resamples draw a pair.
        scores: (n,), the un-tuned encoder's cosine.
        lexical: (n,), the cosine of TF-IDF vectors fitted on the sample.
        cut: (2n,), whether a text has more tokens than the encoder reads; first all text1, then all text2.
        longest: how many it reads.
    """

    rows: NDArray[np.int64]
    pairs: Pairs
    positive: NDArray[np.bool_] | None
    units: NDArray[np.int64]
    scores: NDArray[np.float64]
    lexical: NDArray[np.float64]
    cut: NDArray[np.bool_]
    longest: int


@dataclass(frozen=True)
class Side:
    """One side of what is audited: all pairs, their binary view, their tickets, and the sample.

    `seed` draws the sample, the resamples and the folds.
    """

    name: Literal["train", "test"]
    pairs: Pairs
    positive: NDArray[np.bool_] | None
    tickets: NDArray[np.int64]
    sample: Sample
    seed: int


def make_side(
    name: Literal["train", "test"], pairs: Pairs, positive_from: float | None, ruler: Ruler, seed: int
) -> Side:
    """Draw the sample with `seed` and measure it; sets of up to `SAMPLE` pairs are read whole, in their order."""
    positive, tickets = positives(pairs.labels, positive_from), pairs.tickets()
    rows = np.arange(len(pairs))
    if len(pairs) > SAMPLE:
        rows = np.sort(np.random.default_rng(seed).choice(len(pairs), SAMPLE, replace=False))
    part = pairs.take(rows)
    of_part = None if positive is None else positive[rows]
    sample = Sample(
        rows=rows,
        pairs=part,
        positive=of_part,
        # Of the whole side: two tickets of the sample may be one problem by a pair that wasn't drawn.
        units=resampling_units(tickets, positive)[rows],
        scores=ruler.encoder(part.text1, part.text2),
        lexical=ruler.lexical(part.text1, part.text2),
        cut=ruler.tokens(part.text1 + part.text2) > ruler.longest,
        longest=ruler.longest,
    )
    return Side(name, pairs, positive, tickets, sample, seed)


def too_few(positive: NDArray[np.bool_] | None) -> str | None:
    """Why the two classes can't be set against each other; None: they can."""
    if positive is None:
        return "graded labels; data.positive_from says which make a pair positive"
    count = int(positive.sum())
    if min(count, len(positive) - count) < FEWEST:
        return f"{count} positive and {len(positive) - count} negative pairs; {FEWEST} of each are needed"
    return None


def estimate(statistic: Statistic, units: NDArray[np.int64], seed: int) -> tuple[float, Interval]:
    """The statistic on all pairs, and its 99 % interval from resampled groups of tickets.

    Where too few resamples have a value, so that nothing is known of its spread, the interval is the whole line.
    """
    value = statistic(np.ones(len(units)))
    try:
        return value, metrics.interval(metrics.bootstrap(statistic, units, REPLICATES, seed), CONFIDENCE)
    except UndefinedMetric:
        return value, Interval(-np.inf, np.inf, CONFIDENCE)


def written(value: float, interval: Interval) -> str:
    """A figure with its interval, as the reports write it.

    >>> written(0.25, Interval(0.2, 0.3, 0.99))
    '0.250 [0.200, 0.300]'
    """
    if not np.isfinite([interval.low, interval.high]).all():
        return f"{value:.3f} (too few groups of tickets for an interval)"
    return f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def figures_of(name: str, value: float, interval: Interval) -> dict[str, float]:
    """A figure as a finding carries it, with the ends of its interval where it has one.

    >>> figures_of("tfidf_auc", 0.25, Interval(0.2, 0.3, 0.99))
    {'tfidf_auc': 0.25, 'tfidf_auc_low': 0.2, 'tfidf_auc_high': 0.3}
    """
    if not np.isfinite([interval.low, interval.high]).all():
        return {name: value}
    return {name: value, f"{name}_low": interval.low, f"{name}_high": interval.high}
