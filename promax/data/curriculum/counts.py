"""How many pairs there are of what, and how far apart the classes of each phase are."""

from __future__ import annotations

from typing import Any

import numpy as np

from promax.data.curriculum.mined import Mined
from promax.data.curriculum.phases import CLASSES


def count(pairs: Mined) -> dict[str, Any]:
    """Phase -> class -> origin -> how many pairs."""
    counts: dict[str, Any] = {}
    for phase in np.unique(pairs.phase).tolist():
        inside = pairs.take(np.flatnonzero(pairs.phase == phase))
        counts[str(phase)] = {
            name: dict(zip(*(each.tolist() for each in np.unique(found, return_counts=True)), strict=True))
            for of, name in CLASSES.items()
            if len(found := inside.origin[inside.positive == of])
        }
    return counts


def describe(pairs: Mined) -> dict[str, Any]:
    """For the manifest: `count`, and by phase the mean similarity of each class and their difference."""
    by_phase = {
        str(phase): _similarities(pairs.take(np.flatnonzero(pairs.phase == phase)))
        for phase in np.unique(pairs.phase).tolist()
    }
    return {"count": len(pairs), "by_phase": count(pairs), "similarity": by_phase, "overall": _similarities(pairs)}


def _similarities(pairs: Mined) -> dict[str, float]:
    """The mean similarity of each class that is there, and `separability`, their difference."""
    means = {
        name: round(float(pairs.similarity[pairs.positive == of].mean()), 4)
        for of, name in CLASSES.items()
        if (pairs.positive == of).any()
    }
    if len(means) == 2:
        means["separability"] = round(means["positive"] - means["negative"], 4)
    return means
