"""Where a report goes: into a run's record, and into a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from promax.audit.finding import Report
from promax.audit.report import markdown
from promax.figures import png
from promax.files import replace
from promax.tracking import Run


def log(record: Run, report: Report, metrics: Mapping[str, float], title: str) -> None:
    """The report as audit/report.md and audit/report.json, and of its figures those in `metrics`."""
    record.log_metrics(metrics)
    record.log_text(markdown(report, title), "audit/report.md")
    record.log_text(to_text(report), "audit/report.json")


def to_text(report: Report) -> str:
    """The report as JSON text."""
    return json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n"


def write(report: Report, pictures: Mapping[str, Figure], out: Path, title: str) -> None:
    """report.md, report.json and the pictures in the folder `out`, each whole or not at all.

    Raises:
        ConfigError: a file can't be written.
    """
    shown = "".join(f"\n![{file.removesuffix('.png')}]({file})\n" for file in pictures)
    replace(out / "report.md", (markdown(report, title) + shown).encode())
    replace(out / "report.json", to_text(report).encode())
    for file, figure in pictures.items():
        replace(out / file, png(figure))
