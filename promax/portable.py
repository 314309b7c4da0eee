"""`precision=portable`: float32 that other x86-64 processors with AVX2 compute to the same bit.

Libraries choose their kernels by the processor, and kernels sum in different orders. Told by the environment to take
the ones that all such processors have, they give the same numbers; Intel promises that of MKL with
MKL_CBWR=COMPATIBLE, which multiplies matrices at a third of the speed. It holds between runs with the same packages and
as many threads, which `promax reproduce` sees to. All of it is read when a library is loaded, so that a process which
was not begun with it has to begin anew.
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
    # By the names that NumPy has had since 2.4, and by those before; it passes over what it does not know.
    "NPY_DISABLE_CPU_FEATURES": ",".join(
        [
            *("X86_V4", "AVX512_ICL", "AVX512_SPR"),
            *("AVX512F", "AVX512CD", "AVX512_KNL", "AVX512_KNM", "AVX512_SKX", "AVX512_CLX", "AVX512_CNL"),
        ]
    ),
}
# In the environment of a process that was replaced, so that it is not replaced for ever.
_REPLACED = "PROMAX_BEGUN_ANEW"


def is_set() -> bool:
    """Whether this process was told to compute what other processors would."""
    return not _wrong()


def begin_anew() -> None:
    """Where a variable is not as it must be, replace this process by one of the same command in which it is."""
    if _wrong() and _REPLACED not in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **VARIABLES, _REPLACED: "1"})


def check(cfg: Config, device: str) -> None:
    """Refuse a run that asks to be portable where it would not be.

    Raises:
        ConfigError: `device` is not the processor, the loss can't be had so, the processor has no AVX2 that Linux
            tells of, or libraries were loaded with other settings.
    """
    if cfg.precision != "portable":
        return
    if device != "cpu":
        raise ConfigError(f"precision=portable: is for the processor, not for {device}; add device=cpu")
    if cfg.optim.loss == "angle":
        # MKL begins its square roots with an approximation of the processor's; fused AdamW and norms take exact ones.
        raise ConfigError("precision=portable: optim.loss=angle takes square roots that processors round differently")
    if "avx2" not in cpu_features().split():
        raise ConfigError("precision=portable: needs Linux on an x86-64 processor with AVX2; take precision=fp32")
    if wrong := _wrong():
        words = " ".join(f"{name}={VARIABLES[name]}" for name in wrong)
        raise ConfigError(
            "precision=portable: can't be one of several in a sweep; and a program that calls promax has to be begun "
            f"with\n{words}"
        )


def _wrong() -> list[str]:
    return [name for name, value in VARIABLES.items() if os.environ.get(name) != value]
