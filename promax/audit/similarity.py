"""What the un-tuned encoder's similarities say: whether train is easier than test, and who made the labels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from promax import metrics
from promax.audit.finding import Finding, severity_of
from promax.audit.side import CONFIDENCE, REPLICATES, Side, estimate, figures_of, too_few, written
from promax.metrics import Metric, UndefinedMetric

# Lower ends of 99 % intervals from which a difference counts. The project this was learned from had 0.19.
EASIER_ERROR, EASIER_WARNING = 0.10, 0.05
OVERLAP_DRAWS = 20
# Part of a class that must lie elsewhere, beyond all doubt, before two distributions count as unlike.
UNLIKE = 0.10
# Of a rule that reads the encoder's score alone. A threshold that made the labels gives 1.
RULE_ERROR, RULE_WARNING = 0.99, 0.97
RHO_ERROR = 0.95

# Distributions thin out towards their ends; one that was cut off is about as dense there as further in.
CUT = 0.5
EDGE_PAIRS, EDGE_SHARE, EDGE_FEWEST = 20, 0.02, 250

GROUND_TRUTH = "label by ground truth (problem, parent or duplicate links), not by an encoder's similarity"


def easier_train(train: Side, test: Side) -> list[Finding]:
    """Whether the encoder, before any training, tells the classes of train apart better than those of test."""
    check = "train easier than test"
    figures: dict[str, float] = {}
    for side in (train, test):
        if why := too_few(side.sample.positive):
            return [Finding(check, "both", "unchecked", f"{side.name}: {why}")]
    gaps, parts = [], []
    for name, metric in (("separability", metrics.separability), ("ROC-AUC", metrics.roc_auc)):
        try:
            (of_train, drawn_train), (of_test, drawn_test) = _resampled(train, metric), _resampled(test, metric)
        except UndefinedMetric as reason:
            return [Finding(check, "both", "unchecked", str(reason))]
        shortest = min(len(drawn_train), len(drawn_test))
        gap = metrics.interval(drawn_train[:shortest] - drawn_test[:shortest], CONFIDENCE)
        gaps.append(gap)
        figures |= figures_of(f"{name.lower().replace('-', '_')}_gap", of_train - of_test, gap)
        difference = written(of_train - of_test, gap)
        parts.append(f"{name} {of_train:.3f} in train, {of_test:.3f} in test, difference {difference}")
    overlaps = _overlap(train, len(test.sample.rows)), _overlap(test, len(train.sample.rows))
    figures["overlap_gap"] = overlaps[0] - overlaps[1]
    text = f"{'; '.join(parts)}; overlap {overlaps[0]:.0%} and {overlaps[1]:.0%}"
    severity = severity_of(max(gap.low for gap in gaps), warning=EASIER_WARNING, error=EASIER_ERROR)
    if severity != "clean":
        advice = "mine train's negatives as test's were, hard ones too: easy pairs teach what is known already"
        return [Finding(check, "both", severity, text, advice, figures)]
    if min(gap.high for gap in gaps) < -EASIER_WARNING:
        return [Finding(check, "both", "note", text, "test is the easier side: its metrics flatter", figures)]
    return [Finding(check, "both", "clean", text, figures=figures)]


def _resampled(side: Side, metric: Metric[NDArray[np.bool_]]) -> tuple[float, NDArray[np.float64]]:
    """A metric of the encoder's scores and its values in resamples, other ones for each side."""
    assert side.sample.positive is not None
    statistic = metric.prepare(side.sample.scores, side.sample.positive)
    seed = side.seed + (side.name == "test")
    return statistic(np.ones(len(side.sample.rows))), metrics.bootstrap(statistic, side.sample.units, REPLICATES, seed)


def _overlap(side: Side, others: int) -> float:
    """The overlap, on no more pairs than the other side has: extremes grow with the number of pairs."""
    scores, positive = side.sample.scores, side.sample.positive
    assert positive is not None
    if len(scores) <= others:
        return metrics.overlap(scores, positive)
    generator = np.random.default_rng(side.seed)
    values = []
    for rows in (generator.choice(len(scores), others, replace=False) for _ in range(OVERLAP_DRAWS)):
        if positive[rows].any() and not positive[rows].all():
            values.append(metrics.overlap(scores[rows], positive[rows]))
    return float(np.mean(values)) if values else metrics.overlap(scores, positive)


