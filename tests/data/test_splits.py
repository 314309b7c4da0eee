from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from promax.config import ConfigError, DataConfig, TicketsConfig
from promax.data.pairs import Pairs, text_key
from promax.data.splits import Splits, load

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
CANARY = "zebrafish-7Q"

Row = tuple[str, str, float]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def apart(name: str, labels: list[float]) -> list[Row]:
    """Pairs that share no ticket with any other."""
    return [(f"{CANARY} {name} left {i}", f"{CANARY} {name} right {i}", label) for i, label in enumerate(labels)]


def write(name: str, rows: list[Row]) -> str:
    lines = [json.dumps({"text1": a, "text2": b, "label": label}) for a, b, label in rows]
    Path(name).write_text("\n".join(lines), encoding="utf-8")
    return name


def files(**settings: Any) -> DataConfig:
    return DataConfig(name="pairs", source="files", **settings)


def refusal(cfg: DataConfig, *, training: bool = True) -> str:
    with pytest.raises(ConfigError) as caught:
        load(cfg, training=training)
    assert CANARY not in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


def told(splits: Splits) -> list[str]:
    """The notes that are not about columns."""
    assert CANARY not in "".join(splits.notes) + "".join(splits.origins.values())
    return [note for note in splits.notes if "column" not in note]


def sides(splits: Splits) -> dict[str, Pairs]:
    return {side: pairs for side in ("train", "dev", "test") if (pairs := getattr(splits, side)) is not None}


def keys(pairs: Pairs) -> set[str]:
    return {text_key(text) for text in pairs.text1 + pairs.text2}


def test_given_sides_are_taken_as_they_are() -> None:
    given_rows = {side: apart(side, [1, 1, 0, 0, 1][:count]) for side, count in (("train", 5), ("dev", 3), ("test", 4))}
    names = {side: write(f"{side}.jsonl", rows) for side, rows in given_rows.items()}
    splits = load(files(**names), training=True)
    for side, pairs in sides(splits).items():
        assert list(zip(pairs.text1, pairs.text2, pairs.labels.tolist(), strict=True)) == given_rows[side]
        assert (
            splits.origins[side] == f"{side}.jsonl sha256:{hashlib.sha256(Path(names[side]).read_bytes()).hexdigest()}"
        )
    assert told(splits) == []
    assert splits.notes[:2] == [
        "train.jsonl: columns read: text1, text2, label",
        "train.jsonl: no phase column (looked for phase, phases, phase_indicators, phase_indicator);"
        " pairs have no phase",
    ]


def test_a_test_file_alone_is_enough_where_nothing_is_trained() -> None:
    rows = apart("test", [1, 0, 1])
    splits = load(files(test=write("test.jsonl", rows)), training=False)
    assert (splits.train, splits.dev, len(splits.test)) == (None, None, 3)
    assert list(splits.origins) == ["test"]


def test_dev_is_not_cut_where_nothing_is_trained_but_taken_if_given() -> None:
    cfg = files(train=write("train.jsonl", apart("a", [1, 0] * 10)), test=write("test.jsonl", apart("b", [1, 0])))
    splits = load(cfg, training=False)
    assert (len(sides(splits)), splits.dev, len(splits.test)) == (2, None, 2)
    with_dev = files(dev=write("dev.jsonl", apart("c", [1, 0])), test="test.jsonl")
    assert list(sides(load(with_dev, training=False))) == ["dev", "test"]


ONE_CLASS = [
    (side, label) for side in ("train", "dev", "test") for label in (0, 1, 0.5) if (side, label) != ("train", 1)
]


@pytest.mark.parametrize(("side", "label"), ONE_CLASS)
def test_one_class_only(side: str, label: float) -> None:
    names = {name: write(f"{name}.jsonl", apart(name, [0, 1, 0.5])) for name in ("train", "dev", "test")}
    write(f"{side}.jsonl", apart(side, [label] * 4))
    assert refusal(files(**names)) == (
        f"{side}.jsonl: one class only: all 4 labels are {label:g}; {side} needs at least two different labels"
    )


