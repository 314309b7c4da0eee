"""The influence of a pair: the derivative of every metric, against differences of the metric itself and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from promax.metrics import Metric, UndefinedMetric, pearson, pr_auc, roc_auc, separability, spearman

GRADED: list[Metric[Any]] = [spearman, pearson]
TWO_CLASS: list[Metric[Any]] = [roc_auc, pr_auc, separability]

# Few distinct values, so that ties are common.
rows = st.lists(st.tuples(st.integers(-6, 6), st.sampled_from([0.0, 0.5, 1.0])), min_size=3, max_size=25)


@pytest.mark.parametrize("metric", GRADED + TWO_CLASS, ids=lambda metric: metric.__name__)
@settings(deadline=None, derandomize=True, max_examples=50)
@given(rows)
def test_it_is_the_derivative_by_the_weight(metric: Metric[Any], rows: list[tuple[int, float]]) -> None:
    scores, labels = np.array(rows, dtype=np.float64).T
    target = labels if metric in GRADED else labels > 0.5
    assume(len(set(scores)) > 1 and len(set(target)) > 1)
    statistic, step = metric.prepare(scores, target), 1e-5
    # Oracle: central differences, right to the square of the step.
    slopes = [(statistic(1 + step * each) - statistic(1 - step * each)) / (2 * step) for each in np.eye(len(scores))]
    influence = metric.influence(scores, target)
    assert influence == pytest.approx(slopes, abs=1e-7)
    assert influence.sum() == pytest.approx(0, abs=1e-10)


def test_roc_auc_by_hand() -> None:
    scores, positive = np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    # Of the negatives 0.9 beats both, 0.4 beats one and ties one; the area is 7/8. The negative 0.4 is beaten by one
    # positive and tied with one, 0.1 is beaten by both. Each less 7/8, over the two of its class.
    by_hand = [(1 - 7 / 8) / 2, (3 / 4 - 7 / 8) / 2, (3 / 4 - 7 / 8) / 2, (1 - 7 / 8) / 2]
    assert roc_auc.influence(scores, positive) == pytest.approx(by_hand)


@pytest.mark.parametrize("metric", TWO_CLASS, ids=lambda metric: metric.__name__)
def test_one_class_has_no_influence(metric: Metric[Any]) -> None:
    with pytest.raises(UndefinedMetric, match=r"^one class only: 3 of 3 pairs are positive$"):
        metric.influence(np.arange(3.0), np.ones(3, dtype=np.bool_))


@pytest.mark.parametrize("metric", GRADED, ids=lambda metric: metric.__name__)
def test_constant_scores_have_no_influence(metric: Metric[Any]) -> None:
    with pytest.raises(UndefinedMetric, match=r"^constant scores: a correlation needs two different values$"):
        metric.influence(np.ones(3), np.arange(3.0))
    with pytest.raises(ValueError, match=r"^1 of 3 scores are not finite$"):
        metric.influence(np.array([0.0, np.nan, 1.0]), np.arange(3.0))
