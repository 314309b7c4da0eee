"""Rules that give the labels without understanding two texts: the category, shared words, one text, its frequency."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from promax import metrics
from promax.audit.finding import Finding, severity_of
from promax.audit.side import FEWEST, Sample, Side, estimate, figures_of, too_few, written
from promax.audit.similarity import RULE_ERROR, graded_rule
from promax.metrics import Interval

# ROC-AUC, lower ends of 99 % intervals. Agreement of categories is evidence of the same problem: it may say something.
CATEGORY_ERROR, CATEGORY_WARNING = 0.95, 0.80
# So are shared words. Where the lower end of a pair set's words alone passes the warning, templates are at work.
WORDS_WARNING = 0.85
# A rule that reads one text, or none, can know nothing of sameness: its ROC-AUC should be 0.5.
BLIND_ERROR, BLIND_WARNING = 0.70, 0.55
FOLDS = 5
BALANCE = {
    "labels by one text": "draw both classes from the same tickets: re-pair the positives' texts to make negatives",
    "labels by frequency": "give every text to both classes equally often, hard negatives included",
    "labels by length": "templates are of one length: draw negatives that are as alike in length as the positives are",
}


def same_category(side: Side) -> list[Finding]:
    """Whether "both tickets are of one category" gives the labels."""
    check, sample = "labels by category", side.sample
    if sample.pairs.category1 is None or sample.pairs.category2 is None:
        return [Finding(check, side.name, "unchecked", "no categories are given")]
    if why := too_few(sample.positive):
        return [Finding(check, side.name, "unchecked", why)]
    assert sample.positive is not None
    first, second = np.array(sample.pairs.category1), np.array(sample.pairs.category2)
    known = (first != "") & (second != "")
    if too_few(sample.positive[known]):
        # Where only one class has categories, that a pair has them is itself the rule.
        known = np.ones_like(known)
    same, positive = ((first == second) & (first != ""))[known], sample.positive[known]
    if same.all() or not same.any():
        text = f"the two categories of a pair are {'always' if same.all() else 'never'} the same: nothing to compare"
        return [Finding(check, side.name, "unchecked", text)]
    rule = metrics.roc_auc.prepare(same.astype(np.float64), positive)
    value, interval = estimate(rule, sample.units[known], side.seed)
    text = (
        f'"same category" gives the labels with ROC-AUC {written(value, interval)}: true of {same[positive].mean():.0%}'
        f" of the positives and {same[~positive].mean():.0%} of the negatives"
    )
    figures = figures_of("category_auc", value, interval)
    severity = severity_of(interval.low, warning=CATEGORY_WARNING, error=CATEGORY_ERROR)
    advice = {
        "error": "label by ground truth: a category is what a router needs, not whether two tickets are one problem",
        "warning": "add negatives of one category, and keep the category out of the text: a model can lean on it",
    }.get(severity, "")
    return [
        Finding(check, side.name, severity, f"{text}; a lower end below {CATEGORY_WARNING:g} passes", advice, figures)
    ]


def words(side: Side) -> list[Finding]:
    """Whether the TF-IDF cosine gives the labels, or does as well as the un-tuned encoder."""
    check, sample = "labels by TF-IDF", side.sample
    copied = "label by ground truth: where shared words made the label, a model without understanding passes"
    if sample.positive is None:
        return [graded_rule(side, check, "tfidf", sample.lexical, copied)]
    if why := too_few(sample.positive):
        return [Finding(check, side.name, "unchecked", why)]
    statistic = metrics.roc_auc.prepare(sample.lexical, sample.positive)
    value, interval = estimate(statistic, sample.units, side.seed)
    text = f"shared words (TF-IDF) give the labels with ROC-AUC {written(value, interval)}"
    text += f", the un-tuned encoder with {metrics.roc_auc(sample.scores, sample.positive):.3f}"
    severity = severity_of(interval.low, warning=WORDS_WARNING, error=RULE_ERROR)
    advice = {
        "error": copied,
        "warning": "pairs of like wording in both classes are missing: report TF-IDF beside every model",
    }.get(severity, "")
    figures = figures_of("tfidf_auc", value, interval)
    return [Finding(check, side.name, severity, f"{text}; a lower end below {WORDS_WARNING:g} passes", advice, figures)]


def blind_rules(side: Side) -> list[Finding]:
    """Whether a rule predicts the label that never reads both texts.

    Four are learned on four fifths of the problems and judged on the fifth that they haven't seen, in turn: from
    the words of text1, from those of text2, from how often each of the two texts occurs, and from how long they are.
    """
    sample = side.sample
    checks = ("labels by one text", "labels by frequency", "labels by length")
    if why := too_few(sample.positive) or _too_tied(sample):
        return [Finding(check, side.name, "unchecked", why) for check in checks]
    alone = [np.array(texts, dtype=object) for texts in (sample.pairs.text1, sample.pairs.text2)]
    often = np.bincount(side.tickets.ravel())[side.tickets[sample.rows]]
    long = np.array([[len(a), len(b)] for a, b in zip(*alone, strict=True)])
    assert sample.positive is not None
    rare = _share_of_rare(often.min(axis=1), sample.positive)
    found = {
        "labels by one text": {
            "the words of text1": _learned(side, _reader(side.seed), alone[0], 0),
            "the words of text2": _learned(side, _reader(side.seed), alone[1], 1),
        },
        "labels by frequency": {
            f"how often each text occurs{rare}": _learned(side, _counter(side.seed), _sorted(often), 0)
        },
        "labels by length": {"the lengths of the texts": _learned(side, _counter(side.seed), _sorted(long), 0)},
    }
    return [_judged(side, check, rules) for check, rules in found.items()]


def _too_tied(sample: Sample) -> str | None:
    """Why no problems can be kept for judging; None: they can."""
    assert sample.positive is not None
    for units in sample.units.T:
        groups = min(len(np.unique(units[sample.positive == kind])) for kind in (True, False))
        if groups < FOLDS:
            return f"the pairs of a class are of {groups} problems only; {FOLDS} are needed"
    return None


def _share_of_rare(times: NDArray[np.int64], positive: NDArray[np.bool_]) -> str:
    """In words, how many are positive of the pairs whose rarer text is as rare as can be, and of the others."""
    rare = times == times.min()
    if rare.all():
        return ""
    often = {1: "once", 2: "twice"}.get(int(times.min()), f"{times.min()} times")
    there, elsewhere = positive[rare].mean(), positive[~rare].mean()
    return f" ({there:.0%} are positive where a text occurs {often}, {elsewhere:.0%} elsewhere)"


def _reader(seed: int) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    # Hashed, since a vocabulary refuses texts without a word.
    words = HashingVectorizer(n_features=2**18, alternate_sign=False)
    return make_pipeline(words, LogisticRegression(solver="liblinear", random_state=seed))


def _counter(seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_leaf_nodes=8, min_samples_leaf=FEWEST, random_state=seed)


def _sorted(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which text stands first says nothing, so the smaller number does."""
    return np.sort(numbers, axis=1)


def _learned(side: Side, model: Any, read: NDArray[Any], column: int) -> tuple[float, Interval]:
    """ROC-AUC of `model` on problems it hasn't seen; `column` is the text whose problem decides the fold."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    sample = side.sample
    assert sample.positive is not None
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=side.seed)
    groups = sample.units[:, column]
    claimed = cross_val_predict(model, read, sample.positive, groups=groups, cv=folds, method="predict_proba")[:, 1]
    return estimate(metrics.roc_auc.prepare(claimed, sample.positive), sample.units, side.seed)


def _judged(side: Side, check: str, rules: dict[str, tuple[float, Interval]]) -> Finding:
    """The worst of the rules."""
    name, (value, interval) = max(rules.items(), key=lambda rule: rule[1][1].low)
    severity = severity_of(interval.low, warning=BLIND_WARNING, error=BLIND_ERROR)
    text = f"from {name}, the labels of unseen problems are told with ROC-AUC {written(value, interval)}; chance is 0.5"
    advice = BALANCE[check]
    figures = figures_of(f"{check.removeprefix('labels by ').replace(' ', '_')}_auc", value, interval)
    return Finding(check, side.name, severity, text, "" if severity == "clean" else advice, figures)
