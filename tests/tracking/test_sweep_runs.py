"""The runs of two sweeps of one name in one record: neither's are the other's."""

from __future__ import annotations

import pytest

from promax.tracking import Store, close_lost_runs, find_sweep, finished_run, get_run, open_sweep
from promax.tracking.record import create_run
from promax.trial import TRIAL_TAG


@pytest.fixture
def store(elsewhere) -> Store:
    return elsewhere()


def trial_of(store: Store, parent: str, number: int, *, ends: bool) -> str:
    """The run of a trial, left open where it does not end."""
    run = create_run(store, "same", "trial", {TRIAL_TAG: number, "mlflow.parentRunId": parent})
    run.log_params({"seed": 0})
    if ends:
        run.end("FINISHED")
    return run.run_id


def test_each_finds_and_closes_its_own_alone(store: Store) -> None:
    mine = open_sweep(store, "same", None, {"sampler": "tpe"}).run_id
    others = open_sweep(store, "same", None, {"sampler": "tpe"}).run_id
    assert mine != others
    theirs = trial_of(store, others, 7, ends=True)
    at_work = trial_of(store, others, 8, ends=False)
    lost = trial_of(store, mine, 8, ends=False)
    # My trial 7 ended without a run that finished; theirs, of the same number, may be of another rate.
    assert finished_run(store, "same", mine, [7], None) is None
    found = finished_run(store, "same", others, [7], 0)
    assert found is not None and found.run_id == theirs
    assert finished_run(store, "same", others, [7], 1) is None
    close_lost_runs(store, "same", mine, lambda number: number == 8)
    assert [get_run(store, each).status for each in (lost, at_work)] == ["FAILED", "RUNNING"]


def test_it_is_found_again_by_its_id_and_made_anew_where_the_record_has_none(store: Store) -> None:
    first = open_sweep(store, "same", None, {"sampler": "tpe"})
    first.end("FINISHED")
    again = open_sweep(store, "same", first.run_id, {"sampler": "tpe"})
    assert (again.run_id, get_run(store, first.run_id).status) == (first.run_id, "RUNNING")
    store.client.delete_run(first.run_id)
    anew = open_sweep(store, "same", first.run_id, {"sampler": "tpe"}).run_id
    assert anew != first.run_id and find_sweep(store, "same") == anew
    assert open_sweep(store, "same", "0" * 32, {"sampler": "tpe"}).run_id not in (anew, first.run_id)
