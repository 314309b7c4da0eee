"""`promax doctor`, the whole of it from top to bottom."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from promax.doctor import installation, machine, record
from promax.doctor.check import Check

if TYPE_CHECKING:
    from promax.config import ModelConfig


def doctor(uri: str | None, models: Callable[[], Mapping[str, ModelConfig]]) -> list[Check]:
    """Print a line for each check as soon as it is done, and return them.

    `models` composes the encoders of conf/model/, by name. No check raises: what it could not find out is a problem.
    """
    checks: list[tuple[str, Callable[[], Iterable[Check]]]] = [
        ("python", installation.python),
        ("libraries", installation.libraries),
        ("conf", installation.configs),
        ("store", partial(record.store, uri)),
        ("unsent", record.unsent),
        ("sweeps", record.sweeps),
        ("disk", machine.disk),
        ("model", partial(installation.encoders, models)),
        ("device", machine.device),
        ("threads", machine.threads),
        ("git", installation.git),
        ("sweeper", installation.sweeper),
    ]
    found: list[Check] = []
    for name, check in checks:
        try:
            for each in check():
                print(each, flush=True)
                found.append(each)
        except Exception as error:
            if os.environ.get("PROMAX_DEBUG"):
                traceback.print_exc()
            failed = _failed(name, error)
            print(failed, flush=True)
            found.append(failed)
    print(_summary(found))
    return found


def _failed(name: str, error: Exception) -> Check:
    if isinstance(error, ModuleNotFoundError):
        return Check("problem", name, f"{error.name} is not installed", installation.INSTALL)
    if type(error).__module__.partition(".")[0] == "promax":
        # Its first line says what was wrong, the others what to do.
        says, *todo = str(error).splitlines()
        return Check("problem", name, says, " ".join(todo))
    says = f"could not be looked at: {type(error).__name__}"
    return Check("problem", name, says, "PROMAX_DEBUG=1 promax doctor shows where")


def _summary(found: list[Check]) -> str:
    counts = {status: sum(each.status == status for each in found) for status in ("problem", "warning")}
    parts = [f"{n or 'no'} {status}{'s' * (n > 1)}" for status, n in counts.items()]
    return ", ".join(parts)
