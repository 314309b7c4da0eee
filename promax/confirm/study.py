"""A study as its record has it: settings x seeds, their per-pair scores beside the baseline's, their curves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promax.config import Config, ConfigError, RuleConfig, SettingConfig, from_yaml
from promax.confirm.mixture import refuse_mixture, refuse_other_files
from promax.confirm.settings import label, place, setting_of, variant
from promax.data.pairs import positives
from promax.scores import ScoreTable
from promax.tracking import (
    BASELINE_KEY,
    BASELINE_RUN,
    REASON_TAG,
    RunInfo,
    Store,
    curves,
    find_sweep,
    get_run,
    read_scores,
    read_text,
    runs_of,
)

Judged = Literal["test", "transfer"]


@dataclass(frozen=True)
class Member:
    """One run of a study, with its dev metric, NaN where it has no value, and its training loss after each epoch."""

    run: RunInfo
    setting: SettingConfig
    seed: int
    dev: list[float]
    loss: list[float]


@dataclass(frozen=True)
class Scored:
    """One side's pairs as every run of the study scored them.

    `label` (n,), `positive` (n,) or None for graded labels without a threshold, `units` (n, 2) the groups of tickets
    that a pair touches, `baseline` (n,), `cells` (K, S, n): a score for each setting, seed and pair.
    """

    label: NDArray[np.float64]
    positive: NDArray[np.bool_] | None
    units: NDArray[np.int64]
    baseline: NDArray[np.float64]
    cells: NDArray[np.float64]


@dataclass(frozen=True)
class Study:
    """What a verdict is made from.

    Attributes:
        name: MLflow's experiment.
        rule: by which it is judged.
        config: of the first run; all runs have it in common but for seed and what the rule tells settings apart by.
        settings: the K cells, by learning rate, epochs and what else the rule tells apart.
        seeds: the S seeds that every cell has.
        members: for each cell its S runs, in the order of the seeds.
        baseline: the un-tuned encoder's run.
        sides: test, and transfer where the runs have it.
        parent: the id of the sweep's own run; None where the runs are no sweep's.
        foretold: the rule was logged with every run, before there was a result.
        notes: what a reader must know before believing the verdict, one line each.
    """

    name: str
    rule: RuleConfig
    config: Config
    settings: list[SettingConfig]
    seeds: list[int]
    members: list[list[Member]]
    baseline: RunInfo
    sides: dict[Judged, Scored]
    parent: str | None
    foretold: bool
    notes: list[str]


def read(store: Store, name: str, rule: RuleConfig | None = None) -> Study:
    """The study `name`, judged by the rule that its runs were logged with, or by `rule` where one is given.

    Raises:
        ConfigError: no such study; nothing finished in it; runs that differ in more than learning rate, epochs, seed
            and what the rule names; fewer than two seeds that every setting has; no rule.
    """
    # A process may die before it has written its run's parameters.
    began = [run for run in runs_of(store, name) if BASELINE_RUN in run.tags and run.params]
    began.sort(key=lambda run: run.start_time)
    tuned = [run for run in began if run.status == "FINISHED"]
    if not tuned:
        raise ConfigError(f"study {name}: no finished run that was trained; nothing to judge")
    config = from_yaml(read_text(store, tuned[0].run_id, "config.yaml"))
    changed = _rule_notes(tuned, config, rule)
    judged_by = rule or config.rule
    if judged_by is None:
        raise ConfigError(
            f"study {name}: its runs were logged without a rule; name one with --rule, like --rule confirm_fix"
        )
    varied = judged_by.varied
    refuse_mixture(name, tuned, varied)
    cells = _cells(tuned, varied)
    refuse_other_files(store, name, cells, varied)
    seeds = _common_seeds(name, cells)
    members = [
        [_member(store, runs[seed], setting, config.optim.select_by) for seed in seeds]
        for setting, runs in cells.items()
    ]
    baseline = _baseline(store, name, tuned)
    sides: list[Judged] = ["test", "transfer"] if "promax.data.transfer" in tuned[0].tags else ["test"]
    return Study(
        name=name,
        rule=judged_by,
        config=config,
        settings=list(cells),
        seeds=seeds,
        members=members,
        baseline=baseline,
        sides={side: _scored(store, side, baseline, members, config) for side in sides},
        parent=find_sweep(store, name),
        foretold=not changed,
        notes=[*changed, *_survivors(_cells(began, varied), cells), *_incomplete(cells, seeds), *_code_notes(tuned)],
    )


def _baseline(store: Store, name: str, runs: Sequence[RunInfo]) -> RunInfo:
    """The one that all runs are measured against; another is as good if all that it depends on is the same."""
    first, *others = (get_run(store, each) for each in dict.fromkeys(run.tags[BASELINE_RUN] for run in runs))
    for other in others:
        if other.tags.get(BASELINE_KEY) != first.tags.get(BASELINE_KEY):
            raise ConfigError(
                f"study {name}: its runs are measured against two baselines, {first.short_id} and {other.short_id}, "
                "of other\nlibraries, devices or encoder files; a verdict needs runs of one kind: file others elsewhere"
            )
    return first


def _cells(runs: Sequence[RunInfo], varied: Sequence[str]) -> dict[SettingConfig, dict[int, RunInfo]]:
    """Setting -> seed -> its run, the latest where one was made again."""
    cells: dict[SettingConfig, dict[int, RunInfo]] = {}
    for run in runs:
        cells.setdefault(setting_of(run, varied), {})[int(run.params["seed"])] = run
    return dict(sorted(cells.items(), key=lambda cell: place(cell[0])))


def _common_seeds(name: str, cells: Mapping[SettingConfig, Mapping[int, RunInfo]]) -> list[int]:
    common = sorted(set.intersection(*(set(runs) for runs in cells.values())))
    if len(common) < 2:
        had = "; ".join(f"{label(setting)}: {', '.join(map(str, sorted(runs)))}" for setting, runs in cells.items())
        raise ConfigError(
            f"study {name}: {len(common)} seed(s) that every setting has, at least 2 are needed (seeds of {had})\n"
            "the command that began the study goes on with what is missing"
        )
    return common


def _member(store: Store, run: RunInfo, setting: SettingConfig, select_by: str) -> Member:
    dev, loss = curves(store, run, [f"dev/{select_by}", "train/loss"]).values()
    return Member(
        run=run,
        setting=setting,
        seed=int(run.params["seed"]),
        # One step after the last epoch dev is logged once more, for the kept epoch.
        dev=[dev.get(epoch, math.nan) for epoch in loss],
        loss=list(loss.values()),
    )


def _scored(
    store: Store, side: Judged, baseline: RunInfo, members: Sequence[Sequence[Member]], config: Config
) -> Scored:
    reference = read_scores(store, baseline.run_id, side)
    tables = [[read_scores(store, member.run.run_id, side) for member in cell] for cell in members]
    for cell, runs in zip(tables, members, strict=True):
        for table, member in zip(cell, runs, strict=True):
            if not _same_pairs(reference, table):
                raise ConfigError(
                    f"run {member.run.short_id} and its baseline {baseline.short_id} scored different {side} pairs"
                )
    return Scored(
        label=reference.label,
        positive=positives(reference.label, config.data.positive_from),
        units=reference.units,
        baseline=reference.score,
        cells=np.array([[table.score for table in cell] for cell in tables]),
    )


def _same_pairs(one: ScoreTable, other: ScoreTable) -> bool:
    return (one.id1, one.id2) == (other.id1, other.id2) and np.array_equal(one.label, other.label)


def _rule_notes(runs: Sequence[RunInfo], config: Config, given: RuleConfig | None) -> list[str]:
    """Whether the rule was there first, and stayed."""
    if given is not None and given != config.rule:
        logged = "with another rule" if config.rule is not None else "without one"
        return [f"this rule was chosen after the runs, which were logged {logged}: it explores and does not confirm"]
    rules = Counter(
        tuple(sorted((key, value) for key, value in run.params.items() if key.startswith("rule"))) for run in runs
    )
    if len(rules) > 1:
        return [
            f"the rule was changed during the study: {len(rules)} versions of it were logged with the runs, "
            "and it is judged by the first run's"
        ]
    return []


def _survivors(
    began: Mapping[SettingConfig, Mapping[int, RunInfo]], cells: Mapping[SettingConfig, Mapping[int, RunInfo]]
) -> list[str]:
    """What was begun and came to nothing; a run that was made again, or that goes on, is no loss."""
    lost = [
        (setting, seed, run)
        for setting, runs in began.items()
        for seed, run in sorted(runs.items())
        if run.status in ("FAILED", "KILLED") and seed not in cells.get(setting, {})
    ]
    if not lost:
        return []
    of = len(lost) + sum(len(runs) for runs in cells.values())
    return [
        f"the verdict is on survivors: {len(lost)} of {of} runs ended without a result",
        *(
            f"no result of {label(setting)}, seed {seed}: {run.status}, {run.tags.get(REASON_TAG, 'no reason told')}"
            for setting, seed, run in lost
        ),
        *(
            f"no run of {label(setting)} finished: no claim is held against it"
            for setting in dict.fromkeys(setting for setting, _, _ in lost)
            if setting not in cells
        ),
    ]


def _incomplete(cells: Mapping[SettingConfig, Mapping[int, RunInfo]], seeds: Sequence[int]) -> list[str]:
    left_out = sum(len(runs) for runs in cells.values()) - len(cells) * len(seeds)
    if not left_out:
        return []
    return [f"{left_out} finished runs are left out: their seeds are not finished in every setting"]


def _code_notes(runs: Sequence[RunInfo]) -> list[str]:
    notes = []
    commits = Counter(run.tags.get("promax.git_commit", "none")[:12] for run in runs)
    if len(commits) > 1:
        notes.append("runs of several commits: " + ", ".join(f"{commit} ({n})" for commit, n in commits.items()))
    if dirty := sum(run.tags.get("promax.git_dirty") == "true" for run in runs):
        notes.append(f"{dirty} of {len(runs)} runs were made with uncommitted changes, stored with each as git.diff")
    return notes


def compared(study: Study) -> list[tuple[str, SettingConfig]]:
    """What a reader wants to see side by side: the settings before and after the change, or the tuned one alone."""
    before, after = study.rule.before, study.rule.after
    named = [("tuned", after)] if before is None else [("before", before), ("after", after)]
    return [(name, setting) for name, setting in named if setting in study.settings]


def by_variant(study: Study) -> dict[str, list[Member]]:
    """The runs by what their settings differ in besides learning rate and epochs, which has no name in most studies."""
    variants: dict[str, list[Member]] = {}
    for cell in study.members:
        variants.setdefault(variant(cell[0].setting), []).extend(cell)
    return variants
