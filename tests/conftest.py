"""Shared by all tests: a project root of their own, and nothing that reaches the network."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from promax.tracking import Store

# A busy machine is no failure, and what fails once fails again.
settings.register_profile("promax", deadline=None, derandomize=True)
settings.load_profile("promax")

# Set before anything imports torch, tokenizers or the hub's client.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Two test processes with two threads each on two cores spend their time waiting for each other.
os.environ["OMP_NUM_THREADS"] = "1"

# Hundreds of records are made and thrown away, and a disk is waited for at each commit: a third of the whole time.
# Containers often have little such memory, or none that programs may be started from.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 8 << 30 and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project root with this checkout's conf/ and no records."""
    (tmp_path / "conf").symlink_to(REPOSITORY / "conf")
    monkeypatch.setenv("PROMAX_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database, which takes it seconds to create: to be copied."""
    from promax.tracking import open_store

    root = tmp_path_factory.mktemp("created")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMAX_ROOT", str(root))
        open_store()
    return root / "mlruns" / "mlflow.db"


@pytest.fixture(name="outcome")
def _outcome(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `promax` with the words it is given; the exit code, and what was printed on stdout and on stderr."""

    def outcome(*words: str) -> tuple[int, str, str]:
        from promax.cli import main

        with pytest.raises(SystemExit) as ended:
            main(words)
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return outcome


_SEARCHED = re.compile(r"=(choice|range|interval|tag)\(")


def understood(words: list[str]) -> None:
    """Have promax parse the words of a command line as it does itself, `train`'s by Hydra; run nothing."""
    from promax.cli.compose import composed
    from promax.cli.parser import make_parser
    from promax.config import Config

    make_parser().parse_args(words)
    if words[:1] == ["train"]:
        # A multirun's sweeps are refused in a single composition: the first of a list stands for all of it.
        flags = ("-m", "--multirun", "--cfg", "job", "--help")
        kept = [word for word in words[1:] if word not in flags and not _SEARCHED.search(word) and word[0] != "@"]
        composed("config", Config, [re.sub(r"=([^\[(,]+),.*$", r"=\1", word) for word in kept])


@pytest.fixture(name="understood")
def _understood(project: Path) -> Callable[[list[str]], None]:
    return understood


@pytest.fixture
def elsewhere(tmp_path: Path, fresh_database: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Store]:
    """Moves to a project with an empty record and no files, and opens that."""

    def move() -> Store:
        from promax.tracking import open_store

        root = tmp_path / "elsewhere"
        (root / "mlruns").mkdir(parents=True)
        shutil.copy(fresh_database, root / "mlruns" / "mlflow.db")
        monkeypatch.setenv("PROMAX_ROOT", str(root))
        monkeypatch.chdir(root)
        return open_store()

    return move
