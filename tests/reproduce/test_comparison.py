"""What counts as the same: hand-made records that differ in one place each."""

from __future__ import annotations

import math

import numpy as np
import pytest

from promax.journal import log_epoch, log_fit
from promax.reproduce.comparison import Compared, compare
from promax.reproduce.reasons import differences
from promax.reproduce.report import as_json, outcome, show_result
from promax.scores import ScoreTable
from promax.tracking import FIRST_ID, RunInfo, Store, get_run, start_run
from promax.train import EpochRecord, FitReport

METRICS = {"train/steps": 2.0, "train/seconds": 10.0, "train/other_seconds": 1.0, "test/spearman": 0.5}


def log(
    store: Store,
    *,
    scores: tuple[float, ...] = (0.25, 0.75),
    losses: str = "0.5 0.25",
    epochs: int = 2,
    **changed: float,
) -> RunInfo:
    """Two epochs, two steps and two pairs; `test__spearman=0.4` is another metric."""
    n = len(scores)
    table = ScoreTable(
        np.arange(n), ["a"] * n, ["b"] * n, np.zeros((n, 2), dtype=np.int64), np.zeros(n), np.array(scores)
    )
    with start_run(store, "study", "name", {}, {}) as run:
        for epoch in range(1, epochs + 1):
            run.log_metrics({"dev/spearman": epoch / 7}, step=epoch)
        run.log_metrics(METRICS | {name.replace("__", "/"): value for name, value in changed.items()})
        run.log_scores("test", table)
        rows = "".join(f"{step},{loss},1e-3\n" for step, loss in enumerate(losses.split(), 1))
        run.log_text(f"step,loss,learning_rate\n{rows}", "steps.csv")
    return get_run(store, run.run_id)


def one(found: list[Compared], name: str) -> Compared:
    return next(each for each in found if each.name == name)


def test_a_run_is_equal_to_its_like_whatever_time_it_took(store: Store) -> None:
    found = compare(store, log(store), log(store, train__seconds=20.0, train__other_seconds=3.0), None)
    assert [(each.name, each.values, each.equal) for each in found] == [
        ("steps.csv", 2, 2),
        ("train/steps", 1, 1),
        ("dev/spearman", 2, 2),
        ("test/spearman", 1, 1),
        ("scores/test.csv", 2, 2),
    ]
    assert outcome(found) == "equal"


def test_the_smallest_difference_of_a_float_is_one(store: Store) -> None:
    found = compare(store, log(store), log(store, scores=(0.25, math.nextafter(0.75, 1))), None)
    scores = one(found, "scores/test.csv")
    assert (scores.values, scores.equal, scores.state, scores.place) == (2, 1, "close", "pair 1")
    # Between 0.5 and 1, floats are 2^-53 apart.
    assert scores.largest == 2.0**-53
    assert outcome(found) == "close"


@pytest.mark.parametrize(
    ("changed", "name", "largest", "place"),
    [
        ({"scores": (0.25, 0.7502)}, "scores/test.csv", 2e-4, "pair 1"),
        ({"scores": (0.25,)}, "scores/test.csv", math.inf, "pair 1"),
        ({"losses": "0.5 0.252"}, "steps.csv", 2e-3, "step 2"),
        ({"epochs": 3}, "dev/spearman", math.inf, "step 3"),
        ({"test__spearman": 0.502}, "test/spearman", 2e-3, "step 0"),
        ({"test__new": 0.5}, "test/new", math.inf, "step 0"),
        # What was read from the optimizer can't be off by rounding.
        ({"train__steps": 2.0000001}, "train/steps", 1e-7, "step 0"),
    ],
)
def test_what_is_beyond_tolerance_or_missing_drifted(
    store: Store, changed: dict[str, float], name: str, largest: float, place: str
) -> None:
    found = compare(store, log(store), log(store, **changed), None)  # type: ignore[arg-type]
    assert [each.name for each in found if each.state != "equal"] == [name]
    drifted = one(found, name)
    assert (drifted.state, drifted.place) == ("drifted", place)
    assert drifted.largest == pytest.approx(largest, rel=1e-6)
    assert outcome(found) == "drifted"


