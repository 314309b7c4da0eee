"""Correlations against scipy, and the identities that tie them to ROC-AUC and to their ceiling."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from promax.metrics import UndefinedMetric, pearson, roc_auc, spearman, spearman_ceiling, spearman_from_auc

# Few distinct values, so that ties are common.
tied_rows = st.lists(
    st.tuples(st.integers(-4, 4), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 3)), min_size=2, max_size=30
)


@settings(deadline=None, derandomize=True)
@given(tied_rows)
def test_a_weight_of_k_is_the_row_repeated_k_times(rows: list[tuple[int, float, int]]) -> None:
    scores, labels, weights = np.array(rows, dtype=np.float64).T
    # Not linear in the rank, so that the two correlations differ.
    scores = np.sign(scores) * scores**2 / 7
    times = weights.astype(int)
    repeated, repeated_labels = np.repeat(scores, times), np.repeat(labels, times)
    assume(len(set(repeated)) > 1 and len(set(repeated_labels)) > 1)
    # Oracle: scipy on the repeated rows.
    expected = scipy.stats.spearmanr(repeated, repeated_labels).statistic
    assert spearman(scores, labels, weights) == pytest.approx(expected, abs=1e-12)
    expected = scipy.stats.pearsonr(repeated, repeated_labels).statistic
    assert pearson(scores, labels, weights) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), min_size=3, max_size=30))
def test_unweighted_values_are_scipys(rows: list[tuple[float, float]]) -> None:
    scores, labels = np.array(rows).T
    assume(len(set(scores)) > 1 and len(set(labels)) > 1)
    assert spearman(scores, labels) == pytest.approx(scipy.stats.spearmanr(scores, labels).statistic, abs=1e-12)
    # scipy itself warns where the spread is within rounding of the mean; its value is no oracle there.
    assume(np.ptp(scores) > 1e-3 and np.ptp(labels) > 1e-3)
    assert pearson(scores, labels) == pytest.approx(scipy.stats.pearsonr(scores, labels).statistic, abs=1e-9)


def test_by_hand() -> None:
    # Ranks 1, 2, 3 against mid-ranks 1.5, 1.5, 3: covariance 3/2, squares 2 and 3/2, so 1.5 / sqrt(3).
    assert spearman(np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.0, 1.0])) == pytest.approx(1.5 / math.sqrt(3))
    # Deviations -2, -1, 3 against -1/2, 0, 1/2: covariance 5/2, squares 14 and 1/2, so 2.5 / sqrt(7).
    assert pearson(np.array([0.0, 1.0, 5.0]), np.array([0.0, 0.5, 1.0])) == pytest.approx(2.5 / math.sqrt(7))


def test_pearson_sees_differences_near_rounding() -> None:
    # The same three steps on a pedestal: exact in binary, and 2^-40 apart.
    steps = np.array([0.0, 1.0, 3.0])
    labels = np.array([0.0, 1.0, 0.5])
    assert pearson(0.5 + steps * 2.0**-40, labels) == pytest.approx(pearson(steps, labels), abs=1e-12)


def test_a_perfect_ordering_gives_one_and_its_reverse_minus_one() -> None:
    ordered = np.linspace(0, 1, 11)
    assert spearman(ordered**3, ordered) == pytest.approx(1)
    assert spearman(-(ordered**3), ordered) == pytest.approx(-1)


@settings(deadline=None, derandomize=True)
@given(st.integers(2, 60), st.data())
def test_spearman_on_two_classes_is_the_roc_auc(n: int, data: st.DataObject) -> None:
    n_positive = data.draw(st.integers(1, n - 1))
    scores = np.array(data.draw(st.permutations(range(n))), dtype=np.float64)
    positive = np.arange(n) < n_positive
    # FACTS 3's identity, for scores without ties.
    from_auc = spearman_from_auc(roc_auc(scores, positive), n_positive, n)
    assert spearman(scores, positive.astype(np.float64)) == pytest.approx(from_auc, abs=1e-12)


def test_the_published_baseline_is_one_number() -> None:
    # FACTS 1 and 3: 500 of 1,000 pairs positive, ROC-AUC 0.791 published beside Spearman 0.504.
    assert spearman_from_auc(0.791, 500, 1000) == pytest.approx(0.504, abs=5e-4)
    # FACTS 3: rho 0.80 demands an AUC of 0.962.
    assert spearman_from_auc(0.962, 500, 1000) == pytest.approx(0.80, abs=5e-4)
    assert spearman_from_auc(0.5, 300, 1000) == 0


def test_the_identity_refuses_what_has_no_auc() -> None:
    with pytest.raises(UndefinedMetric, match=r"^one class only: 0 of 20 pairs are positive$"):
        spearman_from_auc(0.5, 0, 20)
    with pytest.raises(UndefinedMetric, match=r"^one class only: 20 of 20 pairs are positive$"):
        spearman_from_auc(0.5, 20, 20)
    for auc in (1.1, -0.1, math.nan):
        with pytest.raises(ValueError, match=rf"^auc={auc}: must be in 0..1$"):
            spearman_from_auc(auc, 10, 20)


@pytest.mark.parametrize(
    "labels", [[0, 1], [0, 0, 1, 1], [0, 1, 1, 1, 1], [0, 0.5, 0.5, 1, 1, 1], [0, 0.2, 0.4, 0.9], [1, 0, 0.5, 0, 1, 0]]
)
def test_the_ceiling_is_the_best_of_all_orderings(labels: list[float]) -> None:
    # Oracle: scipy on every ordering of n different scores.
    best = max(scipy.stats.spearmanr(order, labels).statistic for order in itertools.permutations(range(len(labels))))
    assert spearman_ceiling(np.array(labels, dtype=np.float64)) == pytest.approx(best, abs=1e-12)


def test_the_ceiling_of_balanced_classes() -> None:
    balanced = np.tile([0.0, 1.0], 500)
    # FACTS 3: sqrt(3) / 2, and the identity at an AUC of 1.
    assert spearman_ceiling(balanced) == pytest.approx(math.sqrt(3) / 2, abs=1e-6)
    assert spearman_ceiling(balanced) == pytest.approx(spearman_from_auc(1.0, 500, 1000), abs=1e-12)
    assert spearman_ceiling(np.linspace(0, 1, 50)) == 1


def test_the_ceiling_survives_millions_of_pairs() -> None:
    # (2.2e6)^3 does not fit in 64 bits. Oracle: the identity at an AUC of 1.
    labels = np.repeat([0.0, 1.0], [2_200_000, 800_000])
    assert spearman_ceiling(labels) == pytest.approx(spearman_from_auc(1.0, 800_000, 3_000_000), abs=1e-9)


@pytest.mark.parametrize(("labels", "values"), [([], 0), ([0.5], 1), ([0.5, 0.5, 0.5], 1)])
def test_the_ceiling_of_constant_labels_is_undefined(labels: list[float], values: int) -> None:
    text = f"constant labels: {len(labels)} pairs with {values} different value(s), at least 2 are needed"
    with pytest.raises(UndefinedMetric) as caught:
        spearman_ceiling(np.array(labels))
    assert str(caught.value) == text
