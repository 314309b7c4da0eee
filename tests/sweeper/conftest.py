"""A project with a few pairs, and `promax train` on it with a run of a few milliseconds."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest

from hydra_plugins.promax_sweeper import _plots
from promax.cli import main
from promax.data import corpus
from promax.tracking import open_store
from promax.tracking.query import RunInfo, run_info, search

REPOSITORY = Path(__file__).resolve().parents[2]
DRAW = _plots.draw
TRIVIAL = Path(__file__).with_name("trivial.py")


@dataclass(frozen=True)
class Sweeps:
    """A project root, and sweeps in it."""

    root: Path
    patch: pytest.MonkeyPatch
    captured: pytest.CaptureFixture[str]

    def with_figures(self) -> None:
        self.patch.setattr(_plots, "draw", DRAW)

    @property
    def storage(self) -> str:
        return f"sqlite:///{self.root / 'mlruns' / 'optuna.db'}"

    def words(self, *more: str) -> list[str]:
        files = [f"data.{side}={self.root / side}.jsonl" for side in ("train", "dev", "test")]
        return ["train", "-m", "hydra/sweeper=promax_optuna", "data=pairs", *files, "optim.epochs=1", *more]

    def run(self, *words: str, **environment: str) -> tuple[int, str, str]:
        """Sweep in this process; its exit code, stdout and stderr."""
        return self.promax(*self.words(*words), **environment)

    def promax(self, *words: str, **environment: str) -> tuple[int, str, str]:
        """What `promax WORDS` does here, with trivial runs."""
        self.captured.readouterr()
        with self.patch.context() as patch, pytest.raises(SystemExit) as ended:
            for name, value in environment.items():
                patch.setenv(name, value)
            main(list(words))
        assert isinstance(ended.value.code, int)
        return ended.value.code, *self.captured.readouterr()

    def start(self, *words: str, before: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[str]:
        """Sweep in a process of its own, the first of its group."""
        return subprocess.Popen(
            [sys.executable, str(TRIVIAL), *before, *self.words(*words)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def study(self, name: str, storage: str | None = None) -> optuna.Study:
        return optuna.load_study(study_name=name, storage=storage or self.storage)

    def runs(self, uri: str | None = None) -> list[RunInfo]:
        """All recorded runs, the sweeps' own among them, the oldest first."""
        store = open_store(uri)
        return [run_info(store, run) for run in reversed(search(store, ""))]


def draw_nothing(study: optuna.Study, folder: Path) -> list[str]:
    (folder / "figures").mkdir(exist_ok=True)  # of another sweep in the same second
    (folder / "study.html").touch()
    return []


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    sides = corpus.draw_pairs(corpus.generate(500, seed=1), train=20, dev=20, test=20, seed=1)
    for name, side in zip(("train", "dev", "test"), sides, strict=True):
        columns = zip(side.text1, side.text2, side.labels >= 1, side.id1, side.id2, strict=True)
        keys = ("text1", "text2", "label", "id1", "id2")
        lines = [json.dumps(dict(zip(keys, (a, b, float(c), d, e), strict=True))) for a, b, c, d, e in columns]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def sweeps(
    project: Path, pairs: Path, fresh_database: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Sweeps:
    for side in pairs.iterdir():
        (project / side.name).symlink_to(side)
    spec = importlib.util.spec_from_file_location("trivial", TRIVIAL)
    assert spec is not None and spec.loader is not None
    trivial = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(trivial)
    monkeypatch.setattr(sys.modules["promax.cli.train"], "_train_one", trivial.run)
    # Figures take seconds a sweep; the test of the record draws them.
    monkeypatch.setattr(_plots, "draw", draw_nothing)
    (project / "mlruns").mkdir()
    shutil.copy(fresh_database, project / "mlruns" / "mlflow.db")
    return Sweeps(project, monkeypatch, capfd)


@pytest.fixture
def project_with_pairs(project: Path) -> list[str]:
    """`project` with a few generated pairs, and the words for a run on them that takes a second or two."""
    sides = corpus.draw_pairs(corpus.generate(2000, seed=1), train=32, dev=40, test=40, seed=1)
    for name, side in zip(("train", "dev", "test"), sides, strict=True):
        columns = zip(side.text1, side.text2, side.labels >= 1, side.id1, side.id2, strict=True)
        rows = [{"text1": a, "text2": b, "label": float(c), "id1": d, "id2": e} for a, b, c, d, e in columns]
        rows = [row | {"phase": 1 + number % 2} for number, row in enumerate(rows)]
        (project / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    files = [f"data.{name}={project / name}.jsonl" for name in ("train", "dev", "test")]
    return ["data=pairs", *files, "device=cpu", "model.max_seq_length=16", "eval.bootstrap=100", "save=none"]
