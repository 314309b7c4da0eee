"""Runs are found again by study, id and baseline key."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from promax.config import ConfigError
from promax.tracking import (
    BASELINE_KEY,
    DatasetRecord,
    Store,
    artifacts_in,
    curves,
    find_baseline,
    get_run,
    read_datasets,
    read_scores,
    read_text,
    runs_of,
    start_run,
)


def log(store: Store, study: str, name: str, *, fails: bool = False, **tags: str) -> str:
    """A run, over at once; its id. The pause keeps start times, in milliseconds, apart."""
    time.sleep(0.002)
    try:
        with start_run(store, study, name, {"optim.lr": 5e-05}, tags) as run:
            run.log_metrics({"test/spearman": 0.5})
            if fails:
                raise ConfigError("asked to")
    except ConfigError:
        pass
    return run.run_id


def test_a_study_lists_its_finished_runs_first_and_the_newest_first(store: Store) -> None:
    log(store, "demo", "first")
    log(store, "demo", "failed", fails=True)
    log(store, "demo", "second")
    log(store, "demo", "failed later", fails=True)
    log(store, "other", "elsewhere")
    runs = runs_of(store, "demo")
    assert [(run.name, run.status) for run in runs] == [
        ("second", "FINISHED"),
        ("first", "FINISHED"),
        ("failed later", "FAILED"),
        ("failed", "FAILED"),
    ]
    assert {run.study for run in runs} == {"demo"}
    assert runs[0].params == {"optim.lr": "5e-05"}
    assert runs[0].metrics == {"test/spearman": 0.5}
    assert abs(runs[0].start_time.timestamp() - time.time()) < 60
    assert runs[0].start_time.utcoffset() is not None


def test_what_is_no_evidence_is_in_no_study(store: Store) -> None:
    for kind in ("sweep", "audit", "reproduction"):
        log(store, "demo", kind, **{"promax.kind": kind})
    kept = log(store, "demo", "tuned", **{"promax.kind": "tuned"})
    assert [run.run_id for run in runs_of(store, "demo")] == [kept]


def test_every_step_every_file_and_every_source_is_found_again(store: Store) -> None:
    with start_run(store, "demo", "run", {}, {}) as run:
        run.log_metrics({"dev/spearman": 0.1}, step=1)
        run.log_metrics({"dev/spearman": 1 / 3, "train/loss": 2.0}, step=2)
        run.log_text("x", "config.yaml")
        run.log_text("x", "scores/test.csv")
        origin = {"files": "test.jsonl sha256:ab", "hub": "stsb@main test"}
        run.log_datasets(
            [
                DatasetRecord("pairs test", "ab", "test", "local", origin["files"], {}),
                DatasetRecord("pairs dev", "cd", "dev", "hugging_face", origin["hub"], {}),
            ]
        )
    assert curves(store, get_run(store, run.run_id)) == {"dev/spearman": {1: 0.1, 2: 1 / 3}, "train/loss": {2: 2.0}}
    some = curves(store, get_run(store, run.run_id), ["train/loss", "absent"])
    assert some == {"train/loss": {2: 2.0}, "absent": {}}
    assert artifacts_in(store, run.run_id) == ["config.yaml"]
    assert artifacts_in(store, run.run_id, "scores") == ["scores/test.csv"]
    assert artifacts_in(store, run.run_id, "none") == []
    sources = {each.context: each.source for each in read_datasets(store, run.run_id)}
    assert sources == {"test": origin["files"], "dev": origin["hub"]}


def test_more_than_one_page_is_read_to_its_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promax.tracking.query.PAGE", 3)
    for number in range(7):
        store.client.create_run(store.experiment_id("demo"), run_name=str(number), start_time=number + 1)
        store.experiment_id(f"study {number}")
    assert [run.name for run in runs_of(store, "demo")] == ["6", "5", "4", "3", "2", "1", "0"]
    assert runs_of(store, "study 0") == runs_of(store, "study 6") == []


def test_an_unknown_study_names_those_that_exist(store: Store) -> None:
    with pytest.raises(ConfigError) as raised:
        runs_of(store, "demo")
    assert str(raised.value) == f"study demo: not in the record; studies: none yet (store {store.label})"
    log(store, "lr", "name")
    log(store, "epochs", "name")
    with pytest.raises(ConfigError) as raised:
        runs_of(store, "demo")
    assert str(raised.value) == f"study demo: not in the record; studies: epochs, lr (store {store.label})"


def test_a_run_is_found_by_its_id_or_the_start_of_it(store: Store) -> None:
    run_id = log(store, "demo", "one")
    assert get_run(store, run_id) == get_run(store, run_id[:8])
    assert get_run(store, run_id[:8]).run_id == run_id
    assert get_run(store, run_id[:8]).study == "demo"


def test_an_id_that_names_no_run_or_several_is_refused(store: Store) -> None:
    listing = f"list them with `promax compare --study NAME`, or in the MLflow UI (store {store.label})"
    with pytest.raises(ConfigError) as raised:
        get_run(store, "0123abcd")
    assert str(raised.value) == f"run 0123abcd: no such run; {listing}"
    with pytest.raises(ConfigError) as raised:
        get_run(store, "x' or '1' = '1")
    assert str(raised.value) == f"run x' or '1' = '1: must be a run id, 32 hex digits or the first few; {listing}"
    # Of 17 ids, two start with the same of the 16 digits.
    client, experiment = MlflowClient(store.uri), store.experiment_id("demo")
    starts = [client.create_run(experiment).info.run_id[0] for _ in range(17)]
    twice = next(digit for digit in starts if starts.count(digit) > 1)
    with pytest.raises(ConfigError, match=rf"^run {twice}: several runs start so, as {twice}\w{{4}}, {twice}\w{{4}}; "):
        get_run(store, twice)


def test_the_newest_finished_baseline_of_the_study_is_found(store: Store) -> None:
    key = {BASELINE_KEY: "abc123"}
    assert find_baseline(store, "demo", "abc123") is None
    log(store, "demo", "old", **key)
    newest = log(store, "demo", "new", **key)
    log(store, "demo", "failed", fails=True, **key)
    log(store, "demo", "another", **{BASELINE_KEY: "abc124"})
    log(store, "other", "elsewhere", **key)
    found = find_baseline(store, "demo", "abc123")
    assert found is not None
    assert found == get_run(store, newest)
    assert find_baseline(store, "demo", "abc1") is None


def test_a_deleted_baseline_is_not_used(store: Store) -> None:
    run_id = log(store, "demo", "baseline", **{BASELINE_KEY: "abc123"})
    MlflowClient(store.uri).delete_run(run_id)
    assert find_baseline(store, "demo", "abc123") is None
    with pytest.raises(ConfigError, match="no such run"):
        get_run(store, run_id)


def test_a_baseline_key_is_a_digest(store: Store) -> None:
    with pytest.raises(ValueError, match=re.escape("baseline key \"a' or 'b\": must be a hex digest")):
        find_baseline(store, "demo", "a' or 'b")


def test_an_artifact_that_is_not_there_or_damaged_is_told_in_one_line(store: Store, tmp_path: Path) -> None:
    with start_run(store, "demo", "name", {}, {}) as run:
        run.log_text("pair,score\n0,0.5\n", "scores/dev.csv")
        run.log_text("x", "text.txt")
    with pytest.raises(ConfigError) as raised:
        read_scores(store, run.run_id, "test")
    assert str(raised.value).startswith(f"run {run.run_id}: its scores/test.csv can't be read: ")
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(ConfigError) as raised:
        read_scores(store, run.run_id, "dev")
    assert str(raised.value) == (
        f"run {run.run_id}: scores/dev.csv is damaged: scores: columns pair,score:"
        " must be pair,id1,id2,unit1,unit2,label,score[,phase]"
    )
    assert read_text(store, run.run_id, "text.txt") == "x"
