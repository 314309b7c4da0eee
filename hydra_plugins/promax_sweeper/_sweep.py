"""The whole of one sweep, top to bottom: space, checks, study, workers, record."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, configure_log
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hydra_plugins.promax_sweeper import _record
from hydra_plugins.promax_sweeper._identity import identity, open_study
from hydra_plugins.promax_sweeper._methods import check
from hydra_plugins.promax_sweeper._options import Options
from hydra_plugins.promax_sweeper._progress import Progress
from hydra_plugins.promax_sweeper._running import Job
from hydra_plugins.promax_sweeper._space import parse, yaml_text
from hydra_plugins.promax_sweeper._storage import Storage
from hydra_plugins.promax_sweeper._study import Study
from hydra_plugins.promax_sweeper._subject import Subject, subject_of
from hydra_plugins.promax_sweeper._worker import Worker
from promax.config import ConfigError
from promax.files import make_folder
from promax.process import this_process
from promax.trial import SweepError

# Seconds between two looks at trials that other workers still run.
LOOK_EVERY = 5.0


def sweep(
    options: Options, context: HydraContext, task: TaskFunction, config: DictConfig, words: Sequence[str]
) -> list[list[JobReturn]]:
    """Search until the study has its total, and return the jobs of the trials that this command completed.

    Raises:
        ConfigError: the request can't be run as written.
        SweepError: too many trials failed.
        KeyboardInterrupt: Ctrl-C; its text says how to go on.
    """
    given = [f"{key}={yaml_text(value)}" for key, value in options.params.items()]
    space = parse([*given, *words], context.config_loader)
    check(options, space)
    _check_launcher(options, config)
    subject = subject_of(context, config, space)
    subject.check_objective(options)
    points = [space.point(each) for each in options.enqueue]
    storage = Storage(options.storage, options.heartbeat)
    try:
        wanted = identity(options, space, subject.settings, subject.data)
        with storage.turn():
            name, inherited = open_study(storage.rdb, _name(options, config, subject), options, wanted)
        space = subject.filed_under(name, space)
        study = Study(storage, name, options, space, command=f"{this_process()} {time.time():.3f}")
        points += [each for each in map(space.inside, inherited) if each is not None]
        with storage.turn():
            study.enqueue([*points, *(list(space.grid())[: study.total] if options.sampler == "grid" else [])])
        return _run(study, Job(task, context, config, options, space), subject)
    finally:
        storage.close()


def _run(study: Study, job: Job, subject: Subject) -> list[list[JobReturn]]:
    for note in subject.notes:
        # Here once, as the trials don't.
        print(f"data: {note}", file=sys.stderr)
    if (standing := study.standing()).settled:
        left = "going on" if not standing.done else "nothing is left to run"
        print(f"study {study.name}: {standing.settled} of {standing.total} trials are done; {left}", file=sys.stderr)
    folder = Path(job.config.hydra.sweep.dir)
    make_folder(folder, f"hydra.sweep.dir={folder}")
    _write_config(job.config, folder / "multirun.yaml")
    from promax.tracking import Terminated, termination_raises

    with termination_raises(), _record.opened(study, subject) as run_id:
        worker = Worker(job, study.name, study.storage.uri, subject.tracking_uri, run_id, study.command)
        try:
            with Progress(study):
                jobs = _work(study, worker)
        except (KeyboardInterrupt, Terminated) as ended:
            # Workers on other machines hear nothing of either; joblib kills its processes where they don't end.
            study.ask_to_stop()
            study.requeue_lost(stopped=True)
            if isinstance(ended, Terminated):
                print(_how_to_go_on(study), file=sys.stderr)
                raise
            raise KeyboardInterrupt(_how_to_go_on(study)) from None
        _record.write(study, subject, run_id, folder)
        if study.standing().gave_up:
            raise SweepError(_why_given_up(study))
    return [sorted(jobs, key=lambda each: int(each.hydra_cfg.hydra.job.num if each.hydra_cfg is not None else 0))]


def _work(study: Study, worker: Worker) -> list[JobReturn]:
    """Launch workers until nothing is left: again where some died, and not before others' trials have ended."""
    jobs: list[JobReturn] = []
    while True:
        before = _reached(study)
        try:
            # A launcher that raises for one worker leaves the others at work.
            jobs += _launch(worker, max(1, study.options.workers - study.at_work()))
        except Exception as error:
            study.requeue_lost()
            # A trial that was begun, ended, or left by the dead to be begun again, is progress; none is so for ever.
            if isinstance(error, ConfigError) or _reached(study) == before:
                if type(error).__module__.startswith("submitit."):
                    # What sbatch says; behind it a job's traceback may quote a text.
                    raise SweepError(f"the launcher failed: {(str(error).splitlines() or [''])[0]}") from error
                raise
            print(f"a worker ended with {type(error).__name__}; new workers go on", file=sys.stderr)
        _wait_for_others(study)
        standing = study.standing()
        if standing.done or standing.gave_up:
            return jobs


