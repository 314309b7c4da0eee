"""The pictures of one run: score distributions, ROC and the learning curve. numpy in, matplotlib figures out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

# Colour-blind safe (Okabe & Ito 2008).
NEGATIVE, POSITIVE, BASELINE = "#0072B2", "#D55E00", "#999999"


def score_distributions(scores: NDArray[np.float64], labels: NDArray[np.float64], title: str) -> Figure:
    """Histograms of the cosine by label value: one colour each for 0, 1 and what lies between.

    `scores` and `labels` are (n,). The further the colours lie apart, the better the encoder separates.
    """
    figure, axes = _canvas(title, "cosine of the pair", "pairs")
    bins = np.linspace(min(0.0, float(scores.min())), 1.0, 41).tolist()
    # The cosine of two float32 unit vectors may pass 1 by its rounding.
    scores = np.minimum(scores, 1.0)
    groups = [("label 0", labels <= 0.0, NEGATIVE), ("label 1", labels >= 1.0, POSITIVE)]
    between = (labels > 0.0) & (labels < 1.0)
    if between.any():
        groups.insert(1, ("between", between, BASELINE))
    for name, rows, colour in groups:
        if rows.any():
            axes.hist(scores[rows], bins=bins, alpha=0.55, color=colour, label=f"{name} ({int(rows.sum())})")
    axes.legend(frameon=False)
    return figure


def roc(curves: Sequence[tuple[str, NDArray[np.float64], NDArray[np.bool_]]], title: str) -> Figure:
    """ROC curves of (name, scores (n,), positive (n,)); the last one stands out."""
    figure, axes = _canvas(title, "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color="#cccccc", linewidth=1)
    for number, (name, scores, positive) in enumerate(curves):
        # Tied scores move both rates at once, so a point stands only where the score changes.
        order = np.argsort(-scores, kind="stable")
        last_of_tie = np.append(np.diff(scores[order]) != 0, True)
        hits = np.cumsum(positive[order])[last_of_tie]
        alarms = np.cumsum(~positive[order])[last_of_tie]
        colour = POSITIVE if number == len(curves) - 1 else BASELINE
        axes.plot(np.append(0, alarms / alarms[-1]), np.append(0, hits / hits[-1]), color=colour, label=name)
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="lower right")
    return figure


def learning_curve(
    epochs: Sequence[int], dev: Sequence[float], metric: str, best: int, baseline: float | None
) -> Figure:
    """The dev metric after each epoch, the kept epoch marked, the un-tuned baseline as a line."""
    figure, axes = _canvas("learning curve", "epoch", f"dev {metric}")
    if baseline is not None:
        axes.axhline(baseline, color=BASELINE, linestyle="--", label=f"baseline {baseline:.4f}")
    axes.plot(epochs, dev, color=POSITIVE, marker="o", markersize=3)
    kept = list(epochs).index(best)
    axes.plot(
        [best], [dev[kept]], color=POSITIVE, marker="o", markersize=9, label=f"kept: epoch {best}, {dev[kept]:.4f}"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure


def _canvas(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
