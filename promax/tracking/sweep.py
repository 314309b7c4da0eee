"""The run of a sweep itself, under which the runs of its trials stand; and finding those again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from promax.process import this_process
from promax.tracking.query import KIND_TAG, SWEEP, RunInfo, run_info, search
from promax.tracking.record import PARENT_TAG, PROCESS_TAG, REASON_TAG, Run, close_lost, create_run, sweep_dead_runs
from promax.tracking.store import Store
from promax.trial import SWEEP_TAG, TRIAL_TAG


def open_sweep(store: Store, study: str, run_id: str | None, params: Mapping[str, object]) -> Run:
    """The sweep's own run, opened: `run_id` put back to RUNNING, or, where the record has no such run, a new one.

    It belongs to this process from now on, so that it is closed should the process die. Runs that processes of this
    machine left open when they died are closed first. Of sweeps of one name, which two people may record in one place,
    each has a run of its own.
    """
    sweep_dead_runs(store)
    within = [store.experiment_id(study)]
    if run_id is None or not search(store, f"attributes.run_id = '{run_id}'", experiments=within):
        run = create_run(store, study, f"sweep {study}", {KIND_TAG: SWEEP, SWEEP_TAG: study})
        run.log_params(params)
        return run
    run = Run(store, run_id)
    run.set_tags({PROCESS_TAG: this_process(), REASON_TAG: ""})
    with store.talking():
        store.client.update_run(run.run_id, status="RUNNING")
    return run


def find_sweep(store: Store, study: str) -> str | None:
    """The id of a study's own run, the latest where there are several; None where its runs are no sweep's."""
    found = search(store, f"tags.`{KIND_TAG}` = '{SWEEP}'", experiments=[store.experiment_id(study)], at_most=1)
    return str(found[0].info.run_id) if found else None


def close_lost_runs(store: Store, study: str, parent: str, has_ended: Callable[[int], bool]) -> None:
    """Close as FAILED the open runs of the sweep whose own run is `parent`, where their trials, by number, have ended.

    A worker closes the run before it ends the trial; so these died, on machines of whose processes nothing is known.
    """
    within = [store.experiment_id(study)]
    for run in search(store, _under(parent, "attributes.status = 'RUNNING'"), experiments=within):
        trial = run.data.tags.get(TRIAL_TAG)
        if trial is not None and has_ended(int(trial)):
            close_lost(store, run.info.run_id, "its worker died")


def finished_run(store: Store, study: str, parent: str, trials: Sequence[int], seed: int | None) -> RunInfo | None:
    """The finished run of one of these trials under `parent`, with this seed where one is given; None if there is none.

    It is what a worker that was killed before it could tell the result has left.
    """
    within = [store.experiment_id(study)]
    for trial in trials:
        condition = _under(parent, f"tags.`{TRIAL_TAG}` = '{trial}' and attributes.status = 'FINISHED'")
        for run in search(store, condition, experiments=within):
            if seed is None or run.data.params.get("seed") == str(seed):
                return run_info(store, run, study)
    return None


def _under(parent: str, condition: str) -> str:
    return f"tags.`{PARENT_TAG}` = '{parent}' and {condition}"
