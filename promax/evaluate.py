"""Encoder and pairs in, scores and metrics out.

The encoder comes as a function from texts to unit vectors, so that every engine, and a test, is
evaluated by the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promax import metrics
from promax.config import EvalConfig
from promax.data.groups import resampling_units
from promax.data.pairs import Pairs, positives
from promax.metrics import Batched, Interval, Statistic, UndefinedMetric

Embed = Callable[[list[str]], NDArray[np.float32]]
"""Texts -> unit vectors (n, d), in their order."""

# A slice of fewer pairs says more about chance than about the encoder.
SMALLEST_SLICE = 20

GRADED = "graded labels; data.positive_from says which make a pair positive"
NO_DEV = "no dev side to choose its threshold on"
# The metrics that need two classes, those of retrieval aside.
BINARY = ("roc_auc", "pr_auc", "f1", "separability", "overlap")


def point_metric_names(*, graded: bool) -> tuple[str, ...]:
    """The metrics that scores and labels alone give, as after each epoch; fewer of labels that make no two classes."""
    return ("spearman", "pearson") if graded else ("spearman", "pearson", "roc_auc", "pr_auc", "separability")


def metric_names(cfg: EvalConfig, *, graded: bool) -> tuple[str, ...]:
    """All metrics that an evaluation may have."""
    ranks = () if graded else ("f1", "overlap", "mrr", *(f"recall_at_{k}" for k in cfg.recall_at))
    return (*point_metric_names(graded=graded), "spearman_ceiling", *ranks)


@dataclass(frozen=True)
class Slice:
    """The metrics of one part of the pairs, with intervals: a phase, or a category (of either ticket)."""

    kind: str
    name: str
    pairs: int
    metrics: dict[str, float]
    intervals: dict[str, Interval]


@dataclass(frozen=True)
class Evaluation:
    """What one encoder reached on one side.

    `scores` (n,) is the cosine of each pair, `units` (n, 2) the groups of tickets that a resample draws it by,
    `positive` (n,) the binary view, None where the labels are graded without a threshold. `threshold` is the
    score from which a pair is called positive: chosen here on dev, given on test. `absent` says of each metric
    without a value, or without an interval, why that is.
    """

    scores: NDArray[np.float64]
    units: NDArray[np.int64]
    positive: NDArray[np.bool_] | None
    threshold: float | None
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    absent: dict[str, str]
    slices: list[Slice]


def evaluate(
    embed: Embed,
    pairs: Pairs,
    cfg: EvalConfig,
    *,
    positive_from: float | None,
    seed: int,
    threshold: float | None = None,
    is_dev: bool = False,
) -> Evaluation:
    """All metrics of an encoder on `pairs`, with intervals from resampling the groups of tickets.

    F1 needs a `threshold` chosen on dev; with `is_dev` it is chosen here, and the F1 then flatters. `seed` draws
    the resamples.
    """
    vectors, scores = embed_pairs(embed, pairs)
    tickets, positive = pairs.tickets(), positives(pairs.labels, positive_from)
    no_threshold = NO_DEV
    if is_dev and positive is not None and threshold is None:
        try:
            threshold = metrics.best_threshold(scores, positive)
        except UndefinedMetric as reason:
            no_threshold = str(reason)
    units = resampling_units(tickets, positive)
    statistics = _statistics(scores, pairs.labels, positive)
    absent: dict[str, str] = {}
    if positive is None:
        absent = dict.fromkeys((*BINARY, "mrr", *(f"recall_at_{k}" for k in cfg.recall_at)), GRADED)
    else:
        statistics |= _retrieval(vectors, tickets, positive, cfg.recall_at)
        if threshold is None:
            absent["f1"] = no_threshold
        else:
            statistics["f1"] = metrics.prepare_f1(scores, positive, threshold)
    values, intervals, undefined = resampled(statistics, units, cfg, seed)
    for name, value in _without_interval(scores, pairs.labels, positive).items():
        try:
            values[name] = value()
        except UndefinedMetric as reason:
            undefined[name] = str(reason)
    slices = _slices(scores, pairs, positive, units, cfg, seed)
    return Evaluation(scores, units, positive, threshold, values, intervals, absent | undefined, slices)


def embed_pairs(embed: Embed, pairs: Pairs) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Embed each text once: a vector for each ticket (t, d), by its first text, and the cosine of each pair (n,)."""
    texts = list(dict.fromkeys([*pairs.text1, *pairs.text2]))
    vectors = embed(texts)
    row = {text: number for number, text in enumerate(texts)}
    first = np.array([row[text] for text in pairs.text1])
    second = np.array([row[text] for text in pairs.text2])
    scores = np.einsum("nd,nd->n", vectors[first], vectors[second], dtype=np.float64)
    tickets = pairs.tickets()
    # Backwards, so that the first text of a ticket is the one that stays.
    row_of_ticket = np.empty(tickets.max() + 1, dtype=np.int64)
    row_of_ticket[tickets[::-1].ravel()] = np.column_stack([first, second])[::-1].ravel()
    return vectors[row_of_ticket], scores


