"""All that a study says: each metric's evidence, the claims judged by it, every effect, and why a cell disappoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from promax import metrics
from promax.audit.finding import Report
from promax.compare import TITLES
from promax.config import ConfigError
from promax.confirm.claims import Contrast, Judgement, factorial, judge, relative
from promax.confirm.diagnosis import Cause, diagnose
from promax.confirm.effects import Effect, Evidence, effect, gather
from promax.confirm.study import Judged, Scored, Study
from promax.metrics import Interval, UndefinedMetric


@dataclass(frozen=True)
class Measured:
    """One effect in one metric on one side; `relative` is its share of the contrast's reference, where there is one."""

    side: Judged
    metric: str
    contrast: Contrast
    effect: Effect
    relative: tuple[float, Interval] | None


@dataclass(frozen=True)
class Findings:
    """What a verdict's tables, figures and sentences are made from.

    `evidence` is by side and metric; `absent` says why a metric has no value on a side. `causes` is empty where no
    cell is below the baseline and no claim refuted.
    """

    study: Study
    evidence: dict[tuple[Judged, str], Evidence]
    absent: dict[tuple[Judged, str], str]
    judgements: list[Judgement]
    effects: list[Measured]
    causes: list[Cause]

    def of(self, side: Judged, metric: str) -> list[Measured]:
        return [each for each in self.effects if (each.side, each.metric) == (side, metric)]

    @property
    def deciding(self) -> Evidence:
        """In the rule's metric, on test."""
        return self.evidence["test", self.study.rule.metric]


def find(study: Study, audits: Mapping[str, Report | None]) -> Findings:
    """Measure and judge a study. `audits` is what the audit of train and test said, by variant, where it is recorded.

    Raises:
        ConfigError: the study lacks a setting that a claim is about, or the rule's metric has no value on test.
    """
    evidence, absent = _gathered(study)
    deciding = ("test", study.rule.metric)
    if deciding in absent:
        raise ConfigError(
            f"study {study.name}: its rule is about {TITLES[study.rule.metric]}, which has no value on test: "
            f"{absent['test', study.rule.metric]}"
        )
    judgements = judge(study, evidence["test", study.rule.metric])
    effects = [
        Measured(
            side,
            metric,
            contrast,
            effect(found, contrast.weights, study.rule.confidence),
            relative(found, contrast, study.rule),
        )
        for (side, metric), found in evidence.items()
        for contrast in factorial(study.rule, study.settings)
    ]
    return Findings(study, evidence, absent, judgements, effects, diagnose(study, evidence, judgements, audits))


def _gathered(study: Study) -> tuple[dict[tuple[Judged, str], Evidence], dict[tuple[Judged, str], str]]:
    evidence: dict[tuple[Judged, str], Evidence] = {}
    absent: dict[tuple[Judged, str], str] = {}
    for side, scored in study.sides.items():
        for metric in TITLES:
            try:
                evidence[side, metric] = _evidence(metric, scored)
            except UndefinedMetric as reason:
                absent[side, metric] = str(reason)
    return evidence, absent


def _evidence(metric: str, scored: Scored) -> Evidence:
    if metric == "spearman":
        return gather(metrics.spearman, scored.cells, scored.baseline, scored.label, scored.units)
    if scored.positive is None:
        raise UndefinedMetric("graded labels; data.positive_from says which make a pair positive")
    classes = metrics.roc_auc if metric == "roc_auc" else metrics.pr_auc
    return gather(classes, scored.cells, scored.baseline, scored.positive, scored.units)
