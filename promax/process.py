"""Which process owns a run, and whether it still lives."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import psutil


def this_process() -> str:
    """`<where>/<pid>/<birth>`, where `<where>` is the same only for processes that see each other's ids.

    Host name, machine id and process-id namespace go into it, hashed: two containers of one machine, or two
    machines of one name, must not take each other's processes for their own. `<birth>` tells a process from a later
    one of the same number.
    """
    return f"{_where()}/{os.getpid()}/{birth(os.getpid())}"


def is_here(owner: str) -> bool:
    """Whether the process `owner`, dead or alive, is one of which this one can know that."""
    return owner.partition("/")[0] == _where()


def has_died(owner: str) -> bool:
    """Whether the process `owner`, as `this_process` named it, is known to be gone.

    A process of another machine or container is never known to be gone. One of another birth has merely inherited
    the number; where `owner` has none, as in older records, it may be the same.
    """
    pid, _, born = owner.partition("/")[2].partition("/")
    if not is_here(owner) or not pid.isdigit():
        return False
    try:
        alive = birth(int(pid))
        return alive != (born or alive) or bool(psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def birth(pid: int) -> str:
    """When a process began, the same whenever it is asked, even if the clock is set meanwhile.

    On Linux that is the machine's boot and the ticks since then (proc(5): field 22 of /proc/PID/stat), since psutil
    reckons the time of day from them by the clock as it is now.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    boot, stat = Path("/proc/sys/kernel/random/boot_id"), Path(f"/proc/{pid}/stat")
    if not boot.is_file():
        return str(psutil.Process(pid).create_time())
    try:
        # The second field is a name in parentheses, with whatever characters.
        ticks = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    return f"{boot.read_text(encoding='ascii')[:8]}.{ticks}"


def _where() -> str:
    machine_id, namespace = Path("/etc/machine-id"), Path("/proc/self/ns/pid")
    parts = [
        platform.node(),
        machine_id.read_text(encoding="ascii").strip() if machine_id.is_file() else "",
        str(namespace.readlink()) if namespace.is_symlink() else "",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