def point_metrics(
    scores: NDArray[np.float64], labels: NDArray[np.float64], positive: NDArray[np.bool_] | None
) -> dict[str, float]:
    """The metrics that scores and labels alone give, without intervals; those without a value are left out."""
    values: dict[str, float] = {}
    for name, statistic in _statistics(scores, labels, positive).items():
        try:
            values[name] = statistic(np.ones(len(scores)))
        except UndefinedMetric:
            continue
    return values


def resampled(
    statistics: dict[str, Statistic], units: NDArray[np.int64], cfg: EvalConfig, seed: int
) -> tuple[dict[str, float], dict[str, Interval], dict[str, str]]:
    """Each statistic's value and interval; and, where it lacks one of them, why."""
    values: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    absent: dict[str, str] = {}
    for name, statistic in statistics.items():
        try:
            values[name] = statistic(np.ones(len(units)))
        except UndefinedMetric as reason:
            absent[name] = str(reason)
    defined = {name: statistics[name] for name in values}
    for name, samples in metrics.bootstrap_all(defined, units, cfg.bootstrap, seed).items():
        if isinstance(samples, UndefinedMetric):
            absent[name] = str(samples)
        else:
            intervals[name] = metrics.interval(samples, cfg.confidence)
    return values, intervals, absent


def _statistics(
    scores: NDArray[np.float64], labels: NDArray[np.float64], positive: NDArray[np.bool_] | None
) -> dict[str, Statistic]:
    """Metric name -> its value as a function of the pairs' weights, for what scores and labels alone define."""
    statistics: dict[str, Statistic] = {
        "spearman": metrics.spearman.prepare(scores, labels),
        "pearson": metrics.pearson.prepare(scores, labels),
    }
    if positive is not None:
        statistics["roc_auc"] = metrics.roc_auc.prepare(scores, positive)
        statistics["pr_auc"] = metrics.pr_auc.prepare(scores, positive)
        statistics["separability"] = metrics.separability.prepare(scores, positive)
    return statistics


def _without_interval(
    scores: NDArray[np.float64], labels: NDArray[np.float64], positive: NDArray[np.bool_] | None
) -> dict[str, Callable[[], float]]:
    """Metrics that no resample speaks for: a property of the labels, and one made of extremes."""
    found: dict[str, Callable[[], float]] = {"spearman_ceiling": lambda: metrics.spearman_ceiling(labels)}
    if positive is not None:
        found["overlap"] = lambda: metrics.overlap(scores, positive)
    return found


def _retrieval(
    vectors: NDArray[np.float32], tickets: NDArray[np.int64], positive: NDArray[np.bool_], recall_at: list[int]
) -> dict[str, Statistic]:
    """recall@k and MRR of the paired ticket among all tickets of the side, as functions of the pairs' weights."""
    # A pair of two equal texts is one ticket: there is nothing to find.
    rows = np.flatnonzero(positive & (tickets[:, 0] != tickets[:, 1]))
    # A pair is asked for from both of its tickets.
    ranks = metrics.retrieval_ranks(vectors, tickets[rows]).reshape(2, -1)
    found = {f"recall_at_{k}": metrics.prepare_recall(ranks, k) for k in recall_at}
    found["mrr"] = metrics.prepare_reciprocal_rank(ranks)

    def of_pairs(statistic: Batched) -> Statistic:
        """As a function of all pairs' weights."""
        return Batched(lambda weights: statistic.many(np.take(weights, rows, axis=1)))

    return {name: of_pairs(statistic) for name, statistic in found.items()}


def _slices(
    scores: NDArray[np.float64],
    pairs: Pairs,
    positive: NDArray[np.bool_] | None,
    units: NDArray[np.int64],
    cfg: EvalConfig,
    seed: int,
) -> list[Slice]:
    """Metrics by phase and by category; a pair across two categories counts in both."""
    rows_of: dict[tuple[str, str], list[int]] = {}
    for row in range(len(pairs)):
        keys = set()
        if pairs.phases is not None:
            keys.add(("phase", str(pairs.phases[row])))
        for column in (pairs.category1, pairs.category2):
            if column is not None and column[row]:
                keys.add(("category", column[row]))
        for key in keys:
            rows_of.setdefault(key, []).append(row)
    slices = []
    for (kind, name), rows in sorted(rows_of.items()):
        if len(rows) >= SMALLEST_SLICE:
            statistics = _statistics(scores[rows], pairs.labels[rows], None if positive is None else positive[rows])
            values, intervals, _ = resampled(statistics, units[rows], cfg, seed)
            slices.append(Slice(kind, name, len(rows), values, intervals))
    return slices
