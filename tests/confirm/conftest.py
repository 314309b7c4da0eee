"""Studies as their record would have them, made without an encoder: every metric of them is known by counting."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from promax.config import ClaimConfig, Config, DataConfig, RuleConfig, SettingConfig, flatten, to_yaml
from promax.confirm.study import Member, Scored, Study
from promax.scores import ScoreTable
from promax.tracking import (
    BASELINE_KEY,
    BASELINE_RUN,
    DatasetRecord,
    Run,
    RunInfo,
    Store,
    open_store,
    open_sweep,
    start_run,
)
from promax.tracking.query import KIND_TAG
from promax.tracking.record import create_run

BEFORE, AFTER = SettingConfig(lr=2e-5, epochs=6), SettingConfig(lr=5e-5, epochs=12)
RATE, LONGER = SettingConfig(lr=5e-5, epochs=6), SettingConfig(lr=2e-5, epochs=12)
HALF = 200  # pairs of each class
STACK = ("promax", "torch", "transformers", "sentence-transformers", "peft")
TAGS: dict[str, object] = {
    "promax.labels": "binary",
    "promax.git_commit": "0123456789abcdef0123456789abcdef01234567",
    "promax.git_dirty": "false",
    "promax.data.train": "12" * 32,
    "promax.data.test": "cd" * 32,
    "promax.device_name": "A Processor",
    "promax.threads": "2",
    "promax.host": "machine.example",
    "promax.engine": "packed",
    **{f"promax.version.{name}": "1.0" for name in STACK},
}
Curve = Callable[[SettingConfig, int], Sequence[float]]


def level(setting: SettingConfig, seed: int) -> list[float]:
    """A dev curve that rises once and stays."""
    return [0.70 + 0.001 * seed] + [0.71 + 0.001 * seed] * (setting.epochs - 1)


@dataclasses.dataclass
class Made:
    """Makes studies in memory. Unless a test says otherwise: 5 seeds, 200 positive and 200 negative pairs."""

    before, rate, longer, after = BEFORE, RATE, LONGER, AFTER
    rule = RuleConfig(
        question="Did the fix help?",
        before=BEFORE,
        after=AFTER,
        claims=[
            ClaimConfig(name="learning rate", of="lr", at_least=0.02, published="+2-3 %"),
            ClaimConfig(name="epochs", of="epochs", at_least=0.05, published="+5-8 %"),
            ClaimConfig(name="both", of="fix", at_least=0.07, published="+7-11 %"),
            ClaimConfig(name="any gain", of="fix"),
            ClaimConfig(name="beats the baseline", of="baseline"),
            ClaimConfig(name="good tier", of="level", at_least=0.5),
            ClaimConfig(name="optimum", of="optimum", at_least=-0.005),
        ],
    )

    def variants(self, key: str, *values: str) -> list[SettingConfig]:
        """Settings that differ in one key, each at the rate and epochs after the fix."""
        return [dataclasses.replace(AFTER, also={key: value}) for value in values]

    def about(self, before: SettingConfig, after: SettingConfig) -> RuleConfig:
        """A rule about a change, whatever the settings differ in."""
        claims = [
            ClaimConfig(name="any gain", of="fix"),
            ClaimConfig(name="by 5 % or more", of="fix", at_least=0.05),
            ClaimConfig(name="beats the baseline", of="baseline"),
        ]
        return RuleConfig(question="Did the change help?", before=before, after=after, claims=claims)

    def grid(self, before: float, rate: float, longer: float, after: float) -> dict[SettingConfig, float]:
        """ROC-AUC by setting, in the order of a study's cells: by learning rate, then epochs."""
        return {BEFORE: before, LONGER: longer, RATE: rate, AFTER: after}

    def counts(self, auc: float) -> NDArray[np.int64]:
        """How many of the 200 negatives each positive is above; their sum is 200 * 200 * AUC, exactly by counting."""
        spread = np.linspace(-1, 1, HALF) * min(auc, 1 - auc)
        return np.round((auc + spread) * HALF).astype(np.int64)

    def scores(self, auc: float) -> NDArray[np.float64]:
        """Scores of negative and positive pairs in turn, without ties: a positive is just above its negatives."""
        scores = np.empty(2 * HALF)
        scores[0::2] = np.arange(HALF) + 0.5
        scores[1::2] = self.counts(auc) + 0.25 * np.arange(HALF) / HALF
        return scores / HALF

    def auc(self, auc: float) -> float:
        """What `scores(auc)` come to, by counting."""
        return float(self.counts(auc).sum() / HALF**2)

    def spearman(self, auc: float) -> float:
        """The same as Spearman, by the identity of 0/1 labels: (2 AUC - 1) sqrt(3 p (1-p)) n / sqrt(n^2 - 1)."""
        n = 2 * HALF
        return float((2 * self.auc(auc) - 1) * np.sqrt(3 / 4) * n / np.sqrt(n**2 - 1))

    def table(self, scores: NDArray[np.float64]) -> ScoreTable:
        """A positive pair is a problem of its own; a negative one joins its own to the next."""
        rows = np.arange(2 * HALF)
        labels = (rows % 2).astype(np.float64)
        units = np.column_stack([rows | 1, np.where(labels == 1, rows, (rows + 3) % (2 * HALF))])
        ids = [f"INC{row}" for row in rows]
        return ScoreTable(rows, ids, [f"{each}b" for each in ids], units, labels, scores)

    def study(
        self,
        cells: Mapping[SettingConfig, float],
        untuned: float = 0.78,
        spread: float = 0.0,
        seeds: Sequence[int] = range(5),
        rule: RuleConfig | None = None,
        curve: Curve = level,
        transfer: Mapping[SettingConfig, float] | None = None,
        config: Config | None = None,
    ) -> Study:
        """In memory: ROC-AUC by cell, the seeds `spread` apart around it. Out of domain the un-tuned one has 0.78."""
        middle = (len(seeds) - 1) / 2
        offsets = [spread * (at - middle) for at in range(len(seeds))]

        def side(of: Mapping[SettingConfig, float], base: float) -> Scored:
            scored = np.array([[self.scores(auc + offset) for offset in offsets] for auc in of.values()])
            of_side = self.table(self.scores(base))
            return Scored(of_side.label, of_side.label == 1, of_side.units, of_side.score, scored)

        members = [
            [
                Member(_info(f"{cell}{seed}" * 8, setting, seed), setting, seed, list(curve(setting, seed)), [0.3, 0.2])
                for seed in seeds
            ]
            for cell, setting in enumerate(cells)
        ]
        return Study(
            name="fix",
            rule=rule or self.rule,
            config=config or Config(study="fix", rule=rule or self.rule),
            settings=list(cells),
            seeds=list(seeds),
            members=members,
            baseline=_info("b" * 32, None, 0),
            sides={"test": side(cells, untuned), **({"transfer": side(transfer, 0.78)} if transfer else {})},
            parent=None,
            foretold=True,
            notes=[],
        )


