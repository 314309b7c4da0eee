"""What makes a study the study it is, and whether a command still means it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from hydra_plugins.promax_sweeper._options import Options
from hydra_plugins.promax_sweeper._space import Space
from promax.config import ConfigError

IDENTITY = "promax.identity"
# How many of a study's best settings a fork begins with.
INHERITED = 5

Identity = dict[str, dict[str, str]]


def identity(options: Options, space: Space, settings: Mapping[str, Any], data: Mapping[str, str]) -> Identity:
    """Search space, objective, data fingerprints and all that is fixed, as texts that can be compared.

    `settings` is a composed config, one level of dotted keys; what is searched may be in it or not.
    """
    objective = dict(zip(options.objective, options.direction, strict=True))
    seeds = {"seeds": str(options.seeds)} if options.seeds else {}
    fixed = {key: str(value) for key, value in settings.items() if not _is_searched(key, space)}
    return {"space": space.canonical(), "objective": {**objective, **seeds}, "data": dict(data), "setting": fixed}


def open_study(rdb: RDBStorage, name: str, options: Options, wanted: Identity) -> tuple[str, list[dict[str, Any]]]:
    """Create the study `name` or find it again; to be called in one's turn.

    Returns:
        The study's name, which with `options.fork` may have a number added, and settings to begin with.

    Raises:
        ConfigError: the study in the storage is another one.
    """
    candidate, number, inherited = name, 1, list[dict[str, Any]]()
    while True:
        found = _identity_in(rdb, candidate, options, wanted)
        changed = _changes(found, wanted)
        if not changed:
            return candidate, inherited
        if not options.fork:
            raise ConfigError(
                f"study {candidate}: is another one in the storage: {'; '.join(changed[:3])}"
                + (f" (and {len(changed) - 3} more)" if len(changed) > 3 else "")
                + "\nuse another hydra.sweeper.study_name, or hydra.sweeper.fork=true to start from its best settings"
            )
        inherited = _best_settings(rdb, candidate)
        number += 1
        candidate = f"{name}-{number}"


def _identity_in(rdb: RDBStorage, name: str, options: Options, wanted: Identity) -> Identity:
    """What the storage says of a study, after it was created where there was none."""
    try:
        study = optuna.load_study(study_name=name, storage=rdb)
    except KeyError:
        study = optuna.create_study(study_name=name, storage=rdb, directions=options.direction)
    if IDENTITY not in study.user_attrs:
        if study.get_trials(deepcopy=False):
            raise ConfigError(f"study {name}: another program's study is in the storage under this name; use another")
        study.set_user_attr(IDENTITY, wanted)
    found: Identity = study.user_attrs[IDENTITY]
    return found


def _changes(was: Identity, now: Identity) -> list[str]:
    lines = []
    for kind in now:
        before, after = was.get(kind, {}), now[kind]
        for key in [*before, *(key for key in after if key not in before)]:
            old, new = before.get(key), after.get(key)
            if old != new:
                lines.append(f"{kind} {key} was {_short(old)}, is {_short(new)}")
    return lines


def _short(value: str | None) -> str:
    if value is None:
        return "absent"
    return f"{value[:12]}…" if len(value) == 64 else value


def _best_settings(rdb: RDBStorage, name: str) -> list[dict[str, Any]]:
    study = optuna.load_study(study_name=name, storage=rdb)
    if len(study.directions) > 1:
        return [trial.params for trial in study.best_trials[:INHERITED]]
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    upwards = study.direction == optuna.study.StudyDirection.MAXIMIZE
    ranked = sorted(complete, key=lambda trial: trial.values[0], reverse=upwards)
    return [trial.params for trial in ranked[:INHERITED]]


def _is_searched(key: str, space: Space) -> bool:
    """Whether a config key is set by a searched one: itself, a group (model -> model.path) or a part of it."""
    names = [searched.partition("@")[0].replace("/", ".") for searched in space.parameters]
    return any(key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.") for name in names)
