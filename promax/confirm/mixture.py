"""What the runs of one study must have in common, so that their settings are all that they differ in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from promax.config import ConfigError, SettingConfig
from promax.confirm.settings import setting_of
from promax.tracking import RunInfo, Store, read_datasets

# What any runs of one study may differ in: what is always told apart, and what says where a run was made.
_FREE = re.compile(
    r"(optim\.lr|optim\.epochs|seed|study|save|device|tracking\..*|data\.(train|dev|test|transfer|path))"
)
# Where training pairs are compared, the sides that stay the same: by these it is.
_JUDGED_BY = ("test", "transfer", "adversarial", "dev")


def refuse_mixture(name: str, runs: Sequence[RunInfo], varied: Sequence[str]) -> None:
    """All runs must have in common whatever is not compared, their pairs included; those of a setting, all of it."""
    for key in varied:
        if not any(key in run.params for run in runs):
            raise ConfigError(f"rule.after.also: {key}: no run of study {name} was logged with such a parameter")
    firsts: dict[SettingConfig, RunInfo] = {}
    for run in runs:
        _refuse_difference(name, runs[0], run, varied, compared=varied)
        _refuse_difference(name, firsts.setdefault(setting_of(run, varied), run), run, varied, compared=())


def _refuse_difference(
    name: str, first: RunInfo, run: RunInfo, varied: Sequence[str], *, compared: Sequence[str]
) -> None:
    """`run` may differ from `first` in where it was made, and in what the keys `compared` stand for."""
    for key in sorted(first.params.keys() | run.params.keys()):
        was, now = first.params.get(key, "absent"), run.params.get(key, "absent")
        if was != now and not (_FREE.fullmatch(key) or key.startswith("rule") or _stands_for(key, compared)):
            told_apart = ", ".join(("optim.lr", "optim.epochs", *varied))
            raise ConfigError(
                f"study {name}: its runs differ in {key}: {was} in {first.short_id}, {now} in {run.short_id}\n"
                f"a verdict needs runs that differ in {told_apart} and seed alone; name in the rule what else is "
                "compared, or file them elsewhere"
            )
    of_data = any(key.startswith("data.") for key in compared)
    for key in sorted(key for key in first.tags.keys() | run.tags.keys() if key.startswith("promax.data.")):
        side = key.removeprefix("promax.data.")
        if first.tags.get(key) == run.tags.get(key) or (of_data and side not in _JUDGED_BY):
            continue
        what_to_do = "give one of them a study=NAME of its own"
        if of_data:
            what_to_do = "its settings are compared by these: give data.dev and data.test to all of them"
        raise ConfigError(f"study {name}: {first.short_id} and {run.short_id} have other {side} pairs; {what_to_do}")


def refuse_other_files(
    store: Store, name: str, cells: Mapping[SettingConfig, Mapping[int, RunInfo]], varied: Sequence[str]
) -> None:
    """Where a number of pairs is compared, or how they are drawn, it is of the pairs in one file."""
    if "data.name" in varied or not any(key.startswith("data.") for key in varied):
        return
    of: dict[str, RunInfo] = {}
    for run in (next(iter(runs.values())) for runs in cells.values()):
        of.update({each.source: run for each in read_datasets(store, run.run_id) if each.context == "train"})
    if len(of) > 1:
        (one, first), (other, run), *_ = of.items()
        raise ConfigError(
            f"study {name}: {first.short_id} was trained on {one},\n{run.short_id} on {other}: other files are told "
            "apart by data.name, which must then be named in the rule"
        )


def _stands_for(key: str, compared: Sequence[str]) -> bool:
    """Whether `key` is compared: named itself, or by the name of its group."""
    groups = tuple(each.removesuffix("name") for each in compared if each.endswith(".name"))
    return key in compared or key.startswith(groups)
