"""The whole of a reproduction: read the record, rebuild, check, train, compare, tell."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from promax.config import checkout, project_root
from promax.provenance import collect
from promax.reproduce.checkout import rebuilt
from promax.reproduce.comparison import compare
from promax.reproduce.environment import fresh_environment
from promax.reproduce.places import located
from promax.reproduce.reasons import differences, other_packages
from promax.reproduce.record import OUTCOME, Recorded, read
from promax.reproduce.report import as_json, outcome, show_plan, show_result
from promax.reproduce.request import Request, pinned
from promax.tracking import (
    Run,
    Store,
    UnavailableError,
    get_run,
    open_store,
    read_text,
    settle,
    termination_raises,
)


def reproduce(reference: str, places: Sequence[str], uri: str | None, *, fresh: bool, dry_run: bool) -> bool:
    """Run a logged run again from its record, say what came out the same, and return whether it did.

    The new run stands under the old one in the record and is no part of its study's tables. `places` are KEY=PATH
    for files that lie elsewhere now; with `fresh` the run's packages are installed into an environment that is
    removed afterwards; with `dry_run` nothing is installed or trained.

    Raises:
        ConfigError: the run can't be rebuilt: something of its record, code, packages, pairs or encoder is missing
            or isn't what it was. Nothing was trained then.
        RuntimeError: the new run failed, or its server is away, so that it can't be compared.
    """
    store, own = open_store(uri), checkout()
    recorded = read(store, reference)
    command = f"promax reproduce {recorded.run.short_id}"
    there = located(recorded.config, recorded.sources, places, (Path.cwd(), project_root()), command)
    config = pinned(there, recorded, store)
    with termination_raises(), tempfile.TemporaryDirectory(prefix="promax-reproduce-") as folder:
        scratch = Path(folder)
        with rebuilt(recorded, own, scratch / "code") as code:
            request, python = Request(recorded, config, code, scratch), Path(sys.executable)
            if fresh and not dry_run:
                # Before the run's own code is asked anything: under today's packages it may not even start.
                python = fresh_environment(recorded.requirements, recorded.tag("python"), scratch / "environment")
            sides = request.check(python)
            show_plan(recorded, code, own, sides, [] if fresh else _others(recorded), fresh)
            if dry_run:
                return True
            run_id = request.train(python)
    return _compared(store, recorded, run_id)


def _others(recorded: Recorded) -> list[str]:
    """What is known before anything is loaded to be another here than it was then."""
    known = ("promax.version.", "promax.python", "promax.cpu")
    here = {key: str(value) for key, value in collect(None, "cpu").tags().items() if key.startswith(known)}
    # The code is the run's own, whatever the number of its version.
    del here["promax.version.promax"]
    return differences(recorded.run.tags, here)


def _compared(store: Store, recorded: Recorded, run_id: str) -> bool:
    """Compare the new run with its original; tell it, and write it into the new run's record."""
    try:
        settle(store, run_id)
    except UnavailableError:
        raise RuntimeError(
            f"run {run_id[:8]} can't be compared: {store.label} has not come back;"
            " `promax sync` sends what waits on disk of it"
        ) from None
    then, now = recorded.run, get_run(store, run_id)
    if now.status != ("FINISHED" if recorded.stop_after is None else "KILLED"):
        reason = now.tags.get("promax.reason", "no reason recorded")
        raise RuntimeError(f"the reproduction failed: run {now.short_id} is {now.status} ({reason})")
    found = compare(store, then, now, recorded.stop_after)
    packages = read_text(store, run_id, "requirements.txt").splitlines()
    causes = [*differences(then.tags, now.tags), *other_packages(recorded.requirements, packages)]
    record = Run(store, run_id)
    record.set_tags({OUTCOME: outcome(found)})
    record.log_text(as_json(found, causes), "reproduction.json")
    show_result(found, causes, then, now)
    return outcome(found) != "drifted"
