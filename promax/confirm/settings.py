"""The settings of a study: which one a run is of, how they are called, and in which order they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence

from promax.config import SettingConfig, as_text
from promax.tracking import RunInfo


def setting_of(run: RunInfo, varied: Sequence[str]) -> SettingConfig:
    """The setting of a run, by its parameters; `varied` are the keys that a rule names besides rate and epochs."""
    also = {key: run.params.get(key, as_text(None)) for key in varied}
    return SettingConfig(lr=float(run.params["optim.lr"]), epochs=int(run.params["optim.epochs"]), also=also)


def place(setting: SettingConfig) -> tuple[object, ...]:
    """Where a setting stands among others: numbers by size, and before names."""
    also: list[tuple[int, float, str]] = []
    for _, text in sorted(setting.also.items()):
        number = re.fullmatch(r"-?\d+(\.\d+)?(e[-+]?\d+)?", text)
        also.append((0, float(text), "") if number else (1, 0.0, text))
    return (*also, setting.lr, setting.epochs)


def label(setting: SettingConfig) -> str:
    """How a setting is called in tables and figures.

    >>> label(SettingConfig(lr=2e-5, epochs=6, also={"optim.loss": "cosent"}))
    '2e-05, 6 epochs, optim.loss=cosent'
    """
    epochs = f"{setting.epochs} epoch{'s' if setting.epochs > 1 else ''}"
    return ", ".join([f"{setting.lr:g}", epochs, *besides(setting)])


def variant(setting: SettingConfig) -> str:
    """What a setting is told apart by besides learning rate and epochs, as one text."""
    return ", ".join(besides(setting))


def besides(setting: SettingConfig) -> list[str]:
    """What a setting is told apart by besides learning rate and epochs, in words.

    >>> besides(SettingConfig(lr=2e-5, epochs=6, also={"optim.loss": "cosent"}))
    ['optim.loss=cosent']
    """
    return [f"{key}={value}" for key, value in sorted(setting.also.items())]
