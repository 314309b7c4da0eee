"""`precision=portable`: what a process is told of the processor, what is refused, what a reproduction sets again."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from promax import portable
from promax.cli import main
from promax.config import Config, ConfigError, OptimConfig
from promax.provenance import collect, cpu_features
from promax.tracking import open_store, read_text

PORTABLE = Config(precision="portable")


class Replaced(BaseException):
    """In place of the new process."""


@pytest.fixture
def _told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in portable.VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def _untold(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in portable.VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What processes were replaced by."""
    begun: list[tuple[Any, ...]] = []

    def execve(*given: Any) -> None:
        begun.append(given)
        raise Replaced

    monkeypatch.setattr(os, "execve", execve)
    return begun


@pytest.mark.slow
@pytest.mark.skipif("avx2" not in cpu_features().split(), reason="no x86-64 processor with AVX2")
@pytest.mark.usefixtures("_untold")
def test_a_portable_run_and_its_reproduction_compute_by_what_all_processors_have(workshop: Any) -> None:
    run = workshop.train("precision=portable", "study=portable")
    told = dict(word.split("=", 1) for word in shlex.split(run.tags["promax.environment"]))
    assert {name: told.get(name) for name in portable.VARIABLES} == portable.VARIABLES
    assert run.tags["promax.precision"] == "portable"
    # The same run, its kernels chosen by this processor: it stands beside a baseline, and an audit, of its own kind.
    native = workshop.train("precision=fp32", "study=portable")
    assert native.tags["promax.baseline_run"] != run.tags["promax.baseline_run"]
    scores = [read_text(open_store(), each.run_id, "scores/test.csv") for each in (run, native)]
    assert scores[0] != scores[1], "MKL and torch did not take other kernels: the variables were set too late"
    code, out, err = workshop.reproduce(run.run_id)
    assert (code, "equal to the last bit" in out) == (0, True), out + err


# What the libraries say themselves of the kernels that they take: MKL and oneDNN when they are asked to tell.
SAID = """
import torch
from threadpoolctl import threadpool_info
print("aten:" + torch.backends.cpu.get_cpu_capability())
print(*("openblas:" + each["architecture"] for each in threadpool_info() if each["internal_api"] == "openblas"))
torch.rand(8, 8) @ torch.rand(8, 8)
torch.nn.functional.conv2d(torch.rand(2, 32, 64, 64), torch.rand(64, 32, 3, 3))
"""
HEEDED = {"aten:AVX2", "openblas:Haswell", "CNR:COMPATIBLE", "isa:Intel AVX2"}
# A step below, which every processor with AVX2 would leave if the variable were not heeded.
LOWER = {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Nehalem", "ONEDNN_MAX_CPU_ISA": "SSE41"}


@pytest.mark.slow
@pytest.mark.skipif("avx2" not in cpu_features().split(), reason="no x86-64 processor with AVX2")
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (portable.VARIABLES, HEEDED),
        (portable.VARIABLES | LOWER, {"aten:DEFAULT", "openblas:Nehalem", "CNR:COMPATIBLE", "isa:Intel SSE4.1"}),
    ],
    ids=["portable", "lower"],
)
def test_each_library_heeds_its_variable(variables: dict[str, str], said: set[str]) -> None:
    environment = {**os.environ, **variables, "MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1"}
    done = subprocess.run([sys.executable, "-c", SAID], env=environment, capture_output=True, text=True, check=True)
    assert {each for each in said if each not in done.stdout} == set(), done.stdout


def test_all_kernels_of_numpys_that_need_more_are_named() -> None:
    """By NumPy's list of those that it chooses among; X86_V3 is AVX2."""
    from numpy._core._multiarray_umath import __cpu_dispatch__

    assert "X86_V3" in __cpu_dispatch__
    assert set(__cpu_dispatch__) - {"X86_V3"} <= set(portable.VARIABLES["NPY_DISABLE_CPU_FEATURES"].split(","))


@pytest.mark.usefixtures("_untold")
@pytest.mark.parametrize(
    "words", [["precision=portable"], ["-m", "precision=portable", "seed=0,1"], ["experiment=mine"]]
)
def test_the_command_begins_anew_before_anything_is_done(
    project: Path, monkeypatch: pytest.MonkeyPatch, begun: list[tuple[Any, ...]], words: list[str]
) -> None:
    own = project / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\nprecision: portable\n", encoding="utf-8")
    command = ["promax", "train", "--config-dir", str(own.parent), *words]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, *command])
    with pytest.raises(Replaced):
        main()
    ((program, argv, environment),) = begun
    assert (program, argv) == (sys.executable, [sys.executable, *command])
    assert environment.items() >= portable.VARIABLES.items()
    assert not (project / "mlruns").exists()


@pytest.mark.usefixtures("_untold")
def test_who_only_looks_or_calls_from_a_program_is_not_replaced(
    project: Path, monkeypatch: pytest.MonkeyPatch, begun: list[tuple[Any, ...]]
) -> None:
    monkeypatch.setattr(sys, "argv", ["promax", "train", "--cfg", "job", "precision=portable"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    with pytest.raises(SystemExit) as ended:
        main(["train", "precision=portable", "device=cpu"])
    assert ended.value.code == 2
    assert begun == []


def test_a_process_begins_anew_once(monkeypatch: pytest.MonkeyPatch, begun: list[tuple[Any, ...]]) -> None:
    monkeypatch.setenv("MKL_CBWR", "AVX512")
    with pytest.raises(Replaced):
        portable.begin_anew()
    # Something in the new one sets it back: it runs into `check` instead of beginning for ever.
    for name, value in {**begun[0][2], "MKL_CBWR": "AVX512"}.items():
        monkeypatch.setenv(name, value)
    portable.begin_anew()
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    portable.begin_anew()
    assert len(begun) == 1


@pytest.mark.usefixtures("_told")
@pytest.mark.parametrize(
    ("device", "features", "text"),
    [
        ("cuda:0", "avx2", "is for the processor, not for cuda:0; add device=cpu"),
        ("cpu", "asimd bf16", "needs Linux on an x86-64 processor with AVX2"),
    ],
)
def test_where_it_would_not_be_portable_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, features: str, text: str
) -> None:
    monkeypatch.setattr(portable, "cpu_features", lambda: features)
    with pytest.raises(ConfigError, match=text):
        portable.check(PORTABLE, device)
    portable.check(Config(), device)


@pytest.mark.usefixtures("_told")
def test_square_roots_of_mkl_are_the_processors_own() -> None:
    cfg = Config(precision="portable", optim=OptimConfig(loss="angle"))
    with pytest.raises(ConfigError, match=r"optim\.loss=angle takes square roots"):
        portable.check(cfg, "cpu")


@pytest.mark.usefixtures("_told")
def test_a_library_may_have_been_loaded_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "cpu_features", lambda: "avx2")
    portable.check(PORTABLE, "cpu")
    monkeypatch.delenv("MKL_CBWR")
    with pytest.raises(ConfigError, match=r"can't be one of several(.|\n)*begun with\nMKL_CBWR=COMPATIBLE$"):
        portable.check(PORTABLE, "cpu")


def test_a_variable_with_blanks_is_recorded_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, 1")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    words = shlex.split(collect(None, "cpu").environment)
    assert {"MKL_CBWR=COMPATIBLE", "CUDA_VISIBLE_DEVICES=0, 1"} <= set(words)
