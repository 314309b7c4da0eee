"""`precision=portable`: float32 whose every bit is the same on any x86-64 processor with AVX2.

Libraries choose their kernels by the processor, and kernels sum in different orders. Told by the environment to take
the ones that all such processors have, they give the same numbers everywhere; Intel promises that of MKL with
MKL_CBWR=COMPATIBLE, which multiplies matrices at a third of the speed. All of it is read when a library is loaded, so
that the process begins anew.
"""

from __future__ import annotations

import os
import sys

from promax.config import Config, ConfigError
from promax.provenance import cpu_features

VARIABLES = {
    "MKL_CBWR": "COMPATIBLE",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4,AVX512_ICL,AVX512_SPR",
}


def begin_anew() -> None:
    """Where a variable is not as it must be, replace this process by one of the same command in which it is."""
    if not _is_set():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **VARIABLES})


def check(cfg: Config, device: str) -> None:
    """Refuse a run that asks to be portable where it would not be.

    Raises:
        ConfigError: `device` is not the processor, the processor has no AVX2, or a library may have been loaded
            with other settings.
    """
    if cfg.precision != "portable":
        return
    if device != "cpu":
        raise ConfigError(f"precision=portable: is for the processor, not for {device}; add device=cpu")
    if "avx2" not in cpu_features().split():
        raise ConfigError("precision=portable: needs an x86-64 processor with AVX2, which this one is not")
    if not _is_set():
        words = " ".join(f"{name}={value}" for name, value in VARIABLES.items())
        raise ConfigError(
            f"precision=portable: can't be swept over, or has to be exported before python starts:\n{words}"
        )


def _is_set() -> bool:
    return all(os.environ.get(name) == value for name, value in VARIABLES.items())
