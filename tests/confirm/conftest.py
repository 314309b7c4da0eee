"""Studies as their record would have them, planted without an encoder: every metric of them is known by counting."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from promax.config import ClaimConfig, Config, DataConfig, RuleConfig, SettingConfig, flatten, to_yaml
from promax.scores import ScoreTable
from promax.tracking import (
    BASELINE_KEY,
    BASELINE_RUN,
    DatasetRecord,
    Run,
    close_sweep,
    open_store,
    open_sweep,
    start_run,
)
from promax.tracking.query import KIND_TAG
from promax.tracking.store import Store

LR, EPOCHS = (2e-5, 5e-5), (6, 12)
BEFORE, AFTER = SettingConfig(lr=2e-5, epochs=6), SettingConfig(lr=5e-5, epochs=12)
GRID = [SettingConfig(lr=lr, epochs=epochs) for lr in LR for epochs in EPOCHS]
PAIRS = 400

RULE = RuleConfig(
    question="Did the fix help?",
    before=BEFORE,
    after=AFTER,
    claims=[
        ClaimConfig(name="learning rate", of="lr", at_least=0.02, published="+2-3 %"),
        ClaimConfig(name="epochs", of="epochs", at_least=0.05, published="+5-8 %"),
        ClaimConfig(name="both", of="fix", at_least=0.07, published="+7-11 %"),
        ClaimConfig(name="any gain", of="fix", at_least=0.0),
        ClaimConfig(name="beats the baseline", of="baseline", at_least=0.0),
        ClaimConfig(name="good tier", of="level", at_least=0.58, published="0.58"),
        ClaimConfig(name="optimum", of="optimum", at_least=-0.005),
    ],
)

Curve = Callable[[SettingConfig, int], Sequence[float]]


def scores_with(auc: float, shift: float = 0.0) -> NDArray[np.float64]:
    """Scores of 200 negative and 200 positive pairs, in turn, without ties; `auc_of` counts what they come to.

    Negative number j scores j + 1/2, and a positive one scores between the negatives that it is above of and the others. The easiest
    positives are above all, the others above a share of them that grows evenly. `shift` moves all scores alike.
    """
    half = PAIRS // 2
    above = counts(auc)
    scores = np.empty(PAIRS)
    scores[0::2] = np.arange(half) + 0.5
    scores[1::2] = above + 0.25 * np.arange(half) / half
    return scores / half + shift


def counts(auc: float) -> NDArray[np.int64]:
    """How many of the 200 negatives each positive is above of; their mean is 200 auc, but for a rounding."""
    half = PAIRS // 2
    spread = np.linspace(-1, 1, half) * min(auc, 1 - auc)
    return np.round((auc + spread) * half).astype(np.int64)


def spearman_of(auc: float) -> float:
    """By counting and the identity of 0/1 labels: rho = (2 AUC - 1) sqrt(3 p (1-p)) n / sqrt(n^2 - 1)."""
    counted = counts(auc).mean() / (PAIRS // 2)
    return float((2 * counted - 1) * np.sqrt(3 / 4) * PAIRS / np.sqrt(PAIRS**2 - 1))


def table(scores: NDArray[np.float64]) -> ScoreTable:
    rows = np.arange(len(scores))
    labels = (rows % 2).astype(np.float64)
    ids = [f"INC{row}" for row in rows]
    # A negative pair is one of two problems, as in a real pair set: it touches the group of the next positive one too.
    units = np.column_stack([rows | 1, np.where(labels == 1, rows, (rows + 3) % PAIRS)])
    return ScoreTable(rows, ids, [f"{each}b" for each in ids], units, labels, scores)


def level(setting: SettingConfig, seed: int) -> list[float]:
    """A dev curve that rises and stays."""
    return [0.70 + 0.001 * seed] + [0.71 + 0.001 * seed] * (setting.epochs - 1)


@dataclasses.dataclass
class Planted:
    """Plants runs into a store; what a test does not say is as in a plain 2 x 2 x 5 study."""

    store: Store

    def study(
        self,
        cells: Mapping[SettingConfig, float],
        untuned: float = 0.78,
        *,
        name: str = "fix",
        spread: float = 0.0,
        seeds: Sequence[int] = range(5),
        rule: RuleConfig | None = RULE,
        curve: Curve = level,
        transfer: Mapping[SettingConfig, float] | None = None,
        sweep: bool = True,
    ) -> list[str]:
        """ROC-AUC by cell, each seed `spread` above the one before it, and around the cell's own; the runs' ids."""
        cfg = Config(study=name, data=DataConfig(transfer=None if transfer is None else "bugs.jsonl"), rule=rule)
        baseline = self.baseline(cfg, untuned, transfer=None if transfer is None else 0.78)
        parent = open_sweep(self.store, name, name, {"sampler": "grid"}) if sweep else None
        runs = []
        for setting, auc in cells.items():
            for at, seed in enumerate(seeds):
                planted = auc + spread * (at - (len(seeds) - 1) / 2)
                elsewhere = None if transfer is None else transfer[setting]
                runs.append(self.run(cfg, setting, seed, planted, baseline, curve, elsewhere, parent))
        if parent is not None:
            close_sweep(parent, "FINISHED")
        return runs

    def baseline(self, cfg: Config, auc: float, transfer: float | None = None) -> str:
        cfg = dataclasses.replace(cfg, optim=dataclasses.replace(cfg.optim, epochs=0))
        tags = {**TAGS, KIND_TAG: "baseline", BASELINE_KEY: "ab"}
        with start_run(self.store, cfg.study, "minilm baseline", flatten(cfg), tags) as run:
            self._evaluated(run, cfg, auc, transfer)
            run.log_metrics({"dev/spearman": 0.705})
        return run.run_id

    def run(
        self,
        cfg: Config,
        setting: SettingConfig,
        seed: int,
        auc: float,
        baseline: str,
        curve: Curve = level,
        transfer: float | None = None,
        parent: Run | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> str:
        cfg = dataclasses.replace(
            cfg, seed=seed, optim=dataclasses.replace(cfg.optim, lr=setting.lr, epochs=setting.epochs)
        )
        marks = {**TAGS, KIND_TAG: "tuned", BASELINE_RUN: baseline, "promax.engine": "packed", **(tags or {})}
        if transfer is not None:
            marks["promax.data.transfer"] = "ef" * 32
        name = f"minilm lr={setting.lr:g} epochs={setting.epochs} seed={seed}"
        with start_run(
            self.store, cfg.study, name, flatten(cfg), marks, None if parent is None else parent.run_id
        ) as run:
            words = [
                "data=pairs",
                "data.train=/home/someone/pairs/train.jsonl",
                "data.test=test.jsonl",
                f"optim.lr={setting.lr}",
                f"optim.epochs={setting.epochs}",
                f"seed={seed}",
            ]
            run.log_text("\n".join(words) + "\n", "overrides.txt")
            dev = curve(setting, seed)
            for epoch, value in enumerate(dev, 1):
                run.log_metrics({"dev/spearman": value, "train/loss": 0.3 / epoch}, step=epoch)
            run.log_metrics({"dev/spearman": max(dev)}, step=len(dev) + 1)
            run.log_metrics({"train/seconds": 61.5})
            self._evaluated(run, cfg, auc, transfer)
        return run.run_id

    def _evaluated(self, run: Run, cfg: Config, auc: float, transfer: float | None) -> None:
        run.log_text(to_yaml(cfg), "config.yaml")
        run.log_scores("test", table(scores_with(auc)))
        if transfer is not None:
            run.log_scores("transfer", table(scores_with(transfer)))
        profile = {"pairs": PAIRS, "tickets": 2 * PAIRS, "mean_label": 0.5}
        sides = [
            DatasetRecord("pairs train", "12" * 18, "train", "local", "train.jsonl sha256:34ab", {"pairs": 3000}),
            DatasetRecord("pairs test", "cd" * 18, "test", "local", "test.jsonl sha256:56cd", profile),
        ]
        run.log_datasets(sides)


TAGS = {
    "promax.labels": "binary",
    "promax.git_commit": "0123456789abcdef0123456789abcdef01234567",
    "promax.git_dirty": False,
    "promax.data.train": "12" * 32,
    "promax.data.test": "cd" * 32,
    "promax.device_name": "A Processor",
    "promax.threads": 2,
    "promax.host": "machine.example",
    **{
        f"promax.version.{name}": "1.0" for name in ("promax", "torch", "transformers", "sentence-transformers", "peft")
    },
}


@pytest.fixture
def planted(project: Path, fresh_database: Path) -> Planted:
    (project / "mlruns").mkdir()
    shutil.copy(fresh_database, project / "mlruns" / "mlflow.db")
    return Planted(open_store())
