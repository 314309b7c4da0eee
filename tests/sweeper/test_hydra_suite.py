"""Hydra's own tests of sweepers and launchers, where they apply: with the grid, which runs what is written in order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite
from hydra.version import VersionBase
from packaging.version import Version

# Worker processes, kills and servers: `make fast` leaves these out.
pytestmark = pytest.mark.slow

# Some of these tasks return no number, as a launcher may and an objective may not: their trials fail, and may.
GRID = [
    "hydra/sweeper=promax_optuna",
    "hydra.sweeper.sampler=grid",
    "hydra.sweeper.pruner=none",
    "hydra.sweeper.max_failure_rate=1",
]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage of its own for each test, in which no former study goes on; and Hydra as in a fresh process.

    What an application asks of its Hydra, promax in other tests too, counts for the process: the suite asks nothing.
    """
    monkeypatch.setenv("PROMAX_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr(VersionBase.instance(), "version_base", Version("1.1"))


@pytest.mark.parametrize("launcher_name, overrides", [("basic", GRID)], ids=["basic"])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize("task_launcher_cfg, extra_flags", [({}, ["-m", *GRID])], ids=["grid"])
class TestIntegration(IntegrationTestSuite):
    # It runs one command twice and expects its job to run twice; here the second finds the study finished.
    test_to_absolute_path_multirun = None