def distributions(train: Side, test: Side) -> list[Finding]:
    """Whether the similarities of a class are spread alike in train and test.

    The Kolmogorov-Smirnov distance D less what chance may make of it: by the DKW inequality with Massart's constant
    (1990) an empirical distribution of m independent values is within sqrt(ln(2 / a) / 2m) of the true one with
    probability 1 - a. m is the number of groups of tickets, since pairs that share a ticket are not independent.
    """
    from scipy.stats import ks_2samp, wasserstein_distance

    check = "distributions"
    for side in (train, test):
        if why := too_few(side.sample.positive):
            return [Finding(check, "both", "unchecked", f"{side.name}: {why}")]
    assert train.sample.positive is not None and test.sample.positive is not None
    figures: dict[str, float] = {}
    parts, least = [], 0.0
    for name, wanted in (("positives", True), ("negatives", False)):
        masks = (train.sample.positive == wanted, test.sample.positive == wanted)
        scores = [side.sample.scores[mask] for side, mask in zip((train, test), masks, strict=True)]
        distance = float(ks_2samp(*scores).statistic)
        chance = sum(
            math.sqrt(math.log(4 / (1 - CONFIDENCE)) / (2 * _independent(side, mask)))
            for side, mask in zip((train, test), masks, strict=True)
        )
        shift = float(wasserstein_distance(*scores))
        least = max(least, distance - chance)
        figures |= {f"{name}_ks": distance, f"{name}_wasserstein": shift}
        parts.append(f"{name}: KS {distance:.3f}, at least {max(distance - chance, 0):.3f}, Wasserstein {shift:.3f}")
    text = f"{'; '.join(parts)}; {UNLIKE:g} beyond doubt would be unlike"
    if least <= UNLIKE:
        return [Finding(check, "both", "clean", text, figures=figures)]
    advice = "draw dev and test as train was drawn, or say in the record that they are different tasks"
    return [Finding(check, "both", "warning", text, advice, figures)]


def _independent(side: Side, rows: NDArray[np.bool_]) -> int:
    return min(int(rows.sum()), len(np.unique(side.sample.units[rows])))


def phases(side: Side) -> list[Finding]:
    """Phases of one class, and phases whose positives are less similar than their negatives; else the whole side."""
    if side.positive is None:
        return [Finding("phases", side.name, "unchecked", str(too_few(None)))]
    found, clean = [], []
    for name, of_all, of_sample in _phases(side):
        positive = side.positive[of_all]
        if positive.all() or not positive.any():
            kind = "positive" if positive.all() else "negative"
            text = f"{name}: one class only, all {len(positive)} pairs are {kind}"
            advice = "give every phase both classes: losses on one class have nothing to push apart"
            found.append(Finding("phases", side.name, "error", text, advice))
            continue
        assert side.sample.positive is not None
        scores, positive = side.sample.scores[of_sample], side.sample.positive[of_sample]
        if why := too_few(positive):
            found.append(Finding("phases", side.name, "unchecked", f"{name}: {why}"))
            continue
        statistic = metrics.separability.prepare(scores, positive)
        value, interval = estimate(statistic, side.sample.units[of_sample], side.seed)
        key = "separability" if name == "all pairs" else f"separability_{name.replace(' ', '_')}"
        figures = figures_of(key, value, interval)
        text = f"{name}: separability {written(value, interval)}"
        if interval.high < 0:
            text += ": positives are less similar than negatives, inverted against the un-tuned encoder"
            advice = (
                "don't cut phases into bands of similarity; an adversarial set, made so on purpose, is no train set"
            )
            found.append(Finding("phases", side.name, "error", text, advice, figures))
        else:
            clean.append((text, figures))
    if clean:
        merged = {key: value for _, figures in clean for key, value in figures.items()}
        found.append(Finding("phases", side.name, "clean", "; ".join(text for text, _ in clean), figures=merged))
    return found


def _phases(side: Side) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.int64]]]:
    """Each phase's name, its rows of the side, and those of the sample; the whole side where it has no phases."""
    if side.pairs.phases is None:
        yield "all pairs", np.arange(len(side.pairs)), np.arange(len(side.sample.rows))
        return
    assert side.sample.pairs.phases is not None
    for phase in np.unique(side.pairs.phases):
        of_sample = np.flatnonzero(side.sample.pairs.phases == phase)
        yield f"phase {phase}", np.flatnonzero(side.pairs.phases == phase), of_sample


