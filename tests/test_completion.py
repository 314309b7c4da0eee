"""Shell completion: what is offered, in which shells, and how long it takes."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import argcomplete
import pytest

from promax.cli.completion import overrides, schema_keys
from promax.config import BuildConfig, Config

PROMAX = Path(sys.executable).with_name("promax")
# Bash's own, at which it cuts a word: `=` and `:` among them.
WORDBREAKS = " \t\n\"'@><=;|&(:"


def complete(line: str, *options: str, module: str = "promax.cli", tmp: Path) -> tuple[list[str], str]:
    """What argcomplete answers a shell for `line` with the cursor at its end, and stderr."""
    answer = tmp / "answer"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line.encode())),
    }
    done = subprocess.run(
        [sys.executable, *options, "-m", module],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **asked},
    )
    return answer.read_text().splitlines(), done.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("promax tr", ["train"]),
        ("promax data ", ["--help", "build", "audit", "corpus"]),
        ("promax compare --st", ["--study"]),
        ("promax train --cfg ", ["job", "hydra", "all"]),
        ("promax train model=", ["model=minilm", "model=minilm_lora", "model=mpnet", "model=mpnet_lora"]),
        ("promax train -m optim.loss=co", ["optim.loss=cosine", "optim.loss=cosent", "optim.loss=contrastive"]),
        ("promax train ra", []),
        # Behind an option, where argparse itself is done with overrides.
        ("promax data build x.csv --out pairs phases.pai", ["phases.pairs="]),
        ("promax data build x.csv --out pairs data.", []),
        ("promax search vpn --run 3f2a export.day", ["export.day_first="]),
        ("promax search vpn --run 3f2a phases.pai", []),
        ("promax search vpn --run ", []),
    ],
)
def test_the_shell_is_offered(line: str, offered: list[str], project: Path) -> None:
    assert complete(line, tmp=project)[0] == offered


def test_configs_of_the_user_are_offered(project: Path) -> None:
    (project / "conf").unlink()
    (project / "conf" / "model").mkdir(parents=True)
    (project / "conf" / "config.yaml").write_text("")
    (project / "conf" / "model" / "mine.yaml").write_text("")
    assert complete("promax train model=", tmp=project)[0] == ["model=mine"]


def test_keys_are_offered_up_to_a_dot(project: Path) -> None:
    assert overrides("opt", "Config") == ["optim=", "optim."]
    assert overrides("optim.w", "Config") == ["optim.warmup_ratio=", "optim.weight_decay="]
    # Alone, `eval.` would get a space behind it.
    assert overrides("ev", "Config")[:2] == ["eval.bootstrap=", "eval.confidence="]
    assert overrides("data.binary=", "Config") == ["data.binary=true", "data.binary=false"]
    assert "experiment=" in overrides("", "Config")
    assert "experiment=" not in overrides("", "BuildConfig")


def keys_of(schema: type[Any], prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """The keys of an imported schema class, with the values of those that are one of a few."""
    hints = typing.get_type_hints(schema)
    for each in fields(schema):
        either = typing.get_args(hints[each.name]) if type(None) in typing.get_args(hints[each.name]) else ()
        either = either or (hints[each.name],)
        group = next((kind for kind in either if is_dataclass(kind)), None)
        if isinstance(group, type):
            yield from keys_of(group, f"{prefix}{each.name}.")
            continue
        values = [("true", "false") if kind is bool else typing.get_args(kind) for kind in either]
        literal = [kind is bool or typing.get_origin(kind) is typing.Literal for kind in either]
        yield f"{prefix}{each.name}", next((v for v, known in zip(values, literal, strict=True) if known), ())


@pytest.mark.parametrize("schema", [Config, BuildConfig])
def test_the_schema_read_is_the_schema_imported(schema: type[Any]) -> None:
    expected = dict(keys_of(schema))
    assert len(expected) >= 50
    assert schema_keys(schema.__name__) == expected


def test_an_answer_imports_nothing_heavy(project: Path) -> None:
    offered, told = complete("promax train optim.", "-X", "importtime", tmp=project)
    assert "optim.lr=" in offered
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    assert {"promax", "argcomplete"} <= imported
    assert imported & {"torch", "mlflow", "pydantic", "omegaconf", "hydra", "numpy", "yaml"} == set()


def test_an_answer_takes_a_third_of_a_second(project: Path) -> None:
    """Of processor time: the clock on the wall also measures what else the machine does. The best of three."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    taken = []
    for _ in range(3):
        before = spent()
        complete("promax train optim.", tmp=project)
        taken.append(spent() - before)
    assert min(taken) < 0.33


# Each runs the shell's own hook for the line in $LINE, and prints what it would offer.
HOOKS = {
    "bash": """
        source hook
        COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9 _python_argcomplete promax
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    # Stands for the completion system, which runs in interactive shells alone.
    "zsh": """
        compdef() { }; _describe() { print -l -- ${(P)2} }
        source ./hook
        words=(promax); BUFFER=$LINE; CURSOR=${#LINE}
        _python_argcomplete
    """,
    "fish": """
        source hook
        complete -C $LINE
    """,
}
# Bash wants what follows the last `=`; zsh and fish the whole word, with its help behind a colon or tab.
OFFERED = {
    "bash": ["cosine", "cosent", "contrastive"],
    "zsh": ["optim.loss=cosine", "optim.loss=cosent", "optim.loss=contrastive"],
    "fish": ["optim.loss=contrastive", "optim.loss=cosent", "optim.loss=cosine"],
}


@pytest.mark.skipif(not PROMAX.exists(), reason="promax is not installed as a command")
@pytest.mark.parametrize("shell", HOOKS)
def test_a_shell_completes(shell: str, project: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (project / "hook").write_text(argcomplete.shellcode(["promax"], shell="fish" if shell == "fish" else "bash"))
    environment = {
        **os.environ,
        "LINE": "promax train optim.loss=co",
        "PATH": f"{PROMAX.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(project),
    }
    done = subprocess.run([shell, "-c", HOOKS[shell]], capture_output=True, text=True, env=environment, timeout=60)
    assert [line.partition("\t")[0].partition(":")[0].strip() for line in done.stdout.splitlines()] == OFFERED[shell]
