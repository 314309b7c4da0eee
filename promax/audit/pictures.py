"""The pictures of an audit: the similarities of each side and phase, and the rules that give the labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from promax import figures
from promax.audit.finding import Report
from promax.audit.shortcuts import BLIND_WARNING, CATEGORY_WARNING, WORDS_WARNING
from promax.audit.side import Side
from promax.audit.similarity import RULE_WARNING

# Name of a finding's figure -> what the picture calls the rule, in its order, and the lower end that is too high.
RULES = {
    "similarity_auc": ("un-tuned encoder", RULE_WARNING),
    "tfidf_auc": ("shared words (TF-IDF)", WORDS_WARNING),
    "category_auc": ("same category", CATEGORY_WARNING),
    "one_text_auc": ("one text alone", BLIND_WARNING),
    "frequency_auc": ("frequency of texts", BLIND_WARNING),
    "length_auc": ("lengths of texts", BLIND_WARNING),
}


def pictures(report: Report, sides: Sequence[Side], name: str) -> dict[str, Figure]:
    """File name -> figure: the similarities of each phase and side, and the rules that were tried."""
    drawn = {"similarities.png": figures.similarities(_panels(sides), f"{name}: similarities by label")}
    found = report.figures()
    tried = [
        (rule, side, found[key], found[f"{key}_low"], found[f"{key}_high"])
        for figure, (rule, _) in RULES.items()
        for side in ("train", "test")
        if f"{(key := f'audit/{side}/{figure}')}_low" in found
    ]
    if tried:
        drawn["rules.png"] = figures.rules(tried, dict(RULES.values()), f"{name}: rules that give the labels")
    return drawn


def _panels(sides: Sequence[Side]) -> list[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    panels: list[tuple[str, NDArray[np.float64], NDArray[np.float64]]] = []
    for side in sides:
        sample = side.sample
        if sample.pairs.phases is None:
            panels.append((side.name, sample.scores, sample.pairs.labels))
            continue
        for phase in np.unique(sample.pairs.phases):
            of = sample.pairs.phases == phase
            panels.append((f"{side.name}\nphase {phase}", sample.scores[of], sample.pairs.labels[of]))
    return panels
