"""Claims judged: each is a contrast of the study's cells, and Holm's procedure decides over all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promax.config import ClaimConfig, ConfigError, RuleConfig, SettingConfig
from promax.confirm.effects import Effect, Evidence, effect, holm, ratio
from promax.confirm.settings import label
from promax.confirm.study import Study
from promax.metrics import Interval, UndefinedMetric

Verdict = Literal["CONFIRMED", "REFUTED", "UNDECIDED"]


@dataclass(frozen=True)
class Contrast:
    """What is measured of a study: weights (K+1,) of its cells and, last, the baseline; relative to which mean.

    Without `reference` (K+1,) the effect is one in the metric's own units.
    """

    name: str
    weights: NDArray[np.float64]
    reference: NDArray[np.float64] | None


@dataclass(frozen=True)
class Judgement:
    """One claim and what became of it.

    Attributes:
        claim: as it stands in the rule.
        contrast: what it is about; for a claim of the optimum, the other setting that decides it.
        measured: the effect in the metric's own units, with its interval.
        relative: the effect as a share of its reference, with its interval; None for a claim of a level, and
            where the reference is not clear of 0.
        tested: the effect less what was claimed: the claim holds above 0.
        p: two-sided, of `tested`, adjusted by Holm over all claims of the rule.
        verdict: by the rule.
        lacks: what would decide an undecided claim, else empty.
    """

    claim: ClaimConfig
    contrast: Contrast
    measured: Effect
    relative: tuple[float, Interval] | None
    tested: Effect
    p: float
    verdict: Verdict
    lacks: str


def judge(study: Study, evidence: Evidence) -> list[Judgement]:
    """The verdict on each claim of the study's rule, from the evidence in the rule's metric.

    A claim holds if its effect is at least what was claimed. It is CONFIRMED or REFUTED where the effect less what
    was claimed differs from 0 at a level that Holm's procedure (1979) widens for all claims together: with no
    true effect at most a share 1 - confidence of studies confirms anything.

    Raises:
        ConfigError: the study lacks a setting that a claim is about.
        UndefinedMetric: an effect has no value or no spread.
    """
    rule = study.rule
    found = [_decisive(evidence, claim, contrasts(claim, rule, study.settings), rule) for claim in rule.claims]
    adjusted = holm([p for _, _, p in found]).tolist()
    judged = []
    for claim, (contrast, tested, _), p in zip(rule.claims, found, adjusted, strict=True):
        verdict = _verdict(tested, p, rule, len(study.seeds))
        # By Holm, and where a claim is about several contrasts, it is asked for more than by itself.
        asked = 1 - (1 - rule.confidence) * min(1.0, tested.p / p) if p else rule.confidence
        lacks = _lacks(_tested(evidence, claim, contrast, rule, asked), study) if verdict == "UNDECIDED" else ""
        measured = effect(evidence, contrast.weights, rule.confidence)
        judged.append(
            Judgement(claim, contrast, measured, relative(evidence, contrast, rule), tested, p, verdict, lacks)
        )
    return judged


def contrasts(claim: ClaimConfig, rule: RuleConfig, settings: Sequence[SettingConfig]) -> list[Contrast]:
    """What a claim is about: one contrast, or for the optimum one with each other setting."""
    untuned = _baseline(settings)
    after = _cell(rule.after, settings, claim)
    if claim.of == "level":
        return [Contrast(label(rule.after), after, None)]
    if claim.of == "baseline":
        return [Contrast("after less baseline", after - untuned, untuned)]
    if claim.of == "optimum":
        others = [each for each in settings if each != rule.after]
        if not others:
            raise ConfigError(f"rule.claims: {claim.name!r} is about the optimum, and the study has one setting alone")
        return [
            Contrast(f"after less {label(each)}", after - (cell := _cell(each, settings, claim)), cell)
            for each in others
        ]
    assert rule.before is not None, "the schema asks for it"
    before = _cell(rule.before, settings, claim)
    if claim.of == "fix":
        return [Contrast("after less before", after - before, before)]
    crossed = [_cell(each, settings, claim) for each in _crossed(rule)]
    return [Contrast(claim.of, _main_effect(claim.of, [before, *crossed, after]), before)]


def factorial(rule: RuleConfig, settings: Sequence[SettingConfig]) -> list[Contrast]:
    """All that a study measures, claimed or not: main effects, interaction, the change, each cell less the baseline."""
    untuned = _baseline(settings)
    cells = [Contrast(label(each), _unit(at, settings) - untuned, untuned) for at, each in enumerate(settings)]
    if rule.before is None or not {rule.before, rule.after} <= set(settings):
        return cells
    before, after = (_unit(settings.index(each), settings) for each in (rule.before, rule.after))
    whole = Contrast(change(rule), after - before, before)
    four = {rule.before, *_crossed(rule), rule.after}
    if rule.before.also != rule.after.also or len(four) < 4 or not four <= set(settings):
        return [whole, *cells]
    rate, epochs = (_unit(settings.index(each), settings) for each in _crossed(rule))
    effects = [("learning rate", "lr"), ("epochs", "epochs")]
    return [
        *(Contrast(name, _main_effect(of, [before, rate, epochs, after]), before) for name, of in effects),
        Contrast("interaction", before - rate - epochs + after, before),
        whole,
        *cells,
    ]


def change(rule: RuleConfig) -> str:
    """What `after` less `before` is called: of learning rate and epochs alone, it is the fix of the first study."""
    assert rule.before is not None
    return "the fix" if rule.before.also == rule.after.also else "the change"


def relative(evidence: Evidence, contrast: Contrast, rule: RuleConfig) -> tuple[float, Interval] | None:
    """An effect as a share of its reference, with Fieller's interval; None where there is none to be had."""
    if contrast.reference is None:
        return None
    try:
        interval = ratio(evidence, contrast.weights, contrast.reference, rule.confidence)
    except UndefinedMetric:
        return None
    return float(contrast.weights @ evidence.means / (contrast.reference @ evidence.means)), interval


