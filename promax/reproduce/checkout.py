"""The code of a recorded run: its commit with its change, in a worktree of its own that is removed afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import promax
from promax.config import ConfigError
from promax.provenance import git_environment
from promax.reproduce.record import Recorded


@contextmanager
def rebuilt(recorded: Recorded, checkout: Path | None, folder: Path) -> Iterator[Path | None]:
    """A folder `folder`, not there yet, with the run's code for the length of a `with` block.

    None stands for the installed package: where promax was installed without a checkout then, and is now, in the
    same version.

    Raises:
        ConfigError: the commit is not in `checkout`, its change doesn't apply, or the code isn't to be had.
    """
    if recorded.commit is None or checkout is None:
        _refuse_another_version(recorded, checkout)
        yield None
        return
    name, commit = f"run {recorded.run.short_id}", recorded.commit
    if _git(checkout, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        raise ConfigError(
            f"{name}: its commit {commit[:12]} is not in {checkout}\n"
            f"fetch it from where the run was made: git fetch REMOTE {commit}"
        )
    try:
        added = _git(checkout, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        if added.returncode:
            raise ConfigError(f"{name}: its commit {commit[:12]} can't be checked out: {_last_line(added.stderr)}")
        module = folder / "promax" / "run.py"
        if not module.is_file() or "trial: Trial" not in module.read_text(encoding="utf-8"):
            raise ConfigError(
                f"{name}: its commit {commit[:12]} is older than the first that can be run again, 279c5b4"
            )
        if recorded.diff:
            applied = _git(folder, "apply", "--whitespace=nowarn", "-", sent=recorded.diff)
            if applied.returncode:
                raise ConfigError(f"{name}: its git.diff doesn't apply to its commit: {_last_line(applied.stderr)}")
        yield folder
    finally:
        _git(checkout, "worktree", "remove", "--force", str(folder))
        _git(checkout, "worktree", "prune")


def _refuse_another_version(recorded: Recorded, checkout: Path | None) -> None:
    then, now = recorded.tag("version.promax"), promax.__version__
    name = f"run {recorded.run.short_id}"
    if recorded.commit is None and checkout is not None:
        raise ConfigError(
            f"{name}: its record names no commit: it was made by an installed promax {then}\n"
            f"reproduce it where that is installed, not in the checkout {checkout}"
        )
    if recorded.commit is not None:
        raise ConfigError(
            f"{name}: was made by commit {recorded.commit[:12]}, and this promax is installed without a checkout\n"
            "reproduce it with the promax of a clone that has the commit"
        )
    if then != now:
        raise ConfigError(f"{name}: was made by promax {then}, installed is {now}\npip install promax=={then}")


def _git(folder: Path, *arguments: str, sent: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], input=sent, capture_output=True, text=True, env=git_environment()
        )
    except OSError as error:
        raise ConfigError(f"git can't be run, which rebuilds the code of a run: {error.strerror}") from None


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["git says nothing"])[-1]
