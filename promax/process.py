"""Which process owns a run, and whether it still lives."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import psutil

# Start times are reckoned from the clock, which may be set while a run goes on.
CLOCK_SLACK_SECONDS = 60.0


def this_process() -> str:
    """`<where>/<pid>`, where `<where>` is the same only for processes that see each other's ids.

    Host name, machine id and process-id namespace go into it, hashed: two containers of one machine, or two
    machines of one name, must not take each other's processes for their own.
    """
    return f"{_where()}/{os.getpid()}"


def has_died(owner: str, started: float) -> bool:
    """Whether the process `owner` is known to be gone, having recorded a run at `started` (Unix seconds).

    A process of another machine or container is never known to be gone. One that was born after the run began
    has merely inherited the number.
    """
    where, _, pid = owner.rpartition("/")
    if where != _where() or not pid.isdigit():
        return False
    try:
        process = psutil.Process(int(pid))
        born: float = process.create_time()
        return born > started + CLOCK_SLACK_SECONDS or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _where() -> str:
    machine_id, namespace = Path("/etc/machine-id"), Path("/proc/self/ns/pid")
    parts = [
        platform.node(),
        machine_id.read_text(encoding="ascii").strip() if machine_id.is_file() else "",
        str(namespace.readlink()) if namespace.is_symlink() else "",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
