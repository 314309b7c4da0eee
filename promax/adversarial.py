"""Does an encoder lean on the category, or on shared words? It is judged where both of them mislead.

Hard positives are pairs that ground truth calls the same problem though their categories differ; hard negatives
are different problems within one category. Of these, the positives that share most words and the negatives that
share fewest are left out, until shared words tell nothing. Texts are read without their context, which names
the category.

Few and many shared words are no fixed numbers: how alike two texts are by TF-IDF depends on their length and on
the other texts, and the bounds that were published (0.15 to 0.30, 0.40 to 0.60) belong to their own data. Nor
may a gap lie between the two, or the selection would make the label a question of words again, only turned
round. So the bounds move inward from both ends in step, and stop as soon as words are no help.

An encoder that takes unlike words, or unlike categories, for a sign of sameness would do well here. It does badly on
test: a pass means something only together with the metrics of the test side.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promax import metrics
from promax.config import AdversarialConfig, EvalConfig
from promax.data.groups import resampling_units
from promax.data.pairs import Pairs, positives, text_key
from promax.data.template import without_context
from promax.evaluate import GRADED, NO_DEV, Embed, embed_pairs, resampled
from promax.lexical import tfidf_similarity
from promax.metrics import Batched, Interval, Statistic, UndefinedMetric

Status = Literal["passed", "failed", "not run", "not valid"]

LEAST = 50
"""Fewest pairs of either kind to judge by: a ROC-AUC of 0.70 from 50 of each is known to +-0.10 (Hanley & McNeil
1982, for independent pairs)."""

DEFINED = 0.95
"""The ROC-AUC from which a rule counts as what the labels were made by. Below 1, since the words or categories
that made them may have been cut or counted a little otherwise."""

NO_CATEGORIES = "the pairs have no categories"


@dataclass(frozen=True)
class Selection:
    """The hard pairs of a side, and how far rules without an encoder tell its labels.

    `rows` (m,) are the numbers of the chosen pairs, `positive` (m,) their classes, `overlap` (m,) their TF-IDF
    cosine: at most `highest` for a positive, at least `lowest` for a negative. `candidates` counts the
    positives across categories and the negatives within one, before words are looked at; `candidates_roc_auc` is
    TF-IDF's on these. `category_roc_auc` is that of the rule "same category" on all pairs that have categories; on the
    hard ones it is 0 by their definition. Both are None where there is one class only.
    """

    rows: NDArray[np.int64]
    positive: NDArray[np.bool_]
    overlap: NDArray[np.float64]
    highest: float
    lowest: float
    candidates: tuple[int, int]
    candidates_roc_auc: float | None
    category_roc_auc: float | None

    @property
    def chosen(self) -> tuple[int, int]:
        """How many of the chosen pairs are positive, and how many negative."""
        return _counts(self.positive)


@dataclass(frozen=True)
class Diagnosis:
    """What the diagnostic says of one encoder.

    `reasons` say why it is not passed. `metrics` holds `roc_auc` and `f1` of the encoder, `control_roc_auc` and
    `control_f1` of TF-IDF, and `over_control`, the encoder's ROC-AUC less TF-IDF's; `intervals` the same names, and
    `absent` says why one of them has no value or no interval. `scores` (m,) and `units` (m, 2) belong to the
    chosen pairs. Where no encoder was asked there are only the status, its reason and, if it came to one, the
    selection.
    """

    status: Status
    reasons: list[str]
    selection: Selection | None = None
    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    units: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def diagnose(
    embed: Embed, pairs: Pairs, dev: Pairs | None, cfg: EvalConfig, *, positive_from: float | None, seed: int
) -> Diagnosis:
    """Judge an encoder by the hard pairs among `pairs`, with TF-IDF beside it on the same ones.

    Each has the threshold of its F1 from `dev`, also without context: chosen on ordinary pairs, as it would be for
    use, and not on those it is judged by. F1 is that of as many positives as negatives, whatever their
    numbers here, since it would otherwise follow those. `seed` draws the resamples.

    It is PASSED if ROC-AUC and F1 reach the bounds of `cfg.adversarial` and the encoder's ROC-AUC is above TF-IDF's,
    the interval of their paired difference clear of zero; FAILED if one of these is not so; NOT RUN with fewer
    than 50 pairs of either kind, or with a value missing; NOT VALID where the category or the words are
    what the labels were made by, since an encoder that has learnt that rule passes too.
    """
    positive = positives(pairs.labels, positive_from)
    if positive is None:
        return Diagnosis("not run", [GRADED])
    if pairs.category1 is None or pairs.category2 is None:
        return Diagnosis("not run", [NO_CATEGORIES])
    selection = select(pairs, positive, cfg.adversarial.lexical_roc_auc)
    obstacle = _obstacle(selection, cfg.adversarial.lexical_roc_auc)
    if obstacle is not None:
        return Diagnosis(*obstacle, selection)
    judged = stripped(pairs.take(selection.rows))
    scores, units = embed_pairs(embed, judged)[1], resampling_units(judged.tickets(), selection.positive)
    statistics = _statistics(scores, selection)
    absent: dict[str, str] = {}
    try:
        thresholds = _thresholds(embed, dev, positive_from)
    except UndefinedMetric as reason:
        absent = dict.fromkeys(("f1", "control_f1"), str(reason))
    else:
        statistics["f1"] = _balanced_f1(scores, selection.positive, thresholds[0])
        statistics["control_f1"] = _balanced_f1(selection.overlap, selection.positive, thresholds[1])
    values, intervals, undefined = resampled(statistics, units, cfg, seed)
    absent |= undefined
    status, reasons = _verdict(values, intervals, absent, cfg.adversarial)
    return Diagnosis(status, reasons, selection, scores, units, values, intervals, absent)


def select(pairs: Pairs, positive: NDArray[np.bool_], lexical_roc_auc: float) -> Selection:
    """The hard pairs among `pairs`, whose TF-IDF reaches a ROC-AUC of at most `lexical_roc_auc`.

    Pairs without a category on both sides take no part. The overlap of words is that of TF-IDF fitted on all pairs.
    Positives lose those above a quantile of their own overlap, negatives those below the mirrored one of theirs: the
    hundredth that comes nearest to both ends and is enough. So the choice depends on no order of rows.
    """
    assert pairs.category1 is not None and pairs.category2 is not None, "a side without categories has no hard pairs"
    known = np.array([bool(a and b) for a, b in zip(pairs.category1, pairs.category2, strict=True)])
    same = np.array([text_key(a) == text_key(b) for a, b in zip(pairs.category1, pairs.category2, strict=True)])
    bare = stripped(pairs)
    overlap = tfidf_similarity(bare.text1, bare.text2)
    candidates = np.flatnonzero(known & (positive != same))
    highest, lowest = _bounds(overlap[candidates], positive[candidates], lexical_roc_auc)
    fits = np.where(positive, overlap <= highest, overlap >= lowest)
    rows = candidates[fits[candidates]]
    return Selection(
        rows=rows,
        positive=positive[rows],
        overlap=overlap[rows],
        highest=highest,
        lowest=lowest,
        candidates=_counts(positive[candidates]),
        candidates_roc_auc=_roc_auc(overlap[candidates], positive[candidates]),
        category_roc_auc=_roc_auc(same[known].astype(np.float64), positive[known]),
    )


def _bounds(overlap: NDArray[np.float64], positive: NDArray[np.bool_], at_most: float) -> tuple[float, float]:
    """The highest overlap of a positive, and the lowest of a negative, with which TF-IDF reaches `at_most` or less."""
    highest, lowest = 1.0, 0.0
    if _roc_auc(overlap, positive) is None:
        return highest, lowest
    for share in np.arange(100) / 100:
        highest = float(np.quantile(overlap[positive], 1 - share))
        lowest = float(np.quantile(overlap[~positive], share))
        kept = np.where(positive, overlap <= highest, overlap >= lowest)
        if metrics.roc_auc(overlap[kept], positive[kept]) <= at_most:
            break
    return highest, lowest


def _obstacle(found: Selection, at_most: float) -> tuple[Status, list[str]] | None:
    """Why there is nothing to judge by; None: there is."""
    if found.category_roc_auc is not None and found.category_roc_auc >= DEFINED:
        return "not valid", [f"the labels are the categories: agreement alone has ROC-AUC {found.category_roc_auc:.4f}"]
    across, within = found.candidates
    if min(across, within) < LEAST:
        return "not run", [
            f"{across} positives across categories and {within} negatives within one: at least {LEAST} of each"
        ]
    assert found.candidates_roc_auc is not None, "both classes are there"
    if found.candidates_roc_auc >= DEFINED:
        return "not valid", [f"the labels are shared words: TF-IDF alone has ROC-AUC {found.candidates_roc_auc:.4f}"]
    if min(found.chosen) < LEAST:
        return "not run", [
            f"of {across} positives across categories and {within} negatives within one, {found.chosen[0]} and"
            f" {found.chosen[1]} are left where TF-IDF has no more than ROC-AUC {at_most:g}: at least {LEAST} of each"
        ]
    return None


def _statistics(scores: NDArray[np.float64], selection: Selection) -> dict[str, Statistic]:
    """ROC-AUC of the encoder and of TF-IDF, and the first less the second, as functions of the pairs' weights."""
    encoder = metrics.roc_auc.prepare(scores, selection.positive)
    control = metrics.roc_auc.prepare(selection.overlap, selection.positive)
    return {
        "roc_auc": encoder,
        "control_roc_auc": control,
        "over_control": Batched(lambda weights: encoder.many(weights) - control.many(weights)),
    }


