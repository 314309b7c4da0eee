"""Disk, device, threads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from promax.doctor.check import Check
from promax.paths import project_root

# A run with save=merged writes a whole encoder (90 to 440 MB), and embeddings of 100,000 tickets are 155 MB.
SCARCE, TOO_LITTLE = 2e9, 2e8


def disk() -> Iterator[Check]:
    """Free space where records, artifacts and embeddings go."""
    place = project_root() / "mlruns"
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    says = f"{free / 1e9:.1f} GB free at {place}"
    if free < TOO_LITTLE:
        yield Check("problem", "disk", says, "make room: a run can't save its encoder")
    elif free < SCARCE:
        yield Check("warning", "disk", says, "make room soon: save=merged takes up to 0.5 GB a run")
    else:
        yield Check("ok", "disk", says)


def device() -> Iterator[Check]:
    """What device=auto comes to, and in which precision engine=packed would train on it."""
    import torch

    from promax.encoder import resolve_device
    from promax.packed import resolve, speed_up

    kind = resolve_device("auto")
    dtype = str(resolve("auto", torch.device(kind))).removeprefix("torch.")
    ratio = f", multiplies bfloat16 {speed_up(kind):.1f} times as fast as float32" if kind != "mps" else ""
    yield Check("ok", "device", f"{kind}{ratio}: engine=packed trains in {dtype}")


def threads() -> Iterator[Check]:
    """Cores that this process may use, against the threads that one operation takes."""
    cores = _cores()
    asked = os.environ.get("OMP_NUM_THREADS")
    if asked is not None and not (asked.isdigit() and int(asked) > 0):
        says = "OMP_NUM_THREADS is set, but not to a number above 0"
        yield Check("warning", "threads", says, f"export OMP_NUM_THREADS={cores}, or unset it")
        return
    taken = int(asked) if asked is not None else os.cpu_count() or 1
    source = f"OMP_NUM_THREADS={asked}" if asked is not None else "OMP_NUM_THREADS is not set"
    says = f"{cores} core{'s' * (cores > 1)} to use, {taken} thread{'s' * (taken > 1)} an operation ({source})"
    if taken > cores:
        yield Check("warning", "threads", f"{says}: they wait for each other", f"export OMP_NUM_THREADS={cores}")
    else:
        yield Check("ok", "threads", says)


def _cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores by affinity and by a container's quota, which os.cpu_count does not know of."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text(encoding="ascii").split()
        return min(cores, max(1, int(limit) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores
