"""What holds for every metric: what is refused, what is undefined, and that no value is ever NaN."""

from __future__ import annotations

import ast
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promax.metrics
from promax.metrics import Metric, UndefinedMetric, f1_at, overlap, pearson, pr_auc, roc_auc, separability, spearman

GRADED: list[Metric[Any]] = [spearman, pearson]
TWO_CLASS: list[Metric[Any]] = [roc_auc, pr_auc, separability]
SCORES = np.array([0.9, 0.4, 0.7, 0.1])
LABELS = np.array([1.0, 0.0, 0.5, 0.0])
POSITIVE = np.array([True, False, True, False])


def target_of(metric: Metric[Any]) -> np.ndarray:
    return LABELS if metric in GRADED else POSITIVE


@pytest.mark.parametrize("metric", GRADED + TWO_CLASS, ids=lambda metric: metric.__name__)
def test_a_call_and_a_prepared_metric_give_the_same_bits(metric: Metric[Any]) -> None:
    weights = np.array([2.0, 0.0, 1.0, 3.0])
    statistic = metric.prepare(SCORES, target_of(metric))
    assert metric(SCORES, target_of(metric), weights) == statistic(weights)
    assert metric(SCORES, target_of(metric)) == statistic(np.ones(4))


@pytest.mark.parametrize("metric", GRADED + TWO_CLASS, ids=lambda metric: metric.__name__)
def test_the_weights_are_not_written_to(metric: Metric[Any]) -> None:
    weights = np.array([2.0, 1.0, 1.0, 3.0])
    weights.flags.writeable = False
    assert math.isfinite(metric(SCORES, target_of(metric), weights))


@pytest.mark.parametrize("metric", GRADED + TWO_CLASS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_a_bug_of_the_caller(metric: Metric[Any], bad: float) -> None:
    with pytest.raises(ValueError, match=r"^2 of 4 scores are not finite$") as caught:
        metric(np.array([0.1, bad, 0.2, bad]), target_of(metric))
    assert not isinstance(caught.value, UndefinedMetric)


@pytest.mark.parametrize("metric", GRADED, ids=lambda metric: metric.__name__)
def test_labels_that_are_not_finite_are_a_bug_of_the_caller(metric: Metric[Any]) -> None:
    with pytest.raises(ValueError, match=r"^1 of 4 labels are not finite$"):
        metric(SCORES, np.array([0.0, 1.0, np.nan, 1.0]))


@pytest.mark.parametrize("metric", GRADED + TWO_CLASS, ids=lambda metric: metric.__name__)
def test_shapes_that_differ_are_refused(metric: Metric[Any]) -> None:
    with pytest.raises(ValueError, match=r"^scores of shape \(4,\) and a target of shape \(3,\): both must be \(n,\)$"):
        metric(SCORES, target_of(metric)[:3])
    with pytest.raises(ValueError, match=r"both must be \(n,\)$"):
        metric(SCORES[:, None], target_of(metric)[:, None])


@pytest.mark.parametrize("metric", GRADED + TWO_CLASS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pairs_are_undefined(metric: Metric[Any], count: int) -> None:
    with pytest.raises(UndefinedMetric, match=rf"^too few pairs: {count}, at least 2 are needed$"):
        metric(SCORES[:count], target_of(metric)[:count])


@pytest.mark.parametrize("metric", TWO_CLASS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("positives", [0, 4])
def test_one_class_is_undefined(metric: Metric[Any], positives: int) -> None:
    with pytest.raises(UndefinedMetric, match=rf"^one class only: {positives} of 4 pairs are positive$"):
        metric(SCORES, np.arange(4) < positives)


@pytest.mark.parametrize("metric", TWO_CLASS, ids=lambda metric: metric.__name__)
def test_one_class_among_the_pairs_of_positive_weight_is_undefined(metric: Metric[Any]) -> None:
    with pytest.raises(UndefinedMetric, match=r"^one class only: 2 of 2 pairs are positive$"):
        metric(SCORES, POSITIVE, np.array([3.0, 0.0, 1.0, 0.0]))


@pytest.mark.parametrize("metric", TWO_CLASS, ids=lambda metric: metric.__name__)
def test_labels_in_place_of_classes_are_refused(metric: Metric[Any]) -> None:
    with pytest.raises(ValueError, match=r"^positive of dtype float64: must be bool$"):
        metric(SCORES, LABELS)


@pytest.mark.parametrize("metric", GRADED, ids=lambda metric: metric.__name__)
def test_constant_scores_or_labels_leave_a_correlation_undefined(metric: Metric[Any]) -> None:
    # 0.1 three times has a mean that differs from 0.1 in floating point, so its variance is not exactly 0.
    constant = np.full(3, 0.1)
    with pytest.raises(UndefinedMetric, match=r"^constant scores: a correlation needs two different values$"):
        metric(constant, LABELS[:3])
    with pytest.raises(UndefinedMetric, match=r"^constant labels: a correlation needs two different values$"):
        metric(SCORES[:3], constant)
    with pytest.raises(UndefinedMetric, match=r"^constant labels"):
        metric(SCORES, LABELS, np.array([0.0, 1.0, 0.0, 2.0]))
    with pytest.raises(UndefinedMetric, match=r"^no pairs: every weight is 0$"):
        metric(SCORES, LABELS, np.zeros(4))


def test_constant_scores_separate_nothing() -> None:
    constant, positive = np.full(8, 0.1), np.arange(8) < 3
    assert roc_auc(constant, positive) == 0.5
    assert pr_auc(constant, positive) == 3 / 8
    assert separability(constant, positive) == pytest.approx(0, abs=1e-15)
    assert overlap(constant, positive) == 0


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_weights_that_are_no_multiplicities_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"^1 of 4 weights are negative or not finite$"):
        spearman(SCORES, LABELS, np.array([1.0, bad, 1.0, 1.0]))


def test_weights_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^weights of shape \(3,\): must be \(4,\), one a row$"):
        roc_auc(SCORES, POSITIVE, np.ones(3))


# Tied, tiny, huge and nearly equal scores.
any_score = st.one_of(
    st.sampled_from([0.0, -0.0, 0.1, 0.5, np.nextafter(0.5, 1), 5e-324, 1e-200]),
    st.floats(-1e100, 1e100, allow_nan=False),
)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(any_score, st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 3)), max_size=12))
def test_a_value_is_finite_or_a_stated_absence(rows: list[tuple[float, float, int]]) -> None:
    scores, labels, weights = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    positive = labels >= 0.5
    values: dict[str, float] = {}
    for metric in GRADED + TWO_CLASS:
        try:
            values[metric.__name__] = metric(scores, labels if metric in GRADED else positive, weights)
        except UndefinedMetric as reason:
            assert str(reason)
    try:
        values["f1"] = f1_at(scores, positive, 0.1, weights)
        values["overlap"] = overlap(scores, positive)
    except UndefinedMetric as reason:
        assert str(reason)
    assert all(math.isfinite(value) for value in values.values()), values
    assert all(-1 <= values.get(name, 0) <= 1 for name in ("spearman", "pearson"))
    assert all(0 <= values.get(name, 0) <= 1 for name in ("pr_auc", "roc_auc", "f1", "overlap"))


def test_metrics_import_numpy_scipy_and_the_standard_library_alone() -> None:
    files = sorted(Path(promax.metrics.__file__).parent.glob("*.py"))
    assert len(files) == 6
    allowed = {"numpy", "scipy", *sys.stdlib_module_names}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [str(node.module)]
            for name in names:
                assert name.startswith("promax.metrics.") or name.split(".")[0] in allowed, f"{file.name}: {name}"
