"""Claims judged: each is a contrast of the study's cells, and Holm's procedure decides over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promax.config import ClaimConfig, ConfigError, RuleConfig, SettingConfig
from promax.confirm.effects import Effect, Evidence, effect, holm, ratio
from promax.confirm.study import Study, label
from promax.metrics import Interval, UndefinedMetric

Verdict = Literal["CONFIRMED", "REFUTED", "UNDECIDED"]
Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Contrast:
    """What is measured of a study: weights (K+1,) of its cells and, last, the baseline; and relative to which mean.

    Without `reference` the effect is one in the metric's own units.
    """

    name: str
    weights: Weights
    reference: Weights | None


@dataclass(frozen=True)
class Judgement:
    """One claim and what became of it.

    Attributes:
        claim: as it stands in the rule.
        measured: the effect in the metric's own units, with its interval; for a claim of the optimum, the distance
            from the best other setting.
        relative: the same as a share of the reference, with its interval; None for a claim of a level, and
            where the reference is not clear of 0.
        tested: the effect less what was claimed: CONFIRMED above 0, REFUTED below.
        p: two-sided, of `tested` against 0, adjusted by Holm over all claims of the rule.
        verdict: by the rule.
        why: what an undecided claim lacks, else empty.
    """

    claim: ClaimConfig
    measured: Effect
    relative: tuple[float, Interval] | None
    tested: Effect
    p: float
    verdict: Verdict
    why: str


def judge(study: Study, evidence: Evidence) -> list[Judgement]:
    """The verdict on each claim of the study's rule, from the evidence in the rule's metric.

    A claim holds if its effect is at least what was claimed. It is CONFIRMED or REFUTED where the interval of the
    effect less what was claimed lies on one side of 0, at a level that Holm's procedure (1979) widens for all
    claims together; so with no true effect at most a share 1 - confidence of studies confirms anything.

    Raises:
        ConfigError: the study lacks a setting that a claim is about.
    """
    rule, settings = study.rule, study.settings
    found = [_closest(evidence, rule, [_tested(each, claim) for each in contrasts(claim, rule, settings)])
             for claim in rule.claims]
    adjusted = holm([p for _, p in found])
    judged = []
    for claim, (position, _), p in zip(rule.claims, found, adjusted.tolist(), strict=True):
        contrast = contrasts(claim, rule, settings)[position]
        tested = _effect_of(evidence, _tested(contrast, claim), claim, rule)
        measured = effect(evidence, contrast.weights, rule.confidence)
        verdict, why = _verdict(tested, p, rule, len(study.seeds))
        judged.append(Judgement(claim, measured, _relative(evidence, contrast, rule), tested, p, verdict, why))
    return judged
