"""The parts of a side in the record; expected values are those that were put in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from promax import figures
from promax.evaluate import Evaluation, Slice
from promax.metrics import Interval
from promax.slices import log_slices
from promax.tracking import artifacts_in, get_run, open_store, read_text, start_run


def evaluated(*slices: Slice, metrics: dict[str, float] | None = None) -> Evaluation:
    none = np.zeros((0, 2), dtype=np.int64)
    values = {"spearman": 0.4, "roc_auc": 0.7} if metrics is None else metrics
    return Evaluation(np.zeros(0), none, None, None, values, {}, {}, list(slices))


MAIL = Slice("category", "mail", 20, {"roc_auc": 0.8, "spearman": 0.5}, {"roc_auc": Interval(0.7, 0.9, 0.95)})
NETWORK = Slice("category", "network", 30, {"roc_auc": 0.6}, {})
EASY = Slice("phase", "1", 25, {"roc_auc": 0.9}, {})


def test_a_table_and_a_chart_of_each_kind_beside_the_baseline(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Any, ...]] = []
    real = figures.slices

    def watched(parts: Sequence[Any], whole: float, title: str) -> Figure:
        drawn.append((list(parts), whole, title))
        return real(parts, whole, title)

    monkeypatch.setattr(figures, "slices", watched)
    store = open_store()
    with start_run(store, "mine", "baseline", {}, {}) as before:
        log_slices(before, "test", evaluated(Slice("category", "mail", 20, {"roc_auc": 0.75}, {})), None)
    with start_run(store, "mine", "tuned", {}, {}) as run:
        log_slices(run, "test", evaluated(MAIL, NETWORK, EASY), get_run(store, before.run_id))
    assert read_text(store, run.run_id, "slices/test.csv").splitlines() == [
        "kind,name,pairs,metric,value,low,high",
        "category,mail,20,roc_auc,0.8,0.7,0.9",
        "category,mail,20,spearman,0.5,,",
        "category,network,30,roc_auc,0.6,,",
        "phase,1,25,roc_auc,0.9,,",
    ]
    assert artifacts_in(store, run.run_id, "figures") == ["figures/category_test.png", "figures/phase_test.png"]
    # The largest part first; a part that the baseline does not have has no mark.
    assert drawn[1:] == [
        ([("network", 30, 0.6, None, None), ("mail", 20, 0.8, (0.7, 0.9), 0.75)], 0.7, "test: ROC-AUC by category"),
        ([("1", 25, 0.9, None, None)], 0.7, "test: ROC-AUC by phase"),
    ]


def test_dev_a_search_and_sides_without_parts_have_no_chart(project: Path) -> None:
    store = open_store()
    with start_run(store, "mine", "tuned", {}, {}) as run:
        log_slices(run, "dev", evaluated(MAIL), None)
        log_slices(run, "transfer", evaluated(), None)
    with start_run(store, "mine", "trial", {}, {}, pictures=False) as trial:
        log_slices(trial, "test", evaluated(MAIL), None)
    assert artifacts_in(store, run.run_id, "slices") == ["slices/dev.csv"]
    assert artifacts_in(store, trial.run_id, "slices") == ["slices/test.csv"]
    assert artifacts_in(store, run.run_id, "figures") == artifacts_in(store, trial.run_id, "figures") == []


def test_graded_labels_have_spearman(project: Path) -> None:
    with start_run(open_store(), "mine", "tuned", {}, {}) as run:
        graded = Slice("category", "mail", 20, {"spearman": 0.5}, {})
        log_slices(run, "test", evaluated(graded, metrics={"spearman": 0.4}), None)
    assert artifacts_in(open_store(), run.run_id, "figures") == ["figures/category_test.png"]
