"""A study in its storage: what is settled, what is left, who works on what.

Every trial ends in one of three ways that count towards the total: COMPLETE, PRUNED, or FAIL with a
reason. A FAIL without one is a trial whose worker died or was stopped; it does not count, and its
setting is queued again. Each step leaves the storage such that the next worker can go on from it,
wherever the process is killed.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from hydra_plugins.promax_sweeper._methods import drawn_by, make_pruner, make_sampler
from hydra_plugins.promax_sweeper._options import DEFAULT_TRIALS, Options
from hydra_plugins.promax_sweeper._space import Space, Value
from hydra_plugins.promax_sweeper._storage import Storage
from promax.process import has_died, this_process

# User attributes of a trial.
WORKER, REASON, STOPPED = "worker", "reason", "stopped"
RETRY_OF, ATTEMPT, SAME_AS, RUNS = "retry_of", "attempt", "same_as", "runs"
# Seconds of a trial's steps and embeddings; the rest of its duration is what a trial costs besides.
TRAINED = "trained_seconds"
COMMAND, SLURM_JOB = "command", "slurm_job"
# What drew its setting, as a study may be gone on with by another sampler; a setting that was queued has none.
SAMPLER = "sampler"
# How often the time of the job that ran a setting was over before it was: so often is enough to know that it won't do.
OUT_OF_TIME, MOST_OUT_OF_TIME = "out_of_time", 3
# User attributes of a study: before the name of a command whose workers are to end; the id of its own run.
STOP, RUN = "promax.stop", "promax.run"

# Under promax, whose lines go to stderr.
_logger = logging.getLogger("promax.sweeper")


@dataclass(frozen=True)
class Standing:
    """How many trials are what, and how many may be: `total` in all, failed at most `may_fail`."""

    total: int
    may_fail: float
    complete: int
    pruned: int
    failed: int
    running: int

    @property
    def settled(self) -> int:
        return self.complete + self.pruned + self.failed

    @property
    def done(self) -> bool:
        return self.settled >= self.total

    @property
    def all_taken(self) -> bool:
        """Whether no trial is left to take, though some may still run."""
        return self.settled + self.running >= self.total

    @property
    def gave_up(self) -> bool:
        """Whether more trials failed than `max_failure_rate` allows."""
        return self.failed > self.may_fail


class Study:
    """One worker's hold on a study that other workers may share; `command` names what has launched it."""

    def __init__(self, storage: Storage, name: str, options: Options, space: Space, command: str = "") -> None:
        self.storage, self.name, self.options, self.space, self.command = storage, name, options, space, command
        self.optuna = optuna.load_study(study_name=name, storage=storage.rdb, pruner=make_pruner(options))
        self.total = total_of(options, space)

    @property
    def run(self) -> str | None:
        """The id of the study's own run in the record; None before there is one."""
        return self.optuna.user_attrs.get(RUN)

    @run.setter
    def run(self, run_id: str) -> None:
        self.optuna.set_user_attr(RUN, run_id)

    def take(self) -> Trial | None:
        """The next trial to run, None where none is left to take, too many have failed or it was asked to stop.

        A setting that is finished already gets that result at once, and the next one is drawn.
        """
        with self.storage.turn():
            while True:
                self._requeue_lost()
                standing = self.standing()
                if standing.all_taken or standing.gave_up or self.stop_asked():
                    return None
                number = len(self.trials())
                self.optuna.sampler = make_sampler(self.options, number)
                with warnings.catch_warnings():
                    # That heartbeats are for `optimize` alone: they are our own.
                    warnings.simplefilter("ignore")
                    trial = self.optuna.ask(self.space.distributions)
                twin = self._finished_twin(trial)
                if twin is None:
                    self.storage.rdb.record_heartbeat(trial._trial_id)
                    # One that was queued had its number before.
                    drawn = drawn_by(self.options, number) if trial.number == number else None
                    for key, value in {COMMAND: self.command, SLURM_JOB: _slurm_job(), SAMPLER: drawn}.items():
                        if value:
                            trial.set_user_attr(key, value)
                    # Last: a running trial without it was lost on the way here.
                    trial.set_user_attr(WORKER, this_process())
                    return trial
                self._settle_as(trial, twin)

    def enqueue(self, points: Sequence[Mapping[str, Value]]) -> None:
        """Queue settings that are not in the study yet, in this order."""
        known = [self.setting(trial) for trial in self.trials()]
        for point in points:
            if point not in known:
                self.optuna.enqueue_trial(dict(point))
                known.append(dict(point))

    def complete(self, trial: Trial, values: Sequence[float]) -> None:
        """Settle a trial with its values; as with `prune` and `fail`, for good.

        Raises:
            UpdateFinishedTrialError: another worker has it, as too many signs of life failed to reach the storage.
        """
        self._settle(trial, TrialState.COMPLETE, values, {})

    def prune(self, trial: Trial) -> None:
        self._settle(trial, TrialState.PRUNED, None, {})

    def fail(self, trial: Trial, reason: str) -> None:
        self._settle(trial, TrialState.FAIL, None, {REASON: reason})

    def stop(self, trial: Trial) -> None:
        """Give a trial back that its worker was told to stop."""
        self._end(trial, TrialState.FAIL, None, {STOPPED: True})

    def lose(self, trial: Trial) -> None:
        """Give a trial back as a dead worker leaves it, which counts as one of its attempts."""
        self._end(trial, TrialState.FAIL, None, {})

    def out_of_time(self, trial: Trial) -> None:
        """Give a trial back whose job's time was over; for the third time, it fails: no job is long enough for it."""
        times = int(trial.user_attrs.get(OUT_OF_TIME, 0)) + 1
        if times < MOST_OUT_OF_TIME:
            self._end(trial, TrialState.FAIL, None, {STOPPED: True, OUT_OF_TIME: times})
        else:
            self.fail(trial, f"its job's time was over {times} times; give jobs more, as hydra.launcher.timeout_min")

    def ask_to_stop(self) -> None:
        """Ask the workers of this command, wherever they are, to give back what they run and to end."""
        self.optuna.set_user_attr(f"{STOP} {self.command}", True)

    def stop_asked(self) -> bool:
        return f"{STOP} {self.command}" in self.optuna.user_attrs

    def at_work(self) -> int:
        """How many workers of this command run a trial."""
        running = (trial.user_attrs for trial in self.trials() if trial.state == TrialState.RUNNING)
        return len({attrs.get(WORKER) for attrs in running if attrs.get(COMMAND) == self.command})

    def trials(self) -> list[FrozenTrial]:
        return self.optuna.get_trials(deepcopy=False)

    def best(self) -> FrozenTrial | None:
        """The best completed trial by the first objective, the earliest of equals; None where none completed."""
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        sign = 1 if self.options.direction[0] == "maximize" else -1
        return max(complete, key=lambda trial: sign * trial.values[0], default=None)

    def standing(self) -> Standing:
        trials = self.trials()
        retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
        states = [trial.state for trial in trials]
        return Standing(
            total=self.total,
            may_fail=self.options.max_failure_rate * self.total,
            complete=states.count(TrialState.COMPLETE),
            pruned=states.count(TrialState.PRUNED),
            failed=sum(self._failed(trial) and trial.number not in retried for trial in trials),
            running=states.count(TrialState.RUNNING),
        )

    def reasons(self) -> list[str]:
        """Why trials failed, the latest first."""
        failed = [trial for trial in self.trials() if self._failed(trial)]
        return [str(trial.user_attrs.get(REASON, "its worker died")) for trial in reversed(failed)]

    def ancestors(self, trial: Trial) -> list[int]:
        """The numbers of the lost trials that this one repeats, the latest first."""
        by_number = {each.number: each for each in self.trials()}
        found: list[int] = []
        number = trial.user_attrs.get(RETRY_OF)
        while number is not None:
            found.append(number)
            number = by_number[number].user_attrs.get(RETRY_OF)
        return found

    def setting(self, trial: FrozenTrial) -> dict[str, Any] | None:
        """A trial's parameters; None where its worker died before they were all drawn."""
        fixed = trial.system_attrs.get("fixed_params")
        found = dict(fixed if fixed is not None else trial.params)
        return found if found.keys() == self.space.parameters.keys() else None

    def requeue_lost(self, *, stopped: bool = False) -> None:
        """Queue again what dead workers left; `stopped` says that they were told to end, so that it is no retry."""
        with self.storage.turn():
            self._requeue_lost(stopped=stopped)

    def _requeue_lost(self, *, stopped: bool = False) -> None:
        for trial in self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            worker = trial.user_attrs.get(WORKER)
            # Whose turn it is sees no trial on its way to another worker.
            if worker is None or has_died(worker):
                if stopped:
                    self.storage.rdb.set_trial_user_attr(trial._trial_id, STOPPED, True)
                self.optuna.tell(trial.number, state=TrialState.FAIL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self.optuna)
        trials = self.trials()
        retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
        for trial in trials:
            setting = self.setting(trial)
            lost = trial.state == TrialState.FAIL and not self._failed(trial) and trial.number not in retried
            if lost and setting is not None:
                times = {OUT_OF_TIME: trial.user_attrs[OUT_OF_TIME]} if OUT_OF_TIME in trial.user_attrs else {}
                self.optuna.enqueue_trial(setting, {RETRY_OF: trial.number, ATTEMPT: _attempts(trial), **times})

    def _failed(self, trial: FrozenTrial) -> bool:
        """Whether a trial failed for good: for a reason of its own, or with its last allowed worker."""
        if trial.state != TrialState.FAIL:
            return False
        if REASON in trial.user_attrs:
            return True
        return self.setting(trial) is not None and _attempts(trial) > self.options.max_retries

    def _finished_twin(self, trial: Trial) -> FrozenTrial | None:
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        same = (each for each in self.trials() if each.state in ended and each.params == trial.params)
        return next(same, None)

    def _settle_as(self, trial: Trial, twin: FrozenTrial) -> None:
        trial.set_user_attr(SAME_AS, twin.number)
        if len(self.options.objective) == 1:
            for step, value in twin.intermediate_values.items():
                trial.report(value, step)
        complete = twin.state == TrialState.COMPLETE
        self.optuna.tell(trial, twin.values if complete else None, state=twin.state)
        _logger.info("trial %d: same setting as trial %d, taken over", trial.number, twin.number)

    def _settle(
        self, trial: Trial, state: TrialState, values: Sequence[float] | None, attrs: Mapping[str, object]
    ) -> None:
        if not self._end(trial, state, values, attrs):
            raise UpdateFinishedTrialError

    def _end(
        self, trial: Trial, state: TrialState, values: Sequence[float] | None, attrs: Mapping[str, object]
    ) -> bool:
        """Whether it had not ended already, as one that was taken for dead and given to another worker."""
        try:
            for key, value in attrs.items():
                trial.set_user_attr(key, value)
            self.optuna.tell(trial, list(values) if values is not None else None, state=state)
            return True
        except (UpdateFinishedTrialError, ValueError):
            if self.optuna.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING:
                raise
            return False


def total_of(options: Options, space: Space) -> int:
    """The study's total of trials."""
    if options.sampler != "grid":
        return options.n_trials or DEFAULT_TRIALS
    size = sum(1 for _ in space.grid())
    return min(options.n_trials or size, size)


def _slurm_job() -> str | None:
    """The job that this process is part of, as `scancel` and submitit's log files call it; None outside Slurm."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID")


def _attempts(trial: FrozenTrial) -> int:
    """How many workers have died of, or with, this setting; one that was told to stop is none."""
    return int(trial.user_attrs.get(ATTEMPT, 0)) + (STOPPED not in trial.user_attrs)