def test_a_train_side_of_positives_is_left_to_the_loss() -> None:
    """mnrl takes the other pairs of a batch for negatives; every other loss refuses such labels itself."""
    names = {name: write(f"{name}.jsonl", apart(name, [0, 1])) for name in ("dev", "test")}
    splits = load(files(train=write("train.jsonl", apart("a", [1, 1])), **names), training=True)
    assert sides(splits)["train"].labels.tolist() == [1, 1]


def test_a_train_side_that_nothing_is_trained_on_may_be_of_one_class() -> None:
    cfg = files(train=write("train.jsonl", apart("a", [0, 0])), test=write("test.jsonl", apart("b", [1, 0])))
    assert len(sides(load(cfg, training=False))) == 2
    assert refusal(files(train="train.jsonl"), training=False).startswith("train.jsonl: one class only: all 2 labels")


def test_labels_are_made_binary_on_every_side() -> None:
    cfg = {side: write(f"{side}.jsonl", apart(side, [0, 0.4, 0.5, 1])) for side in ("train", "dev", "test")}
    splits = load(files(**cfg, positive_from=0.5, binary=True), training=True)
    assert all(pairs.labels.tolist() == [0, 0, 1, 1] for pairs in sides(splits).values())
    graded = load(files(**cfg, positive_from=0.5), training=True)
    assert all(pairs.labels.tolist() == [0, 0.4, 0.5, 1] for pairs in sides(graded).values())


def test_a_threshold_that_leaves_one_class() -> None:
    cfg = files(test=write("test.jsonl", apart("a", [0, 0.4, 0.5])), positive_from=0.9, binary=True)
    assert refusal(cfg, training=False) == (
        "test.jsonl, labels from data.positive_from=0.9 made 1 and others 0: one class only: all 3 labels are 0;"
        " test needs at least two different labels"
    )


@pytest.mark.parametrize("side", ["dev", "test"])
@pytest.mark.parametrize(
    ("labels", "positive_from", "found"),
    [
        ([0, 0.25, 0.5], 1, "no label reaches data.positive_from=1 (highest 0.5)"),
        # The float32 next to 1, which a cosine may come to.
        ([0, 1 - 2**-24], 1, "no label reaches data.positive_from=1 (highest 0.99999994)"),
        ([0.5, 0.75, 1], 0.5, "every label reaches data.positive_from=0.5 (lowest 0.5)"),
    ],
)
def test_graded_labels_on_one_side_of_the_threshold(
    side: str, labels: list[float], positive_from: float, found: str
) -> None:
    names = {name: write(f"{name}.jsonl", apart(name, [0, 0.5, 1])) for name in ("train", "dev", "test")}
    write(f"{side}.jsonl", apart(side, labels))
    expected = f"{side}.jsonl: one class only: {found}; {side} needs labels that do and labels that don't"
    for training in (True, False):
        assert refusal(files(**names, positive_from=positive_from), training=training) == expected
    assert len(sides(load(files(**names), training=True))) == 3


def test_a_threshold_is_not_asked_of_graded_labels_that_are_trained_on() -> None:
    names = {name: write(f"{name}.jsonl", apart(name, [0, 0.5, 1])) for name in ("dev", "test")}
    train = write("train.jsonl", apart("train", [0, 0.25, 0.5]))
    assert len(train_of(load(files(train=train, **names, positive_from=1), training=True))) == 3


def test_a_threshold_that_no_label_of_a_file_to_be_cut_reaches() -> None:
    one = write("one.jsonl", apart("one", [0, 0.25, 0.5, 0.5] * 25))
    assert refusal(files(train=one, positive_from=1)) == (
        "one.jsonl (dev part): one class only: no label reaches data.positive_from=1 (highest 0.5);"
        " dev needs labels that do and labels that don't"
    )


