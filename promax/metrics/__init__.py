"""What scores are worth, and how sure that is: metrics of scored pairs, their intervals, retrieval.

Numpy alone. Three notions, used by every function here:

- `scores` (n,) are similarities, higher meaning more alike; row i is pair i.
- `labels` (n,) in 0..1 grade the same pairs, or `positive` (n,) bool splits them in two classes.
- `weights` (n,) >= 0 say how often each pair counts. A weight of 2 equals the row given twice, which is
  what a bootstrap replicate is.

Where a metric has no value, `UndefinedMetric` says why; no function here returns NaN.
"""

from __future__ import annotations

from promax.metrics.classification import best_threshold, f1_at, overlap, pr_auc, prepare_f1, roc_auc, separability
from promax.metrics.correlation import pearson, spearman, spearman_ceiling, spearman_from_auc
from promax.metrics.metric import Batched, Metric, Statistic, UndefinedMetric
from promax.metrics.resampling import (
    Difference,
    Interval,
    bootstrap,
    bootstrap_all,
    bootstrap_weights,
    interval,
    paired_difference,
)
from promax.metrics.retrieval import (
    mean_reciprocal_rank,
    prepare_recall,
    prepare_reciprocal_rank,
    recall_at,
    retrieval_ranks,
)

__all__ = [
    "Batched",
    "Difference",
    "Interval",
    "Metric",
    "Statistic",
    "UndefinedMetric",
    "best_threshold",
    "bootstrap",
    "bootstrap_all",
    "bootstrap_weights",
    "f1_at",
    "interval",
    "mean_reciprocal_rank",
    "overlap",
    "paired_difference",
    "pearson",
    "pr_auc",
    "prepare_f1",
    "prepare_recall",
    "prepare_reciprocal_rank",
    "recall_at",
    "retrieval_ranks",
    "roc_auc",
    "separability",
    "spearman",
    "spearman_ceiling",
    "spearman_from_auc",
]
