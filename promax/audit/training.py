"""What a training run is told of its data: the audit of its train and test, made once for the same pairs."""

from __future__ import annotations

import hashlib
import json
import logging
from functools import cache
from pathlib import Path

from filelock import FileLock

from promax import portable, weights
from promax.audit.examine import examine
from promax.audit.finding import Report
from promax.audit.record import log, to_text
from promax.audit.report import summary
from promax.config import Config, ConfigError, project_root
from promax.data.splits import Splits
from promax.files import replace
from promax.tracking import Run

_logger = logging.getLogger(__name__)

# The keys of the reports that this process has told of.
_TOLD: set[str] = set()


def log_audit(record: Run, cfg: Config, splits: Splits, device: str, *, repeat: bool = True) -> None:
    """Write the audit of the pairs that a run is about to be trained and judged on into its record.

    Every error is a line of the log; without `repeat`, if this process has not told of it before. The report is kept
    in mlruns/audits/ under a hash of all it depends on, so that a sweep pays for it once; of workers that begin
    together, one makes it and the others wait. Without pictures: those are the verb's.
    """
    assert splits.train is not None, "a run that trains has a train side"
    key = _key(cfg, splits)
    kept = project_root() / "mlruns" / "audits" / f"{key}.json"
    report = _kept(kept) or _made(kept, cfg, splits, device)
    if repeat or key not in _TOLD:
        for each in report.of("error"):
            _logger.warning("audit: error: %s (%s): %s", each.check, each.where, each.text)
        _logger.info("audit: %s; told in audit/report.md of the record", summary(report))
        _TOLD.add(key)
    # The figures are of the pairs, the same in all runs of a study; as metrics of each they would bury its own.
    log(record, report, report.counts(), f"audit of {cfg.data.name}")


def _made(kept: Path, cfg: Config, splits: Splits, device: str) -> Report:
    """The report, now; or another process's, which was at it when it was this one's turn."""
    assert splits.train is not None
    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(kept.parent / "lock"):
        report = _kept(kept)
        if report is None:
            _logger.info("audit: looking through train and test, once for these pairs")
            report, _ = examine(cfg, {"train": splits.train, "test": splits.test}, splits.origins, device)
            _keep(report, kept)
    return report


@cache
def _code() -> str:
    """A hash of the audit's own code, as it was loaded."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _key(cfg: Config, splits: Splits) -> str:
    assert splits.train is not None
    parts = {
        "train": splits.train.fingerprint(),
        "test": splits.test.fingerprint(),
        "origins": splits.origins,
        "encoder": weights.files_sha256(cfg.model),
        "max_seq_length": cfg.model.max_seq_length,
        "positive_from": cfg.data.positive_from,
        "seed": cfg.data.seed,
        "code": _code(),
        **({"kernels": "portable"} if portable.is_set() else {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _kept(path: Path) -> Report | None:
    """The report in `path`; None where there is none, or not a whole one."""
    try:
        return Report.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(report: Report, path: Path) -> None:
    try:
        replace(path, to_text(report).encode())
    except (OSError, ConfigError) as error:
        _logger.warning("audit: can't be kept for the next run: %s", error)
