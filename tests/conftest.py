"""Shared by all tests: a project root of their own, and nothing that reaches the network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure, and what fails once fails again.
settings.register_profile("promax", deadline=None, derandomize=True)
settings.load_profile("promax")

# Set before anything imports torch, tokenizers or the hub's client.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Two test processes with two threads each on two cores spend their time waiting for each other.
os.environ["OMP_NUM_THREADS"] = "1"

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
