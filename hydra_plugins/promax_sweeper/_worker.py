"""A worker: one job of the launcher, which takes trials from the study until none is left.

Everything stays in its process between trials: imports, data, weights.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from hydra.core.utils import JobReturn
from omegaconf import DictConfig
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm  # type: ignore[import-untyped]

from hydra_plugins.promax_sweeper._running import Job, Record, TrialRun
from hydra_plugins.promax_sweeper._storage import Storage
from hydra_plugins.promax_sweeper._study import REASON, STOPPED, Study
from promax.trial import Pruned


@dataclass(frozen=True)
class Worker:
    """The task function that a launcher is given in place of the user's; what it needs travels with it.

    `parent` is the sweep's own run, recorded at `tracking_uri` under the study's name; None where the task is
    not recorded.
    """

    job: Job
    study_name: str
    storage_uri: str
    tracking_uri: str | None
    parent: str | None

    def __call__(self, _composed: DictConfig) -> list[JobReturn]:
        """Run trials until none is left, and return the jobs that were completed."""
        storage = Storage(self.storage_uri, self.job.options.heartbeat)
        try:
            study = Study(storage, self.study_name, self.job.options, self.job.space)
            record = self._record()
            jobs: list[JobReturn] = []
            while (trial := study.take()) is not None:
                run = TrialRun(self.job, study, trial, record)
                with storage.beating(trial._trial_id):
                    _settle(run)
                print(progress(study, trial.number), file=sys.stderr, flush=True)
                jobs += run.jobs
            return jobs
        finally:
            storage.close()

    def _record(self) -> Record | None:
        if self.parent is None:
            return None
        from promax.tracking import open_store

        return Record(open_store(self.tracking_uri), self.study_name, self.parent)


def _settle(run: TrialRun) -> None:
    """Run one trial and tell how it ended; Ctrl-C and SIGTERM give it back."""
    study, trial = run.study, run.trial
    try:
        values = run.values()
        if any(math.isnan(value) for value in values):
            study.fail(trial, f"the objective is {', '.join(map(str, values))}")
        else:
            study.complete(trial, values)
    except Pruned:
        study.prune(trial)
    except Exception as error:
        from promax.tracking import status_and_reason

        study.fail(trial, status_and_reason(error)[1])
    except BaseException:
        from promax.tracking import held_signals

        with held_signals(unless=False):
            study.stop(trial)
        raise


def progress(study: Study, number: int) -> str:
    """One line after a trial: how it ended, how far the study is, the best so far, the time left."""
    trials = study.trials()
    standing = study.standing()
    parts = [f"trial {number} {_ending(trials[number], study)}", f"{standing.settled}/{standing.total} done"]
    if len(study.options.objective) == 1:
        best = study.best()
        if best is not None:
            parts.append(f"best {best.value:.4f} (trial {best.number})")
    seconds = [each.duration.total_seconds() for each in trials if each.duration is not None and _trained(each)]
    if seconds and not standing.done:
        left = sum(seconds) / len(seconds) * (standing.total - standing.settled) / max(1, standing.running + 1)
        parts.append(f"{tqdm.format_interval(left)} left")
    return ", ".join(parts)


def _trained(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def _ending(trial: FrozenTrial, study: Study) -> str:
    if trial.state == TrialState.COMPLETE:
        shown = zip(study.options.objective, trial.values, strict=True)
        return ", ".join(f"{name} {value:.4f}" for name, value in shown)
    if trial.state == TrialState.PRUNED:
        unit = "seed" if study.options.pruner == "wilcoxon" else "epoch"
        steps = len(trial.intermediate_values)
        return f"pruned after {steps} {unit}{'s' if steps > 1 else ''}"
    return f"failed: {trial.user_attrs.get(REASON, 'stopped' if STOPPED in trial.user_attrs else 'lost')}"
