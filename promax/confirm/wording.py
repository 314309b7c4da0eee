"""Figures and verdicts in words: what a claim says, what became of it, and how a number is written."""

from __future__ import annotations

import numpy as np

from promax.compare import TITLES
from promax.config import RuleConfig
from promax.confirm.claims import Judgement
from promax.confirm.claims import change as change_name
from promax.confirm.effects import Effect
from promax.confirm.settings import label
from promax.confirm.study import Study
from promax.metrics import Interval


def value(number: float, interval: Interval) -> str:
    """A metric and its interval.

    >>> value(0.68862, Interval(0.6311, 0.7399, 0.95))
    '0.6886 [0.6311, 0.7399]'
    """
    return f"{number:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def difference(number: float, interval: Interval) -> str:
    """A difference of metrics and its interval.

    >>> difference(0.0237, Interval(-0.0049, 0.0546, 0.95))
    '+0.0237 [-0.0049, +0.0546]'
    """
    return f"{number:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def percent(of: tuple[float, Interval] | None) -> str:
    """A share and its interval in percent; none where the reference isn't clear of 0.

    >>> percent((0.0042, Interval(0.001, 0.0074, 0.95)))
    '+0.42 % [+0.10, +0.74]'
    """
    if of is None:
        return "none"
    number, interval = of
    return f"{100 * number:+.2f} % [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"


def probability(p: float) -> str:
    """A p value.

    >>> probability(0.00004), probability(0.0312)
    ('< 0.001', '0.031')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def measured(judgement: Judgement) -> str:
    """What was measured of a claim, in the units in which it was claimed where there is such a figure."""
    effect = judgement.measured
    if judgement.claim.of == "level":
        return value(effect.estimate, effect.interval)
    return percent(judgement.relative) if judgement.relative else difference(effect.estimate, effect.interval)


def bound(judgement: Judgement, rule: RuleConfig) -> str:
    """From where on a claim holds."""
    least = judgement.claim.at_least
    if judgement.claim.of == "level":
        return f"{TITLES[rule.metric]} {least:g}"
    return "above 0" if least == 0 else f"{100 * least:+g} %"


def sentence(judgement: Judgement, study: Study) -> str:
    """One claim's verdict as a sentence without the name of the claim.

    What is said is true of the verdict and no more: a refuted "+2 %" gains less than 2 %, which may still be a gain.
    """
    holds, fails = _outcomes(judgement, study)
    figures = f"{_beside(judgement, study)}{measured(judgement)}"
    if judgement.verdict == "CONFIRMED":
        return f"{holds}: {figures}"
    if judgement.verdict == "REFUTED":
        return f"{fails}: {figures}{_and_yet(judgement)}"
    return f"open whether {holds}: {figures}; {lack(judgement, study)}"


def lack(judgement: Judgement, study: Study) -> str:
    """What an undecided claim lacks."""
    if len(study.seeds) < study.rule.seeds:
        return f"the study has {judgement.lacks}"
    return f"what would decide it: {judgement.lacks}"


def change(effect: Effect) -> str:
    """What an interval says of an effect's direction."""
    if effect.interval.low > 0:
        return "a gain"
    return "a loss" if effect.interval.high < 0 else "no change that this study can tell from none"


def _outcomes(judgement: Judgement, study: Study) -> tuple[str, str]:
    """What is true if the claim holds, and if it does not."""
    claim, rule = judgement.claim, study.rule
    after = f"the encoder trained with {label(rule.after)}"
    size = f"{100 * abs(claim.at_least):g} %"
    if claim.of == "level":
        level = f"{TITLES[rule.metric]} {claim.at_least:g}"
        return f"{after} reaches {level}", f"{after} stays below {level}"
    if claim.of in ("baseline", "optimum"):
        other = "the un-tuned one" if claim.of == "baseline" else _other(judgement, study)
        every = other if claim.of == "baseline" else "every other setting tried"
        if claim.at_least == 0:
            return f"{after} is better than {every}", f"{after} is worse than {other}"
        if claim.at_least > 0:
            return f"{after} is at least {size} better than {every}", f"{after} is not {size} better than {other}"
        return (
            f"{after} is no more than {size} worse than {every}",
            f"{after} is more than {size} worse than {other}",
        )
    changed = _changed(claim.of, rule)
    if claim.at_least == 0:
        return f"{changed} gains", f"{changed} loses"
    if claim.at_least > 0:
        return f"{changed} gains at least {size}", f"{changed} gains less than {size}"
    return f"{changed} loses no more than {size}", f"{changed} loses more than {size}"


def _changed(of: str, rule: RuleConfig) -> str:
    before, after = rule.before, rule.after
    assert before is not None, "the schema asks for it"
    if of == "lr":
        return f"the learning rate ({before.lr:g} to {after.lr:g})"
    if of == "epochs":
        return f"the number of epochs ({before.epochs} to {after.epochs})"
    if (before.lr, before.epochs) != (after.lr, after.epochs):
        return f"{change_name(rule)} ({label(before)} to {label(after)})"
    named = [key for key in rule.varied if before.also[key] != after.also[key]]
    was, now = (", ".join(setting.also[key] for key in named) for setting in (before, after))
    return f"the change of {' and '.join(named)} ({was} to {now})"


def _other(judgement: Judgement, study: Study) -> str:
    """The other setting that decided a claim of the optimum."""
    assert judgement.contrast.reference is not None
    return label(study.settings[int(np.argmax(judgement.contrast.reference))])


def _beside(judgement: Judgement, study: Study) -> str:
    """Where the sentence names no other setting, the one that the figures are about."""
    if judgement.claim.of != "optimum" or judgement.verdict == "REFUTED":
        return ""
    return f"least sure against {_other(judgement, study)}, "


def _and_yet(judgement: Judgement) -> str:
    """What a refuted claim of a gain leaves: the effect may have either sign."""
    if judgement.claim.of == "level" or judgement.claim.at_least <= 0:
        return ""
    effect = judgement.measured
    return f", {change(effect)}{' but less than claimed' if effect.interval.low > 0 else ''}"