def _reached(study: Study) -> tuple[int, int]:
    """How many trials there are, and how many of them are settled."""
    return len(study.trials()), study.standing().settled


def _launch(worker: Worker, count: int) -> list[JobReturn]:
    job = worker.job
    config = _launcher_config(job.config, count)
    # Some launchers do so themselves.
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    launcher = Plugins.instance().instantiate_launcher(hydra_context=job.context, task_function=worker, config=config)
    # A worker is composed like a trial, so that whatever must be set is set; it has no folder of its own.
    words = [*job.space.corners()[0], "hydra.sweep.subdir=.", "hydra.output_subdir=null", "hydra.job.chdir=false"]
    returns = launcher.launch([list(words) for _ in range(count)], initial_job_idx=0)
    return [each for done in returns for each in done.return_value]


def _wait_for_others(study: Study) -> None:
    """Wait for the trials that run elsewhere: they end, or their workers turn out to be dead."""
    told = False
    while True:
        study.requeue_lost()
        standing = study.standing()
        # Of more than this command asks for, others may run without end.
        if standing.running == 0 or standing.done or not standing.all_taken or standing.gave_up:
            return
        if not told:
            print(f"waiting for {standing.running} trials of other workers", file=sys.stderr)
            told = True
        time.sleep(min(LOOK_EVERY, study.options.heartbeat))


def _check_launcher(options: Options, config: DictConfig) -> None:
    if options.workers > 1 and config.hydra.launcher._target_.endswith(".BasicLauncher"):
        raise ConfigError(
            f"hydra.sweeper.workers={options.workers}: the basic launcher has one process; add hydra/launcher=joblib"
            " (pip install hydra-joblib-launcher) or hydra/launcher=submitit_slurm (hydra-submitit-launcher)"
        )
    if not config.hydra.launcher._target_.endswith(".SlurmLauncher"):
        return
    if shutil.which("srun") is None:
        raise ConfigError(
            "hydra/launcher=submitit_slurm: there is no srun here, so this is no Slurm cluster;"
            " hydra/launcher=joblib shares a sweep among processes of this machine"
        )
    if options.storage is None:
        print(
            "warning: Slurm's jobs share mlruns/optuna.db: SQLite is safe on one machine's own disk alone, not on a"
            " network folder; give hydra.sweeper.storage and tracking.uri",
            file=sys.stderr,
        )


def _launcher_config(config: DictConfig, workers: int) -> DictConfig:
    """joblib starts as many processes as there are workers where it was told no number; no launcher lists its jobs.

    What a launcher would list are the words that a worker is composed with, and no trial's.
    """
    changed = config.copy()
    with read_write(changed), open_dict(changed):
        if changed.hydra.launcher.get("n_jobs") == -1:
            changed.hydra.launcher.n_jobs = workers
        OmegaConf.update(changed, "hydra.hydra_logging.root.level", "WARNING", force_add=True)
    return changed


def _write_config(config: DictConfig, file: Path) -> None:
    from promax.tracking import mask

    file.write_text(mask(OmegaConf.to_yaml(config)), encoding="utf-8")


def _name(options: Options, config: DictConfig, subject: Subject) -> str:
    name = str(options.study_name or subject.study or config.hydra.job.name)
    if not re.fullmatch(r"[^'\"\\]+", name):
        raise ConfigError(f"hydra.sweeper.study_name={name}: must be without quotes and backslashes")
    return name


def _how_to_go_on(study: Study) -> str:
    from promax.tracking import mask

    standing, elsewhere = study.standing(), study.at_work()
    ending = f"workers still at it: {elsewhere}; they end within {study.options.heartbeat} s\n" if elsewhere else ""
    return (
        f"{ending}{standing.settled} of {standing.total} trials are done, what was running will be run again; "
        f"go on with:\n  {mask(shlex.join(_typed()))}"
    )


def _typed() -> list[str]:
    """The command as it was typed: `promax train` stands in argv as one word."""
    return [*sys.argv[0].split(" "), *sys.argv[1:]] if sys.argv[0] == "promax train" else sys.argv


def _why_given_up(study: Study) -> str:
    standing = study.standing()
    return (
        f"study {study.name}: {standing.failed} of {standing.total} trials failed, more than "
        f"hydra.sweeper.max_failure_rate={study.options.max_failure_rate:g} allows; the latest: {study.reasons()[0]}"
    )
