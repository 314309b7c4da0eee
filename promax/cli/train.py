"""`promax train`: Hydra composes, each composed config is one run."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from promax.cli.compose import explained, only_settings, register, without_passwords
from promax.config import Config, ConfigError, DataConfig, build, conf_dir, project_root
from promax.files import regular
from promax.trial import current

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from promax.data.splits import Splits

# Pairs of so many data configs are kept between trials; a sweep over data has few at a time.
_KEPT = 4


class _Refused(BaseException):
    """Carries an error out of Hydra's job, which prints a page about an `Exception` before it passes it on."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


def train(overrides: list[str], *, may_begin_anew: bool = False) -> int:
    """Compose with Hydra, single run or multirun, and train each composed config.

    A word @FILE stands for the overrides in that file, a YAML list as a sweep leaves it in best.yaml. A process that
    is this command's alone may be replaced by another of the same command: see `promax.portable`.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    flags = [word for word in overrides if word in ("-m", "--multirun")]
    typed = [word for word in overrides if not word.startswith("@")]
    overrides = [each for word in overrides for each in (_read(word) if word.startswith("@") else [word])]
    if flags:
        # Of best.yaml, which is run once where nothing else is typed.
        overrides = [word for word in overrides if word != "hydra.mode=RUN"]

    register(Config)
    # conf/ and worker processes then mean the same folder, whatever the working directory.
    os.environ["PROMAX_ROOT"] = str(project_root())
    # Hydra's parser takes overrides on one side of a flag only; people type -m where they like.
    sys.argv = ["promax train", *flags, *(word for word in overrides if word not in flags)]
    # Hydra then raises what went wrong in composing instead of printing a page about it.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with only_settings(typed, _replace_if_portable if may_begin_anew else None), without_passwords():
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(_train_one)()
    except _Refused as refused:
        raise refused.cause from None
    except KeyboardInterrupt as interrupt:
        # A sweep says itself how far it is.
        anew = "what was logged is kept, a run in progress is marked KILLED; the same command starts it anew"
        print(interrupt.args[0] if interrupt.args else anew, file=sys.stderr)
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise explained(error, Config, overrides) from error
    return 0


def _replace_if_portable(composed: DictConfig) -> None:
    """What a portable run needs of its environment is read when libraries are loaded, and some are by now."""
    only_shows = {"--cfg", "-c", "--info", "-i"} & {word.partition("=")[0] for word in sys.argv}
    if composed.get("precision") == "portable" and not only_shows:
        from promax import portable

        portable.begin_anew()


def _read(word: str) -> list[str]:
    import yaml

    try:
        found = yaml.safe_load(regular(Path(word[1:]).expanduser()).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{word}: can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ConfigError(f"{word}: must be a YAML list of overrides, a line each, like - optim.lr=1e-4")
    return found


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


def _train_one(composed: DictConfig) -> dict[str, float]:
    """One composed run; returns its dev metrics by the names they are logged under, for a sweeper to choose from."""
    _show_progress()
    try:
        return _run(build(composed, Config))
    except Exception as error:
        if current() is not None:
            raise  # a trial's failure is the sweeper's to record
        raise _Refused(error) from error


_loaded: dict[str, Splits] = {}


def _load_once(cfg: DataConfig, *, training: bool) -> Splits:
    """The trials of a sweep share their pairs, which were checked against the study's; the last few are kept."""
    # By its text, since a config holds lists, which no cache takes for a key.
    key = f"{cfg}, {training}"
    if key not in _loaded:
        from promax.data.splits import load

        if len(_loaded) == _KEPT:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = load(cfg, training=training)
    return _loaded[key]


def _run(cfg: Config) -> dict[str, float]:
    from promax.data.splits import load

    # Reading the pairs needs no torch: a bad file is refused before the seconds that its import takes.
    splits = (load if current() is None else _load_once)(cfg.data, training=cfg.optim.epochs > 0)
    from promax.tracking import open_store, waits

    if current() is None and cfg.tracking.uri is not None:
        # Likewise a server that is away.
        open_store(cfg.tracking.uri)
    from hydra.core.hydra_config import HydraConfig

    from promax.compare import compare
    from promax.run import run

    result = run(cfg, splits, HydraConfig.get().overrides.task, current())
    # What waits on disk was told of; the record can't compare it yet.
    if current() is None and not waits(result.run_id):
        compare([result.run_id], None, cfg.tracking.uri)
    return {f"dev/{name}": value for name, value in result.dev.metrics.items()} if result.dev is not None else {}
