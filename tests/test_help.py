"""Where a user looks for help: every verb says what it does, what its options are, and shows an example that works."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from promax.cli import main
from promax.cli.completion import config_groups
from promax.cli.parser import make_parser

# A command line in a help text: what it does stands behind two or more spaces.
_EXAMPLE = re.compile(r"^(?:example:)?\s+(promax .*?)(?:\s{2,}.*)?$", re.MULTILINE)


def parsers(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every parser by the words that lead to it, "" first."""
    yield " ".join(path), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from parsers(below, (*path, name))


ALL = dict(parsers(make_parser()))
VERBS = {name: parser for name, parser in ALL.items() if name not in ("", "data")}


def examples(parser: argparse.ArgumentParser) -> list[str]:
    return _EXAMPLE.findall(parser.format_help())


def test_the_verbs_are_found() -> None:
    assert set(VERBS) >= {
        *("train", "compare", "search", "ui", "doctor"),
        *("data build", "data audit", "data corpus"),
    }


@pytest.mark.parametrize("name", VERBS)
def test_the_help_shows_every_verb_with_a_line_and_an_example(name: str) -> None:
    text = ALL[""].format_help()
    assert re.search(rf"^    {name.split()[0]} +\w", text, re.MULTILINE), "no line in the list of verbs"
    assert any(line.startswith(f"promax {name} ") or line == f"promax {name}" for line in examples(ALL[""]))


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_has_a_description_and_an_example_of_itself(name: str) -> None:
    assert VERBS[name].description
    assert any(f"{line} ".startswith(f"promax {name} ") for line in examples(VERBS[name]))


@pytest.mark.parametrize("name", VERBS)
def test_every_option_is_described_with_its_default(name: str) -> None:
    for action in VERBS[name]._actions:
        assert action.help, action.dest
        takes_a_value = bool(action.option_strings) and action.nargs != 0
        if takes_a_value and not action.required and action.choices is None:
            assert "(default: " in action.help, action.option_strings


LINES = sorted({line for parser in ALL.values() for line in examples(parser)})


@pytest.mark.parametrize("line", LINES)
def test_every_example_is_understood(line: str, understood: Callable[[list[str]], None]) -> None:
    understood(shlex.split(line)[1:])


def test_there_are_examples() -> None:
    assert len(LINES) >= 20


def test_a_wrong_example_would_be_noticed(understood: Callable[[list[str]], None]) -> None:
    with pytest.raises(SystemExit):
        understood(["compare", "--studdy", "demo"])
    with pytest.raises(ValueError, match="unknown key"):
        understood(["train", "optim.epoch=3"])


def test_the_help_of_train_names_every_config(project: Path) -> None:
    groups = config_groups()
    assert set(groups) == {"data", "model", "optim", "rule", "experiment"}
    text = " ".join(ALL["train"].format_help().split())
    for group, choices in groups.items():
        assert f" {group}: {' '.join(sorted(choices))} " in text


@pytest.mark.parametrize("name", ["", *VERBS])
def test_help_is_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    assert "promax" in capsys.readouterr().out
