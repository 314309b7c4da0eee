"""A store of its own for each test; the database is created once and copied."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from promax.tracking import Store, open_store


@pytest.fixture
def store(project: Path, fresh_database: Path) -> Store:
    """The embedded store of a fresh project."""
    (project / "mlruns").mkdir()
    shutil.copy(fresh_database, project / "mlruns" / "mlflow.db")
    return open_store()