def similarity_rule(side: Side) -> list[Finding]:
    """Whether a rule that reads only the un-tuned encoder's score, and the phase, gives the labels."""
    check, sample = "labels by similarity", side.sample
    if sample.positive is None:
        return [graded_rule(side, check, "similarity", sample.scores, GROUND_TRUTH)]
    if why := too_few(sample.positive):
        return [Finding(check, side.name, "unchecked", why)]
    rules = {"the un-tuned encoder's score": sample.scores, "bands of the un-tuned encoder's score": _banded(side)}
    judged = {
        name: estimate(metrics.roc_auc.prepare(claimed, sample.positive), sample.units, side.seed)
        for name, claimed in rules.items()
    }
    name, (value, interval) = max(judged.items(), key=lambda rule: rule[1][1].low)
    figures = figures_of("similarity_auc", value, interval)
    text = f"{name} alone give{'s' * (not name.startswith('bands'))} the labels with ROC-AUC {written(value, interval)}"
    severity = severity_of(interval.low, warning=RULE_WARNING, error=RULE_ERROR)
    advice = {
        "error": f"{GROUND_TRUTH}: trained on these, an encoder learns to be what it is",
        "warning": "nearly all is known before training: add hard negatives (same category, near neighbours)",
    }.get(severity, "")
    return [Finding(check, side.name, severity, f"{text}; a lower end below {RULE_WARNING:g} passes", advice, figures)]


def _banded(side: Side) -> NDArray[np.float64]:
    """The share of positives in the score band of each pair, of a small tree grown on the other four fifths."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    sample = side.sample
    phase = np.zeros(len(sample.scores)) if sample.pairs.phases is None else sample.pairs.phases
    tree = DecisionTreeClassifier(max_leaf_nodes=12, min_samples_leaf=5, random_state=side.seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=side.seed)
    read = np.column_stack([sample.scores, phase])
    return np.asarray(cross_val_predict(tree, read, sample.positive, cv=folds, method="predict_proba")[:, 1])


def graded_rule(side: Side, check: str, rule: str, scores: NDArray[np.float64], advice: str) -> Finding:
    """Of graded labels: whether they are in the order of a rule's scores."""
    try:
        statistic = metrics.spearman.prepare(scores, side.sample.pairs.labels)
        value, interval = estimate(statistic, side.sample.units, side.seed)
    except UndefinedMetric as reason:
        return Finding(check, side.name, "unchecked", str(reason))
    text = f"Spearman with the graded labels {written(value, interval)}; a lower end below {RHO_ERROR:g} passes"
    severity = severity_of(interval.low, warning=RHO_ERROR, error=RHO_ERROR)
    figures = figures_of(f"{rule}_spearman", value, interval)
    return Finding(check, side.name, severity, text, "" if severity == "clean" else advice, figures)


def edges(side: Side) -> list[Finding]:
    """Classes whose similarities stop dead at a value: pairs that were chosen by the un-tuned encoder's score."""
    check = "score edges"
    if side.sample.positive is None:
        return [Finding(check, side.name, "unchecked", str(too_few(None)))]
    cuts, looked_at = [], 0
    for name, _, rows in _phases(side):
        for kind, wanted in (("positives", True), ("negatives", False)):
            scores = np.sort(side.sample.scores[rows][side.sample.positive[rows] == wanted])
            if len(scores) < EDGE_FEWEST:
                continue
            looked_at += 1
            place = kind if name == "all pairs" else f"{kind} of {name}"
            # Nothing is above 1, so that positives may well be dense there.
            if scores[-1] < 0.95 and edge_density(-scores[::-1]) > CUT:
                cuts.append(f"no {place} above {scores[-1]:.3f}")
            if edge_density(scores) > CUT:
                cuts.append(f"no {place} below {scores[0]:.3f}")
    if not looked_at:
        return [Finding(check, side.name, "unchecked", f"no class of a phase has {EDGE_FEWEST} pairs")]
    figures = {"score_edges": float(len(cuts))}
    if not cuts:
        return [Finding(check, side.name, "clean", f"{looked_at} classes thin out towards their ends", figures=figures)]
    text = f"{'; '.join(cuts)}, though many just beside: chosen by the un-tuned encoder's score"
    if side.name == "train":
        return [Finding(check, "train", "note", text, "right for a curriculum; never test on such pairs", figures)]
    advice = "draw test without looking at similarities: chosen by the baseline's score, it can't judge the baseline"
    return [Finding(check, "test", "warning", text, advice, figures)]


def edge_density(scores: NDArray[np.float64]) -> float:
    """How dense ascending scores are at their lower end, as a part of how dense they are just beside it.

    The end is the lowest 2 % (at least 20 scores), beside it lie four times as many. Evenly spread scores, and those
    of a distribution that was cut off, give about 1; thinning tails give 0.1 to 0.3. Scores that are all one give 0.

    >>> round(edge_density(np.linspace(0.5, 0.9, 5001)), 3)
    1.0
    """
    count = max(EDGE_PAIRS, round(EDGE_SHARE * len(scores)))
    outer, inner = scores[count] - scores[0], scores[5 * count] - scores[count]
    return float(inner / (4 * outer)) if outer > 0 else 0.0
