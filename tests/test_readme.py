"""The documents do what they say: links lead somewhere, and every command line shown is one that promax takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("experiments/**/*.md"), *ROOT.glob("mlruns/*.md")]
    if path.is_file()
)
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Behind two or more spaces stands what a command does, behind a # likewise.
_REMARK = re.compile(r"(\s{2,}|\s#).*$")


def commands() -> list[str]:
    """The command lines of `promax` in the README's blocks, in order."""
    blocks = _BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [_REMARK.sub("", line) for line in lines if line.startswith("promax ")]


def test_there_are_documents_and_commands() -> None:
    assert {path.name for path in DOCUMENTS} >= {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert len(commands()) >= 13


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(path: Path) -> None:
    links = [link for link in _LINK.findall(path.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_placeholder_is_left(path: Path) -> None:
    found = re.findall(
        r"\b(TODO|TBD|FIXME|XXX)\b|lorem ipsum|@[A-Z]+@", path.read_text(encoding="utf-8"), re.IGNORECASE
    )
    assert found == []


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_the_readmes_commands_are_understood(line: str, understood: Callable[[list[str]], None]) -> None:
    words = shlex.split(line)[1:]
    if "optim.learning_rate=1e-4" in words:
        with pytest.raises(ValueError, match=r"optim\.learning_rate: unknown key"):
            understood(words)
    else:
        understood(words)
