"""A fresh virtual environment with the packages that a run had."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from promax.config import ConfigError
from promax.provenance import NONE


def fresh_environment(requirements: Sequence[str], version: str | None, folder: Path) -> Path:
    """Make a virtual environment in `folder` and install `requirements` (`name==version`); its Python's path.

    promax itself is left out: its code is the worktree's. Every package is named with its version, so pip is asked
    for these and for no dependency. A build's local part, like torch 2.13.0+cpu, is on the index of its maker and on no
    other: where pip knows none that has it, it is another build of that version, and the comparison will say so.
    `version` is the Python to have, of which major and minor count; None is a record that doesn't say.

    Raises:
        ConfigError: no such Python here, or none named; a package that pip can't install, with pip's own line.
    """
    interpreter = _python(version)
    wanted = [line for line in requirements if line.partition("==")[0] != "promax"]
    print(f"environment: {len(wanted)} packages for Python {version} into {folder}", file=sys.stderr)
    made = subprocess.run([interpreter, "-m", "venv", str(folder)], capture_output=True, text=True)
    if made.returncode:
        raise ConfigError(f"--env: no virtual environment can be made: {(made.stdout + made.stderr).strip()[-200:]}")
    errors = _install(python := folder / "bin" / "python", wanted)
    built = [line for line in wanted if "+" in line]
    if errors and built:
        print(
            f"environment: not to be had here: {errors[0]}\n"
            f"environment: {', '.join(built)} without the local part, and with what it asks for",
            file=sys.stderr,
        )
        rest = [line for line in wanted if line not in built]
        errors = _install(python, rest) or _install(python, [line.partition("+")[0] for line in built], among=rest)
    if errors:
        raise ConfigError(f"--env: pip can't install what the run had: {errors[0]}")
    return python


def _install(python: Path, packages: Sequence[str], among: Sequence[str] | None = None) -> list[str]:
    """Have pip install these alone; or with what they ask for, in the versions of `among`. Its errors, if it failed."""
    listing = python.parents[1] / "requirements.txt"
    listing.write_text("\n".join(packages if among is None else among) + "\n", encoding="utf-8")
    asked = ["--no-deps", "-r", str(listing)] if among is None else ["-c", str(listing), *packages]
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *asked]
    errors = []
    with subprocess.Popen(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None, "it was asked for"
        for line in process.stdout:
            if line.startswith("ERROR:"):
                errors.append(line.removeprefix("ERROR:").strip())
            elif line.startswith(("Collecting", "Installing", "Building")):
                print(f"  {line.strip()[:100]}", file=sys.stderr)
    return (errors or ["pip gave no reason"]) if process.returncode else []


def _python(version: str | None) -> str:
    """An interpreter of this major and minor version."""
    named = re.match(r"\d+\.\d+", version or "")
    if named is None:
        raise ConfigError(
            f"--env: promax.python={version or NONE}: the record must say which Python the run had, like 3.12.1;"
            " reproduce it without --env"
        )
    minor = named[0]
    if minor == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = shutil.which(f"python{minor}")
    if found is None:
        raise ConfigError(f"--env: the run had Python {version}, and there is no python{minor} here; install it first")
    return found
