"""Why a setting disappoints: which of the known causes the record supports, each with its figures and its bound.

A cause that is supported is one that the record is in keeping with. It is no proof: that takes a study of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from promax.audit.finding import Report
from promax.audit.similarity import EASIER_WARNING
from promax.confirm import wording
from promax.confirm.claims import Judgement
from promax.confirm.effects import Evidence, effect
from promax.confirm.settings import label, variant
from promax.confirm.study import Judged, Member, Study
from promax.metrics import Interval

Standing = Literal["supported", "not supported", "no evidence in the record"]

NO_COURSE = "dev has no value after some epoch, no course"


@dataclass(frozen=True)
class Cause:
    """One known cause: whether the record supports it, its figures, the bound from which they would, their source."""

    name: str
    standing: Standing
    figures: list[str]
    bound: str
    source: str


def diagnose(
    study: Study,
    evidence: Mapping[tuple[Judged, str], Evidence],
    judgements: Sequence[Judgement],
    audits: Mapping[str, Report | None],
) -> list[Cause]:
    """Every known cause, looked for in the settings below the baseline, on test or in another domain.

    None where nothing disappoints. Where no setting is below the baseline but a claim is refuted, it is
    looked for in the setting after the change.
    """
    means = [each.means for (side, metric), each in evidence.items() if metric == study.rule.metric]
    below = [at for at in range(len(study.settings)) if any(each[at] < each[-1] for each in means)]
    if not below and not any(each.verdict == "REFUTED" for each in judgements):
        return []
    asked = below or [at for at, setting in enumerate(study.settings) if setting == study.rule.after]
    return [
        easier_train({name: audits.get(name) for name in dict.fromkeys(variant(study.settings[at]) for at in asked)}),
        overfitting(study, asked),
        under_training(study, asked),
        drift(study, evidence, asked),
        rate_on_boundary(study),
    ]


def easier_train(audits: Mapping[str, Report | None]) -> Cause:
    """Pairs that the un-tuned encoder tells apart teach little of what test asks. `audits` are those by variant."""
    name, source = "train easier than test", "the audit of the runs' pairs, audit/report.json"
    bound = f"99 % interval of train less test from {EASIER_WARNING:g} up"
    figures, severities = [], set()
    for of, audit in audits.items():
        found = [each for each in audit.findings if each.check == name] if audit is not None else []
        severities.add(found[0].severity if found else "unchecked")
        text = found[0].text if found else "the runs logged no audit"
        figures.append(f"{of}: {text}" if of else text)
    if severities <= {"unchecked"}:
        return Cause(name, "no evidence in the record", figures, bound, source)
    supported = bool(severities & {"error", "warning"})
    return Cause(name, "supported" if supported else "not supported", figures, bound, source)


def overfitting(study: Study, asked: Sequence[int]) -> Cause:
    """Dev peaks before the last epoch and then falls: later epochs fit the training pairs alone."""
    told, supported = [], False
    for at in asked:
        if _has_gaps(study.members[at]):
            told.append(f"{label(study.settings[at])}: {NO_COURSE}")
            continue
        curves = _curves(study.members[at])
        peak = int(curves.mean(axis=0).argmax())
        fall = _mean(curves[:, peak] - curves[:, -1], study.rule.confidence)
        supported |= peak + 1 < curves.shape[1] and fall.low > 0
        best = np.mean([np.argmax(member.dev) + 1 for member in study.members[at]])
        falls = f", from epoch {peak + 1} to the last it falls by {wording.value(_middle(fall), fall)}"
        last = "" if peak + 1 == curves.shape[1] else falls
        lengths = sorted({len(member.dev) for member in study.members[at]})
        of = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else f"{lengths[0]}"
        told.append(f"{label(study.settings[at])}: best epoch {best:.1f} of {of} on average{last}")
    kept = "each run kept its best epoch" if study.config.optim.keep == "best" else "each run kept its last epoch"
    return Cause(
        "overfitting",
        "supported" if supported else "not supported",
        [*told, kept],
        "the fall's interval over seeds lies above 0",
        _curve_source(study),
    )


def under_training(study: Study, asked: Sequence[int]) -> Cause:
    """Dev still rises at the last epoch: training stopped before it had an effect."""
    told, supported = [], False
    for at in asked:
        if _has_gaps(study.members[at]):
            told.append(f"{label(study.settings[at])}: {NO_COURSE}")
            continue
        curves = _curves(study.members[at])
        if curves.shape[1] < 2:
            told.append(f"{label(study.settings[at])}: one epoch, no course")
            continue
        rise = _mean(curves[:, -1] - curves[:, -2], study.rule.confidence)
        last = int(curves.mean(axis=0).argmax()) + 1 == curves.shape[1]
        supported |= last and rise.low > 0
        where = "the last epoch is the best" if last else "the last epoch isn't the best"
        told.append(f"{label(study.settings[at])}: {where}, its step is {wording.difference(_middle(rise), rise)}")
    return Cause(
        "under-training",
        "supported" if supported else "not supported",
        told,
        "the last epoch is the best and its step's interval over seeds lies above 0",
        _curve_source(study),
    )


def drift(study: Study, evidence: Mapping[tuple[Judged, str], Evidence], asked: Sequence[int]) -> Cause:
    """What was learned at home costs elsewhere: out-of-domain pairs fall below the baseline where test does not."""
    name, metric = "drift from the base on pairs of another domain", study.rule.metric
    bound, source = "transfer's interval lies below 0 and test's does not", "scores/transfer.csv and scores/test.csv"
    if ("transfer", metric) not in evidence:
        why = "no pairs of another domain were scored; data.transfer=FILE names some"
        return Cause(name, "no evidence in the record", [why], bound, source)
    told, supported = [], False
    units = np.eye(len(study.settings) + 1)
    for at in asked:
        home, away = (
            effect(evidence[side, metric], units[at] - units[-1], study.rule.confidence).interval
            for side in ("test", "transfer")
        )
        supported |= away.high < 0 <= home.high
        on_test, on_transfer = (wording.difference(_middle(each), each) for each in (home, away))
        told.append(f"{label(study.settings[at])}: test {on_test}, transfer {on_transfer}")
    return Cause(name, "supported" if supported else "not supported", told, bound, source)


def rate_on_boundary(study: Study) -> Cause:
    """The best learning rate is the lowest or highest tried, and its neighbour is worse: the best may lie beyond.

    Looked for among the settings that are after the change in all but learning rate and epochs.
    """
    name, bound = "learning rate on the boundary", "the best rate is at an end and its neighbour's dev clearly lower"
    alike = [setting for setting in study.settings if setting.also == study.rule.after.also]
    rates = sorted({setting.lr for setting in alike})
    if len(rates) < 2:
        why = f"one learning rate was tried, {rates[0]:g}"
        return Cause(name, "no evidence in the record", [why], bound, _curve_source(study))
    kept = {
        setting: np.array([_kept(member, study) for member in runs])
        for setting, runs in zip(study.settings, study.members, strict=True)
        if setting in alike
    }
    if np.isnan(list(kept.values())).any():
        why = "dev has no value after the last epoch of some run"
        return Cause(name, "no evidence in the record", [why], bound, _curve_source(study))
    best = max(kept, key=lambda setting: float(kept[setting].mean()))
    at = rates.index(best.lr)
    inward = rates[1] if at == 0 else rates[at - 1]
    beside = max((each for each in kept if each.lr == inward), key=lambda setting: float(kept[setting].mean()))
    gap = _mean(kept[best] - kept[beside], study.rule.confidence)
    ends = at in (0, len(rates) - 1)
    where = f"at the {'lower' if at == 0 else 'upper'} end of" if ends else "within"
    tried = ", ".join(f"{rate:g}" for rate in rates)
    ahead = f"it is ahead of {label(beside)} by {wording.value(_middle(gap), gap)}"
    figures = f"best on dev is {label(best)}, {where} {tried}; {ahead}"
    return Cause(name, "supported" if ends and gap.low > 0 else "not supported", [figures], bound, _curve_source(study))


def _has_gaps(members: Sequence[Member]) -> bool:
    return any(math.isnan(value) for member in members for value in member.dev)


def _curves(members: Sequence[Member]) -> NDArray[np.float64]:
    """Dev (seeds, epochs), cut to the shortest where some runs stopped early."""
    shortest = min(len(member.dev) for member in members)
    return np.array([member.dev[:shortest] for member in members])


def _kept(member: Member, study: Study) -> float:
    return float(np.nanmax(member.dev)) if study.config.optim.keep == "best" else member.dev[-1]


def _mean(values: NDArray[np.float64], confidence: float) -> Interval:
    """The t interval of the mean over seeds."""
    margin = float(values.std(ddof=1)) / math.sqrt(len(values)) * float(stdtrit(len(values) - 1, (1 + confidence) / 2))
    return Interval(float(values.mean()) - margin, float(values.mean()) + margin, confidence)


def _middle(interval: Interval) -> float:
    return (interval.low + interval.high) / 2


def _curve_source(study: Study) -> str:
    return f"dev/{study.config.optim.select_by} after each epoch"
