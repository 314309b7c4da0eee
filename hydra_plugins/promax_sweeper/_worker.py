"""A worker: one job of the launcher, which takes trials from the study until none is left.

Everything stays in its process between trials: imports, data, weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from hydra.core.utils import JobReturn
from omegaconf import DictConfig
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError

from hydra_plugins.promax_sweeper._running import Job, NoValue, Record, TrialRun
from hydra_plugins.promax_sweeper._storage import Storage
from hydra_plugins.promax_sweeper._study import Study
from promax.process import this_process
from promax.trial import Pruned


@dataclass(frozen=True)
class Worker:
    """The task function that a launcher is given in place of the user's; what it needs travels with it.

    `parent` is the sweep's own run, recorded at `tracking_uri` under the study's name; None where the task is
    not recorded. `command` names the command that launches it, a process first.
    """

    job: Job
    study_name: str
    storage_uri: str
    tracking_uri: str | None
    parent: str | None
    command: str

    def __call__(self, _composed: DictConfig) -> list[JobReturn]:
        """Run trials until none is left or it is told to end, and return the jobs that were completed."""
        from promax.tracking import Terminated, termination_raises

        jobs: list[JobReturn] = []
        storage = Storage(self.storage_uri, self.job.options.heartbeat)
        try:
            with termination_raises():
                self._work(storage, jobs)
        except Terminated:
            # A job that returns is known to be over; of one that merely ends, Slurm's launcher may never learn.
            if self.command.startswith(f"{this_process()} "):
                raise
        finally:
            storage.close()
        return jobs

    def _work(self, storage: Storage, jobs: list[JobReturn]) -> None:
        study = Study(storage, self.study_name, self.job.options, self.job.space, self.command)
        record = self._record()
        self.job.composer.read_configs_once()
        while (trial := study.take()) is not None:
            run = TrialRun(self.job, study, trial, record)
            with storage.beating(trial._trial_id, study.stop_asked):
                try:
                    _settle(run)
                except UpdateFinishedTrialError:
                    run.disown()
            jobs += run.jobs

    def _record(self) -> Record | None:
        if self.parent is None:
            return None
        from promax.tracking import open_store

        return Record(open_store(self.tracking_uri), self.study_name, self.parent)


def _settle(run: TrialRun) -> None:
    """Run one trial and tell how it ended; Ctrl-C, SIGTERM and the end of a job's time give it back.

    Raises:
        UpdateFinishedTrialError: it was taken for dead meanwhile, and is another worker's.
        BaseException: what gave it back.
    """
    study, trial = run.study, run.trial
    try:
        study.complete(trial, run.values())
    except Pruned:
        study.prune(trial)
    except NoValue as reason:
        study.fail(trial, str(reason))
    except UpdateFinishedTrialError:
        raise
    except Exception as error:
        from promax.tracking import status_and_reason

        if type(error).__module__.startswith("submitit."):
            # Raised by its signal handler where the job's time is over, in the middle of whatever was going on.
            study.out_of_time(trial)
            raise
        if isinstance(error, StorageInternalError):
            # The study's database failed, and not the trial: it is begun again, as after a worker's death.
            study.lose(trial)
            raise
        study.fail(trial, status_and_reason(error)[1])
    except BaseException:
        from promax.tracking import held_signals

        with held_signals():
            study.stop(trial)
        raise
