"""Logged runs against their baselines, from hand-made records: no encoder is involved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from promax.compare import ADVERSARIAL, ADVERSARIAL_REASON, BASELINE_RUN, compare, differences
from promax.config import Config, ConfigError, DataConfig, EvalConfig, TierConfig, TiersConfig, to_yaml
from promax.metrics import roc_auc, spearman
from promax.scores import ScoreTable
from promax.tracking import open_store, start_run

CFG = Config(
    data=DataConfig(positive_from=None),
    eval=EvalConfig(bootstrap=300),
    tiers=TiersConfig(
        minimum=TierConfig(spearman=0.3, gain=0.05), production=TierConfig(spearman=0.5, adversarial=True)
    ),
)


def scored(quality: float, n: int = 300, seed: int = 0, labels: NDArray[np.float64] | None = None) -> ScoreTable:
    """Scores that follow the labels the more, the higher the quality; the noise is the same for every quality."""
    random = np.random.default_rng(seed)
    label = (np.arange(n) % 2).astype(np.float64) if labels is None else labels
    score = np.tanh(quality * label + random.normal(size=n))
    rows = np.arange(n)
    ids = [str(row) for row in rows]
    return ScoreTable(rows, ids, [f"{each}b" for each in ids], np.column_stack([rows, rows]), label, score)


def record(
    table: ScoreTable,
    name: str,
    baseline: str | None = None,
    study: str = "promax",
    cfg: Config = CFG,
    diagnosis: dict[str, str] | None = None,
) -> str:
    tags = {"promax.labels": "binary", **({BASELINE_RUN: baseline} if baseline else {}), **(diagnosis or {})}
    with start_run(open_store(), study, name, {}, tags) as run:
        run.log_text(to_yaml(cfg), "config.yaml")
        run.log_scores("test", table)
        values = {"test/spearman": spearman(table.score, table.label), "test/spearman_ceiling": 0.866}
        if set(table.label.tolist()) == {0.0, 1.0}:
            values["test/roc_auc"] = roc_auc(table.score, table.label == 1)
        run.log_metrics(values)
    return run.run_id


def test_a_better_run_is_called_better_and_a_like_one_undecided(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = record(scored(0.5), "encoder baseline")
    better = record(scored(1.5), "encoder better", baseline)
    alike = record(scored(0.5, seed=1), "encoder alike", baseline)
    worse = record(scored(-0.5), "encoder worse", baseline)
    rows = {row.run.run_id: row for row in compare([], "promax", None)}
    assert list(rows) == [baseline, better, alike, worse]
    gain = spearman(scored(1.5).score, scored(1.5).label) - spearman(scored(0.5).score, scored(0.5).label)
    assert rows[better].differences["spearman"].estimate == pytest.approx(gain, abs=1e-12)
    assert rows[baseline].differences == {}
    printed = capsys.readouterr().out
    assert f"{better[:8]} against its baseline: better" in printed
    assert f"{alike[:8]} against its baseline: undecided" in printed
    assert f"{worse[:8]} against its baseline: worse" in printed
    assert "withheld: production: adversarial diagnostic not run" in printed
    assert "one piece of evidence, not two" in printed
    assert "no scoring without ties can pass Spearman 0.866" in printed
    assert rows[better].standing.absolute == "minimum"


def test_each_run_shows_its_adversarial_diagnostic(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baseline = record(scored(0.5), "encoder baseline", diagnosis={ADVERSARIAL: "failed", ADVERSARIAL_REASON: "F1 low"})
    passed = record(scored(3.0), "encoder passed", baseline, diagnosis={ADVERSARIAL: "passed"})
    failed = record(
        scored(3.0), "encoder failed", baseline, diagnosis={ADVERSARIAL: "failed", ADVERSARIAL_REASON: "F1 low"}
    )
    rows = {row.run.run_id: row for row in compare([], None, None)}
    assert rows[passed].standing.absolute == "production"
    assert (rows[failed].standing.absolute, rows[failed].standing.withheld) == (
        "minimum",
        "production: adversarial diagnostic failed",
    )
    printed = capsys.readouterr().out
    shown = {
        run: next(line for line in printed.splitlines() if f"encoder {run} " in line) for run in ("passed", "failed")
    }
    assert all(line.split()[-1] == run for run, line in shown.items())
    assert f"- {baseline[:8]}, {failed[:8]}: adversarial diagnostic failed: F1 low" in printed


def test_one_reason_of_all_runs_is_said_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reason = {ADVERSARIAL: "not run", ADVERSARIAL_REASON: "the pairs have no categories"}
    baseline = record(scored(0.5), "encoder baseline", diagnosis=reason)
    record(scored(1.5), "encoder better", baseline, diagnosis=reason)
    compare([], None, None)
    printed = capsys.readouterr().out
    assert "- all runs: adversarial diagnostic not run: the pairs have no categories" in printed
    assert printed.count("no categories") == 1


def test_named_runs_bring_their_baselines(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baseline = record(scored(0.5), "encoder baseline", study="one")
    run = record(scored(0.9), "encoder tuned", baseline, study="one")
    record(scored(0.9, seed=3), "encoder other", baseline, study="one")
    assert [row.run.run_id for row in compare([run[:9]], None, None)] == [baseline, run]


def test_graded_labels_leave_roc_auc_out_and_the_table_says_why(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graded = np.random.default_rng(0).uniform(size=300)
    baseline = record(scored(0.5, labels=graded), "encoder baseline")
    record(scored(1.5, labels=graded), "encoder tuned", baseline)
    rows = compare([], None, None)
    assert set(rows[1].differences) == {"spearman"}
    printed = capsys.readouterr().out
    assert "ROC-AUC is absent: graded labels; data.positive_from says which make a pair positive" in printed


def test_a_table_in_a_pipe_is_whole(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rich drops what is too wide for its console without a word."""
    long = "minilm_lora lr=5e-05 epochs=12 seed=4294967295"
    strong = record(scored(3.0), "encoder baseline")
    record(scored(-3.0), long, strong)
    compare([], None, None)
    printed = capsys.readouterr().out
    header = next(line for line in printed.splitlines() if "Spearman" in line)
    columns = ["run", "Spearman", "less baseline", "ROC-AUC", "less baseline", "tier", "by gain", "adversarial"]
    assert header.split() == " ".join(columns).split()
    assert all(word in printed for word in (*long.split(), "none"))
    # The intervals of both differences; the metrics were recorded without.
    assert printed.count(" to ") == 2


