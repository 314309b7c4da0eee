"""What a run writes is read back through MLflow's own client."""

from __future__ import annotations

import json
import math
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from promax.config import Config, ConfigError, flatten
from promax.scores import ScoreTable
from promax.tracking import (
    DatasetRecord,
    Run,
    Store,
    Terminated,
    TrackingError,
    get_run,
    read_scores,
    read_text,
    start_run,
)

CANARY = "Printer of Ms Miller prints only pages with her salary"


def finished(store: Store, **params: object) -> Run:
    with start_run(store, "study", "name", params, {}) as run:
        pass
    return run


def test_params_tags_and_metrics_are_read_back(store: Store) -> None:
    # More than the 100 that MLflow takes at once.
    many = {f"many.{number}": number for number in range(230)}
    values = {"dev/spearman": 0.1 + 0.2, "dev/roc_auc": 1e-300, "train/loss": 1 / 3}
    with start_run(store, "study", "a name", flatten(Config()) | many, {"promax.host": "here"}) as run:
        run.log_metrics({"dev/spearman": 0.25}, step=1)
        run.log_metrics(values, step=2)
        run.set_tags({"promax.tier": "good"})
    found = MlflowClient(store.uri).get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "a name"
    assert found.info.end_time >= found.info.start_time
    assert found.data.metrics == values
    history = MlflowClient(store.uri).get_metric_history(run.run_id, "dev/spearman")
    assert [(each.step, each.value) for each in history] == [(1, 0.25), (2, 0.1 + 0.2)]
    assert len(found.data.params) == len(flatten(Config())) + 230
    assert found.data.params["many.229"] == "229"
    assert {key: found.data.tags[key] for key in ("promax.host", "promax.tier")} == {
        "promax.host": "here",
        "promax.tier": "good",
    }
    assert "promax.reason" not in found.data.tags


