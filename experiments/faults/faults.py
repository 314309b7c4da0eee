"""What a fault costs: runs of real training that are killed, cut off, refused; then the record is counted.

    python experiments/faults/faults.py [NAME ...]

All faults, or those named as in `FAULTS` below. Everything happens under a scratch folder. Writes what each came to
into record.json beside this file, over what stood there of it, and the table into README.md. Exit code 0: no run is
left RUNNING, no metric lost or doubled, no partial model can be opened, no traceback was shown.

The clock is set by libfaketime.so.1, which is where LIBFAKETIME says: a wheel of PyPI's libfaketime has it. (3.0.1; in
Debian 12's 0.9.10 no program of ours could sleep.) `no_space` mounts a file system, which root may.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
from project import HERE, Count, Project, Server

RECORD, PAGE = HERE / "record.json", HERE / "README.md"
MINUTE = 60


def killed(scratch: Path, phase: str, repetitions: int) -> Count:
    """SIGKILL at random points of a phase, whose length a run before shows; of a write, within 20 ms from its call."""
    here, draw, processes = Project.make(scratch / phase), random.Random(phase), []
    here.start(*here.words(), PHASES=str(here.root / "phases.json")).communicate()
    calls, seconds = json.loads((here.root / "phases.json").read_text(encoding="utf-8"))[phase]
    for number in range(repetitions):
        call = draw.randint(1, calls)
        after = draw.random() * (0.02 if phase == "logging" else seconds / calls)
        process = here.start(*here.words(f"seed={number + 1}"), KILL_IN=f"{phase} {call} {after}")
        process.wait()
        processes.append(process)
    return here.count(f"SIGKILL, {phase}", processes, repetitions=_killed(processes))


def killed_saving(scratch: Path) -> Count:
    """SIGKILL while a file of the model is being written into the record, half of it there."""
    here, processes = Project.make(scratch / "saving"), []
    for number in (1, 3, 5, 7, 9):
        processes.append(here.start(*here.words(), KILL_AT_FILE=str(number)))
        processes[-1].wait()
    found = here.count("SIGKILL, half of a model's file in the record", processes, repetitions=_killed(processes))
    assert found.models, "no model was begun: there is nothing to look at"
    return found


def _killed(processes: Sequence[subprocess.Popen[str]]) -> int:
    """How many were killed; one that had ended before is no repetition, and none may fail of itself."""
    ended = Counter(process.returncode for process in processes)
    assert ended.keys() <= {-signal.SIGKILL, 0}, f"exit codes {dict(ended)}: only SIGKILL was to end them"
    return ended[-signal.SIGKILL]


def refusing(scratch: Path) -> Count:
    """Nothing listens at the server's address when a run begins: it is refused before there is a run."""
    here = Project.make(scratch / "refusing")
    process = here.start(*here.words(f"tracking.uri={Server(here).address}"))
    assert process.wait() == 2
    return here.count("server refuses at the start", [process])


def away(scratch: Path, how: str) -> Count:
    """A server is stopped or killed after the first epoch, for a minute or until `promax sync` is called."""
    here = Project.make(scratch / how)
    server = Server(here)
    server.start()
    try:
        processes = [here.start(*here.words(f"tracking.uri={server.address}", "optim.epochs=9"), SECONDS_AN_EPOCH="10")]
        here.wait_for_an_epoch(processes[0])
        server.signal(signal.SIGSTOP) if how == "stopped" else server.kill()
        if how == "gone":
            processes[0].wait()
            server.start()
            processes.append(here.start("sync", "--uri", server.address))
        else:
            time.sleep(MINUTE)
            server.signal(signal.SIGCONT) if how == "stopped" else server.start()
        for process in processes:
            process.wait()
    finally:
        server.kill()
    return here.count(AWAY[how], processes, repetitions=1)


AWAY = {
    "stopped": "server slow: stopped for 60 s in the middle",
    "restarted": "server killed in the middle, back after 60 s",
    "gone": "server killed in the middle, back after the run; promax sync",
}


