"""The record of runs, kept by MLflow; nothing else in promax imports it.

One thin layer over `mlflow.MlflowClient`, never the fluent API: no run is active by being the last
one started, so parents, children and many workers need nothing special. `store` opens the record, `address`
says where that is, `record` writes a run into it, `query` finds runs again, `sweep` keeps the run of a sweep,
`registry` holds the promoted encoders, `pending` keeps what a server that is away is to be told and `sync` tells it
later, `archive` makes one file of a study, with a `manifest`, and `restore` takes it in elsewhere, `health` says how
the record stands, `view` how the MLflow UI shows it.
"""

from __future__ import annotations

import logging
import os

# MLflow reads these as it is imported: it reports no usage to anyone, and prints neither the server's address
# (which may hold a password) at the end of each run nor a progress bar for each small file.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"

from promax.tracking.address import has_password, kind_of, mask, sqlite_file, with_driver
from promax.tracking.archive import archive
from promax.tracking.datasets import DatasetRecord, read_datasets
from promax.tracking.ending import Terminated, held_signals, status_and_reason, termination_raises
from promax.tracking.health import Health, examine
from promax.tracking.manifest import ArchivedRun, Manifest
from promax.tracking.pending import send_at_once, settle, take_over, waiting_runs, waits
from promax.tracking.query import (
    AUDIT,
    BASELINE_KEY,
    BASELINE_RUN,
    FIRST_ID,
    KIND_TAG,
    REPRODUCTION,
    SWEEP,
    VERDICT,
    RunInfo,
    artifacts_in,
    curves,
    fetch_folder,
    find_baseline,
    finished_scores,
    finished_slices,
    get_run,
    read_ahead,
    read_scores,
    read_text,
    runs_of,
)
from promax.tracking.record import REASON_TAG, Run, running, start_run, sweep_dead_runs
from promax.tracking.registry import CHAMPION, Champion, crown, find_champion, register, write_model
from promax.tracking.restore import Complete, Restored, restore
from promax.tracking.store import (
    DATABASES,
    Store,
    TrackingError,
    UnavailableError,
    open_store,
    serve_ui,
    ui_address,
    ui_command,
)
from promax.tracking.sweep import close_lost_runs, find_sweep, finished_run, open_sweep
from promax.tracking.sync import send_waiting
from promax.tracking.view import DESCRIPTION_TAG, compare_link, run_link, study_link

# What MLflow logs as an error it also raises, and its copy shows SQL with its values.
logging.getLogger("mlflow").setLevel(logging.CRITICAL)
# Under it, a page for each attempt to reach a server that is away.
logging.getLogger("urllib3").setLevel(logging.ERROR)

__all__ = [
    "AUDIT",
    "BASELINE_KEY",
    "BASELINE_RUN",
    "CHAMPION",
    "DATABASES",
    "DESCRIPTION_TAG",
    "FIRST_ID",
    "KIND_TAG",
    "REASON_TAG",
    "REPRODUCTION",
    "SWEEP",
    "VERDICT",
    "ArchivedRun",
    "Champion",
    "Complete",
    "DatasetRecord",
    "Health",
    "Manifest",
    "Restored",
    "Run",
    "RunInfo",
    "Store",
    "Terminated",
    "TrackingError",
    "UnavailableError",
    "archive",
    "artifacts_in",
    "close_lost_runs",
    "compare_link",
    "crown",
    "curves",
    "examine",
    "fetch_folder",
    "find_baseline",
    "find_champion",
    "find_sweep",
    "finished_run",
    "finished_scores",
    "finished_slices",
    "get_run",
    "has_password",
    "held_signals",
    "kind_of",
    "mask",
    "open_store",
    "open_sweep",
    "read_ahead",
    "read_datasets",
    "read_scores",
    "read_text",
    "register",
    "restore",
    "run_link",
    "running",
    "runs_of",
    "send_at_once",
    "send_waiting",
    "serve_ui",
    "settle",
    "sqlite_file",
    "start_run",
    "status_and_reason",
    "study_link",
    "sweep_dead_runs",
    "take_over",
    "termination_raises",
    "ui_address",
    "ui_command",
    "waiting_runs",
    "waits",
    "with_driver",
    "write_model",
]