# Train 0 and 1 share a ticket with test, train 1 and 2 one with dev, dev 0 one with test.
LEAKING: dict[str, list[Row]] = {
    "train": [
        ("Printer  Jams", f"{CANARY} 0", 1),
        ("printer jams\n", "Mail is slow", 0),
        (f"{CANARY} 2", "MAIL IS SLOW", 1),
        *apart("train", [1, 0, 0]),
    ],
    "dev": [("vpn", "mail is slow", 1), ("x", "Token Expired", 0), *apart("dev", [1, 0])],
    "test": [("printer jams", f"{CANARY} 4", 1), ("token expired", "y", 0), *apart("test", [1])],
}


def leaking(**settings: Any) -> DataConfig:
    return files(**{side: write(f"{side}.jsonl", rows) for side, rows in LEAKING.items()}, **settings)


def test_tickets_on_two_sides_are_refused_whatever_their_case_and_white_space() -> None:
    assert refusal(leaking()) == (
        "dev.jsonl (dev) and test.jsonl (test) share 1 tickets, in 1 of 4 dev pairs;"
        " train.jsonl (train) and test.jsonl (test) share 1 tickets, in 2 of 6 train pairs;"
        " train.jsonl (train) and dev.jsonl (dev) share 1 tickets, in 2 of 6 train pairs\n"
        "No ticket may be on two sides: with data.on_leak=drop such pairs are dropped from train"
        " (from dev, where test has the ticket)"
    )


def test_leaks_are_refused_where_nothing_is_trained_too() -> None:
    assert refusal(leaking(), training=False).startswith("dev.jsonl (dev) and test.jsonl (test) share")


def test_shared_tickets_are_dropped_from_train_and_from_dev_for_the_sake_of_test() -> None:
    splits = load(leaking(on_leak="drop"), training=True)
    assert told(splits) == [
        "dev.jsonl: 1 of 4 dev pairs dropped (data.on_leak=drop): their tickets are in test too",
        "train.jsonl: 3 of 6 train pairs dropped (data.on_leak=drop): their tickets are in dev or test too",
    ]
    assert {side: len(pairs) for side, pairs in sides(splits).items()} == {"train": 3, "dev": 3, "test": 3}
    assert splits.test.text1 == [row[0] for row in LEAKING["test"]]


def write_with_ids(name: str, ids: list[tuple[str | None, str | None]], rows: list[Row]) -> str:
    names = ("id1", "id2", "text1", "text2", "label")
    lines = [json.dumps(dict(zip(names, (*pair, *row), strict=True))) for pair, row in zip(ids, rows, strict=True)]
    Path(name).write_text("\n".join(lines), encoding="utf-8")
    return name


def test_ids_on_two_sides_with_other_texts_are_noted() -> None:
    names = {
        side: write_with_ids(f"{side}.jsonl", ids, apart(side, [1, 0]))
        for side, ids in {
            "train": [("INC1", "INC2"), ("INC8", "INC3")],
            "dev": [("INC4", "INC5"), ("INC8", "INC6")],
            "test": [("INC3", "INC1"), ("INC7", "INC1")],
        }.items()
    }
    assert told(load(files(**names), training=True)) == [
        "train and test share 2 ticket ids whose texts differ; if they are the same tickets, the test has been seen",
        "train and dev share 1 ticket ids whose texts differ; if they are the same tickets, the dev has been seen",
    ]


def test_ids_that_are_missing_or_left_a_side_with_their_texts_are_not_noted() -> None:
    """The dropped pair shares text and id with test; pairs without ids have those of their texts."""
    names = {
        "train": write_with_ids(
            "train.jsonl",
            [("INC1", "INC2"), ("INC5", None), (None, None)],
            [*apart("test", [1]), *apart("train", [1, 0])],
        ),
        "dev": write("dev.jsonl", apart("dev", [1, 0])),
        "test": write_with_ids("test.jsonl", [("INC1", "INC2"), ("INC3", None)], apart("test", [1, 0])),
    }
    assert told(load(files(**names, on_leak="drop"), training=True)) == [
        "train.jsonl: 1 of 3 train pairs dropped (data.on_leak=drop): their tickets are in dev or test too"
    ]


