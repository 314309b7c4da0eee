"""The trials' configs, as Hydra composes them, without composing each."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, open_dict

# Composed configs that are kept: one for each combination of config groups that is searched.
MOST_KEPT = 32


class ReadOnce(ConfigRepository):
    """Hydra's config files, each read once: whoever edits one while a sweep runs changes no later trial of it."""

    def __init__(self, read: ConfigRepository) -> None:
        self.sources = read.sources
        self._found: dict[tuple[str, ...], ConfigResult | None] = {}

    def __deepcopy__(self, _memo: object) -> ReadOnce:
        """Hydra composes from a copy, to which `hydra.searchpath` may give other sources; what was read is shared."""
        copied = copy.copy(self)
        copied.sources = list(self.sources)
        return copied

    def load_config(self, config_path: str) -> ConfigResult | None:
        key = (config_path, *(source.path for source in self.sources))
        if key not in self._found:
            self._found[key] = super().load_config(config_path)
        # Hydra merges into what it is given.
        return copy.deepcopy(self._found[key])


@dataclass(frozen=True)
class _Composed:
    """A config and the overrides that it was composed with."""

    config: DictConfig
    overrides: Sequence[Override]

    def fits(self, others: Sequence[Override]) -> bool:
        """Whether `others` differ from its overrides in values alone, and not in what is chosen of a config group."""
        return len(others) == len(self.overrides) and all(
            one.input_line == other.input_line or (self._is_value(one) and _set_the_same(one, other))
            for one, other in zip(self.overrides, others, strict=True)
        )

    def with_values(self, overrides: Sequence[Override]) -> DictConfig:
        """The config that Hydra composes with overrides that fit: it sets values last, in a config that is whole."""
        config = copy.deepcopy(self.config)
        changed = [new for old, new in zip(self.overrides, overrides, strict=True) if old.input_line != new.input_line]
        ConfigLoaderImpl._apply_overrides_to_config(changed, config)
        task = [each for each in overrides if not each.is_hydra_override()]
        names = config.hydra.job.config.override_dirname
        with open_dict(config.hydra):
            config.hydra.overrides.task = [each.input_line for each in task]
            config.hydra.job.override_dirname = get_overrides_dirname(
                overrides=task,
                kv_sep=names.kv_sep,
                item_sep=names.item_sep,
                exclude_keys=names.exclude_keys,
            )
        return config

    def _is_value(self, override: Override) -> bool:
        key = override.key_or_group
        is_group = override.package is not None or "/" in key or key in self.config.hydra.runtime.choices
        if is_group or override.is_hydra_override() or key.startswith("hydra."):
            return False
        # What chooses from a group that is in no defaults list is nowhere in the config, or names a whole node of it.
        found = OmegaConf.select(self.config, key, default=self.config, throw_on_resolution_failure=False)
        return not OmegaConf.is_config(found)


class Composer:
    """Composes the configs of a sweep's trials.

    Hydra takes a tenth of a second for each, a fifth of what a trial costs besides training. Trials mostly differ in
    values, which it sets at the very end: so of those that do, it composes the first, and the others are copies.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self._kept: list[_Composed] = []

    def read_configs_once(self) -> None:
        """From now on, in this process."""
        loader = self._loader
        if isinstance(loader, ConfigLoaderImpl) and not isinstance(loader.repository, ReadOnce):
            loader.repository = ReadOnce(loader.repository)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """A trial's config, as Hydra's own launchers compose a job's."""
        parsed = OverridesParser.create(config_loader=self._loader).parse_overrides(list(overrides))
        for each in self._kept:
            if each.fits(parsed):
                return each.with_values(parsed)
        config = self._loader.load_sweep_config(self._master, list(overrides))
        # Of a resolver that counts or draws, each trial has its own value.
        self._kept = [_Composed(copy.deepcopy(config), parsed), *self._kept][:MOST_KEPT]
        return config


def _set_the_same(one: Override, other: Override) -> bool:
    """Whether they set one key, each to a value that is not merged into what is there."""
    same = (one.key_or_group, one.type, one.package) == (other.key_or_group, other.type, other.package)
    single = not any(isinstance(each.value(), list | dict) for each in (one, other))
    return same and single and one.type in (OverrideType.CHANGE, OverrideType.FORCE_ADD)
