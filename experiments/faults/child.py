"""`promax` with a fault in it, as the environment asks: see `faults` below. Notes what was logged, behind its back."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from promax import journal, run
from promax.cli import main
from promax.tracking import Run, pending
from promax.tracking.write import Write
from promax.train import EpochRecord

log_epoch, say = journal.log_epoch, pending.Outbox._say


def say_and_note(outbox: pending.Outbox, write: Write) -> None:
    """Note each value once it was said or is kept on disk: from then on promax answers for it."""
    say(outbox, write)
    lines = [json.dumps([outbox.run_id, key, step, value]) for key, value, _, step in write.metrics]
    with Path(os.environ["NOTES"]).open("a", encoding="utf-8") as notes:
        notes.writelines(f"{line}\n" for line in lines)


def log_and_wait(record: Run, epoch: EpochRecord) -> None:
    log_epoch(record, epoch)
    time.sleep(float(os.environ.get("SECONDS_AN_EPOCH", "0")))
    if "CLOCK" in os.environ:
        shift = epoch.epoch * int(os.environ["CLOCK"])
        Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(f"{shift:+d}", encoding="ascii")


def die(seconds: float) -> None:
    threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGKILL]).start()


class Phase:
    """A function of promax whose calls are counted and timed; at one of them SIGKILL comes, some seconds into it."""

    def __init__(self, module: Any, name: str, kill_at: tuple[int, float] | None) -> None:
        self._function: Callable[..., Any] = getattr(module, name)
        self._kill_at = kill_at
        self.calls, self.seconds = 0, 0.0
        setattr(module, name, self)

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls += 1
        if self._kill_at is not None and self.calls == self._kill_at[0]:
            die(self._kill_at[1])
        began = time.perf_counter()
        try:
            return self._function(*given, **named)
        finally:
            self.seconds += time.perf_counter() - began


def kill_in_the_middle_of_a_file(number: int) -> None:
    """SIGKILL once half of a model's file is in the record, the `number`th."""
    import mlflow

    log, numbers = mlflow.MlflowClient.log_artifact, itertools.count(1)

    def killed_at(self: Any, run_id: str, file: str, folder: str | None = None) -> None:
        if (folder or "").startswith("model") and next(numbers) == number:
            half = Path(file).read_bytes()
            Path(file).write_bytes(half[: len(half) // 2])
            log(self, run_id, file, folder)
            os.kill(os.getpid(), signal.SIGKILL)
        log(self, run_id, file, folder)

    mlflow.MlflowClient.log_artifact = killed_at


def faults() -> dict[str, Phase]:
    """KILL_IN: a phase, the number of a call in it and seconds into that. KILL_AT_FILE: the number of a model's file.

    LARGEST_FILE: bytes past which no file grows. SECONDS_AN_EPOCH: how long an epoch takes besides. CLOCK: seconds by
    which the clock is set after each, where libfaketime is loaded.
    """
    journal.log_epoch, pending.Outbox._say = log_and_wait, say_and_note  # type: ignore[method-assign]
    if "LARGEST_FILE" in os.environ:
        largest = int(os.environ["LARGEST_FILE"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    if "KILL_AT_FILE" in os.environ:
        kill_in_the_middle_of_a_file(int(os.environ["KILL_AT_FILE"]))
    where, call, seconds = os.environ.get("KILL_IN", "nowhere 0 0").split()
    places = {"training": (run, "fit"), "evaluation": (run, "evaluate"), "logging": (pending, "insist")}
    return {
        name: Phase(*place, (int(call), float(seconds)) if name == where else None) for name, place in places.items()
    }


if __name__ == "__main__":
    phases = faults()
    try:
        main(sys.argv[1:])
    finally:
        if "PHASES" in os.environ:
            spent = {name: [each.calls, each.seconds] for name, each in phases.items()}
            Path(os.environ["PHASES"]).write_text(json.dumps(spent), encoding="utf-8")