def between(scratch: Path, fault: str, asks: str) -> Count:
    """The server is killed once its database holds something of a baseline, and is back in a minute."""
    here = Project.make(scratch / fault, baseline=False)
    server = Server(here)
    server.start()
    try:
        process = here.start(*here.words(f"tracking.uri={server.address}"))
        with sqlite3.connect(f"file:{here.database}?mode=ro", uri=True) as database:
            while not database.execute(asks).fetchall():
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.02)
        server.kill()
        time.sleep(MINUTE)
        server.start()
        process.wait()
    finally:
        server.kill()
    return here.count(f"server killed as the baseline {fault}, back after 60 s", [process])


def disk_full(scratch: Path) -> Count:
    """No file can grow past a limit: the adapter of 2.7 MB, then the database from where it is, then from a page on."""
    here, processes = Project.make(scratch / "full"), []
    for largest in (2_000_000, here.database.stat().st_size, 4096):
        processes.append(here.start(*here.words(), LARGEST_FILE=str(largest)))
        processes[-1].wait()
    return here.count("no file can grow past a limit: EFBIG", processes)


def no_space(scratch: Path) -> Count:
    """The record is on a file system of its own, with less left than a run writes: ENOSPC comes wherever it comes."""
    here, draw, processes = Project.make(scratch / "space", baseline=False), random.Random("space"), []
    disk, filler = here.root / "mlruns", here.root / "mlruns" / "filler"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "promax-faults", disk], check=True)
    try:
        assert here.start(*here.words()).wait() == 0
        before = shutil.disk_usage(disk).free
        assert here.start(*here.words()).wait() == 0
        written = before - shutil.disk_usage(disk).free
        for number in range(8):
            # Most of what is written is the model, late: every other time less is left, for what comes before.
            left = int(draw.random() ** (6 if number % 2 else 1) * written)
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - left)
            processes.append(here.start(*here.words()))
            assert processes[-1].wait(), "it was to be refused, or to fail"
            filler.unlink()
        found = here.count("disk full: ENOSPC at a random point", processes)
        assert all("No space left" in line or "disk is full" in line for line in found.said), found.said
        return found
    finally:
        # Lazily: this process has the database open.
        subprocess.run(["umount", "--lazy", disk], check=True)


