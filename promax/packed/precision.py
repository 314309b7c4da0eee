"""Which number format to compute in: bfloat16 where the hardware multiplies matrices of it fast."""

from __future__ import annotations

import time
from functools import lru_cache

import torch
from torch import Tensor

# AMX and GPUs multiply bfloat16 8 times as fast as float32, AVX512-bf16 about twice; without them, it is slower.
_WORTH_IT = 1.5


def resolve(precision: str, device: torch.device) -> torch.dtype:
    """The dtype for `precision`; `auto` is bfloat16 where its products are at least 1.5 times as fast, else float32."""
    if precision == "auto":
        return torch.bfloat16 if speed_up(device.type) >= _WORTH_IT else torch.float32
    return {"fp32": torch.float32, "portable": torch.float32, "bf16": torch.bfloat16}[precision]


def name_of(dtype: torch.dtype) -> str:
    """How records and configs call a dtype that `resolve` gives.

    >>> name_of(torch.bfloat16)
    'bf16'
    """
    return {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]


def recorded_precision(precision: str, device: torch.device) -> str:
    """`precision` with `auto` resolved: what a run is recorded with, and reproduced with."""
    return precision if precision == "portable" else name_of(resolve(precision, device))


@lru_cache
def speed_up(device: str) -> float:
    """How many times as fast matrices are multiplied in bfloat16 as in float32; 0 on mps, where it isn't tried.

    Measured once a process, in some milliseconds, with the shapes of a small encoder's feed-forward layer,
    or on a GPU, which such a product does not occupy, with larger ones.
    """
    if device == "mps":
        return 0.0
    seconds, (rows, width, inner) = {}, (4096, 4096, 4096) if device == "cuda" else (512, 384, 1536)
    for dtype in (torch.float32, torch.bfloat16):
        left, right = (torch.ones(shape, dtype=dtype, device=device) for shape in ((rows, width), (width, inner)))
        seconds[dtype] = min(_seconds(left, right) for _ in range(10))
    return seconds[torch.float32] / seconds[torch.bfloat16]


def has_flash(device: torch.device) -> bool:
    """Whether torch's flash attention runs there: on NVIDIA GPUs from Ampere on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _seconds(left: Tensor, right: Tensor) -> float:
    started = time.perf_counter()
    product = left @ right
    product[0, 0].item()  # waits for the device
    return time.perf_counter() - started
