"""What a fault costs: runs of real training that are killed, cut off, refused; then the record is counted.

    python experiments/faults/faults.py [NAME ...]

All faults, or those named: refusing stopped gone locked disk_full killed_saving corrupt truncated together clock_back
killed. Everything happens under a scratch folder. Writes what each came to into record.json beside this file, over
what stood there of it, and prints the table. Exit code 0: no run is left RUNNING, no metric lost or doubled, no
partial model can be opened, no traceback was shown.
"""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
from mlflow import MlflowClient
from sentence_transformers import SentenceTransformer

from promax.data import corpus
from promax.tracking import Store, open_store, sweep_dead_runs, ui_command
from promax.tracking.query import search

HERE = Path(__file__).resolve().parent
CHILD = HERE / "child.py"
RECORD = HERE / "record.json"


@dataclass
class Count:
    """One row of the table. A point is lost that was logged, as the run's own note says, and is not in the record."""

    fault: str
    repetitions: int = 0
    running: int = 0
    lost: int = 0
    doubled: int = 0
    partial: int = 0
    tracebacks: int = 0
    ended: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Project:
    """A project root with pairs of generated tickets and a store that holds their baseline."""

    root: Path

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

    def count(self, count: Count, errors: Sequence[str]) -> Count:
        """Close what dead processes left open, as the next run does, and count what the record then holds."""
        database = f"sqlite:///{self.root}/mlruns/mlflow.db"
        store = open_store(database)
        sweep_dead_runs(store)
        notes = [json.loads(line) for line in (self.root / "notes.jsonl").read_text(encoding="utf-8").splitlines()]
        count.tracebacks += sum("Traceback" in text for text in errors)
        for run in search(store, ""):
            history = MlflowClient(store.uri).get_metric_history(run.info.run_id, "dev/spearman")
            points = Counter((each.step, each.value) for each in history)
            said = {(step, value) for run_id, step, value in notes if run_id == run.info.run_id}
            count.lost += len(said - set(points))
            count.doubled += sum(number - 1 for number in points.values())
            count.running += run.info.status == "RUNNING"
            count.ended[run.info.status] += 1
            model = (
                self.root / "mlruns" / "artifacts" / run.info.experiment_id / run.info.run_id / "artifacts" / "model"
            )
            if run.info.status != "FINISHED" and model.is_dir():
                count.partial += _is_partial(model)
        return count


def _is_partial(model: Path) -> bool:
    """Whether a model that a run left that did not finish can be opened although a file of it is missing."""
    whole = {"README.md", "adapter_config.json", "adapter_model.safetensors", "modules.json", "tokenizer.json"}
    try:
        SentenceTransformer(str(model), device="cpu", local_files_only=True)
    except Exception:  # every way of not opening means the same here
        return False
    return not whole <= {path.name for path in model.iterdir()}


def project(root: Path, *, baseline: bool = True) -> Project:
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
    made = Project(root)
    if baseline:
        _, errors = (process := made.start(*made.words("optim.epochs=0"))).communicate()
        assert process.returncode == 0, errors
    return made


def killed(scratch: Path, repetitions: int = 20) -> Count:
    """SIGKILL after a time drawn from all of a run's, its training, evaluation and logging."""
    here, errors, draw = project(scratch / "killed"), [], random.Random(7)
    began = time.monotonic()
    here.start(*here.words()).communicate()
    whole = time.monotonic() - began
    for number in range(repetitions):
        process = here.start(*here.words(f"seed={number + 1}"))
        try:
            # A third of it is imports, before there is a run.
            process.wait(timeout=whole * (0.35 + 0.65 * draw.random()))
        except subprocess.TimeoutExpired:
            process.kill()
        errors.append(process.communicate()[1])
    return here.count(Count("SIGKILL at a random point of a run", repetitions), errors)


def killed_saving(scratch: Path) -> Count:
    """SIGKILL while a file of the model is being written into the record, half of it there; each file in turn."""
    here, errors = project(scratch / "saving"), []
    for number in (1, 3, 5, 7, 9):
        errors.append(here.start(*here.words(), KILL_AT_FILE=str(number)).communicate()[1])
    return here.count(Count("SIGKILL while the model is put into the record", len(errors)), errors)


class Server:
    """An MLflow server on a project's store, at one port for all its lives."""

    def __init__(self, here: Project) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}"
        database, artifacts = f"sqlite:///{here.root}/mlruns/mlflow.db", (here.root / "mlruns" / "artifacts").as_uri()
        self.command, self.environment = ui_command(
            Store(database, artifacts, MlflowClient(database)), "127.0.0.1", self.port
        )

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
        os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait()


AWAY = {
    "refusing": "server refuses for 60 s",
    "stopped": "server stopped (SIGSTOP) for 60 s",
    "gone": "server gone to the run's end, then promax sync",
}