def test_a_run_that_was_ended_is_compared_as_far_as_it_went(store: Store) -> None:
    found = compare(store, log(store, epochs=1), log(store, epochs=3), 1)
    assert one(found, "dev/spearman").values == 1
    assert outcome(found) == "equal"


def test_a_run_that_was_ended_behind_its_last_epoch_is_compared_by_its_epochs(store: Store) -> None:
    """As Ctrl-C ends it while test is evaluated or its adapter saved; whoever repeats it ends it after that epoch."""
    epochs = [EpochRecord(number, None, number, 1 / number, 1e-3, {"spearman": number / 7}, 1.0) for number in (1, 2)]
    report = FitReport(epochs, 2, [1.0, 0.5], [1e-3, 1e-3], 1e-3, 2, 2, 64, {0: 2}, 1, False, 2.0)
    runs = []
    for goes_on in (True, False):
        with start_run(store, "study", "name", {}, {}) as run:
            for epoch in epochs:
                log_epoch(run, epoch)
            if goes_on:
                log_fit(run, report, "spearman", None)
                run.log_metrics({"dev/spearman": 2 / 7, "dev/spearman_low": 0.1}, step=3)
                run.log_metrics({"test/spearman": 0.5})
        runs.append(get_run(store, run.run_id))
    found = compare(store, runs[0], runs[1], 2)
    # All that the second has: two points of each.
    assert {each.name: (each.values, each.equal) for each in found} == dict.fromkeys(runs[1].metrics, (2, 2))
    assert outcome(found) == "equal"


def test_reasons_come_in_the_order_of_their_likelihood() -> None:
    then = {
        "promax.threads": "2",
        "promax.platform": "Linux-6",
        "promax.version.torch": "2.12.0",
        "promax.git_commit": "a" * 40,
        "promax.data.test": "c" * 64,
        "promax.device": "cuda",
        "promax.cpu_features": "avx2 amx_bf16",
        "promax.host": "one",
    }
    now = {
        "promax.threads": "1",
        "promax.platform": "Linux-7",
        "promax.version.torch": "2.13.0",
        "promax.git_commit": "b" * 40,
        "promax.data.test": "d" * 64,
        "promax.device": "cpu",
        "promax.cpu_features": "avx2",
        "promax.host": "two",
        "promax.precision": "fp32",
    }
    assert differences(then, now) == [
        "pairs of test: cccccccccccc… then, dddddddddddd… now",
        "commit: aaaaaaaaaaaa… then, bbbbbbbbbbbb… now",
        "torch: 2.12.0 then, 2.13.0 now",
        "device: cuda then, cpu now",
        "processor's features: avx2 amx_bf16 then, avx2 now",
        "threads: 2 then, 1 now",
        "operating system: Linux-6 then, Linux-7 now",
    ]
    assert differences(then, then) == []


def test_the_table_names_what_drifted_furthest_and_the_likeliest_reason(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    then, now = log(store), log(store, scores=(0.25, 0.7502), test__spearman=0.5005)
    found = compare(store, then, now, None)
    # The original was restored from a file: it is named as where it was made.
    then.tags[FIRST_ID] = "a" * 32
    show_result(found, ["threads: 2 then, 1 now", "processor: A then, B now"], then, now)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == f"{now.run_id[:8]}, which reproduces aaaaaaaa"
    assert "test metrics 1 0 1 0 0.0005 0.001" in lines
    assert "scores on test 2 1 0 1 0.0002 0.0001" in lines
    assert lines[-4:] == [
        "- scores/test.csv: differs by 0.0002 at pair 1, where 0.0001 is let pass",
        "likeliest reason: threads: 2 then, 1 now",
        "then: processor: A then, B now",
        "not the same: 6 of 8 values are equal to the bit",
    ]
    show_result(found, [], then, now)
    assert (
        "likeliest reason: nothing that was recorded differs: a file of the record was changed"
        in capsys.readouterr().out
    )


def test_the_comparison_is_recorded_as_json(store: Store) -> None:
    found = compare(store, log(store), log(store, scores=(0.25,)), None)
    text = as_json(found, ["threads: 2 then, 1 now"])
    assert '"outcome": "drifted"' in text
    # JSON has no infinity.
    assert '"largest": null' in text and "Infinity" not in text
