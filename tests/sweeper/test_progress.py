"""The time that is said to be left, of trials whose lengths are known."""

from __future__ import annotations

from datetime import datetime, timedelta

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from hydra_plugins.promax_sweeper._options import Options
from hydra_plugins.promax_sweeper._progress import _standing
from hydra_plugins.promax_sweeper._space import parse
from hydra_plugins.promax_sweeper._storage import Storage
from hydra_plugins.promax_sweeper._study import WORKER, Study

BEGAN = datetime(2026, 1, 1)


def trial(worker: str, state: TrialState) -> FrozenTrial:
    """A trial that took a minute, or is at it."""
    made = optuna.trial.create_trial(
        state=state,
        value=0.5 if state == TrialState.COMPLETE else None,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)},
        user_attrs={WORKER: worker},
    )
    made.datetime_start = BEGAN
    made.datetime_complete = BEGAN + timedelta(minutes=1) if state == TrialState.COMPLETE else None
    return made


COMPLETE, RUNNING = TrialState.COMPLETE, TrialState.RUNNING


@pytest.mark.parametrize(
    ("trials", "left"),
    [
        # By hand: minutes a trial x trials that have not ended / workers.
        ([("a", COMPLETE), ("b", RUNNING)], "02:00"),  # a has not taken its next one yet: 4 / 2
        ([("a", COMPLETE), ("b", RUNNING), ("a", RUNNING)], "02:00"),  # it has
        ([("a", COMPLETE)], "04:00"),  # alone
        ([("a", COMPLETE)] * 3 + [("b", COMPLETE)], "01:00"),  # one is left: whoever takes it, the other can't help
    ],
)
def test_the_time_left_counts_a_worker_between_two_trials(tmp_path, trials, left) -> None:
    storage = Storage(f"sqlite:///{tmp_path / 'optuna.db'}", 30)
    options = Options(n_trials=5, sampler="random", pruner="none", objective=["dev/x"], direction=["maximize"])
    optuna.create_study(study_name="one", storage=storage.rdb, direction="maximize")
    study = Study(storage, "one", options, parse(["x=interval(0,1)"], None))
    for worker, state in trials:
        study.optuna.add_trial(trial(worker, state))
    told = _standing(study, [each for each in study.trials() if each.state == COMPLETE])
    storage.close()
    assert told.endswith(f", {left} left")