def test_an_undefined_difference_is_said_and_leaves_the_others(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = scored(0.5)
    constant = ScoreTable(table.pair, table.id1, table.id2, table.units, table.label, np.full(300, 0.5))
    found, absent = differences(table, constant, None, EvalConfig(bootstrap=100), 0)
    assert set(found) == {"roc_auc", "pr_auc"}
    # Constant scores have a ROC-AUC of 0.5.
    assert found["roc_auc"].estimate == pytest.approx(0.5 - roc_auc(table.score, table.label == 1))
    assert absent == {"spearman": "constant scores: a correlation needs two different values"}


def test_runs_on_different_pairs_are_not_compared(project: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        differences(scored(0.5), scored(0.5, n=200), None, EvalConfig(), 0)
    assert str(refusal.value) == (
        "the run and its baseline were tested on different pairs (200 and 300): can't compare"
    )
    other_labels = 1 - (np.arange(300) % 2).astype(np.float64)
    with pytest.raises(ConfigError, match="different pairs"):
        differences(scored(0.5), scored(0.5, labels=other_labels), None, EvalConfig(), 0)


def test_what_cannot_be_compared_is_refused(project: Path) -> None:
    record(scored(0.5), "encoder baseline", study="one")
    with pytest.raises(ConfigError, match="study two: not in the record; studies: one"):
        compare([], "two", None)
    with pytest.raises(ConfigError, match="--study one: give runs or a study, not both"):
        compare(["abc"], "one", None)
    with pytest.raises(RuntimeError), start_run(open_store(), "three", "broken", {}, {}) as run:
        raise RuntimeError("planted")
    with pytest.raises(ConfigError, match="--study three: no finished run in it yet"):
        compare([], "three", None)
    with pytest.raises(ConfigError, match=f"run {run.run_id[:8]}: is FAILED; only a FINISHED run can be compared"):
        compare([run.run_id], None, None)
