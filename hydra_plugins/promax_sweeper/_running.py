"""One trial, run: composed, handed to the task, watched, judged."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from hydra.core.utils import JobReturn, JobStatus, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial

from hydra_plugins.promax_sweeper._composing import Composer
from hydra_plugins.promax_sweeper._options import Options
from hydra_plugins.promax_sweeper._space import Space
from hydra_plugins.promax_sweeper._study import RUNS, TRAINED, Study
from promax import trial as hook
from promax.trial import SWEEP_TAG, TRIAL_TAG, Pruned

if TYPE_CHECKING:
    from promax.tracking import Store

# Under promax, whose lines go to stderr.
_logger = logging.getLogger("promax.sweeper")


class NoValue(RuntimeError):  # noqa: N818 (a result, not an error)
    """A trial's run came to no objective, as the text says."""


@dataclass(frozen=True)
class Job:
    """What every trial of a sweep has in common; it travels to the workers."""

    task: TaskFunction
    context: HydraContext
    config: DictConfig
    options: Options
    space: Space

    @cached_property
    def composer(self) -> Composer:
        """This process's own: a job travels without one."""
        return Composer(self.context.config_loader, self.config)

    def run(self, number: int, overrides: Sequence[str]) -> JobReturn:
        """What a launcher does for a job: compose it, and run it under its number and in its folder."""
        composed = self.composer.compose(overrides)
        with open_dict(composed):
            composed.hydra.job.id = str(number)
            composed.hydra.job.num = number
        return run_job(
            hydra_context=self.context,
            task_function=self.task,
            config=composed,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )


@dataclass(frozen=True)
class Record:
    """Where the trials' runs are recorded: MLflow's experiment, and the id of the sweep's own run."""

    store: Store
    experiment: str
    parent: str


