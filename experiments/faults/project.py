"""What a fault happens to: a project with real training in it, a server on its store, and the count of what it cost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from mlflow import MlflowClient
from sentence_transformers import SentenceTransformer

from promax.data import corpus
from promax.tracking import REASON_TAG, Store, open_store, runs_of, sweep_dead_runs, ui_command
from promax.tracking.query import search

HERE = Path(__file__).resolve().parent
CHILD = HERE / "child.py"


@dataclass
class Count:
    """One row of the table. A value is lost that a run told of, as its own note says, and that is not in the record.

    `told` counts the values, `ended` the runs by their status, `models` those that left a model without having
    finished, of which `partial` can be opened though it is not whole; `said` is the last line of each process that
    failed of itself.
    """

    fault: str
    repetitions: int = 0
    told: int = 0
    running: int = 0
    lost: int = 0
    doubled: int = 0
    models: int = 0
    partial: int = 0
    tracebacks: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def broken(self) -> int:
        """How often the rule is broken."""
        return self.running + self.lost + self.doubled + self.partial + self.tracebacks


@dataclass(frozen=True)
class Project:
    """A project root with pairs of generated tickets and a store that holds their baseline."""

    root: Path

    @classmethod
    def make(cls, root: Path, *, baseline: bool = True) -> Project:
        root.mkdir()
        (root / "conf").symlink_to(HERE.parent.parent / "conf")
        drawn = corpus.draw_pairs(corpus.generate(2000, seed=1), train=48, dev=40, test=60, seed=1)
        for name, pairs in zip(("train", "dev", "test"), drawn, strict=True):
            columns = zip(pairs.text1, pairs.text2, pairs.labels, pairs.id1, pairs.id2, strict=True)
            rows = [
                {"text1": one, "text2": two, "label": float(label >= 1), "id1": id1, "id2": id2}
                for one, two, label, id1, id2 in columns
            ]
            (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (root / "notes.jsonl").touch()
        made = cls(root)
        if baseline:
            process = made.start(*made.words("optim.epochs=0"))
            _, errors = process.communicate()
            assert process.returncode == 0, errors
        return made

    @property
    def database(self) -> Path:
        return self.root / "mlruns" / "mlflow.db"

    def words(self, *more: str) -> list[str]:
        files = [f"data.{side}={self.root / side}.jsonl" for side in ("train", "dev", "test")]
        quick = ["device=cpu", "model.max_seq_length=32", "optim.lr=1e-3", "eval.bootstrap=100", "optim.epochs=3"]
        return ["train", "data=pairs", "model=minilm_lora", *files, *quick, *more]

    def start(self, *words: str, **faults: str) -> subprocess.Popen[str]:
        """`promax` with these words in a process of its own; `faults` are for child.py, which says what each does."""
        environment = {**os.environ, "PROMAX_ROOT": str(self.root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        environment |= {"NOTES": str(self.root / "notes.jsonl"), **faults}
        return subprocess.Popen(
            [sys.executable, str(CHILD), *words],
            env=environment,
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_an_epoch(self, process: subprocess.Popen[str]) -> None:
        # A baseline has its at step 0.
        while '"dev/spearman", 1,' not in (self.root / "notes.jsonl").read_text(encoding="utf-8"):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.2)

    def count(self, fault: str, processes: Sequence[subprocess.Popen[str]], repetitions: int = 0) -> Count:
        """Close what dead processes left open, as the next run does, and count what the record then holds."""
        count = Count(fault, repetitions or len(processes))
        for process in processes:
            _, errors = process.communicate()
            count.tracebacks += "Traceback" in errors
            if process.returncode > 0:
                last = errors.strip().splitlines()[-1].replace(str(self.root), "ROOT")
                count.said.append(f"exit code {process.returncode}: {last}")
        store = open_store(f"sqlite:///{self.database}")
        sweep_dead_runs(store)
        notes = [json.loads(line) for line in (self.root / "notes.jsonl").read_text(encoding="utf-8").splitlines()]
        client, runs = MlflowClient(store.uri), search(store, "")
        recorded = {run.info.run_id for run in runs}
        # Those of a run that the record has not at all.
        count.lost = sum(run_id not in recorded for run_id, *_ in notes)
        for run in runs:
            logged = {(key, step, value) for run_id, key, step, value in notes if run_id == run.info.run_id}
            points = Counter(
                (key, each.step, each.value)
                for key in {*run.data.metrics, *(key for key, _, _ in logged)}
                for each in client.get_metric_history(run.info.run_id, key)
            )
            count.told += len(logged)
            count.lost += len(logged - set(points))
            count.doubled += sum(number - 1 for number in points.values())
            count.running += run.info.status == "RUNNING"
            was_dead = run.info.status == "FINISHED" and run.data.tags.get(REASON_TAG)
            status = "FINISHED, though taken for dead" if was_dead else str(run.info.status)
            count.ended[status] = count.ended.get(status, 0) + 1
            model = self._artifacts(run.info.artifact_uri) / "model"
            if run.info.status != "FINISHED" and model.is_dir():
                count.models += 1
                count.partial += _opens(model) and not self._is_whole(model)
        return count

    def _artifacts(self, uri: str) -> Path:
        """Where a run's files lie: an embedded one's address is a file's, a server's a path among its artifacts."""
        kind, _, path = uri.partition(":")
        return Path(unquote(path.removeprefix("//"))) if kind == "file" else self.root / "mlruns/artifacts" / path[1:]

    def _is_whole(self, model: Path) -> bool:
        """Whether it has what a model has that was saved in peace: all files but the page, each as large."""
        whole = self.root / "whole.json"
        if not whole.exists():
            process = self.start(*self.words("study=whole"))
            process.communicate()
            found = runs_of(open_store(f"sqlite:///{self.database}"), "whole")
            (run,) = (each for each in found if each.tags["promax.kind"] == "tuned")
            whole.write_text(json.dumps(_sizes(self._artifacts(run.artifact_uri) / "model")), encoding="utf-8")
        return bool(_sizes(model) == json.loads(whole.read_text(encoding="utf-8")))


def _sizes(model: Path) -> dict[str, int]:
    files = (path for path in model.rglob("*") if path.is_file() and path.name != "README.md")
    return {str(path.relative_to(model)): path.stat().st_size for path in files}


def _opens(model: Path) -> bool:
    try:
        SentenceTransformer(str(model), device="cpu", local_files_only=True)
    except Exception:  # every way of not opening means the same here
        return False
    return True


class Server:
    """An MLflow server on a project's store, at one port for all its lives."""

    def __init__(self, here: Project) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}"
        address, artifacts = f"sqlite:///{here.database}", (here.root / "mlruns" / "artifacts").as_uri()
        open_store(address)
        self.command, self.environment = ui_command(
            Store(address, artifacts, MlflowClient(address)), "127.0.0.1", self.port
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        # A group of its own: the server is a process with workers, and a signal is for all of them.
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdout=quiet, stderr=quiet, start_new_session=True
        )
        while True:
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.2)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