def _info(run_id: str, setting: SettingConfig | None, seed: int) -> RunInfo:
    params = {} if setting is None else {"optim.lr": str(setting.lr), "optim.epochs": str(setting.epochs)}
    return RunInfo(
        run_id=run_id,
        name="run",
        study="fix",
        status="FINISHED",
        params={**params, "seed": str(seed)},
        metrics={"dev/spearman": 0.705, "train/seconds": 61.5},
        tags={key: str(value) for key, value in TAGS.items()},
        start_time=datetime(2026, 11, 25, tzinfo=timezone.utc),
        artifact_uri="",
        experiment_id="",
    )


@dataclasses.dataclass
class Planted:
    """A store, and runs logged into it as `promax train` logs them."""

    store: Store
    made: Made

    def study(
        self,
        cells: Mapping[SettingConfig, float],
        name: str = "fix",
        spread: float = 0.0,
        seeds: Sequence[int] = range(5),
        transfer: Mapping[SettingConfig, float] | None = None,
        sweep: bool = True,
        rule: RuleConfig | None = None,
    ) -> list[str]:
        """As `Made.study`, with the runs' ids in the order of cells and seeds, under a sweep's run or without one."""
        data = DataConfig(transfer="bugs.jsonl" if transfer else None)
        cfg = Config(study=name, data=data, rule=rule or self.made.rule)
        baseline = self.baseline(cfg, 0.78, 0.78 if transfer else None)
        parent = open_sweep(self.store, name, None, {"sampler": "grid"}) if sweep else None
        runs = []
        for setting, auc in cells.items():
            for at, seed in enumerate(seeds):
                shifted = auc + spread * (at - (len(seeds) - 1) / 2)
                elsewhere = transfer[setting] if transfer else None
                runs.append(self.run(cfg, setting, seed, shifted, baseline, elsewhere, parent))
        if parent is not None:
            parent.end("FINISHED")
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
        transfer: float | None = None,
        parent: Run | None = None,
        tags: Mapping[str, object] | None = None,
        without: int | None = None,
        train: str = "train.jsonl sha256:34ab",
    ) -> str:
        """As `promax train` logs it, of the file `train`; after epoch `without` dev has no value."""
        cfg = _with(cfg, setting, seed)
        marks = {**TAGS, KIND_TAG: "tuned", BASELINE_RUN: baseline, **(tags or {})}
        if transfer is not None:
            marks["promax.data.transfer"] = "ef" * 32
        name = f"minilm lr={setting.lr:g} epochs={setting.epochs} seed={seed}"
        with start_run(self.store, cfg.study, name, flatten(cfg), marks, parent and parent.run_id) as run:
            own = [f"optim.lr={setting.lr}", f"optim.epochs={setting.epochs}", f"seed={seed}", "device=cpu"]
            own += [f"{key}={value}" for key, value in setting.also.items()]
            words = ["data=pairs", "data.train=/home/someone/train.jsonl", "data.test=pairs/test.jsonl", *own]
            run.log_text("\n".join(words) + "\n", "overrides.txt")
            for epoch, value in enumerate(level(setting, seed), 1):
                dev = {} if epoch == without else {"dev/spearman": value}
                run.log_metrics({**dev, "train/loss": 0.3 / epoch}, step=epoch)
            run.log_metrics({"dev/spearman": 0.71, "train/seconds": 61.5}, step=setting.epochs + 1)
            self._evaluated(run, cfg, auc, transfer, train)
        return run.run_id

    def unfinished(
        self,
        cfg: Config,
        setting: SettingConfig,
        seed: int,
        baseline: str,
        ended: tuple[Literal["FAILED", "KILLED"], str] | None = None,
    ) -> None:
        """A run without a result: how it ended and why, or one that goes on."""
        run = create_run(self.store, cfg.study, "minilm", {**TAGS, KIND_TAG: "tuned", BASELINE_RUN: baseline})
        run.log_params(flatten(_with(cfg, setting, seed)))
        if ended is not None:
            run.end(*ended)

    def _evaluated(
        self, run: Run, cfg: Config, auc: float, transfer: float | None, source: str = "train.jsonl sha256:34ab"
    ) -> None:
        run.log_text(to_yaml(cfg), "config.yaml")
        run.log_scores("test", self.made.table(self.made.scores(auc)))
        if transfer is not None:
            run.log_scores("transfer", self.made.table(self.made.scores(transfer)))
        pairs = cfg.data.train_limit or 3000
        # MLflow keeps one record of what has one name and one digest.
        digest = hashlib.sha256(f"{source} {pairs}".encode()).hexdigest()[:36]
        train = DatasetRecord("pairs train", digest, "train", "local", source, {"pairs": pairs})
        test = DatasetRecord("pairs test", "cd" * 18, "test", "local", "test.jsonl sha256:56cd", {"pairs": 2 * HALF})
        run.log_datasets([train, test])


def _with(cfg: Config, setting: SettingConfig, seed: int) -> Config:
    optim = dataclasses.replace(cfg.optim, lr=setting.lr, epochs=setting.epochs)
    cfg = dataclasses.replace(cfg, seed=seed, optim=optim)
    for key, value in setting.also.items():
        group, _, name = key.partition(".")
        typed = int(value) if value.isdigit() and name != "name" else value
        changed = dataclasses.replace(getattr(cfg, group), **{name: typed})
        cfg = dataclasses.replace(cfg, **{group: changed})
    return cfg


@pytest.fixture(scope="session")
def made() -> Made:
    return Made()


@pytest.fixture
def planted(project: Path, fresh_database: Path, made: Made) -> Planted:
    (project / "mlruns").mkdir()
    shutil.copy(fresh_database, project / "mlruns" / "mlflow.db")
    return Planted(open_store(), made)