def test_what_is_written_together_is_one_transaction(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[tuple[int, int]] = []
    log_batch = MlflowClient.log_batch

    def counted(
        client: MlflowClient, run_id: str, metrics: list[object], params: object, tags: list[object], **how: object
    ) -> object:
        batches.append((len(metrics), len(tags)))
        return log_batch(client, run_id, metrics, params, tags, **how)  # type: ignore[arg-type]

    with start_run(store, "study", "name", {}, {}) as run:
        monkeypatch.setattr(MlflowClient, "log_batch", counted)
        with run.together():
            run.log_metrics({"train/loss": 0.5, "dev/spearman": 0.25}, step=3)
            run.log_text("at once", "notes.txt")
            assert read_text(store, run.run_id, "notes.txt") == "at once" and not get_run(store, run.run_id).metrics
            run.log_metrics({"dev/spearman": 0.5}, step=4, tags={"promax.tier": "none"})
            run.set_tags({"promax.tier": "good"})
        assert batches == [(3, 1)]
    found = get_run(store, run.run_id)
    assert found.metrics == {"train/loss": 0.5, "dev/spearman": 0.5} and found.tags["promax.tier"] == "good"
    history = store.client.get_metric_history(run.run_id, "dev/spearman")
    assert [(each.step, each.value) for each in history] == [(3, 0.25), (4, 0.5)]


def test_what_was_to_be_written_together_is_there_after_an_exception(store: Store) -> None:
    with pytest.raises(OSError, match="disk"), start_run(store, "study", "name", {}, {}) as run, run.together():
        run.log_metrics({"test/spearman": 0.5})
        raise OSError("disk")
    found = get_run(store, run.run_id)
    assert (found.status, found.metrics) == ("FAILED", {"test/spearman": 0.5})


def test_params_are_written_as_in_config_files(store: Store) -> None:
    run = finished(store, nothing=None, yes=True, no=False, rate=5e-05, third=1 / 3, listed=[1, 5], word="None")
    assert get_run(store, run.run_id).params == {
        "nothing": "null",
        "yes": "true",
        "no": "false",
        "rate": "5e-05",
        "third": "0.3333333333333333",
        "listed": "[1, 5]",
        "word": "None",
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_number_is_refused(store: Store, value: float) -> None:
    with (
        start_run(store, "study", "name", {}, {}) as run,
        pytest.raises(ValueError, match=rf"^metric dev/pearson={value} at step 3: must be finite$"),
    ):
        run.log_metrics({"dev/spearman": 0.5, "dev/pearson": value}, step=3)
    found = get_run(store, run.run_id)
    assert (found.status, found.metrics) == ("FINISHED", {})


def test_a_value_is_never_cut_off_in_silence(store: Store) -> None:
    with start_run(store, "study", "name", {"long": "x" * 6000}, {"long": "x" * 8000}) as run:
        with pytest.raises(
            ValueError, match=r"^parameter other: 6001 characters: must be at most 6000; log a text instead$"
        ):
            run.log_params({"other": "x" * 6001})
        with pytest.raises(ValueError, match=r"^tag other: 8001 characters: must be at most 8000; log a text instead$"):
            run.set_tags({"other": "x" * 8001})
    found = get_run(store, run.run_id)
    assert (len(found.params["long"]), len(found.tags["long"])) == (6000, 8000)


def test_artifacts_are_read_back(store: Store, tmp_path: Path) -> None:
    (tmp_path / "model" / "inner").mkdir(parents=True)
    (tmp_path / "model" / "inner" / "weights.bin").write_bytes(b"\x00\x01")
    (tmp_path / "notes.txt").write_text("a note")
    figure = matplotlib.figure.Figure()
    figure.subplots().plot([0, 1])
    with start_run(store, "study", "name", {}, {}) as run:
        run.log_text("seed: 0\nname: é\n", "config.yaml")
        run.log_artifact(tmp_path / "model", "model")
        run.log_artifact(tmp_path / "notes.txt")
        run.log_figure(figure, "figures/line.png")
    files = tmp_path / "mlruns" / "artifacts" / run.run_id / "artifacts"
    assert {str(path.relative_to(files)) for path in files.rglob("*") if path.is_file()} == {
        "config.yaml",
        "model/inner/weights.bin",
        "notes.txt",
        "figures/line.png",
    }
    assert (files / "model" / "inner" / "weights.bin").read_bytes() == b"\x00\x01"
    assert (files / "figures" / "line.png").read_bytes().startswith(b"\x89PNG")
    assert read_text(store, run.run_id, "config.yaml") == "seed: 0\nname: é\n"


def test_scores_are_read_back_to_the_last_bit(store: Store) -> None:
    rng = np.random.default_rng(0)
    table = ScoreTable(
        pair=np.arange(50),
        id1=[f"INC{n}" for n in range(50)],
        id2=['a "quoted", id', *(f"INC{n}" for n in range(49))],
        units=rng.integers(0, 9, (50, 2)),
        label=rng.random(50),
        score=rng.standard_normal(50) * 10.0 ** rng.integers(-20, 20, 50),
    )
    with start_run(store, "study", "name", {}, {}) as run:
        run.log_scores("test", table)
    found = read_scores(store, run.run_id, "test")
    assert found.score.tobytes() == table.score.tobytes()
    assert found.label.tobytes() == table.label.tobytes()
    assert (found.id1, found.id2, found.phases) == (table.id1, table.id2, None)


def test_datasets_are_listed_with_their_side_and_counts(store: Store) -> None:
    sides = [
        DatasetRecord("pairs train", "ab" * 32, "train", "local", "train.jsonl", {"pairs": 3000, "mean_label": 0.5}),
        DatasetRecord("stsb test", "cd" * 32, "test", "hugging_face", "mteb/stsb", {"pairs": 1379}),
    ]
    with start_run(store, "study", "name", {}, {}) as run:
        run.log_datasets(sides)
    inputs = MlflowClient(store.uri).get_run(run.run_id).inputs.dataset_inputs
    found = {each.dataset.name: (each.dataset, {tag.key: tag.value for tag in each.tags}) for each in inputs}
    train, tags = found["pairs train"]
    assert tags == {"mlflow.data.context": "train"}
    # 36 characters are the most that MLflow keeps of a digest.
    assert (train.digest, train.source_type) == ("ab" * 18, "local")
    assert json.loads(train.source) == {"uri": "train.jsonl"}
    assert json.loads(train.profile) == {"pairs": 3000, "mean_label": 0.5}
    assert json.loads(found["stsb test"][0].source) == {"path": "mteb/stsb"}


def test_a_child_names_its_parent(store: Store) -> None:
    with start_run(store, "study", "sweep", {}, {}) as parent:
        with start_run(store, "study", "trial", {}, {}, parent=parent.run_id) as child:
            assert get_run(store, parent.run_id).status == "RUNNING"
        assert get_run(store, child.run_id).status == "FINISHED"
    assert get_run(store, child.run_id).tags["mlflow.parentRunId"] == parent.run_id
    assert get_run(store, parent.run_id).status == "FINISHED"


def test_credentials_are_masked_wherever_they_are_written(store: Store, tmp_path: Path) -> None:
    uri = "postgresql://ann:s3cret/w@rd@db:5432/promax?password=s3cret"
    with start_run(store, "study", "name", {"tracking.uri": uri}, {"from": uri}) as run:
        run.log_text(f"tracking:\n  uri: {uri}\n", "config.yaml")
    masked = "postgresql://***@db:5432/promax?password=***"
    assert get_run(store, run.run_id).params["tracking.uri"] == masked
    assert get_run(store, run.run_id).tags["from"] == masked
    assert read_text(store, run.run_id, "config.yaml") == f"tracking:\n  uri: {masked}\n"
    assert len(holding(tmp_path / "mlruns", "***@db:5432")) == 2
    assert holding(tmp_path / "mlruns", "s3cret") == []


def holding(folder: Path, text: str) -> list[str]:
    """The files under a folder that hold a text."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def raised_in(module: str, statement: str) -> Callable[[], None]:
    """A function that runs a statement as if it stood in line 1 of `module`."""

    def go() -> None:
        exec(statement, {"__name__": module, "CANARY": CANARY})

    return go


REASONS = {
    "our class": (
        "from promax.config import ConfigError; raise ConfigError('optim.lr=2: too high\\nsecond line')",
        "elsewhere",
        "ConfigError: optim.lr=2: too high",
    ),
    "our class, long": (
        "from promax.config import ConfigError; raise ConfigError('x' * 300)",
        "elsewhere",
        "ConfigError: " + "x" * 187,
    ),
    "our class, credentials": (
        "from promax.config import ConfigError; raise ConfigError('http://ann:s3cret@host is down')",
        "elsewhere",
        "ConfigError: http://***@host is down",
    ),
    "our RuntimeError": ("raise RuntimeError('lr: 2e-05 used')", "promax.train", "RuntimeError: lr: 2e-05 used"),
    "a foreign RuntimeError": ("raise RuntimeError(CANARY)", "torch.nn", "RuntimeError at torch.nn:1"),
    "a foreign error in our code": ("float(CANARY)", "promax.data.pairs", "ValueError at promax.data.pairs:1"),
    "a key": ("{}[CANARY]", "promax.data.pairs", "KeyError at promax.data.pairs:1"),
    "a foreign error below our code": (
        "exec('int(CANARY)', {'__name__': 'numpy.core', 'CANARY': CANARY})",
        "promax.data.pairs",
        "ValueError at promax.data.pairs:1, in numpy.core:1",
    ),
    "an exit": ("raise SystemExit(CANARY)", "library", "SystemExit at library:1"),
}


@pytest.mark.parametrize(("statement", "module", "reason"), REASONS.values(), ids=REASONS)
def test_an_exception_fails_the_run_with_its_reason(
    store: Store, tmp_path: Path, statement: str, module: str, reason: str
) -> None:
    with pytest.raises(BaseException) as raised, start_run(store, "study", "name", {}, {}) as run:
        run.log_metrics({"dev/spearman": 0.5})
        raised_in(module, statement)()
    assert type(raised.value).__name__ == reason.replace(":", " ").split()[0]
    found = get_run(store, run.run_id)
    assert (found.status, found.tags["promax.reason"]) == ("FAILED", reason)
    assert found.metrics == {"dev/spearman": 0.5}
    assert holding(tmp_path / "mlruns", run.run_id) != []
    assert holding(tmp_path / "mlruns", CANARY) == []


def test_ctrl_c_kills_the_run(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), start_run(store, "study", "name", {}, {}) as run:
        signal.raise_signal(signal.SIGINT)
    found = get_run(store, run.run_id)
    assert (found.status, found.tags["promax.reason"]) == ("KILLED", "interrupted (Ctrl-C)")


def test_sigterm_raises_only_while_a_run_is_open(store: Store) -> None:
    arrived: list[int] = []
    former = signal.signal(signal.SIGTERM, lambda number, _frame: arrived.append(number))
    try:
        with pytest.raises(Terminated) as ended, start_run(store, "study", "name", {}, {}) as run:
            signal.raise_signal(signal.SIGTERM)
        assert arrived == []
        signal.raise_signal(signal.SIGTERM)
        assert arrived == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, former)
    # The status of a process that SIGTERM ended, as shells report it.
    assert ended.value.code == 143
    found = get_run(store, run.run_id)
    assert (found.status, found.tags["promax.reason"]) == ("KILLED", "terminated (SIGTERM)")


def test_a_second_ctrl_c_does_not_cut_the_closing_short(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_closing(monkeypatch, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), start_run(store, "study", "name", {}, {}) as run:
        signal.raise_signal(signal.SIGINT)
    assert get_run(store, run.run_id).status == "KILLED"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_during_the_last_step_is_not_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_closing(monkeypatch, signal.SIGTERM)
    with pytest.raises(Terminated), start_run(store, "study", "name", {}, {}) as run:
        pass
    assert get_run(store, run.run_id).status == "FINISHED"


def interrupt_closing(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """The signal arrives just before MLflow writes a run's last status."""
    close = MlflowClient.set_terminated

    def interrupted(client: MlflowClient, run_id: str, status: str, ended: int) -> None:
        signal.raise_signal(number)
        close(client, run_id, status, ended)

    monkeypatch.setattr(MlflowClient, "set_terminated", interrupted)


def test_a_failure_to_close_does_not_hide_why_the_run_failed(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_arguments: object) -> None:
        raise MlflowException("API request to http://ann:s3cret@host:5000/api failed")

    monkeypatch.setattr(MlflowClient, "set_terminated", gone)
    with pytest.raises(ConfigError, match=r"^the reason$"), start_run(store, "study", "name", {}, {}) as run:
        raise ConfigError("the reason")
    assert [record.message for record in caplog.records] == [
        f"run {run.run_id} could not be closed as FAILED: {store.label}: API request to http://***@host:5000/api failed"
    ]
    with pytest.raises(TrackingError), start_run(store, "study", "name", {}, {}):
        pass


def test_what_the_disk_refuses_is_told_in_one_line(store: Store, tmp_path: Path) -> None:
    with start_run(store, "study", "name", {}, {}) as run:
        with pytest.raises(TrackingError) as raised:
            run.log_artifact(tmp_path / "missing.txt")
        assert str(raised.value).startswith(f"{store.label}: ")
        assert "\n" not in str(raised.value)
        assert raised.value.__cause__ is None and raised.value.__suppress_context__


def test_what_a_full_disk_keeps_from_the_database_is_told(store: Store) -> None:
    """MLflow's message where SQLite found no space while it flushed, as it was on a full file system."""
    text = (
        "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block if this flush is"
        " occurring prematurely)\n(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT INTO metrics ...]"
    )
    with pytest.raises(TrackingError) as raised, store.talking():
        raise MlflowException(text)
    assert str(raised.value) == f"{store.label}: (sqlite3.OperationalError) database or disk is full"


def test_no_progress_or_address_is_printed(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    with start_run(store, "study", "name", {"a": 1}, {}) as run:
        run.log_text("text", "file.txt")
    read_text(store, run.run_id, "file.txt")
    assert capfd.readouterr() == ("", "")


def test_the_database_holds_the_run_once_closed(store: Store, tmp_path: Path) -> None:
    """Read by SQLite alone, so that nothing depends on what this process still holds in memory."""
    run = finished(store, answer=42)
    with sqlite3.connect(tmp_path / "mlruns" / "mlflow.db") as database:
        (row,) = database.execute("select status, value from runs join params on runs.run_uuid = params.run_uuid")
    assert row == ("FINISHED", "42")
    assert run.run_id
