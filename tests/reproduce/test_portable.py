"""`precision=portable`: what a process is told of the processor, what is refused, what a reproduction sets again."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from promax import portable
from promax.config import Config, ConfigError
from promax.tracking import open_store, read_text

PORTABLE = Config(precision="portable")


@pytest.fixture
def _told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in portable.VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
def test_a_portable_run_and_its_reproduction_compute_by_what_all_processors_have(
    workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in portable.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    run = workshop.train("precision=portable", "study=portable")
    told = dict(word.split("=", 1) for word in run.tags["promax.environment"].split())
    assert {name: told.get(name) for name in portable.VARIABLES} == portable.VARIABLES
    assert run.tags["promax.precision"] == "portable"
    code, out, err = workshop.reproduce(run.run_id)
    assert (code, "equal to the last bit" in out) == (0, True), out + err
    # The same run, its kernels chosen by this processor: it stands beside a baseline of its own kind.
    native = workshop.train("precision=fp32", "study=portable")
    assert native.tags["promax.baseline_run"] != run.tags["promax.baseline_run"]
    scores = [read_text(open_store(), each.run_id, "scores/test.csv") for each in (run, native)]
    assert scores[0] != scores[1], "MKL and torch did not take other kernels: the variables were set too late"


def test_a_process_begins_anew_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "execve", lambda *given: begun.append(given))
    monkeypatch.setenv("MKL_CBWR", "AVX512")
    portable.begin_anew()
    ((program, words, environment),) = begun
    assert (program, words) == (sys.executable, sys.orig_argv)
    assert environment == {**os.environ, **portable.VARIABLES}
    for name, value in portable.VARIABLES.items():
        monkeypatch.setenv(name, value)
    portable.begin_anew()
    assert len(begun) == 1


@pytest.mark.usefixtures("_told")
@pytest.mark.parametrize(
    ("device", "features", "text"),
    [
        ("cuda:0", "avx2", "is for the processor, not for cuda:0; add device=cpu"),
        ("cpu", "asimd bf16", "needs an x86-64 processor with AVX2"),
    ],
)
def test_where_it_would_not_be_portable_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, features: str, text: str
) -> None:
    monkeypatch.setattr(portable, "cpu_features", lambda: features)
    with pytest.raises(ConfigError, match=text):
        portable.check(PORTABLE, device)
    portable.check(Config(), device)


def test_a_library_may_have_been_loaded_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "cpu_features", lambda: "avx2")
    monkeypatch.delenv("MKL_CBWR", raising=False)
    with pytest.raises(ConfigError, match=r"can't be swept over(.|\n)*MKL_CBWR=COMPATIBLE ATEN_CPU"):
        portable.check(PORTABLE, "cpu")


@pytest.mark.usefixtures("_told")
def test_told_in_time_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "cpu_features", lambda: "avx2")
    portable.check(PORTABLE, "cpu")