def locked(scratch: Path) -> Count:
    """Another process holds SQLite's lock for 40 s, from the first epoch on."""
    here = Project.make(scratch / "locked")
    process = here.start(*here.words())
    here.wait_for_an_epoch(process)
    with sqlite3.connect(here.database, timeout=60, isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(40)
        database.execute("ROLLBACK")
    process.wait()
    return here.count("SQLite locked for 40 s", [process])


def corrupt(scratch: Path) -> Count:
    """The database's head is overwritten, then all behind its first page: a backup put back is all there was."""
    here, processes = Project.make(scratch / "corrupt"), []
    whole = here.database.read_bytes()
    for content in (b"x" * 4096 + whole[4096:], whole[:4096] + b"x" * (len(whole) - 4096)):
        here.database.write_bytes(content)
        processes.append(here.start(*here.words()))
        assert processes[-1].wait() == 2
    here.database.write_bytes(whole)
    return here.count("SQLite corrupt", processes)


def truncated(scratch: Path) -> Count:
    """Half of a data file: refused before there is a run. A text file that is cut between two lines is whole."""
    here, processes = Project.make(scratch / "truncated"), []
    rows = [json.loads(line) for line in (here.root / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, here.root / "train.parquet")
    csv.write_csv(table, here.root / "train.csv")
    for kind in ("jsonl", "parquet", "csv"):
        content = (here.root / f"train.{kind}").read_bytes()
        cut = here.root / f"cut.{kind}"
        cut.write_bytes(content[: content.index(b'"', len(content) // 2) + 2])
        processes.append(here.start(*here.words(f"data.train={cut}")))
        assert processes[-1].wait() == 2
    return here.count("data file truncated: JSONL, Parquet, CSV", processes)


def together(scratch: Path) -> Count:
    """Two processes that begin at once in a project without a store."""
    here = Project.make(scratch / "together", baseline=False)
    both = [here.start(*here.words(f"seed={seed}")) for seed in (0, 1)]
    return here.count("two processes in one new store", both)


def clock(scratch: Path, seconds: int) -> Count:
    """The clock is set by so many seconds after each epoch of a run, and another begins, which closes dead ones."""
    here = Project.make(scratch / f"clock{seconds}")
    setting = here.root / "clock"
    setting.write_text("+0", encoding="ascii")
    fake = {"FAKETIME_TIMESTAMP_FILE": str(setting), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
    fake |= {"LD_PRELOAD": os.environ["LIBFAKETIME"], "CLOCK": str(seconds), "SECONDS_AN_EPOCH": "15"}
    first = here.start(*here.words(), **fake)
    here.wait_for_an_epoch(first)
    second = here.start(*here.words("seed=1"))
    processes = [second, first]
    for process in processes:
        process.wait()
    assert setting.read_text(encoding="ascii") == f"{3 * seconds:+d}"
    return here.count(f"clock set {'forward' if seconds > 0 else 'back'} by an hour, thrice", processes, repetitions=1)


FAULTS: dict[str, Callable[[Path], Count]] = {
    "training": partial(killed, phase="training", repetitions=7),
    "evaluation": partial(killed, phase="evaluation", repetitions=6),
    "logging": partial(killed, phase="logging", repetitions=7),
    "killed_saving": killed_saving,
    "refusing": refusing,
    **{how: partial(away, how=how) for how in AWAY},
    "begins": partial(between, fault="begins", asks="SELECT 1 FROM params"),
    "ended": partial(between, fault="has ended", asks="SELECT 1 FROM runs WHERE status = 'FINISHED'"),
    **{each.__name__: each for each in (disk_full, no_space, locked, corrupt, truncated, together)},
    "clock_back": partial(clock, seconds=-3600),
    "clock_forward": partial(clock, seconds=3600),
}


def main() -> None:
    names = sys.argv[1:] or list(FAULTS)
    commit = _commit()
    with tempfile.TemporaryDirectory(prefix="promax-faults-") as folder, ThreadPoolExecutor(2) as pool:
        # Those of servers and locks wait for most of their time.
        for name, found in zip(names, pool.map(lambda name: FAULTS[name](Path(folder)), names), strict=True):
            note(name, found, commit)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    counts = [Count(**record[name]["found"]) for name in FAULTS if name in record]
    write_table(counts)
    sys.exit(any(each.broken for each in counts))


def _commit() -> str:
    """The code's, which must be all committed: the record names it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=True).stdout

    code = ("promax", "conf", "hydra_plugins", "experiments/faults/*.py")
    changed = git("status", "--porcelain", "--", *(f":/{each}" for each in code))
    if changed:
        sys.exit(f"faults.py: commit first, since the record names the code that ran:\n{changed}")
    return git("rev-parse", "HEAD")[:12]


def note(name: str, found: Count, commit: str) -> None:
    """Write into the record what a fault came to, with the commit it came to it at."""
    about = {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "commit": commit,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    record[name] = {**about, "found": asdict(found)}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def write_table(counts: list[Count]) -> None:
    """In place of README.md's table."""
    heads = ["fault", "repetitions", "metrics told of", "lost", "doubled", "runs left RUNNING"]
    rows = [[*heads, "loadable partial models", "tracebacks shown", "runs ended"], ["---"] * 9]
    for each in counts:
        ended = ", ".join(f"{number} {status}" for status, number in sorted(each.ended.items()))
        numbers = [each.repetitions, each.told, each.lost, each.doubled, each.running]
        models = f"{each.partial} of {each.models}" if each.models else "none begun"
        rows.append([each.fault, *map(str, numbers), models, str(each.tracebacks), ended])
    table = ["| " + " | ".join(row) + " |" for row in rows]
    print(*table, sep="\n")
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| fault "))
    rest = [line for line in lines[first:] if not line.startswith("|")]
    PAGE.write_text("\n".join([*lines[:first], *table, *rest]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
