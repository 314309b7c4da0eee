"""The pictures of a verdict: claims with intervals, learning curves, the surface, score distributions, ROC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from promax import figures
from promax.compare import TITLES
from promax.config import SettingConfig
from promax.confirm.claims import Judgement
from promax.confirm.findings import Findings
from promax.confirm.settings import besides, label
from promax.confirm.study import Study, compared
from promax.metrics import Interval

# A verdict is told by its marker too, for who prints in grey. Colours of Okabe & Ito (2008), as in promax.figures.
MARKS = {"CONFIRMED": ("#009E73", "o"), "REFUTED": ("#D55E00", "X"), "UNDECIDED": ("#666666", "s")}
LINES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))
BEFORE, AFTER = "#0072B2", "#D55E00"
# Panels of learning curves beside each other.
ACROSS = 3


def pictures(findings: Findings) -> dict[str, tuple[Figure, str]]:
    """File name -> figure and what it shows; no ROC where the labels make no classes, no surface of one setting."""
    study, rule = findings.study, findings.study.rule
    metric, by = TITLES[rule.metric], study.config.optim.select_by
    drawn = {
        "claims.png": (claims(findings), "Each claim's effect with its interval, and the bound from which it holds"),
        "learning_curves.png": (
            learning_curves(study),
            f"Dev {TITLES.get(by, by)} after each epoch, mean and range over the seeds, beside the baseline",
        ),
        "scores.png": (score_distributions(study), "Scores by label of the un-tuned encoder and the tuned ones"),
    }
    if len(study.settings) > 1:
        told_apart = ", ".join(["learning rate", *rule.varied])
        drawn["surface.png"] = (surface(findings), f"Mean {metric} on test by {told_apart} and epochs")
    if study.sides["test"].positive is not None:
        runs = "every run before and after" if study.rule.before is not None else "every tuned run"
        drawn["roc.png"] = (roc(study), f"ROC on test of the un-tuned encoder and of {runs}")
    return drawn


def claims(findings: Findings) -> Figure:
    """A forest plot: claims of a gain in percent above, claims of a level in the metric's own units below.

    A gain over what isn't clear of 0 has no percentage: it stands between them, in the metric's units.
    """
    rule = findings.study.rule
    gains = [each for each in findings.judgements if each.relative is not None]
    plain = [each for each in findings.judgements if each.relative is None and each.claim.of != "level"]
    levels = [each for each in findings.judgements if each.claim.of == "level"]
    panels = [part for part in (gains, plain, levels) if part]
    heights = [len(part) + 1 for part in panels]
    figure = Figure(figsize=(7.6, 1.3 + 0.34 * sum(heights)), dpi=120, layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, part in zip(grid, panels, strict=True):
        relative = part is gains
        for height, each in enumerate(part):
            _claim(axes, height, each, relative=relative)
        if part is not levels:
            axes.axvline(0, color=figures.BASELINE, linewidth=1, zorder=0)
        axes.set_xlabel(
            "effect, in % of what it is set against"
            if relative
            else f"{'effect, in ' if part is plain else ''}{TITLES[rule.metric]} on test"
        )
        axes.set_yticks(range(len(part)), [each.claim.name for each in part])
        axes.set_ylim(len(part) - 0.5, -0.5)
        axes.spines[["top", "right"]].set_visible(False)
    shown = [
        *(Line2D([], [], color=colour, marker=mark, label=name.lower()) for name, (colour, mark) in MARKS.items()),
        Line2D([], [], color="black", marker="|", markersize=11, linestyle="none", label="holds from here on"),
    ]
    figure.legend(handles=shown, frameon=False, ncols=4, loc="outside upper center", fontsize="small")
    return figure


def _claim(axes: Axes, height: int, judgement: Judgement, *, relative: bool) -> None:
    colour, mark = MARKS[judgement.verdict]
    number, interval, least = judgement.measured.estimate, judgement.measured.interval, judgement.claim.at_least
    if relative:
        assert judgement.relative is not None
        number, interval = judgement.relative
        number, least = 100 * number, 100 * least
        interval = Interval(100 * interval.low, 100 * interval.high, interval.confidence)
    axes.plot([interval.low, interval.high], [height, height], color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot([number], [height], mark, color=colour, markersize=7)
    # A share of what has no clear size is no place on the axis.
    if relative or least == 0 or judgement.claim.of == "level":
        axes.plot([least, least], [height - 0.34, height + 0.34], color="black", linewidth=1.2)


def learning_curves(study: Study) -> Figure:
    """A panel a way to train, a line for each number of epochs: the mean over seeds, and their range."""
    ways = _ways(study)
    lengths = sorted({setting.epochs for setting in study.settings})
    across = min(ACROSS, len(ways))
    down = -(-len(ways) // across)
    figure = Figure(figsize=(7.6 if across > 1 else 6.4, 3.2 * down), dpi=120, layout="constrained")
    grid = figure.subplots(down, across, sharey=True, sharex=True, squeeze=False)
    by = study.config.optim.select_by
    baseline = study.baseline.metrics.get(f"dev/{by}")
    for axes in grid.flat[len(ways) :]:
        axes.set_visible(False)
    for axes, way in zip(grid.flat, ways, strict=False):
        if baseline is not None:
            axes.axhline(baseline, color=figures.BASELINE, linestyle=(0, (1, 1)), label=f"un-tuned {baseline:.4f}")
        for setting, members in zip(study.settings, study.members, strict=True):
            if _way(setting) == way:
                colour, style = LINES[lengths.index(setting.epochs) % len(LINES)]
                shortest = min(len(member.dev) for member in members)
                dev = np.array([member.dev[:shortest] for member in members])
                epochs = np.arange(1, shortest + 1)
                name = f"{setting.epochs} epoch{'s' if setting.epochs > 1 else ''}"
                axes.plot(epochs, dev.mean(axis=0), style, color=colour, marker="o", markersize=3, label=name)
                axes.fill_between(epochs, dev.min(axis=0), dev.max(axis=0), color=colour, alpha=0.18, linewidth=0)
        axes.set_title(f"learning rate {way}", fontsize="medium" if "\n" in way else "large")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    for axes in grid[:, 0]:
        axes.set_ylabel(f"dev {TITLES.get(by, by)}")
    figure.suptitle(f"mean of {len(study.seeds)} seeds; shaded: from the lowest to the highest", fontsize="small")
    return figure


def surface(findings: Findings) -> Figure:
    """The mean on test of each setting, beneath it the distance from the baseline; what was not tried is blank."""
    study, means = findings.study, findings.deciding.means
    ways = _ways(study)
    lengths = sorted({setting.epochs for setting in study.settings})
    shown = np.full((len(ways), len(lengths)), np.nan)
    for setting, mean in zip(study.settings, means[:-1], strict=True):
        shown[ways.index(_way(setting)), lengths.index(setting.epochs)] = mean
    widest = max(len(line) for way in ways for line in way.split("\n"))
    size = (2.6 + 1.15 * len(lengths) + 0.07 * widest, 1.6 + 0.75 * len(ways))
    figure = Figure(figsize=(max(size[0], 5.0), max(size[1], 3.0)), dpi=120, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shown, cmap="cividis", aspect="auto", origin="lower")
    middle = (np.nanmin(shown) + np.nanmax(shown)) / 2
    for (row, column), mean in np.ndenumerate(shown):
        if np.isfinite(mean):
            text = f"{mean:.4f}\n{mean - means[-1]:+.4f}"
            axes.text(column, row, text, ha="center", va="center", color="white" if mean < middle else "black")
    axes.set_xticks(range(len(lengths)), [str(each) for each in lengths])
    axes.set_yticks(range(len(ways)), ways)
    axes.set(xlabel="epochs", ylabel="\n".join(["learning rate", *study.rule.varied]))
    metric = TITLES[study.rule.metric]
    axes.set_title(f"mean {metric} on test, and less the un-tuned {means[-1]:.4f}", fontsize="medium")
    figure.colorbar(image, label=metric)
    return figure


def _ways(study: Study) -> list[str]:
    """The settings but for their epochs, in the order of the study's."""
    return list(dict.fromkeys(_way(setting) for setting in study.settings))