@dataclass
class RunningTrial:
    """What a run sees of its trial; see `promax.trial.Trial`. Without `reports`, no epoch is judged.

    `seconds` is how long its steps and embeddings have taken.
    """

    trial: Trial
    options: Options
    tags: Mapping[str, str]
    parent: str | None
    reports: bool
    seconds: float = 0.0

    def opened(self, run_id: str) -> None:
        self.trial.set_user_attr(RUNS, [*self.trial.user_attrs.get(RUNS, []), run_id])

    def report(self, metrics: Mapping[str, float], epoch: int) -> None:
        name = self.options.objective[0]
        if not self.reports or (name not in metrics and self.options.pruner == "none"):
            return
        if name not in metrics:
            raise RuntimeError(
                f"{name} is not measured after an epoch, only {', '.join(metrics)}; set hydra.sweeper.pruner=none"
            )
        if math.isnan(metrics[name]):
            return
        self.trial.report(metrics[name], epoch)
        if self.trial.should_prune():
            raise Pruned(f"pruned after epoch {epoch}: {name} {metrics[name]:.4f} ({self.options.pruner})")

    def trained(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class TrialRun:
    """One trial from its first seed to its value; `jobs` are those that Hydra ran for it."""

    job: Job
    study: Study
    trial: Trial
    record: Record | None
    jobs: list[JobReturn] = field(default_factory=list)
    trained: float = 0.0

    def values(self) -> list[float]:
        """The value of each objective: the mean over the seeds.

        Raises:
            Pruned: after an epoch, or after some of the seeds.
            NoValue: a run has none.
            Exception: whatever the task raised.
        """
        try:
            return self._values()
        finally:
            # Of a trial that is another worker's by now, nobody asks; and it must not hide Ctrl-C.
            with suppress(UpdateFinishedTrialError):
                if self.trained:
                    self.trial.set_user_attr(TRAINED, self.trained)

    def disown(self) -> None:
        """After it was taken for dead: its runs are no evidence any more, but those that another worker took over."""
        _logger.warning("trial %d: was taken for dead and given to another worker", self.trial.number)
        if self.record is None:
            return
        from promax.tracking import Run

        with self.study.storage.turn():
            others = (each.user_attrs.get(RUNS, ()) for each in self.study.trials() if each.number != self.trial.number)
            taken = {run_id for runs in others for run_id in runs}
            for run_id in self.trial.user_attrs.get(RUNS, ()):
                if run_id not in taken:
                    Run(self.record.store, run_id).end("FAILED", "taken for dead; another worker has its trial")

    def _values(self) -> list[float]:
        options = self.job.options
        seeds: list[int | None] = list(options.seeds) or [None]
        found: list[list[float]] = []
        for position, seed in enumerate(seeds):
            found.append(self._values_with(seed, first=position == 0))
            if options.pruner == "wilcoxon":
                self.trial.report(found[-1][0], position)
                if position + 1 < len(seeds) and self.trial.should_prune():
                    pruned = Pruned(f"pruned after {position + 1} of {len(seeds)} seeds (wilcoxon)")
                    self._say_of_the_last_run("FINISHED", str(pruned))
                    raise pruned
        if len(seeds) > 1:
            self.trial.set_user_attr("values", found)
            self.trial.set_user_attr("spread", [statistics.stdev(each) for each in zip(*found, strict=True)])
        return [statistics.fmean(each) for each in zip(*found, strict=True)]

    def _values_with(self, seed: int | None, *, first: bool) -> list[float]:
        tags = {SWEEP_TAG: self.study.name, TRIAL_TAG: str(self.trial.number)}
        result: object = self._left_by_the_dead(seed, tags)
        if result is None:
            result = self._run(seed, tags, first=first)
        try:
            return _numbers(result, self.job.options.objective)
        except NoValue as reason:
            # It was closed as finished before anyone asked for the objective.
            self._say_of_the_last_run("FAILED", str(reason))
            raise

    def _run(self, seed: int | None, tags: Mapping[str, str], *, first: bool) -> object:
        """What the task returned for this seed, which may be that of another trial's run."""
        judged = first and len(self.job.options.objective) == 1 and self.job.options.pruner != "wilcoxon"
        parent = self.record.parent if self.record is not None else None
        overrides = self.job.space.overrides(self.trial.params) + ([f"seed={seed}"] if seed is not None else [])
        running = RunningTrial(self.trial, self.job.options, tags, parent, judged)
        with hook.running(running):
            done = self.job.run(self.trial.number, overrides)
        self.trained += running.seconds
        # Not its `return_value`, which prints a line before it raises.
        result = done._return_value
        if done.status != JobStatus.COMPLETED:
            raise result
        self.jobs.append(done)
        return result

    def _left_by_the_dead(self, seed: int | None, tags: Mapping[str, str]) -> Mapping[str, float] | None:
        """The metrics of a run that was finished by a worker that died before it could tell; it is this trial's now."""
        lost = self.study.ancestors(self.trial)
        if self.record is None or not lost:
            return None
        from promax.tracking import Run, finished_run

        # In one's turn: it may be being disowned.
        with self.study.storage.turn():
            run = finished_run(self.record.store, self.record.experiment, self.record.parent, lost, seed)
            if run is None:
                return None
            Run(self.record.store, run.run_id).set_tags(tags)
            self.trial.set_user_attr(RUNS, [*self.trial.user_attrs.get(RUNS, []), run.run_id])
        return run.metrics

    def _say_of_the_last_run(self, status: Literal["FINISHED", "FAILED"], reason: str) -> None:
        """How the trial ended, in the record of its last run."""
        runs = self.trial.user_attrs.get(RUNS)
        if self.record is not None and runs:
            from promax.tracking import Run

            Run(self.record.store, runs[-1]).end(status, reason)


def _numbers(result: object, objective: Sequence[str]) -> list[float]:
    """What a task returned, as one number for each objective: metrics by name, or the numbers themselves.

    Raises:
        NoValue: one is missing or no number.
    """
    if isinstance(result, Mapping):
        missing = [name for name in objective if name not in result]
        if missing:
            raise NoValue(f"the run has no {missing[0]}; it has {', '.join(map(str, result))}")
        numbers = [float(result[name]) for name in objective]
    else:
        returned = list(result) if isinstance(result, list | tuple) else [result]
        numbers = [float(each) for each in returned if isinstance(each, int | float)]
        if not len(returned) == len(numbers) == len(objective):
            raise NoValue(
                f"the task returned {type(result).__name__}, not a number for each of {len(objective)} objectives"
            )
    if any(math.isnan(number) for number in numbers):
        raise NoValue(f"the objective is {', '.join(map(str, numbers))}")
    return numbers
