"""A run's description, to the letter: what is in it was written by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from promax.config import Config, OptimConfig
from promax.data.pairs import Pairs
from promax.data.splits import Splits
from promax.description import describe
from promax.tracking import RunInfo, get_run, open_store, start_run


def pairs(count: int) -> Pairs:
    ids = [str(each) for each in range(count)]
    return Pairs(text1=["secret"] * count, text2=["words"] * count, labels=np.ones(count), id1=ids, id2=ids)


CFG = Config(study="mine", optim=OptimConfig(lr=2e-4, epochs=3))
SPLITS = Splits(train=pairs(1200), dev=pairs(3), test=pairs(4), adversarial=None, transfer=None, notes=[], origins={})


def recorded(name: str, metrics: dict[str, float]) -> RunInfo:
    store = open_store()
    with start_run(store, "mine", name, {}, {}) as run:
        run.log_metrics(metrics)
    return get_run(store, run.run_id)


def test_a_run_is_described_beside_its_baseline(project: Path) -> None:
    before = recorded("baseline", {"test/spearman": 0.5, "test/roc_auc": 0.75})
    own = {
        **{"test/spearman": 0.52, "test/spearman_low": 0.4, "test/spearman_high": 0.6, "test/roc_auc": 0.76},
        **{"delta/spearman": 0.02, "delta/spearman_low": 0.01, "delta/spearman_high": 0.03, "delta/roc_auc": 0.01},
    }
    with start_run(open_store(), "mine", "tuned", {}, {}) as run:
        text = describe(run.run_id, CFG, SPLITS, own, before, "better", "tier none; adversarial diagnostic not run")
    menu = "workflowType=machine_learning"
    beside = f"#/compare-runs?runs=%5B%22{before.run_id}%22%2C%22{run.run_id}%22%5D&experiments=%5B%221%22%5D&{menu}"
    assert text.splitlines() == [
        "**better** than the un-tuned encoder, on this test set and for this seed",
        "",
        "- Spearman on test 0.5200 [0.4000, 0.6000], the baseline's 0.5000: **+0.0200 [+0.0100, +0.0300]**",
        "- ROC-AUC on test 0.7600, the baseline's 0.7500: **+0.0100**",
        "- tier none; adversarial diagnostic not run",
        "",
        "Trained: minilm, learning rate 0.0002, 3 epochs, batches of 16, loss cosine, seed 0. Pairs of tickets: "
        "1,200 train, 3 dev, 4 test. Intervals of 95 %; the difference is measured pair by pair.",
        "",
        f"[Beside the baseline]({beside}), [the baseline](#/experiments/1/runs/{before.run_id}?{menu}). "
        f"Again: `promax reproduce {run.run_id[:8]}`",
    ]


def test_a_baseline_and_a_run_without_a_verdict_say_so(project: Path) -> None:
    untuned = dataclasses.replace(CFG, optim=OptimConfig(epochs=0))
    before = recorded("baseline", {})
    with start_run(open_store(), "mine", "again", {}, {}) as run:
        own = {"test/spearman": 0.5}
        lines = describe(run.run_id, untuned, SPLITS, own, None, None, "tier none").splitlines()
        assert describe(run.run_id, CFG, SPLITS, own, before, None, "tier none").startswith("no verdict: ")
        undecided = describe(run.run_id, CFG, SPLITS, own, before, "undecided", "tier none")
    assert lines[0] == "**baseline**: the un-tuned encoder, as it came"
    assert lines[2:4] == ["- Spearman on test 0.5000", "- tier none"]
    assert lines[5].startswith("Evaluated: minilm, nothing trained. Pairs of tickets: 1,200 train, 3 dev, 4 test.")
    assert lines[-1] == f"Again: `promax reproduce {run.run_id[:8]}`"
    assert undecided.startswith("**undecided**: ")
