"""A record's uncommitted change is applied within the worktree, or not at all. Oracle: what lies outside of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from promax.config import ConfigError
from promax.reproduce.checkout import rebuilt

NEW = "--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+changed\n"
LINK = (
    "diff --git a/link b/link\nnew file mode 120000\n--- /dev/null\n+++ b/link\n"
    "@@ -0,0 +1 @@\n+{target}\n\\ No newline at end of file\n"
)


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout of one commit, which is new enough to be run again."""
    folder = tmp_path / "clone"
    (folder / "promax").mkdir(parents=True)
    (folder / "promax" / "run.py").write_text("def run(trial: Trial) -> None: ...\n", encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def recorded(clone: Path, diff: str) -> Any:
    return SimpleNamespace(run=SimpleNamespace(short_id="RUN"), commit=git(clone, "rev-parse", "HEAD"), diff=diff)


def test_a_change_is_applied_and_the_worktree_goes_again(clone: Path, tmp_path: Path) -> None:
    with rebuilt(recorded(clone, NEW.format(path="conf/mine.yaml")), clone, tmp_path / "tree") as tree:
        assert tree is not None
        assert (tree / "conf" / "mine.yaml").read_text() == "changed\n"
    assert not (tmp_path / "tree").exists()
    assert "tree" not in git(clone, "worktree", "list")


@pytest.mark.parametrize("trick", ["climbs", "absolute", "through a link", "git's own"])
def test_a_change_writes_nowhere_else(trick: str, clone: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    diff = {
        "climbs": NEW.format(path="../outside/file"),
        "absolute": NEW.format(path=f"{outside}/file"),
        "through a link": LINK.format(target=outside) + NEW.format(path="link/file"),
        "git's own": NEW.format(path=".git/hooks/post-checkout"),
    }[trick]
    hooks = sorted((clone / ".git" / "hooks").iterdir())
    with (
        pytest.raises(ConfigError, match=r"^run RUN: its git\.diff doesn't apply to its commit: error: "),
        rebuilt(recorded(clone, diff), clone, tmp_path / "tree"),
    ):
        pass
    assert not list(outside.iterdir())
    assert sorted((clone / ".git" / "hooks").iterdir()) == hooks
    assert not (tmp_path / "tree").exists()