def away(scratch: Path, how: str) -> Count:
    """A server that is killed or stopped after an epoch, for a minute or until `promax sync` is called."""
    here = project(scratch / how)
    server = Server(here)
    server.start()
    try:
        process = here.start(*here.words(f"tracking.uri={server.address}", "optim.epochs=9"), SECONDS_AN_EPOCH="10")
        wait_for_an_epoch(here, process)
        server.signal(signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
        errors = []
        if how == "gone":
            errors.append(process.communicate()[1])
            server.start()
            errors.append(here.start("sync", "--uri", server.address).communicate()[1])
        else:
            time.sleep(60)
            server.signal(signal.SIGCONT) if how == "stopped" else server.start()
            errors.append(process.communicate()[1])
    finally:
        server.signal(signal.SIGKILL)
    return here.count(Count(AWAY[how], 1), errors)


def wait_for_an_epoch(here: Project, process: subprocess.Popen[str]) -> None:
    while not (here.root / "notes.jsonl").read_text(encoding="utf-8"):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.2)


def disk_full(scratch: Path) -> Count:
    """No file can grow past a limit: of the model, then of what comes before it."""
    here, errors = project(scratch / "full"), []
    for kilobytes in (2000, 60, 5):
        errors.append(here.start(*here.words(), LARGEST_FILE=str(1000 * kilobytes)).communicate()[1])
    return here.count(Count("disk full", len(errors)), errors)


def locked(scratch: Path) -> Count:
    """Another process holds SQLite's lock for 40 s, from the first epoch on."""
    here = project(scratch / "locked")
    process = here.start(*here.words())
    wait_for_an_epoch(here, process)
    with sqlite3.connect(here.root / "mlruns" / "mlflow.db", timeout=60, isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(40)
        database.execute("ROLLBACK")
    return here.count(Count("SQLite locked for 40 s", 1), [process.communicate()[1]])


def corrupt(scratch: Path) -> Count:
    """The database's head is overwritten: refused, and untouched, so that a backup put back is all there was."""
    here = project(scratch / "corrupt")
    database = here.root / "mlruns" / "mlflow.db"
    whole = database.read_bytes()
    database.write_bytes(b"x" * 4096 + whole[4096:])
    process = here.start(*here.words())
    errors = process.communicate()[1]
    assert process.returncode == 2, errors
    database.write_bytes(whole)
    return here.count(Count("SQLite corrupt", 1), [errors])


def truncated(scratch: Path) -> Count:
    """Half of a data file: refused before there is a run. A text file that is cut between two lines is whole."""
    here, errors = project(scratch / "truncated"), []
    rows = [json.loads(line) for line in (here.root / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, here.root / "train.parquet")
    csv.write_csv(table, here.root / "train.csv")
    for kind in ("parquet", "jsonl", "csv"):
        file = here.root / f"train.{kind}"
        content = file.read_bytes()
        cut = here.root / f"cut.{kind}"
        cut.write_bytes(content[: content.index(b'"', len(content) // 2) + 2])
        process = here.start(*here.words(f"data.train={cut}"))
        errors.append(process.communicate()[1])
        print(f"truncated {kind}: exit code {process.returncode}: {errors[-1].strip()[-300:]}", flush=True)
    return here.count(Count("truncated Parquet, JSONL, CSV", 3), errors)


def together(scratch: Path) -> Count:
    """Two processes that begin at once in a project without a store."""
    here = project(scratch / "together", baseline=False)
    both = [here.start(*here.words(f"seed={seed}")) for seed in (0, 1)]
    return here.count(Count("two processes in a new store", 2), [each.communicate()[1] for each in both])


def clock_back(scratch: Path) -> Count:
    """The clock is put back by an hour after each epoch."""
    here = project(scratch / "clock")
    return here.count(
        Count("clock put back by an hour, thrice", 1), [here.start(*here.words(), CLOCK="-3600").communicate()[1]]
    )


def table(counts: Sequence[Count]) -> str:
    heads = ["fault", "repetitions", "left RUNNING", "lost", "doubled", "partial models", "tracebacks", "runs ended"]
    rows = []
    for each in counts:
        *numbers, _ = (str(value) for value in asdict(each).values())
        ended = ", ".join(f"{number} {status}" for status, number in sorted(each.ended.items()))
        rows.append([*numbers, ended])
    return "\n".join("| " + " | ".join(row) + " |" for row in [heads, ["---"] * len(heads), *rows])


FAULTS: dict[str, Callable[[Path], Count]] = {
    **{how: partial(away, how=how) for how in AWAY},
    **{each.__name__: each for each in (locked, disk_full, killed_saving, corrupt, truncated, together, clock_back)},
    "killed": killed,
}


def main() -> None:
    names = sys.argv[1:] or list(FAULTS)
    with tempfile.TemporaryDirectory(prefix="promax-faults-") as folder, ThreadPoolExecutor(2) as pool:
        # Those of servers and locks wait for most of their time.
        for name, found in zip(names, pool.map(lambda name: FAULTS[name](Path(folder)), names), strict=True):
            note(name, found)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    counts = [Count(**{**record[name]["found"], "ended": Counter(record[name]["found"]["ended"])}) for name in record]
    print(table(counts))
    sys.exit(any(each.running + each.lost + each.doubled + each.partial + each.tracebacks for each in counts))


def note(name: str, found: Count) -> None:
    """Write into the record what a fault came to, with the commit it came to it at."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True)
    about = {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "commit": commit.stdout.strip()[:12],
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    record[name] = {**about, "found": asdict(found)}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
