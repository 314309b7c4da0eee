"""What the child is asked for, and what it may use of the code that it runs in."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import torch

from promax.reproduce import child, request
from promax.reproduce.record import Recorded
from promax.reproduce.request import Request, pinned
from promax.tracking import RunInfo, Store, TrackingError, take_over, waiting_runs
from promax.tracking.pending import Outbox, Pending, pending_folder
from promax.tracking.write import Write

CONFIG: dict[str, Any] = {
    "device": "auto",
    "precision": "auto",
    "tracking": {"uri": None, "log_text": False},
    "seed": 1,
}


def recorded(**tags: str) -> Recorded:
    run = RunInfo("a" * 32, "name", "study", "FINISHED", {}, {}, tags, datetime.now(timezone.utc), "", "")
    return Recorded(run, CONFIG, "b" * 40, "", (), {}, None)


def tagged(**tags: str) -> Recorded:
    return recorded(**{f"promax.{name}": value for name, value in tags.items()})


def test_the_child_uses_these_names_and_no_others() -> None:
    """They are there at every commit from 279c5b4 on, and a later promax counts on them here."""
    used: set[str] = set()
    for node in ast.walk(ast.parse(Path(child.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("promax"):
            used |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert used == {
        "promax.config.ConfigError",
        "promax.config.from_yaml",
        "promax.data.splits.load",
        "promax.run.run",
        "promax.trial.Pruned",
        "promax.weights",
    }


def test_what_was_left_to_the_machine_is_set_to_what_it_came_to(store: Store) -> None:
    found = pinned(CONFIG, tagged(device="cpu", precision="bf16"), store)
    assert found == {**CONFIG, "device": "cpu", "precision": "bf16", "tracking": {"uri": store.uri, "log_text": False}}
    # A GPU may not be here: what there is is taken, and the comparison names the device.
    assert pinned(CONFIG, tagged(device="cuda"), store)["device"] == "auto"
    assert pinned(CONFIG, tagged(device="cuda"), store)["precision"] == "auto"
    assert CONFIG["device"] == "auto"


def test_numeric_libraries_get_the_variables_that_they_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.setenv("OTHER", "kept")
    environment = Request(
        tagged(environment="OMP_NUM_THREADS=2 LD_PRELOAD=x"), CONFIG, tmp_path, tmp_path
    )._environment()
    assert (environment["OMP_NUM_THREADS"], environment["OTHER"]) == ("2", "kept")
    assert "MKL_CBWR" not in environment
    assert environment.get("LD_PRELOAD") != "x"
    assert (environment["PROMAX_ROOT"], environment["PYTHONPATH"]) == (str(tmp_path), str(tmp_path))
    # An earlier record didn't say: the variables stay as they are, and torch is told the number of threads.
    earlier = Request(tagged(threads="2"), CONFIG, tmp_path, tmp_path)
    assert earlier._environment()["OMP_NUM_THREADS"] == "8"
    assert earlier._words("answer", train=True)["threads"] == 2


def test_another_number_of_cores_is_told_to_all_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's products are summed by as many threads as there are cores, where nothing says how many."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    here = torch.get_num_threads()

    def told(threads: int, environment: str) -> str | None:
        run = tagged(environment=environment, threads=str(threads))
        return Request(run, CONFIG, tmp_path, tmp_path)._environment().get("OMP_NUM_THREADS")

    assert told(here + 3, "MKL_CBWR=COMPATIBLE") == str(here + 3)
    # A like machine gives what it gave; and what was said then is said again.
    assert told(here, "MKL_CBWR=COMPATIBLE") is None
    assert told(here + 3, "OMP_NUM_THREADS=5") == "5"
    assert told(here + 3, "OPENBLAS_NUM_THREADS=5") is None


# In place of the child: a run that ends while nobody listens where its server was.
CUT_OFF = """
import json, sys
from pathlib import Path
from mlflow import MlflowClient
from promax.tracking import Run, Store
run = Run(Store("http://127.0.0.1:1", None, MlflowClient("http://127.0.0.1:1")), "f" * 32)
run.log_metrics({"train/loss": 0.5}, step=3)
run.log_text("as it was", "texts/a.txt")
run.end("KILLED")
answer = json.loads(Path(sys.argv[1]).read_text())["answer"]
Path(answer).write_text(json.dumps({"run_id": run.run_id}))
"""


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_waits_in_the_worktree_is_kept_when_that_goes(
    interrupted: bool, project: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, program = project / "code", project / "program.py"
    code.mkdir()
    program.write_text(CUT_OFF)
    monkeypatch.setattr(child, "__file__", str(program))
    wait = request._waited

    def waited(process: subprocess.Popen[bytes]) -> int:
        status = wait(process)
        if interrupted:
            raise KeyboardInterrupt
        return status

    monkeypatch.setattr(request, "_waited", waited)
    with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext():
        assert Request(tagged(), CONFIG, code, project).train(Path(sys.executable)) == "f" * 32
    shutil.rmtree(code)
    assert waiting_runs() == [Pending("f" * 32, "http://127.0.0.1:1", 3)]
    assert [path.name for path in pending_folder().parent.iterdir() if path.name.endswith(".new")] == []
    sent: list[Write] = []
    texts: list[str] = []
    for write in Outbox(store, "f" * 32).drain(lambda _store, _run_id, write: texts.extend(read(write))):
        sent.append(write)
    assert [tuple(each)[::3] for each in sent[0].metrics] == [("train/loss", 3)]
    assert texts == ["as it was"]
    assert sent[2].ended is not None and sent[2].ended[0] == "KILLED"


def read(write: Write) -> list[str]:
    return [] if write.file is None else [write.file.read_text()]


def test_what_waits_and_can_t_be_kept_is_said_to_be_lost(project: Path, tmp_path: Path) -> None:
    waiting = pending_folder(tmp_path / "code") / ("f" * 32)
    waiting.mkdir(parents=True)
    (waiting / "000001.json").write_text("{}")
    (project / "mlruns").touch()
    with pytest.raises(TrackingError) as raised:
        take_over(tmp_path / "code")
    here = project / "mlruns" / "pending"
    assert str(raised.value) == f"run ffffffff: what waits of it is lost: {here} can't be written to: Not a directory"


def test_a_reproduction_is_tagged_as_one_from_its_first_moment(tmp_path: Path) -> None:
    tuned = Request(tagged(baseline_run="c" * 32), CONFIG, tmp_path, tmp_path)._words("answer", train=True)
    assert tuned["tags"] == {
        "promax.kind": "reproduction",
        "promax.reproduces": "a" * 32,
        "promax.baseline_run": "c" * 32,
    }
    # No key is a hex digest and empty: a search for a baseline never finds it.
    baseline = Request(tagged(baseline_key="d" * 64), CONFIG, tmp_path, tmp_path)._words("answer", train=True)
    assert baseline["tags"]["promax.baseline_key"] == ""
