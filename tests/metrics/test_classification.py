"""Two-class metrics against scikit-learn, brute force and cases counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from promax.metrics import (
    UndefinedMetric,
    best_threshold,
    f1_at,
    overlap,
    pr_auc,
    roc_auc,
    separability,
)

# Nine distinct scores, so that ties within and between the classes are common.
tied_rows = st.lists(st.tuples(st.integers(-4, 4), st.booleans(), st.integers(0, 3)), min_size=2, max_size=40)


@settings(deadline=None, derandomize=True)
@given(tied_rows)
def test_a_weight_of_k_is_the_row_repeated_k_times(rows: list[tuple[int, bool, int]]) -> None:
    scores, positive = np.array([row[0] / 7 for row in rows]), np.array([row[1] for row in rows])
    weights = np.array([row[2] for row in rows], dtype=np.float64)
    repeated, classes = np.repeat(scores, weights.astype(int)), np.repeat(positive, weights.astype(int))
    assume(0 < classes.sum() < len(classes))
    # Oracle: scikit-learn on the repeated rows.
    assert roc_auc(scores, positive, weights) == pytest.approx(sklearn.metrics.roc_auc_score(classes, repeated))
    expected = sklearn.metrics.average_precision_score(classes, repeated)
    assert pr_auc(scores, positive, weights) == pytest.approx(expected)
    assert f1_at(scores, positive, 0.0, weights) == pytest.approx(sklearn.metrics.f1_score(classes, repeated >= 0))
    expected = repeated[classes].mean() - repeated[~classes].mean()
    assert separability(scores, positive, weights) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans(), st.floats(0.1, 9)), min_size=2, max_size=40))
def test_weights_need_not_be_whole(rows: list[tuple[int, bool, float]]) -> None:
    scores, positive = np.array([row[0] / 7 for row in rows]), np.array([row[1] for row in rows])
    weights = np.array([row[2] for row in rows])
    assume(0 < positive.sum() < len(positive))
    # Oracle: scikit-learn's sample_weight.
    expected = sklearn.metrics.roc_auc_score(positive, scores, sample_weight=weights)
    assert roc_auc(scores, positive, weights) == pytest.approx(expected)
    expected = sklearn.metrics.average_precision_score(positive, scores, sample_weight=weights)
    assert pr_auc(scores, positive, weights) == pytest.approx(expected)
    expected = sklearn.metrics.f1_score(positive, scores >= 0, sample_weight=weights)
    assert f1_at(scores, positive, 0.0, weights) == pytest.approx(expected)


def test_roc_auc_by_hand() -> None:
    # Positives .9 and .4 against negatives .4 and .1: wins 2 + 1, one tie, of 4 comparisons.
    assert roc_auc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])) == 3.5 / 4
    apart = np.array([0.9, 0.8, 0.2, 0.1, 0.0])
    assert roc_auc(apart, apart > 0.5) == 1
    assert roc_auc(-apart, apart > 0.5) == 0


def test_pr_auc_by_hand() -> None:
    # Down the list T F T F: precision 1 at the first positive, 2/3 at the second, each half of the recall.
    positive = np.array([True, False, True, False])
    assert pr_auc(np.array([0.9, 0.8, 0.7, 0.6]), positive) == pytest.approx((1 + 2 / 3) / 2)
    # All of the top three tied: one step to full recall at precision 2/3, in whatever order they stand.
    assert pr_auc(np.array([0.9, 0.9, 0.9, 0.6]), positive) == pytest.approx(2 / 3)


def test_separability_and_overlap_by_hand() -> None:
    scores = np.array([0.9, 0.5, 0.2, 0.6, 0.1])
    positive = np.array([True, True, True, False, False])
    assert separability(scores, positive) == pytest.approx(1.6 / 3 - 0.7 / 2)
    # Of .9, .5 and .2 the last two lie between .1 and .6.
    assert overlap(scores, positive) == pytest.approx(2 / 3)
    # FACTS 7: strictly between, so positives on the highest and on the lowest negative are outside.
    on_the_ends = np.array([0.6, 0.1, 0.5, 0.4, 0.6, 0.1])
    assert overlap(on_the_ends, np.arange(6) < 4) == 0.5
    assert overlap(np.array([0.9, 0.8, 0.6, 0.1]), np.array([True, True, False, False])) == 0
    # One negative has no inside, wherever the positives are.
    assert overlap(np.array([0.9, 0.1, 0.5]), np.array([True, True, False])) == 0


def test_f1_by_hand() -> None:
    scores, positive = np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, False, True, False])
    # At .6 the rule claims .9 (right) and .6 (wrong) and misses .4: 2 / (2 + 1 + 1).
    assert f1_at(scores, positive, 0.6) == 0.5
    # Just above .6 it claims .9 alone: 2 / (2 + 0 + 1).
    assert f1_at(scores, positive, np.nextafter(0.6, 1)) == pytest.approx(2 / 3)
    assert f1_at(scores, positive, -math.inf) == pytest.approx(2 / 3)
    assert f1_at(scores, positive, 0.95) == 0
    assert f1_at(scores, positive, math.inf) == 0


def test_f1_refuses_what_has_no_answer() -> None:
    scores = np.array([0.9, 0.1])
    with pytest.raises(ValueError, match=r"^threshold=nan: must be a number$"):
        f1_at(scores, np.array([True, False]), math.nan)
    with pytest.raises(UndefinedMetric, match=r"^one class only: 2 of 2 pairs are positive$"):
        f1_at(scores, np.array([True, True]), 0.5)
    with pytest.raises(ValueError, match=r"^1 of 2 scores are not finite$"):
        f1_at(np.array([0.1, np.nan]), np.array([True, False]), 0.5)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(-6, 6), st.booleans()), min_size=2, max_size=30))
def test_the_best_threshold_is_the_highest_of_the_best(rows: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([row[0] / 7 for row in rows]), np.array([row[1] for row in rows])
    assume(0 < positive.sum() < len(positive))
    # Oracle: scikit-learn's F1 at every score; no other threshold splits the pairs in another way.
    reached = {float(score): sklearn.metrics.f1_score(positive, scores >= score) for score in scores}
    best = max(reached.values())
    expected = max(score for score, f1 in reached.items() if f1 >= best - 1e-12)
    assert best_threshold(scores, positive) == expected
    assert f1_at(scores, positive, expected) == pytest.approx(best)


def test_the_best_threshold_of_tied_rules_is_the_highest() -> None:
    # Down the list T F F T: at .9 one right, none wrong, one missed, 2/3; at .1 two right, two wrong, 4/6.
    scores, positive = np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, False, False, True])
    assert f1_at(scores, positive, 0.9) == f1_at(scores, positive, 0.1) == pytest.approx(2 / 3)
    assert best_threshold(scores, positive) == 0.9


@pytest.mark.parametrize("function", [best_threshold, overlap])
def test_functions_of_scores_and_classes_refuse_like_the_metrics(function: object) -> None:
    assert callable(function)
    with pytest.raises(UndefinedMetric, match=r"^one class only: 0 of 2 pairs are positive$"):
        function(np.array([0.1, 0.2]), np.array([False, False]))
    with pytest.raises(UndefinedMetric, match=r"^too few pairs: 1, at least 2 are needed$"):
        function(np.array([0.1]), np.array([True]))
    with pytest.raises(ValueError, match=r"^2 of 2 scores are not finite$"):
        function(np.array([np.nan, np.inf]), np.array([False, True]))
    with pytest.raises(ValueError, match=r"^positive of dtype float64: must be bool$"):
        function(np.array([0.1, 0.2]), np.array([0.0, 1.0]))
