"""The studies of conf/experiment, with trivial runs in place of training."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState

from promax.cli import main


@pytest.mark.slow
def test_confirm_fix_runs_every_cell_with_every_seed_and_prunes_nothing(sweeps, capfd) -> None:
    """The trivial runs differ so much that the median rule, asked, would end half of them."""
    files = [f"data.{side}={sweeps.root / side}.jsonl" for side in ("train", "dev", "test")]
    with pytest.raises(SystemExit) as ended:
        main(["train", "experiment=confirm_fix", "data=pairs", *files])
    assert ended.value.code == 0, capfd.readouterr().err
    trials = sweeps.study("confirm_fix").trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    settings = [tuple(trial.params[key] for key in ("seed", "optim.lr", "optim.epochs")) for trial in trials]
    # Seed by seed: interrupted, the study has whole factorials.
    assert settings == [(seed, lr, epochs) for seed in range(5) for lr in ("2e-05", "5e-05") for epochs in ("6", "12")]
    runs = [run for run in sweeps.runs() if run.name == "trivial"]
    assert [run.status for run in runs] == ["FINISHED"] * 20
    assert {run.params["rule.question"] for run in runs} == {
        "Did 2e-5 -> 5e-5 and 6 -> 12 epochs make the encoder better, and does it beat the un-tuned one?"
    }
