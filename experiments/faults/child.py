"""`promax` with a fault in it, as the environment asks: see `faults` below. Notes what was logged, behind its back."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from promax import journal
from promax.cli import main
from promax.tracking import Run
from promax.train import EpochRecord

log_epoch, now = journal.log_epoch, time.time
KILL_AT_FILE = int(os.environ.get("KILL_AT_FILE", "0"))


def log_and_note(record: Run, epoch: EpochRecord) -> None:
    """Note an epoch once `log_epoch` has returned: from then on promax answers for it."""
    log_epoch(record, epoch)
    line = json.dumps([record.run_id, epoch.epoch, epoch.dev["spearman"]])
    with Path(os.environ["NOTES"]).open("a", encoding="utf-8") as notes:
        notes.write(f"{line}\n")
    time.sleep(float(os.environ.get("SECONDS_AN_EPOCH", "0")))
    if "CLOCK" in os.environ:
        shift = epoch.epoch * float(os.environ["CLOCK"])
        time.time = lambda: now() + shift


def faults() -> None:
    """LARGEST_FILE: bytes past which no file grows. KILL_AT_FILE: the model's file at whose half SIGKILL comes."""
    journal.log_epoch = log_and_note
    if "LARGEST_FILE" in os.environ:
        largest = int(os.environ["LARGEST_FILE"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    if KILL_AT_FILE:
        import mlflow

        log, number = mlflow.MlflowClient.log_artifact, itertools.count(1)

        def killed_at(self: Any, run_id: str, file: str, folder: str | None = None) -> None:
            if (folder or "").startswith("model") and next(number) == KILL_AT_FILE:
                half = Path(file).read_bytes()
                Path(file).write_bytes(half[: len(half) // 2])
                log(self, run_id, file, folder)
                os.kill(os.getpid(), signal.SIGKILL)
            log(self, run_id, file, folder)

        mlflow.MlflowClient.log_artifact = killed_at


if __name__ == "__main__":
    faults()
    main(sys.argv[1:])
