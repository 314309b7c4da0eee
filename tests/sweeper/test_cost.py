"""What a trial costs besides training: nothing is done twice in a worker, and no trial sees another's state."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from sentence_transformers import SentenceTransformer

from promax import base, encoder, weights
from promax.cli import main
from promax.metrics import resampling
from promax.tracking import RunInfo, open_store, query, read_text, runs_of

# A sweep of the real encoder: `make fast` leaves it out.
pytestmark = pytest.mark.slow

TIMINGS = {"train/seconds", "train/pairs_per_second", "train/other_seconds"}
SWEEP = [
    *("-m", "hydra/sweeper=promax_optuna", "hydra.sweeper.pruner=none", "hydra.sweeper.n_trials=3", "study=cost"),
    *("optim.lr=tag(log,interval(1e-4,1e-2))", "optim.epochs=2", "data.phases=[1,2]"),
]


def promax(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", *words])
    assert ended.value.code == 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    """What is done in this process from now on, how often: files hashed and encoders opened by path, texts tokenized,
    baselines sought by study, their scores read by side."""
    weights._digest.cache_clear()
    base._kept.cache_clear()
    encoder._adapted.cache_clear()
    query.finished_scores.cache_clear()
    query.read_ahead.cache_clear()
    kinds = ("hashed", "opened", "adapted", "tokenized", "sought", "read")
    seen: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    preprocess, opened, read = SentenceTransformer.preprocess, SentenceTransformer.__init__, query.read_scores
    attach = encoder.attach_lora

    def counting_preprocess(self: Any, texts: list[str], *given: Any, **named: Any) -> Any:
        seen["tokenized"].update(texts)
        return preprocess(self, texts, *given, **named)

    def counting_init(self: Any, folder: str, *given: Any, **named: Any) -> None:
        seen["opened"][Path(folder).name] += 1
        opened(self, folder, *given, **named)

    def counting_attach(transformer: Any, lora: Any, seed: int) -> None:
        seen["adapted"][f"seed {seed}"] += 1
        attach(transformer, lora, seed)

    def counting_find(store: Any, study: str, key: str) -> Any:
        seen["sought"][study] += 1
        return query.find_baseline(store, study, key)

    def counting_read(store: Any, run_id: str, side: Any) -> Any:
        seen["read"][side] += 1
        return read(store, run_id, side)

    def counting_open(self: Path, mode: str = "r", *given: Any, **named: Any) -> Any:
        if self.name == weights.WEIGHTS and mode == "rb":
            seen["hashed"][self.name] += 1
        return path_open(self, mode, *given, **named)

    path_open = Path.open
    monkeypatch.setattr(Path, "open", counting_open)
    monkeypatch.setattr(SentenceTransformer, "preprocess", counting_preprocess)
    monkeypatch.setattr(SentenceTransformer, "__init__", counting_init)
    monkeypatch.setattr(encoder, "attach_lora", counting_attach)
    monkeypatch.setattr("promax.run.find_baseline", counting_find)
    monkeypatch.setattr(query, "read_scores", counting_read)
    return seen


def tuned(study: str) -> list[RunInfo]:
    return [run for run in runs_of(open_store(), study) if run.tags["promax.kind"] == "tuned"]


def test_within_a_worker_nothing_is_done_twice(
    project: Path, project_with_pairs: list[str], counted: dict[str, Counter[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    promax(*SWEEP, *project_with_pairs)
    out, err = capsys.readouterr()
    assert counted["hashed"] == {"model.safetensors": 1}
    assert counted["opened"] == {"model": 1}
    assert counted["adapted"] == {"seed 0": 1}
    assert len(counted["tokenized"]) > 100 and set(counted["tokenized"].values()) == {1}
    assert counted["sought"] == {"cost": 1}
    assert counted["read"] == {"dev": 1, "test": 1}
    # What is common to all trials is told once, each epoch under its trial's name.
    assert err.count("audit: looking through") == err.count("told in audit/report.md") == 1
    assert "baseline: run" not in err and err.count("evaluating on dev and test") == 1  # the baseline's own
    assert [int(number) for number in re.findall(r"^trial (\d), epoch 2/2: loss ", err, re.MULTILINE)] == [0, 1, 2]
    assert re.search(r"^besides training, a trial took \d+\.\d\d s \(median of 2\)$", out, re.MULTILINE)
    study = optuna.load_study(study_name="cost", storage=f"sqlite:///{project / 'mlruns' / 'optuna.db'}")
    (table,) = (project / "mlruns" / "sweeps").glob("*/trials.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    for trial, row, run in zip(study.trials, rows, reversed(tuned("cost")), strict=True):
        trained, whole = trial.user_attrs["trained_seconds"], trial.duration.total_seconds()
        assert 0 < trained < whole
        assert float(row["seconds_besides_training"]) == pytest.approx(whole - trained, abs=1e-3)
        # A run knows of all but what lies around it: composing, and telling the study.
        assert 0 < run.metrics["train/other_seconds"] < whole - trained


def test_a_trials_run_is_that_of_the_same_config_alone(project: Path, project_with_pairs: list[str]) -> None:
    """The last of three trials in one worker, and its config in a process' fresh state."""
    promax(*SWEEP, *project_with_pairs)
    in_sweep = next(run for run in tuned("cost") if run.tags["promax.trial"] == "2")
    base._kept.cache_clear()
    encoder._adapted.cache_clear()
    resampling._KEPT.clear()
    lr = in_sweep.params["optim.lr"]
    promax(*project_with_pairs, "optim.epochs=2", f"optim.lr={lr}", "study=alone")
    (alone,) = tuned("alone")
    assert {name: value for name, value in in_sweep.metrics.items() if name not in TIMINGS} == {
        name: value for name, value in alone.metrics.items() if name not in TIMINGS
    }
    for side in ("dev", "test"):
        one, other = (read_text(open_store(), run.run_id, f"scores/{side}.csv") for run in (in_sweep, alone))
        assert one == other
    files = [
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        for folder in (Path(run.artifact_uri.removeprefix("file://")) for run in (alone, in_sweep))
    ]
    # A trial's run has the same files, but for the pictures of what they hold.
    assert files[1] < files[0] and {name.partition("/")[0] for name in files[0] - files[1]} == {"figures"}
