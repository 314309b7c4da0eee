"""`promax train`: Hydra composes, each composed config is one run."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from promax.cli.compose import explained, register
from promax.config import Config, build, conf_dir, project_root

if TYPE_CHECKING:
    from omegaconf import DictConfig


class _Refused(BaseException):
    """Carries an error out of Hydra's job, which prints a page about an `Exception` before it passes it on."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


def train(overrides: list[str]) -> int:
    """Compose with Hydra, single run or multirun, and train each composed config."""
    import hydra

    register(Config)
    # conf/ and worker processes then mean the same folder, whatever the working directory.
    os.environ["PROMAX_ROOT"] = str(project_root())
    # Hydra's parser takes overrides on one side of a flag only; people type -m where they like.
    flags = [word for word in overrides if word in ("-m", "--multirun")]
    sys.argv = ["promax train", *flags, *(word for word in overrides if word not in flags)]
    # Hydra then raises what went wrong in composing instead of printing a page about it.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(_train_one)()
    except _Refused as refused:
        raise refused.cause from None
    except KeyboardInterrupt:
        print(
            "what was logged is kept, a run in progress is marked KILLED; the same command starts it anew",
            file=sys.stderr,
        )
        raise
    except Exception as error:
        raise explained(error, Config, overrides) from error
    return 0


def _show_progress() -> None:
    """Send what promax says of its work to stderr, away from the results on stdout."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("promax")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # Hydra has set the root logger to tell everything that libraries say.
    logging.getLogger().setLevel(logging.WARNING)


def _train_one(composed: DictConfig) -> float:
    """One composed run; returns its dev metric, which is what a sweeper optimises."""
    _show_progress()
    try:
        cfg = build(composed, Config)
        from promax.data.splits import load

        # Reading the pairs needs no torch: a bad file is refused before the seconds that its import takes.
        splits = load(cfg.data, training=cfg.optim.epochs > 0)
        from hydra.core.hydra_config import HydraConfig

        from promax.compare import compare
        from promax.run import run

        result = run(cfg, splits, HydraConfig.get().overrides.task)
        compare([result.run_id], None, cfg.tracking.uri)
        return result.objective
    except Exception as error:
        raise _Refused(error) from error
