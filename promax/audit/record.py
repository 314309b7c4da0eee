"""Where a report goes: into a run's record, and into a folder."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from promax.audit.finding import Report
from promax.audit.report import markdown
from promax.config import ConfigError
from promax.tracking import Run


def log(record: Run, report: Report, title: str) -> None:
    """The report as audit/report.md and audit/report.json, its figures as metrics audit/*."""
    record.log_metrics(report.figures())
    record.log_text(markdown(report, title), "audit/report.md")
    record.log_text(to_text(report), "audit/report.json")


def to_text(report: Report) -> str:
    """The report as JSON text."""
    return json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n"


def make_folder(out: Path) -> None:
    """The folder `out`, and those above it, where there is none.

    Raises:
        ConfigError: it can't be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out}: can't be made a folder: {error.strerror}") from None


def write(report: Report, pictures: Mapping[str, Figure], out: Path, title: str) -> None:
    """report.md, report.json and the pictures in the folder `out`, each whole or not at all.

    Raises:
        ConfigError: a file can't be written.
    """
    shown = "".join(f"\n![{file.removesuffix('.png')}]({file})\n" for file in pictures)
    replace(out / "report.md", (markdown(report, title) + shown).encode())
    replace(out / "report.json", to_text(report).encode())
    for file, figure in pictures.items():
        image = io.BytesIO()
        figure.savefig(image, format="png")
        replace(out / file, image.getvalue())


def replace(path: Path, content: bytes) -> None:
    """`content` as the file `path`, whatever was there before.

    Raises:
        ConfigError: it can't be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