def _decisive(
    evidence: Evidence, claim: ClaimConfig, about: Sequence[Contrast], rule: RuleConfig
) -> tuple[Contrast, Effect, float]:
    """The contrast that decides a claim, its effect less what was claimed, and the p value of that.

    Of several, all must hold: the claim is as good as its weakest contrast (Berger 1982), and refuted by any one, for
    which Bonferroni pays.
    """
    tested = [_tested(evidence, claim, each, rule) for each in about]
    below = [(each.p, at) for at, each in enumerate(tested) if each.estimate < each.against]
    p, at = min(below) if below else max((each.p, at) for at, each in enumerate(tested))
    return about[at], tested[at], min(1.0, p * len(about)) if below else p


def _tested(
    evidence: Evidence, claim: ClaimConfig, contrast: Contrast, rule: RuleConfig, confidence: float | None = None
) -> Effect:
    asked = rule.confidence if confidence is None else confidence
    if contrast.reference is None:
        return effect(evidence, contrast.weights, asked, against=claim.at_least)
    return effect(evidence, contrast.weights - claim.at_least * contrast.reference, asked)


def _verdict(tested: Effect, p: float, rule: RuleConfig, seeds: int) -> Verdict:
    if seeds < rule.seeds or p > 1 - rule.confidence:
        return "UNDECIDED"
    return "CONFIRMED" if tested.estimate > tested.against else "REFUTED"


def _lacks(tested: Effect, study: Study) -> str:
    """How many seeds, or how many times the pairs, would decide it, if the estimate and the other claims' p held.

    `tested` is at the confidence that all claims together ask of this one.
    """
    seeds = len(study.seeds)
    if seeds < study.rule.seeds:
        return f"{seeds} of the {study.rule.seeds} seeds that the rule asks for"
    ways = []
    if tested.seeds_needed is not None:
        ways.append(f"{tested.seeds_needed} seeds")
    if tested.pairs_needed is not None:
        ways.append(f"{tested.pairs_needed:.1f} times the test pairs")
    return " or ".join(ways) or "more seeds and more pairs, both"


def _crossed(rule: RuleConfig) -> tuple[SettingConfig, SettingConfig]:
    """The two settings between `before` and `after`: only the rate changed, only the epochs changed."""
    assert rule.before is not None
    return (
        dataclasses.replace(rule.before, lr=rule.after.lr),
        dataclasses.replace(rule.before, epochs=rule.after.epochs),
    )


def _main_effect(of: str, cells: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Of before, only the rate, only the epochs, after: half the sum of what the factor does at either other value."""
    before, rate, epochs, after = cells
    sign = 1.0 if of == "lr" else -1.0
    return np.asarray((after - before + sign * (rate - epochs)) / 2)


def _cell(setting: SettingConfig, settings: Sequence[SettingConfig], claim: ClaimConfig) -> NDArray[np.float64]:
    if setting not in settings:
        has = "; ".join(label(each) for each in settings)
        raise ConfigError(
            f"rule.claims: {claim.name!r} is about {label(setting)}, of which no run is finished (there are {has})"
        )
    return _unit(settings.index(setting), settings)


def _baseline(settings: Sequence[SettingConfig]) -> NDArray[np.float64]:
    return _unit(len(settings), settings)


def _unit(at: int, settings: Sequence[SettingConfig]) -> NDArray[np.float64]:
    return np.asarray(np.eye(len(settings) + 1)[at])
