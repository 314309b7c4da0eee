"""Where the project's folders are."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def project_root() -> Path:
    """Where conf/ and mlruns/ live.

    PROMAX_ROOT when it is set; else the checkout this package is imported from; else the working directory.
    """
    if configured := os.environ.get("PROMAX_ROOT"):
        return Path(configured).expanduser().resolve()
    return checkout() or Path.cwd()


def checkout() -> Path | None:
    """The checkout that this package is imported from; None where it is installed without one."""
    folder = Path(__file__).resolve().parents[1]
    return folder if (folder / "conf" / "config.yaml").is_file() else None


def conf_dir() -> Path:
    """The folder of YAML configs: the project's own, else the checkout's, else the copy installed with the package."""
    for folder in (project_root(), checkout()):
        if folder is not None and (folder / "conf" / "config.yaml").is_file():
            return folder / "conf"
    return Path(sys.prefix) / "share" / "promax" / "conf"