def _thresholds(embed: Embed, dev: Pairs | None, positive_from: float | None) -> tuple[float, float]:
    """From which score a pair is called positive, by the encoder and by TF-IDF: what is best on dev."""
    if dev is None:
        raise UndefinedMetric(NO_DEV)
    positive = positives(dev.labels, positive_from)
    if positive is None:
        raise UndefinedMetric(GRADED)
    bare = stripped(dev)
    of_encoder, of_words = embed_pairs(embed, bare)[1], tfidf_similarity(bare.text1, bare.text2)
    return metrics.best_threshold(of_encoder, positive), metrics.best_threshold(of_words, positive)


def _balanced_f1(scores: NDArray[np.float64], positive: NDArray[np.bool_], threshold: float) -> Statistic:
    """F1 with both classes weighing the same in sum: 2 TPR / (1 + TPR + FPR)."""
    f1 = metrics.prepare_f1(scores, positive, threshold)

    def values(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = (np.compress(of, weights, axis=1).sum(axis=1, keepdims=True) for of in (positive, ~positive))
        held = np.where(positive, *sums)
        return f1.many(np.divide(weights, held, out=np.zeros_like(weights), where=held > 0))

    return Batched(values)


def _verdict(
    values: dict[str, float], intervals: dict[str, Interval], absent: dict[str, str], bounds: AdversarialConfig
) -> tuple[Status, list[str]]:
    """PASSED, FAILED or NOT RUN, with what it failed by or what is missing."""
    failed, missing = [], []
    for name, title, bound in (("roc_auc", "ROC-AUC", bounds.roc_auc), ("f1", "F1", bounds.f1)):
        if name not in values:
            missing.append(f"no {title}: {absent[name]}")
        elif values[name] < bound:
            failed.append(f"{title} {values[name]:.4f} is below {bound:g}")
    clear = intervals.get("over_control")
    if clear is None:
        missing.append(f"no interval of ROC-AUC above TF-IDF's: {absent['over_control']}")
    elif clear.low <= 0:
        failed.append(
            f"ROC-AUC is not clear of TF-IDF's: {values['over_control']:+.4f}, {clear.low:+.4f} to {clear.high:+.4f}"
        )
    if failed:
        return "failed", failed
    return ("not run", missing) if missing else ("passed", [])


def stripped(pairs: Pairs) -> Pairs:
    """The pairs with the context cut off their texts."""
    return replace(
        pairs,
        text1=[without_context(text) for text in pairs.text1],
        text2=[without_context(text) for text in pairs.text2],
    )


def _roc_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    try:
        return metrics.roc_auc(scores, positive)
    except UndefinedMetric:
        return None


def _counts(positive: NDArray[np.bool_]) -> tuple[int, int]:
    return int(positive.sum()), int((~positive).sum())