def test_train_keeps_a_pair_whose_only_partner_in_dev_was_dropped() -> None:
    """Dev's pair holds a ticket of test and one of train: once it is gone, train shares nothing with dev."""
    names = {
        "train": write("train.jsonl", [("mail", "a", 1), *apart("train", [0])]),
        "dev": write("dev.jsonl", [("mail", "vpn", 1), *apart("dev", [0, 1])]),
        "test": write("test.jsonl", [("vpn", "b", 1), *apart("test", [0])]),
    }
    splits = load(files(**names, on_leak="drop"), training=True)
    assert {side: len(pairs) for side, pairs in sides(splits).items()} == {"train": 2, "dev": 2, "test": 2}
    assert len(told(splits)) == 1


def test_a_side_that_is_left_empty_or_of_one_class_by_dropping() -> None:
    same = write("same.jsonl", apart("a", [1, 0]))
    assert refusal(files(train=same, test=same, on_leak="drop")) == (
        "same.jsonl, without the pairs that share tickets with another side: no pairs are left for train"
    )
    more = write("more.jsonl", [*apart("a", [1, 0]), *apart("b", [0, 0])])
    assert refusal(files(train=more, test=same, on_leak="drop")) == (
        "more.jsonl, without the pairs that share tickets with another side: one class only: all 2 labels are 0;"
        " train needs at least two different labels"
    )


@pytest.mark.parametrize("side", ["train", "test"])
def test_one_file_is_cut_into_three_sides(side: str) -> None:
    rows = apart("one", [1] * 40 + [0] * 60)
    splits = load(files(**{side: write("one.jsonl", rows)}, seed=3), training=True)
    # By hand: shares 0.7, 0.1 and 0.2 of 40 positives and 60 negatives.
    expected = {"train": (70, 28), "dev": (10, 4), "test": (20, 8)}
    assert {name: (len(pairs), int(pairs.labels.sum())) for name, pairs in sides(splits).items()} == expected
    assert told(splits) == [
        "one.jsonl: cut by shared texts into train 70 pairs (28 positive), dev 10 pairs (4 positive),"
        " test 20 pairs (8 positive)"
    ]
    digest = hashlib.sha256(Path("one.jsonl").read_bytes()).hexdigest()
    assert splits.origins == {
        "train": f"one.jsonl sha256:{digest} train part, share=0.7 seed=3",
        "dev": f"one.jsonl sha256:{digest} dev part, share=0.1 seed=3",
        "test": f"one.jsonl sha256:{digest} test part, share=0.2 seed=3",
    }
    order = {row[0]: number for number, row in enumerate(rows)}
    for pairs in sides(splits).values():
        numbers = [order[text] for text in pairs.text1]
        assert numbers == sorted(numbers)


def test_shares_are_those_of_the_config() -> None:
    cfg = files(train=write("one.jsonl", apart("one", [1, 0] * 50)), dev_share=0.2, test_share=0.4)
    assert {side: len(pairs) for side, pairs in sides(load(cfg, training=True)).items()} == {
        "train": 40,
        "dev": 20,
        "test": 40,
    }


def test_a_test_side_cut_from_train_is_the_same_with_and_without_training() -> None:
    """Else a baseline would be judged by other pairs than the run it is compared with."""
    cfg = files(train=write("one.jsonl", apart("one", [1, 0] * 30)))
    trained, untrained = (load(cfg, training=training) for training in (True, False))
    assert trained.test.fingerprint() == untrained.test.fingerprint()


