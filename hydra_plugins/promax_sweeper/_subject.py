"""What a sweep knows of the task it sweeps: promax's own runs, or any other Hydra application."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.promax_sweeper._options import Options
from hydra_plugins.promax_sweeper._space import Space
from promax.config import Config, ConfigError, build, flatten

# What says where and how a study is carried out, not which: other machines may have it otherwise.
_ELSEWHERE = re.compile(r"(study|device|tracking\..*|data\.(train|dev|test|adversarial|transfer|path))")

# Source of the pairs -> which keys of `data` are paths; a hub's sides are names of splits.
_PATHS = {
    "files": frozenset({"data.train", "data.dev", "data.test"}),
    "hub": frozenset({"data.path"}),
    "tickets": frozenset(),
}


@dataclass(frozen=True)
class Subject:
    """The task at one point of the search space.

    `settings` is what is fixed, in dotted keys; `data` the fingerprints of its pairs, `notes` what to tell of them;
    `study` MLflow's experiment, None where the task is not one of promax's, which is then not recorded either. `paths`
    are the keys that may name a file or folder. `measured` are the dev metrics that a run may have, `ranked` those of
    them that it has after each epoch; both are empty where the task is another.
    """

    settings: Mapping[str, Any]
    data: Mapping[str, str]
    study: str | None
    tracking_uri: str | None
    notes: tuple[str, ...] = ()
    paths: frozenset[str] = frozenset()
    measured: tuple[str, ...] = ()
    ranked: tuple[str, ...] = ()

    def check_objective(self, options: Options) -> None:
        """Refuse an objective that no run of promax will have, before any is trained.

        Raises:
            ConfigError: no such metric; or one that isn't measured after an epoch, and the pruner asks for it then.
        """
        for name in options.objective if self.measured else ():
            if name not in self.measured:
                raise ConfigError(f"hydra.sweeper.objective={name}: not measured; there are {', '.join(self.measured)}")
            if name not in self.ranked and options.pruner not in ("none", "wilcoxon"):
                raise ConfigError(
                    f"hydra.sweeper.objective={name}: not measured after an epoch, only {', '.join(self.ranked)} are; "
                    "set hydra.sweeper.pruner=none"
                )

    def from_anywhere(self, word: str) -> str:
        """`word` as it may be said in any folder: a relative path in it made absolute."""
        (override,) = OverridesParser.create().parse_overrides([word])
        path = Path(str(override.value())).expanduser()
        if override.get_key_element().lstrip("+") not in self.paths or not path.exists():
            return word
        quoted = str(path.resolve()).replace("'", "\\'")
        return f"{override.get_key_element()}='{quoted}'"

    def filed_under(self, name: str, space: Space) -> Space:
        """The space with the runs of all trials filed under the study's name."""
        if self.study is None:
            return space
        word = f"study={name}" if re.fullmatch(r"[\w.-]+", name) else f"study='{name}'"
        kept = [each for each in space.words if not (isinstance(each, str) and each.startswith("study="))]
        return dataclasses.replace(space, words=(*kept, word))


def subject_of(context: HydraContext, config: DictConfig, space: Space) -> Subject:
    """Compose the corners of the space, so that what can't be composed is refused before there is a study.

    Raises:
        ConfigError: a value that the schema of promax refuses, or pairs that can't be read.
        HydraException: a corner that can't be composed.
    """
    composed = [context.config_loader.load_sweep_config(config, words) for words in space.corners()]
    for each in composed:
        OmegaConf.set_struct(each, False)
        each.pop("hydra")
    first = composed[0]
    if not {field.name for field in dataclasses.fields(Config)} <= {str(key) for key in first}:
        plain = OmegaConf.to_container(first, resolve=False)
        return Subject(_flat("", plain), {}, None, None)
    configs = [build(each, Config) for each in composed]
    from promax.data.pairs import positives
    from promax.data.splits import BESIDE, load
    from promax.evaluate import metric_names, point_metric_names

    cfg, fingerprints = configs[0], dict[str, set[str]]()
    splits = load(cfg.data, training=True)
    # A sweep may be over the pairs themselves.
    for pairs_of in {str(each.data): each.data for each in configs}.values():
        for side, pairs in (splits if pairs_of == cfg.data else load(pairs_of, training=True)).sides():
            fingerprints.setdefault(side, set()).add(pairs.fingerprint())
    assert splits.dev is not None, "a run that trains is given both sides"
    graded = positives(splits.dev.labels, cfg.data.positive_from) is None
    return Subject(
        settings={key: value for key, value in flatten(cfg).items() if not _ELSEWHERE.fullmatch(key)},
        data={side: " ".join(sorted(found)) for side, found in fingerprints.items()},
        study=cfg.study,
        tracking_uri=cfg.tracking.uri,
        notes=tuple(splits.notes),
        paths=_PATHS[cfg.data.source] | {*(f"data.{side}" for side in BESIDE), "model.path"},
        measured=tuple(f"dev/{name}" for name in metric_names(cfg.eval, graded=graded)),
        ranked=tuple(f"dev/{name}" for name in point_metric_names(graded=graded)),
    )


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    return found
