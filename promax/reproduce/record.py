"""What the record of a run says about how it was made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from promax.config import ConfigError
from promax.journal import LOSS
from promax.provenance import NONE
from promax.tracking import (
    AUDIT,
    KIND_TAG,
    SWEEP,
    VERDICT,
    RunInfo,
    Store,
    artifacts_in,
    curves,
    get_run,
    read_datasets,
    read_text,
)

# Tags: of a reproduction, the run that it repeats and what came of it.
REPRODUCES, OUTCOME = "promax.reproduces", "promax.reproduction"
# Of a run's tags with the fingerprint of a side.
DATA_TAG = "promax.data."
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.+!-]+", re.ASCII)


@dataclass(frozen=True)
class Recorded:
    """A run as its record has it.

    `config` is the resolved config as plain values, not checked against today's schema: it is that of the run's
    own commit. `commit` is None where promax was installed without a checkout. `diff` is the change since the
    commit, `sources` names each side's source, `stop_after` the epoch after which the run was ended, None for one
    that came to its end.
    """

    run: RunInfo
    config: dict[str, Any]
    commit: str | None
    diff: str
    requirements: tuple[str, ...]
    sources: dict[str, str]
    stop_after: int | None

    @property
    def fingerprints(self) -> dict[str, str]:
        """Side -> the hash of its pairs."""
        return {
            key.removeprefix(DATA_TAG): value
            for key, value in self.run.tags.items()
            if key.startswith(DATA_TAG) and value
        }

    def tag(self, name: str) -> str | None:
        """The tag promax.`name`; None where the record, of an earlier version, has none."""
        return self.run.tags.get(f"promax.{name}")


def read(store: Store, reference: str) -> Recorded:
    """The record of the run with this id, or the only one whose id starts with it.

    Raises:
        ConfigError: no such run, a run that is no single run or has nothing to compare with, or a record that
            lacks what is needed.
    """
    run = get_run(store, reference)
    _refuse(run)
    try:
        config = yaml.safe_load(read_text(store, run.run_id, "config.yaml"))
    except yaml.YAMLError:
        config = None
    if not isinstance(config, dict):
        raise ConfigError(f"run {run.short_id}: its config.yaml is damaged: must be keys with values")
    commit = run.tags.get("promax.git_commit", NONE)
    requirements = tuple(read_text(store, run.run_id, "requirements.txt").splitlines())
    # These become words of git's and pip's command lines.
    damaged = [] if commit == NONE or _COMMIT.fullmatch(commit) else [f"promax.git_commit={commit}"]
    damaged += [f"requirements.txt: {line}" for line in requirements if not _REQUIREMENT.fullmatch(line)]
    if damaged:
        raise ConfigError(f"run {run.short_id}: its record is damaged: {damaged[0][:80]}")
    status = _optional(store, run, "git_status.txt") if _is_changed(run) else ""
    diff = _optional(store, run, "git.diff") if _is_changed(run) else ""
    if lost := _lost(status.splitlines(), diff):
        raise ConfigError(
            f"run {run.short_id}: its code can't be rebuilt: {'; '.join(lost)}\n"
            f"commit {commit[:8]} and what the record holds are not all that it was made with"
        )
    return Recorded(
        run=run,
        config=config,
        commit=None if commit == NONE else commit,
        diff=diff,
        requirements=requirements,
        sources={each.context: each.source for each in read_datasets(store, run.run_id)},
        stop_after=None if run.status == "FINISHED" else max(curves(store, run, [LOSS])[LOSS]),
    )


def _refuse(run: RunInfo) -> None:
    kind, name = run.tags.get(KIND_TAG), f"run {run.short_id}"
    if kind == SWEEP:
        raise ConfigError(f"{name}: is a sweep; name one of its trials, each of which is a run")
    if kind == AUDIT:
        raise ConfigError(f"{name}: is an audit, with nothing trained; `promax data audit` makes it again")
    if kind == VERDICT:
        raise ConfigError(f"{name}: is a verdict, with nothing trained; `promax confirm {run.study}` makes it again")
    reason = f" ({run.tags['promax.reason']})" if run.tags.get("promax.reason") else ""
    if run.status not in ("FINISHED", "KILLED"):
        raise ConfigError(f"{name}: is {run.status}{reason}; must be FINISHED, or KILLED after its first epoch")
    if run.status == "KILLED" and LOSS not in run.metrics:
        raise ConfigError(f"{name}: is KILLED{reason} before its first epoch ended; there is nothing to compare with")


def _is_changed(run: RunInfo) -> bool:
    return run.tags.get("promax.git_dirty") == "true" or run.tags.get("promax.git_untracked", "0") != "0"


def _optional(store: Store, run: RunInfo, path: str) -> str:
    """A text that a run has only where there is something to say."""
    return read_text(store, run.run_id, path) if path in artifacts_in(store, run.run_id) else ""


def _lost(status: list[str], diff: str) -> list[str]:
    """What of promax's own files differed from the commit and is not in the diff.

    Files outside promax/ are no part of what is run: conf/ is resolved in the config, data is known by its hash.

    >>> _lost(["M promax/run.py", "? promax/new.py", "M conf/a.yaml"], "diff --git a/promax/run.py b/promax/run.py")
    ['promax/new.py was not in git, and only its name was recorded']
    >>> _lost(["M promax/run.py", "* promax/run.py"], "diff --git a/promax/run.py b/promax/run.py")
    ['promax/run.py holds credentials, which are masked in git.diff']
    """
    lost = []
    if "\n[cut here: " in diff:
        lost.append("git.diff was cut, being too long")
    for line in status:
        mark, _, name = line.partition(" ")
        if not (name.startswith("promax/") and name.endswith((".py", ".yaml"))):
            continue
        if mark == "*":
            lost.append(f"{name} holds credentials, which are masked in git.diff")
        elif f" b/{name}" not in diff:
            why = "was not in git, and only its name was recorded" if mark == "?" else "was changed in a way unrecorded"
            lost.append(f"{name} {why}")
    return lost