def test_a_test_side_that_dev_is_cut_from_is_the_same_with_and_without_training() -> None:
    names = {side: write(f"{side}.jsonl", apart(side, [1, 0] * 50)) for side in ("train", "test")}
    trained, untrained = (load(files(**names, dev_from="test"), training=training) for training in (True, False))
    assert len(trained.test) == 90
    assert trained.test.fingerprint() == untrained.test.fingerprint()
    assert trained.dev is not None and untrained.dev is not None
    assert trained.dev.fingerprint() == untrained.dev.fingerprint()


@pytest.mark.parametrize("donor", ["train", "test"])
def test_dev_is_cut_from_the_side_that_the_config_names(donor: str) -> None:
    counts = {"train": 200, "test": 100}
    names = {side: write(f"{side}.jsonl", apart(side, [1, 0] * (count // 2))) for side, count in counts.items()}
    splits = load(files(**names, dev_from=donor), training=True)
    cut = counts[donor] // 10
    expected = {**counts, donor: counts[donor] - cut, "dev": cut}
    assert {side: len(pairs) for side, pairs in sides(splits).items()} == expected
    assert splits.dev is not None
    assert all(f"{CANARY} {donor}" in text for text in splits.dev.text1)
    halves = {side: f"{side} {expected[side]} pairs ({expected[side] // 2} positive)" for side in expected}
    ordered = f"{halves['train']}, {halves['dev']}" if donor == "train" else f"{halves['dev']}, {halves['test']}"
    assert told(splits) == [f"{donor}.jsonl: cut by shared texts into {ordered}"]


def test_a_missing_test_or_train_is_cut_where_dev_is_given() -> None:
    one, dev = write("one.jsonl", apart("one", [1, 0] * 50)), write("dev.jsonl", apart("dev", [1, 0]))
    expected = {"train": 80, "dev": 2, "test": 20}
    for side in ("train", "test"):
        splits = load(files(**{side: one}, dev=dev), training=True)
        assert {name: len(pairs) for name, pairs in sides(splits).items()} == expected


def test_a_file_too_small_to_cut() -> None:
    assert refusal(files(train=write("one.jsonl", apart("one", [1, 0, 1])))) == (
        "one.jsonl: cut by shared texts into train 3 pairs (2 positive), dev 0 pairs (0 positive),"
        " test 0 pairs (0 positive) of 3; each needs two different labels\n"
        "Give more pairs, a file for each side, or another data.dev_share=0.1, data.test_share=0.2 or data.seed=0"
    )


def test_graded_labels_without_a_threshold_are_cut_into_alike_sides() -> None:
    """A draw that ignores labels would miss the share of high ones by some ten pairs."""
    labels = np.random.default_rng(0).random(1000).round(2)
    found = sides(load(files(test=write("one.jsonl", apart("one", labels.tolist()))), training=True))
    high = (labels >= 0.5).sum()
    for side, share in (("train", 0.7), ("dev", 0.1), ("test", 0.2)):
        assert len(found[side]) == pytest.approx(share * 1000, abs=2)
        assert (found[side].labels >= 0.5).sum() == pytest.approx(share * high, abs=1)


WORDS = st.sampled_from([f"{CANARY} {word}" for word in "abcdefghijklmnopqrstuvwxyz"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(WORDS, WORDS, st.sampled_from([0.0, 1.0])), max_size=30),
    st.integers(0, 3),
    st.sampled_from(["train", "test"]),
)
def test_whatever_is_cut_no_ticket_is_on_two_sides(tangled: list[Row], seed: int, side: str) -> None:
    """Or the cut is refused, with the counts."""
    cfg = files(**{side: write("one.jsonl", tangled + apart("apart", [1, 0] * 20))})
    try:
        splits = load(replace(cfg, seed=seed), training=True)
    except ConfigError as error:
        assert "each needs two different labels" in str(error)
        return
    held = [keys(pairs) for pairs in sides(splits).values()]
    assert len(held) == 3
    assert sum(len(one) for one in held) == len(set().union(*held))
    again = load(replace(cfg, seed=seed), training=True)
    assert {side: pairs.fingerprint() for side, pairs in sides(again).items()} == {
        side: pairs.fingerprint() for side, pairs in sides(splits).items()
    }


def test_another_seed_cuts_otherwise() -> None:
    cfg = files(train=write("one.jsonl", apart("one", [1, 0] * 30)))
    assert load(cfg, training=True).test.fingerprint() != load(replace(cfg, seed=1), training=True).test.fingerprint()


def test_a_real_file_of_one_giant_component_is_cut_by_its_duplicate_groups() -> None:
    """2,981 pairs, 1,046 positive, every text joined to every other: ../shared/data/README.md."""
    path = SHARED / "askubuntu_titles_clean/test.jsonl"
    if not path.is_file():
        pytest.skip("../shared/data is not there")
    splits = load(files(test=str(path)), training=True)
    found = sides(splits)
    positives = {side: int(pairs.labels.sum()) for side, pairs in found.items()}
    assert sum(positives.values()) == 1_046
    assert [positives[side] for side in ("train", "dev", "test")] == pytest.approx([732.2, 104.6, 209.2], abs=2)
    assert sum(len(keys(pairs)) for pairs in found.values()) == len(set().union(*(keys(p) for p in found.values())))
    lost = 2_981 - sum(len(pairs) for pairs in found.values())
    assert told(splits)[0].endswith(f"; {lost} of 1935 negative pairs dropped, their tickets being on two sides")
    # A random side for each group would lose 46 % of them.
    assert lost < 0.35 * 1_935


def limited(limit: int, labels: list[float], seed: int = 0) -> Splits:
    names = {"train": write("train.jsonl", apart("train", labels)), "test": write("test.jsonl", apart("test", [1, 0]))}
    dev = write("dev.jsonl", apart("dev", [1, 0]))
    return load(files(**names, dev=dev, train_limit=limit, seed=seed), training=True)


def train_of(splits: Splits) -> Pairs:
    assert splits.train is not None
    return splits.train


@pytest.mark.parametrize("limit", [10, 25, 99, 200])
def test_a_limited_train_side_keeps_its_class_shares_and_its_order(limit: int) -> None:
    labels = [1.0] * 60 + [0.5] * 40 + [0.0] * 100
    train = train_of(limited(limit, labels))
    assert len(train) == limit
    for label, share in ((1.0, 0.3), (0.5, 0.2), (0.0, 0.5)):
        assert (train.labels == label).sum() == pytest.approx(share * limit, abs=1)
    numbers = [int(text.rpartition(" ")[2]) for text in train.text1]
    assert numbers == sorted(numbers)


def test_a_smaller_limit_draws_from_a_larger_one() -> None:
    labels = [1.0] * 60 + [0.0] * 140
    drawn = [set(train_of(limited(limit, labels)).text1) for limit in (20, 50, 120)]
    assert drawn[0] < drawn[1] < drawn[2]


def test_many_different_labels_are_kept_in_shares_by_halves() -> None:
    labels: NDArray[np.float64] = np.linspace(0, 1, 200) ** 2
    train = train_of(limited(50, labels.tolist()))
    assert (train.labels >= 0.5).sum() == pytest.approx(50 * (labels >= 0.5).mean(), abs=1)


def test_the_limited_draw_depends_on_seed_and_data_alone() -> None:
    labels = [1.0, 0.0] * 50
    texts = [train_of(limited(20, labels, seed)).text1 for seed in (0, 0, 1)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    assert told(limited(20, labels)) == ["data.train_limit=20: drawn from 100 train pairs, seed 0"]


def test_a_limit_beyond_the_file_takes_all_of_it() -> None:
    splits = limited(50, [1.0, 0.0, 1.0])
    assert len(train_of(splits)) == 3
    assert told(splits) == ["data.train_limit=50: train has 3 pairs, all are used"]


def test_a_limit_that_leaves_one_class() -> None:
    with pytest.raises(ConfigError) as caught:
        limited(2, [0.0] * 99 + [1.0])
    assert str(caught.value) == (
        "train.jsonl, cut down to data.train_limit=2: one class only: all 2 labels are 0;"
        " train needs at least two different labels"
    )


def test_the_embedded_corpus() -> None:
    wanted = TicketsConfig(count=1000, seed=1, train_pairs=60, dev_pairs=20, test_pairs=30)
    splits = load(DataConfig(tickets=wanted), training=True)
    assert {side: len(pairs) for side, pairs in sides(splits).items()} == {"train": 60, "dev": 20, "test": 30}
    assert all(set(pairs.labels) == {0.0, 0.5, 1.0} for pairs in sides(splits).values())
    assert told(splits) == []
    assert splits.origins["test"] == "tickets seed=1 count=1000 test=30"
    assert splits.test.fingerprint() == load(DataConfig(tickets=wanted, seed=9), training=False).test.fingerprint()


def test_a_hub_dataset_goes_the_same_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    Path("mine").mkdir()
    write("mine/train.jsonl", apart("train", [1, 0] * 20))
    write("mine/test.jsonl", apart("train", [1, 0] * 2))
    cfg = DataConfig(name="hub", source="hub", path="mine", train="train", test="test")
    assert refusal(cfg).startswith(
        "mine split train (train) and mine split test (test) share 8 tickets, in 4 of 40 train pairs\n"
    )


def test_the_import_is_light() -> None:
    """A wrong request is refused in under two seconds, so nothing slow may be imported for it."""
    heavy = ["torch", "datasets", "pandas", "pyarrow", "scipy", "transformers", "mlflow"]
    code = f"import sys, promax.data.splits; print([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def write_adversarial(rows: list[Row], name: str = "adversarial.jsonl") -> str:
    lines = [
        json.dumps({"text1": a, "text2": b, "label": label, "category1": "Mail", "category2": "Network"})
        for a, b, label in rows
    ]
    Path(name).write_text("\n".join(lines), encoding="utf-8")
    return name


def test_adversarial_pairs_come_from_their_own_file() -> None:
    names = {side: write(f"{side}.jsonl", apart(side, [1, 0])) for side in ("train", "dev", "test")}
    rows = [*apart("test", [1, 0]), *apart("hard", [1, 0])]  # tickets of test may be among them
    splits = load(files(**names, adversarial=write_adversarial(rows)), training=True)
    assert splits.adversarial is not None
    assert splits.adversarial.text1 == [row[0] for row in rows]
    assert splits.adversarial.category2 == ["Network"] * 4
    assert [(side, len(pairs)) for side, pairs in splits.sides()] == [
        ("train", 2),
        ("dev", 2),
        ("test", 2),
        ("adversarial", 4),
    ]
    digest = hashlib.sha256(Path("adversarial.jsonl").read_bytes()).hexdigest()
    assert splits.origins["adversarial"] == f"adversarial.jsonl sha256:{digest}"
    assert told(splits) == []


def test_adversarial_pairs_need_categories() -> None:
    cfg = files(test=write("test.jsonl", apart("test", [1, 0])), adversarial=write("hard.jsonl", apart("hard", [1, 0])))
    assert refusal(cfg, training=False) == (
        "data.adversarial=hard.jsonl: no categories; must have the columns category1 and category2"
    )


def test_adversarial_pairs_share_no_ticket_with_what_is_learnt_from() -> None:
    names = {side: write(f"{side}.jsonl", apart(side, [1, 0, 1, 0])) for side in ("train", "dev", "test")}
    hard = write_adversarial([*apart("train", [1]), *apart("dev", [1]), *apart("hard", [1, 0])])
    assert refusal(files(**names, adversarial=hard)).splitlines()[0] == (
        "dev.jsonl (dev) and adversarial.jsonl (adversarial) share 2 tickets, in 1 of 4 dev pairs;"
        " train.jsonl (train) and adversarial.jsonl (adversarial) share 2 tickets, in 1 of 4 train pairs"
    )
    splits = load(files(**names, adversarial=hard, on_leak="drop"), training=True)
    assert [len(pairs) for _, pairs in splits.sides()] == [3, 3, 4, 4]
    assert told(splits) == [
        "dev.jsonl: 1 of 4 dev pairs dropped (data.on_leak=drop): their tickets are in test or adversarial too",
        "train.jsonl: 1 of 4 train pairs dropped (data.on_leak=drop):"
        " their tickets are in dev or test or adversarial too",
    ]


def test_what_is_cut_from_test_loses_the_tickets_of_adversarial_pairs() -> None:
    names = {side: write(f"{side}.jsonl", apart(side, [1, 0] * 50)) for side in ("train", "test")}
    # A third of the pairs of test, and so in all likelihood some of the ten that dev gets.
    hard = write_adversarial([row for number, row in enumerate(apart("test", [1, 0] * 50)) if number % 3 == 0])
    splits = load(files(**names, adversarial=hard, dev_from="test"), training=True)
    assert splits.adversarial is not None and splits.dev is not None
    assert (len(splits.test), len(splits.adversarial)) == (90, 34)
    assert 0 < len(splits.dev) < 10
    assert set(splits.dev.text1).isdisjoint(splits.adversarial.text1)
    assert told(splits)[1] == (
        f"test.jsonl (dev part): {10 - len(splits.dev)} of 10 dev pairs dropped (after the cut):"
        " their tickets are in test or adversarial too"
    )


def test_pairs_of_another_domain_come_from_their_own_file_whatever_the_source() -> None:
    names = {side: write(f"{side}.jsonl", apart(side, [1, 0])) for side in ("train", "dev", "test")}
    rows = [*apart("test", [1, 0]), *apart("elsewhere", [1, 0])]  # tickets of test may be among them
    elsewhere = write("elsewhere.jsonl", rows)
    splits = load(files(**names, transfer=elsewhere), training=True)
    assert splits.transfer is not None
    assert [side for side, _ in splits.sides()] == ["train", "dev", "test", "transfer"]
    assert splits.origins["transfer"].startswith("elsewhere.jsonl sha256:")
    corpus = DataConfig(
        transfer=elsewhere, tickets=TicketsConfig(count=1000, train_pairs=40, dev_pairs=20, test_pairs=40)
    )
    beside = load(corpus, training=True).transfer
    assert beside is not None and beside.text1 == [row[0] for row in rows]


def test_pairs_of_another_domain_share_no_ticket_with_what_is_learnt_from() -> None:
    names = {side: write(f"{side}.jsonl", apart(side, [1, 0, 1, 0])) for side in ("train", "dev", "test")}
    elsewhere = write("elsewhere.jsonl", [*apart("train", [1]), *apart("elsewhere", [1, 0])])
    assert refusal(files(**names, transfer=elsewhere)).splitlines()[0] == (
        "train.jsonl (train) and elsewhere.jsonl (transfer) share 2 tickets, in 1 of 4 train pairs"
    )


def test_train_keeps_the_phases_that_are_asked_for() -> None:
    names = {side: write(f"{side}.jsonl", apart(side, [1, 0])) for side in ("dev", "test")}
    rows = [{"text1": f"a{n}", "text2": f"b{n}", "label": n % 2, "phase": 1 + n // 4} for n in range(12)]
    Path("train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    splits = load(files(**names, train="train.jsonl", phases=[3, 1]), training=True)
    assert splits.train is not None and splits.train.phases is not None
    assert splits.train.phases.tolist() == [1] * 4 + [3] * 4
    assert told(splits)[-1] == "data.phases=[3, 1]: 8 of 12 train pairs are of them"
    assert refusal(files(**names, train="train.jsonl", phases=[1, 4])) == (
        "data.phases=[1,4]: train has phases 1, 2, 3, no pair of phase 4"
    )
