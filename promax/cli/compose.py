"""From the words of a command line to a checked config; what can't be composed, explained in a line or two."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from promax.config import ConfigError, build, conf_dir, is_known, refuse_code, refuse_packages, unknown_key

T = TypeVar("T")

_LAUNCHERS = (
    "hydra._internal.core_plugins.basic_launcher",
    "hydra_plugins.hydra_joblib_launcher._core",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher",
)


def composed(name: str, schema: type[T], overrides: Sequence[str]) -> T:
    """Compose the primary config `name` of conf/ with `overrides` and check it against `schema`.

    Raises:
        ConfigError: it can't be composed, or `schema` refuses it.
    """
    from hydra import compose, initialize_config_dir

    register(schema)
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
            return build(compose(name, list(overrides)), schema)
    except ConfigError:
        raise
    except Exception as error:
        raise explained(error, schema, overrides) from error


@contextmanager
def only_settings(typed: Sequence[str], on_first: Callable[[Any], None] | None = None) -> Iterator[None]:
    """Within the block, Hydra refuses a composed config that names code before it looks at it; see `refuse_code`.

    `typed` are the words of the command line, which may say more than a file. The first config that is composed is
    shown to `on_first`, before anything is done about it.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    load = ConfigLoaderImpl.load_configuration
    waiting = [on_first] if on_first is not None else []

    def checked(
        self: ConfigLoaderImpl, config_name: str | None, overrides: list[str], *given: Any, **named: Any
    ) -> Any:
        primary = self.repository.load_config(config_name) if config_name is not None else None
        searched = OmegaConf.select(primary.config, "hydra.searchpath") if primary is not None else None
        refuse_packages([str(searched), *(word for word in overrides if "hydra.searchpath" in word)])
        try:
            found = load(self, config_name, overrides, *given, **named)
        except (HydraException, OmegaConfBaseException, OSError):
            raise
        except Exception as error:
            raise _not_composed(error, typed) from error
        refuse_code(OmegaConf.to_container(found.hydra, resolve=False), typed)  # type: ignore[arg-type]
        _refuse_passwords_on_disk(found)
        if waiting:
            waiting.pop()(found)
        return found

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]


@contextmanager
def without_passwords() -> Iterator[None]:
    """Within the block, no password is in what Hydra's sweeper writes of a multirun and launchers say of its jobs."""
    from hydra.core.plugins import Plugins
    from omegaconf import OmegaConf

    # It executes the plugins' modules, which undoes what was changed in them before.
    Plugins.instance()
    from hydra._internal.core_plugins import basic_sweeper

    class Masked(OmegaConf):
        @staticmethod
        def save(config: Any, f: Any, resolve: bool = False) -> None:
            Path(f).write_text(_masked(OmegaConf.to_yaml(config, resolve=resolve)), encoding="utf-8")

    def mask_record(record: logging.LogRecord) -> bool:
        record.msg, record.args = _masked(record.getMessage()), ()
        return True

    launchers = [logging.getLogger(name) for name in _LAUNCHERS]
    basic_sweeper.OmegaConf = Masked  # type: ignore[attr-defined]
    for each in launchers:
        each.addFilter(mask_record)
    try:
        yield
    finally:
        basic_sweeper.OmegaConf = OmegaConf  # type: ignore[attr-defined]
        for each in launchers:
            each.removeFilter(mask_record)


def _refuse_passwords_on_disk(config: Any) -> None:
    """submitit hands a job over in a file, with all that the job is told.

    Raises:
        ConfigError: a password in an address, with such a launcher.
    """
    from omegaconf import OmegaConf

    launcher = str(OmegaConf.select(config, "hydra.launcher._target_"))
    if "submitit" not in launcher:
        return
    from promax.tracking import has_password

    if has_password(OmegaConf.to_yaml(config)):
        raise ConfigError(
            "hydra/launcher=submitit: a password in an address would lie in its files; give it in PGPASSFILE, or in"
            " MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, which jobs get"
        )


def _masked(text: str) -> str:
    from promax.tracking import mask

    # Launchers show overrides with the escapes of Hydra's grammar.
    return mask(re.sub(r"\\([:=@])", r"\1", text))


def register(schema: type[Any]) -> None:
    """Let every key of the schema exist from the start, so that a typed override finds it and a mistyped one does not.

    A primary config of conf/ builds on it under the name `schema`; the last one registered counts.
    """
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=asdict(schema()))


def explained(error: Exception, schema: type[Any], words: Sequence[str]) -> ConfigError:
    """What Hydra or OmegaConf refused, in a line or two: an unknown key, an unknown choice, a malformed override."""
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, OverrideParseException):
        return ConfigError(
            f"{error.override}: not an override; write KEY=VALUE, like optim.lr=1e-4 or 'optim.phase_split=[1,2]'"
        )
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        return _not_composed(error, words)
    for number, line in enumerate(lines):
        if line.startswith("Ambiguous value for argument '"):
            return ConfigError(f"{line.split(chr(39))[1]}: several values; with -m there is a run for each")
        if line.startswith("Could not override '"):
            return ConfigError(_explain_key(line.split("'")[1], schema, words))
        if "Could not find '" in line and lines[number + 1 : number + 2]:
            missing = line[line.index("Could not find '") :].split("'")[1]
            group, _, choice = missing.rpartition("/")
            choices = ", ".join(each for each in lines[number + 2 :] if " " not in each)
            return ConfigError(f"{group}={choice}: no such config. Available: {choices}")
    return ConfigError("\n".join(lines[:2]))


def _not_composed(error: Exception, words: Sequence[str]) -> ConfigError:
    """Hydra's composition meets some requests, like GROUP=null, with whatever its code happens to raise."""
    return ConfigError(f"{_masked(' '.join(words))}: can't be composed: {(str(error).splitlines() or [''])[0]}")


def _explain_key(key: str, schema: type[Any], words: Sequence[str]) -> str:
    """Why a key can't be overridden. Hydra names it up to where it failed; the override as typed names all of it."""
    typed = [word.partition("=")[0].lstrip("+~") for word in words]
    if key == "hydra" or key.startswith("hydra."):
        key = next((word for word in typed if word.startswith("hydra.")), key)
        return f"{key}: no such setting of Hydra's; `promax train --cfg hydra` and the same overrides list them"
    key = next((word for word in typed if word == key or word.startswith(f"{key}.")), key)
    setting, also, _ = key.partition(".also.")
    if also and setting in ("rule.before", "rule.after"):
        return f"{key}: must be written in a rule's file, like conf/rule/loss.yaml, or whole: '{setting}.also={{...}}'"
    if is_known(key, schema):
        group, example = key.rpartition(".")[0], "rule=loss" if key.startswith("rule.") else "model=minilm_lora"
        return f"{key}: {group} is null here; choose a config that has it, like {example}"
    return unknown_key(key, schema)
