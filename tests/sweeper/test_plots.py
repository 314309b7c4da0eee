"""The figures of a study."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from hydra_plugins.promax_sweeper import _plots


@pytest.mark.parametrize(("lines", "named"), [(_plots.MOST_NAMED, True), (_plots.MOST_NAMED + 1, False)])
def test_a_legend_longer_than_its_figure_is_left_out(lines: int, named: bool, tmp_path: Path) -> None:
    axes = Figure().subplots()
    for number in range(lines):
        axes.plot([0, 1], [0, number], label=f"trial {number}")
    axes.legend()
    _plots._png(axes, tmp_path / "curves.png")
    assert (axes.get_legend() is not None) == named
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_numbers_on_a_narrow_logarithmic_axis_do_not_run_together(tmp_path: Path) -> None:
    """As in the slice plot: an axis of less than two decades, beside another."""
    figure = Figure(figsize=(6, 3))
    axes = figure.subplots(1, 2)
    axes[1].plot([2e-5, 8e-4], [0, 1])
    axes[1].set_xscale("log")
    _plots._png(axes, tmp_path / "slice.png")
    boxes = [text.get_window_extent() for text in axes[1].get_xticklabels(which="both") if text.get_text()]
    low, high = axes[1].get_window_extent().intervalx
    shown = sorted(box.intervalx.tolist() for box in boxes if low <= sum(box.intervalx) / 2 <= high)
    assert len(shown) >= 1
    assert all(one[1] < two[0] for one, two in pairwise(shown))
