"""The figures of a study."""

from __future__ import annotations

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
