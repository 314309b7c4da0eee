"""Optuna's figures of a study: each as PNG, all of them on one HTML page that needs no network."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import optuna
from matplotlib.ticker import NullFormatter
from optuna.importance import PedAnovaImportanceEvaluator

from promax.files import replace

# Name -> the function of optuna.visualization and of optuna.visualization.matplotlib, and its arguments.
_ONE_OBJECTIVE: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "history": ("plot_optimization_history", dict),
    "importances": ("plot_param_importances", lambda: {"evaluator": PedAnovaImportanceEvaluator()}),
    "slice": ("plot_slice", dict),
    "contour": ("plot_contour", dict),
    "curves": ("plot_intermediate_values", dict),
}
# A legend of more lines than this is longer than its figure, and its colours are no longer told apart.
MOST_NAMED = 12
_SEVERAL: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {"pareto": ("plot_pareto_front", dict)}


def draw(study: optuna.Study, folder: Path) -> list[str]:
    """Write figures/*.png and study.html into `folder`; return why a figure is missing, a line each."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    page: list[str] = []
    missing: list[str] = []
    for name, (function, arguments) in (_ONE_OBJECTIVE if len(study.directions) == 1 else _SEVERAL).items():
        if name == "contour" and len(_searched(study)) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                _png(getattr(optuna.visualization.matplotlib, function)(study, **arguments()), figures / f"{name}.png")
                page.append(_div(getattr(optuna.visualization, function)(study, **arguments()), name, first=not page))
            except (ValueError, RuntimeError) as error:
                missing.append(f"no figure {name}: {str(error).splitlines()[0]}")
            finally:
                plt.close("all")
    title = escape(study.study_name)
    html = f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>\n" + "\n".join(page)
    replace(folder / "study.html", html.encode())
    return missing


def _png(axes: Any, file: Path) -> None:
    """Axes, or an array of them where there is one for each parameter."""
    first = axes.flat[0] if hasattr(axes, "flat") else axes
    legend = first.get_legend()
    if legend is not None and len(legend.get_texts()) > MOST_NAMED:
        legend.remove()
    for each in first.figure.axes:
        if each.get_xscale() == "log":
            # Matplotlib writes every multiple where an axis spans few decades; in a narrow one they run together.
            each.xaxis.set_minor_formatter(NullFormatter())
    first.figure.savefig(file, dpi=110, bbox_inches="tight")


def _div(figure: Any, name: str, *, first: bool) -> str:
    """The figure for a page; the first brings plotly's own script along."""
    return str(figure.to_html(full_html=False, include_plotlyjs=first, div_id=name))


def _searched(study: optuna.Study) -> set[str]:
    return {name for trial in study.get_trials(deepcopy=False) for name in trial.params}