def _way(setting: SettingConfig) -> str:
    """Its learning rate, and in a line of its own what else it is told apart by."""
    return "\n".join([f"{setting.lr:g}", *besides(setting)])


def score_distributions(study: Study) -> Figure:
    """Scores by label of the baseline, before and after; those of all seeds together, as each is a run's own."""
    scored = study.sides["test"]
    panels: list[tuple[str, NDArray[np.float64], NDArray[np.float64]]] = [("un-tuned", scored.baseline, scored.label)]
    for name, cell in _compared(study):
        panels.append((name.replace(" (", "\n("), scored.cells[cell].ravel(), np.tile(scored.label, len(study.seeds))))
    seeds = len(study.seeds)
    return figures.similarities(
        panels, f"scores on test; tuned: the runs of {seeds} seeds together", "cosine of the pair"
    )


def roc(study: Study) -> Figure:
    """The baseline's curve, and a thin one for each run before and after: their spread is the seeds'."""
    scored = study.sides["test"]
    assert scored.positive is not None
    figure, axes = figures.canvas("ROC on test, a line for each run", "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color="#cccccc", linewidth=1)
    baseline = figures.roc_points(scored.baseline, scored.positive)
    axes.plot(*baseline, color="black", linewidth=1.6, linestyle=":", label="un-tuned", zorder=3)
    for name, cell in _compared(study):
        colour, style = (BEFORE, "--") if name.startswith("before") else (AFTER, "-")
        for number, scores in enumerate(scored.cells[cell]):
            points = figures.roc_points(scores, scored.positive)
            axes.plot(*points, style, color=colour, linewidth=0.8, alpha=0.7, label=name if number == 0 else None)
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="lower right")
    return figure


def _compared(study: Study) -> Sequence[tuple[str, int]]:
    """Name and cell of each setting that is compared."""
    # What else settings are told apart by is longer than a legend is wide; the page says it.
    named = [(name if setting.also else f"{name} ({label(setting)})", setting) for name, setting in compared(study)]
    return [(name, study.settings.index(setting)) for name, setting in named]
