"""Tiers: with the original project's figures, whose places are known."""

from __future__ import annotations

import pytest

from promax.config import TierConfig, TiersConfig
from promax.tiers import Standing, standing

TIERS = TiersConfig(
    minimum=TierConfig(spearman=0.55, gain=0.09),
    good=TierConfig(spearman=0.58, gain=0.15),
    excellent=TierConfig(spearman=0.60, gain=0.19),
    production=TierConfig(spearman=0.80, roc_auc=0.95, adversarial=True),
)


def place(spearman: float | None, roc_auc: float | None = None, adversarial: str | None = None) -> Standing:
    return standing(TIERS, spearman=spearman, roc_auc=roc_auc, baseline_spearman=0.504, adversarial=adversarial)


@pytest.mark.parametrize(
    ("spearman", "absolute", "relative"),
    [
        (0.483, None, None),  # its best fine-tuned model
        (0.504, None, None),  # its baseline
        (0.55, "minimum", "minimum"),
        (0.5799, "minimum", "good"),  # 15.06 % above the baseline
        (0.58, "good", "good"),
        (0.60, "excellent", "excellent"),
        (None, None, None),
    ],
)
def test_absolute_and_relative_tiers(spearman: float | None, absolute: str | None, relative: str | None) -> None:
    assert place(spearman) == Standing(absolute, relative, None)


def test_production_needs_every_piece_of_evidence() -> None:
    assert place(0.82, 0.97, adversarial="passed") == Standing("production", "excellent", None)
    assert place(0.82, 0.94, adversarial="passed") == Standing("excellent", "excellent", None)


@pytest.mark.parametrize("status", ["failed", "not run", "not valid"])
def test_production_is_withheld_from_what_did_not_pass_the_diagnostic(status: str) -> None:
    found = place(0.82, 0.97, adversarial=status)
    assert found == Standing("excellent", "excellent", f"production: adversarial diagnostic {status}")


def test_a_run_without_a_diagnostic_counts_as_not_run() -> None:
    assert place(0.82, 0.97).withheld == "production: adversarial diagnostic not run"


def test_no_relative_gain_over_a_baseline_at_or_below_zero() -> None:
    found = standing(TIERS, spearman=0.6, roc_auc=None, baseline_spearman=-0.1, adversarial=None)
    assert found == Standing("excellent", None, None)


def test_a_tier_without_bounds_is_never_reached() -> None:
    found = standing(TiersConfig(), spearman=1.0, roc_auc=1.0, baseline_spearman=0.1, adversarial="passed")
    assert found == Standing(None, None, None)
