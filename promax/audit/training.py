"""What a training run is told of its data: the audit of its train and test, made once for the same pairs."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from promax import weights
from promax.audit.examine import examine
from promax.audit.finding import Report
from promax.audit.record import log, to_text
from promax.audit.report import summary
from promax.config import Config, ConfigError, project_root
from promax.data.splits import Splits
from promax.files import replace
from promax.tracking import Run

_logger = logging.getLogger(__name__)


def log_audit(record: Run, cfg: Config, splits: Splits, device: str) -> None:
    """Write the audit of the pairs that a run is about to be trained and judged on into its record.

    Every error is a line of the log. The report is kept in mlruns/audits/ under a hash of all it depends on, so that
    a sweep pays for it once. Without pictures: those are the verb's.
    """
    assert splits.train is not None, "a run that trains has a train side"
    kept = project_root() / "mlruns" / "audits" / f"{_key(cfg, splits)}.json"
    report = _kept(kept)
    if report is None:
        _logger.info("audit: looking through train and test, once for these pairs")
        report, _ = examine(cfg, {"train": splits.train, "test": splits.test}, splits.origins, device)
        _keep(report, kept)
    for each in report.of("error"):
        _logger.warning("audit: error: %s (%s): %s", each.check, each.where, each.text)
    _logger.info("audit: %s; told in audit/report.md of the record", summary(report))
    log(record, report, f"audit of {cfg.data.name}")


def _key(cfg: Config, splits: Splits) -> str:
    assert splits.train is not None
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))
    parts = {
        "train": splits.train.fingerprint(),
        "test": splits.test.fingerprint(),
        "origins": splits.origins,
        "encoder": weights.files_sha256(cfg.model),
        "max_seq_length": cfg.model.max_seq_length,
        "positive_from": cfg.data.positive_from,
        "seed": cfg.data.seed,
        "code": code.hexdigest(),
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
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, to_text(report).encode())
    except (OSError, ConfigError) as error:
        _logger.warning("audit: can't be kept for the next run: %s", error)
