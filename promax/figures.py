"""What the pictures of runs, audits and studies share, and those of a run and of an audit.

numpy in, matplotlib figures out.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

# Colour-blind safe (Okabe & Ito 2008).
NEGATIVE, POSITIVE, BASELINE = "#0072B2", "#D55E00", "#999999"


def canvas(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty figure as wide as a README shows it, and its axes."""
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The figure as a PNG file; the same figure gives the same bytes."""
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def score_distributions(scores: NDArray[np.float64], labels: NDArray[np.float64], title: str) -> Figure:
    """Histograms of the cosine by label value: one colour each for 0, 1 and what lies between.

    `scores` and `labels` are (n,). The further the colours lie apart, the better the encoder separates.
    """
    figure, axes = canvas(title, "cosine of the pair", "pairs")
    bins = np.linspace(min(0.0, float(scores.min())), 1.0, 41).tolist()
    # The cosine of two float32 unit vectors may pass 1 by its rounding.
    scores = np.minimum(scores, 1.0)
    for name, rows, colour in _by_label(labels):
        if rows.any():
            axes.hist(scores[rows], bins=bins, alpha=0.55, color=colour, label=f"{name} ({int(rows.sum())})")
    axes.legend(frameon=False)
    return figure


def roc(curves: Sequence[tuple[str, NDArray[np.float64], NDArray[np.bool_]]], title: str) -> Figure:
    """ROC curves of (name, scores (n,), positive (n,)); the last one stands out."""
    figure, axes = canvas(title, "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color="#cccccc", linewidth=1)
    for number, (name, scores, positive) in enumerate(curves):
        colour = POSITIVE if number == len(curves) - 1 else BASELINE
        axes.plot(*roc_points(scores, positive), color=colour, label=name)
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="lower right")
    return figure


def roc_points(
    scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates of the ROC curve, from (0, 0) to (1, 1).

    Tied scores move both rates at once, so a point stands only where the score changes.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    hits, alarms = (np.cumsum(of[order])[last_of_tie] for of in (positive, ~positive))
    return np.append(0, alarms / alarms[-1]), np.append(0, hits / hits[-1])


def learning_curve(
    epochs: Sequence[int], dev: Sequence[float], metric: str, best: int, baseline: float | None
) -> Figure:
    """The dev metric after each epoch, NaN a gap, the kept epoch marked, the un-tuned baseline as a line."""
    figure, axes = canvas("learning curve", "epoch", f"dev {metric}")
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


def slices(
    parts: Sequence[tuple[str, int, float, tuple[float, float] | None, float | None]], whole: float, title: str
) -> Figure:
    """A metric in each part of the pairs, a bar a part: (name, pairs, value, ends of its interval, baseline's value).

    In the order given, from above; the dashed line is the metric over all pairs.
    """
    figure = Figure(figsize=(7.2, 1.6 + 0.28 * len(parts)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for height, (_, _, value, ends, _) in enumerate(parts):
        axes.barh(height, value, height=0.66, color=POSITIVE, alpha=0.55)
        if ends is not None:
            axes.plot(ends, [height, height], color="black", linewidth=1)
    known = [(before, height) for height, (*_, before) in enumerate(parts) if before is not None]
    if known:
        across, heights = zip(*known, strict=True)
        axes.plot(across, heights, linestyle="", marker="|", markersize=13, markeredgewidth=3, color=NEGATIVE)
    axes.axvline(whole, color=BASELINE, linestyle="--", zorder=0)
    # Metrics of few pairs have long intervals, and a bar starts at zero.
    lowest = min([0.0, *(ends[0] for *_, ends, _ in parts if ends is not None)])
    axes.set(title=title, xlim=(lowest, 1.02))
    axes.set_xlabel(
        "bar and line: this run and its interval" + ("; blue stroke: the baseline" if known else "") + "\n"
        f"dashed: all pairs, {whole:.4f}"
    )
    axes.set_yticks(range(len(parts)), [f"{name[:40]} ({pairs})" for name, pairs, *_ in parts])
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def similarities(
    panels: Sequence[tuple[str, NDArray[np.float64], NDArray[np.float64]]],
    title: str,
    scored: str = "cosine of the pair, un-tuned encoder",
) -> Figure:
    """One histogram under the other on one axis: (name, scores (n,), labels (n,)), a colour a label as in
    `score_distributions`. Each colour sums to 1, so that sets of different sizes can be compared; a stroke marks
    its mean.
    """
    figure = Figure(figsize=(7.2, 1.1 + 1.35 * len(panels)), dpi=120, layout="constrained")
    rows = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    lowest = min(0.0, *(float(scores.min()) for _, scores, _ in panels))
    # Small classes in narrow bins are all spikes.
    fewest = min(int(of.sum()) for _, _, labels in panels for _, of, _ in _by_label(labels) if of.any())
    bins = np.linspace(lowest, 1.0, 51 if fewest >= 200 else 26).tolist()
    for axes, (name, scores, labels) in zip(rows, panels, strict=True):
        for kind, of, colour in _by_label(labels):
            part = np.minimum(scores[of], 1.0)
            if not len(part):
                continue
            share = np.full(len(part), 1 / len(part))
            axes.hist(part, bins=bins, weights=share, alpha=0.5, color=colour, label=f"{kind} ({len(part)})")
            axes.axvline(float(part.mean()), color=colour, linewidth=2)
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    rows[0].set_title(title, loc="left")
    rows[-1].set_xlabel(f"{scored}; strokes: means")
    return figure


def rules(found: Sequence[tuple[str, str, float, float, float]], bounds: Mapping[str, float], title: str) -> Figure:
    """How well rules give the labels: (rule, side, ROC-AUC, low, high), a line a rule, a mark a side.

    Where the whole interval is at or past the rule's bound, the mark is filled: the rule is a finding.
    """
    names = list(dict.fromkeys(rule for rule, *_ in found))
    sides = list(dict.fromkeys(side for _, side, *_ in found))
    figure = Figure(figsize=(7.2, 1.4 + 0.45 * len(names)), dpi=120, layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(sides, (POSITIVE, NEGATIVE), strict=False))
    for rule, side, value, low, high in found:
        height = names.index(rule) + 0.24 * (sides.index(side) - (len(sides) - 1) / 2)
        axes.plot([low, high], [height, height], color=colours[side], linewidth=2, solid_capstyle="butt")
        face = colours[side] if low >= bounds[rule] else "white"
        axes.plot([value], [height], "o", color=colours[side], markerfacecolor=face, markersize=6)
    for number, rule in enumerate(names):
        axes.plot([bounds[rule]] * 2, [number - 0.38, number + 0.38], color="black", linewidth=1)
    axes.axvline(0.5, color=BASELINE, linestyle="--", linewidth=1, zorder=0)
    axes.set(title=title, xlim=(0.35, 1.02))
    axes.set_xlabel(
        "ROC-AUC and its 99 % interval; dashed: chance\nfilled: all of the interval is past the rule's bound (black)"
    )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    shown = [Line2D([], [], color=colours[side], linewidth=2, label=side) for side in sides]
    axes.legend(handles=shown, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _by_label(labels: NDArray[np.float64]) -> list[tuple[str, NDArray[np.bool_], str]]:
    """What is drawn apart: label 0, label 1 and, where there is any, what lies between; mask and colour of each."""
    groups = [("label 0", labels <= 0.0, NEGATIVE), ("label 1", labels >= 1.0, POSITIVE)]
    between = (labels > 0.0) & (labels < 1.0)
    if between.any():
        groups.insert(1, ("between", between, BASELINE))
    return groups
