"""Encoder and pairs in, metrics out: with encoders whose every vector is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from promax.config import EvalConfig
from promax.data.pairs import Pairs
from promax.evaluate import GRADED, NO_DEV, Embed, embed_pairs, evaluate, point_metrics

CFG = EvalConfig(bootstrap=200)


def on_a_circle(angles: dict[str, float]) -> Embed:
    """An encoder that puts each text at a known angle of the unit circle: the cosine of a pair is known by hand."""

    def embed(texts: list[str]) -> NDArray[np.float32]:
        turn = np.array([angles[text] for text in texts])
        return np.column_stack([np.cos(turn), np.sin(turn)]).astype(np.float32)

    return embed


def many(n: int, seed: int = 0) -> tuple[Embed, Pairs]:
    """n pairs without shared tickets, half of them positive and on the whole closer."""
    random = np.random.default_rng(seed)
    labels = (np.arange(n) % 2).astype(np.float64)
    apart = np.abs(random.normal(np.where(labels == 1, 0.5, 1.0), 0.3))
    angles = {f"a{row}": random.uniform(0, math.tau) for row in range(n)}
    angles |= {f"b{row}": angles[f"a{row}"] + apart[row] for row in range(n)}
    first, second = [f"a{row}" for row in range(n)], [f"b{row}" for row in range(n)]
    return on_a_circle(angles), Pairs(first, second, labels, first, second)


def test_the_score_of_a_pair_is_its_cosine() -> None:
    embed = on_a_circle({"a": 0.0, "b": math.pi / 3, "c": math.pi / 2})
    pairs = Pairs(["a", "a"], ["b", "c"], np.array([1.0, 0.0]), ["1", "1"], ["2", "3"])
    # cos 60 degrees = 1/2, cos 90 degrees = 0.
    assert embed_pairs(embed, pairs)[1] == pytest.approx([0.5, 0.0], abs=1e-7)


def test_each_text_is_embedded_once_and_scored_as_itself() -> None:
    """Two spellings of one ticket are one ticket to retrieval, but each pair is scored by its own texts."""
    asked: list[str] = []
    circle = on_a_circle({"vpn": 0.0, "VPN": math.pi / 2, "mail": 0.0})

    def embed(texts: list[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return circle(texts)

    pairs = Pairs(["vpn", "VPN", "vpn"], ["mail"] * 3, np.array([1.0, 0.0, 1.0]), ["1", "2", "1"], ["3"] * 3)
    vectors, scores = embed_pairs(embed, pairs)
    assert sorted(asked) == ["VPN", "mail", "vpn"]
    assert scores == pytest.approx([1.0, 0.0, 1.0], abs=1e-7)
    # Ticket 0 is vpn, by its first text; ticket 1 is mail.
    assert vectors == pytest.approx(np.array([[1.0, 0.0], [1.0, 0.0]]), abs=1e-7)


def test_metrics_agree_with_scikit_learn() -> None:
    embed, pairs = many(200)
    dev = evaluate(embed, pairs, CFG, positive_from=None, seed=0, is_dev=True)
    test = evaluate(embed, pairs, CFG, positive_from=None, seed=0, threshold=dev.threshold)
    positive = pairs.labels == 1
    assert test.metrics["roc_auc"] == pytest.approx(roc_auc_score(positive, test.scores), abs=1e-12)
    assert test.metrics["pr_auc"] == pytest.approx(average_precision_score(positive, test.scores), abs=1e-12)
    assert test.metrics["f1"] == pytest.approx(f1_score(positive, test.scores >= dev.threshold), abs=1e-12)
    # Chosen on these very pairs, no other threshold does better.
    assert all(f1_score(positive, test.scores >= each) <= test.metrics["f1"] + 1e-12 for each in test.scores)


def test_every_metric_has_an_interval_around_it() -> None:
    embed, pairs = many(200)
    found = evaluate(embed, pairs, CFG, positive_from=None, seed=0, threshold=0.8)
    expected = {"spearman", "pearson", "roc_auc", "pr_auc", "f1", "separability"}
    expected |= {"recall_at_1", "recall_at_5", "recall_at_10", "mrr"}
    assert set(found.intervals) == expected
    assert set(found.metrics) == expected | {"spearman_ceiling", "overlap"}
    for name, interval in found.intervals.items():
        assert interval.low <= found.metrics[name] <= interval.high, name
    # Half positives: sqrt(3)/2 for many pairs, here with n / sqrt(n^2 - 1) of FACTS' identity at AUC 1.
    assert found.metrics["spearman_ceiling"] == pytest.approx(math.sqrt(0.75) * 200 / math.sqrt(200**2 - 1))


def test_graded_labels_have_rank_metrics_and_say_why_no_others() -> None:
    embed, pairs = many(60)
    graded = Pairs(pairs.text1, pairs.text2, np.linspace(0, 1, 60), pairs.id1, pairs.id2)
    found = evaluate(embed, graded, CFG, positive_from=None, seed=0)
    assert set(found.metrics) == {"spearman", "pearson", "spearman_ceiling"}
    names = ("roc_auc", "pr_auc", "f1", "separability", "overlap", "mrr", "recall_at_1", "recall_at_5", "recall_at_10")
    assert found.absent == dict.fromkeys(names, GRADED)
    with_threshold = evaluate(embed, graded, CFG, positive_from=0.5, seed=0)
    assert "roc_auc" in with_threshold.metrics
    assert with_threshold.absent == {"f1": NO_DEV}


def test_constant_scores_give_a_stated_value_or_a_stated_absence() -> None:
    _, pairs = many(40)
    same = dict.fromkeys([*pairs.text1, *pairs.text2], 0.0)
    found = evaluate(on_a_circle(same), pairs, CFG, positive_from=None, seed=0, threshold=0.5)
    assert found.metrics["roc_auc"] == 0.5
    assert found.metrics["pr_auc"] == 0.5  # the share of positives
    assert found.absent["spearman"] == "constant scores: a correlation needs two different values"
    assert all(math.isfinite(value) for value in found.metrics.values())


def test_retrieval_by_hand() -> None:
    # From a, the nearest is c, then its partner b; from b, the nearest is c, then a. c and d are partners.
    embed = on_a_circle({"a": 0.0, "b": 0.3, "c": 0.16, "d": 3.0})
    pairs = Pairs(["a", "c", "a"], ["b", "d", "d"], np.array([1.0, 1.0, 0.0]), ["1", "3", "1"], ["2", "4", "4"])
    found = evaluate(embed, pairs, EvalConfig(bootstrap=100, recall_at=[1, 2]), positive_from=None, seed=0)
    # Ranks a->b 2, c->d 3 (a and b are nearer), b->a 2, d->c 2 (b, at 2.7, is nearer than c, at 2.84).
    assert found.metrics["recall_at_1"] == 0.0
    assert found.metrics["recall_at_2"] == 0.75
    assert found.metrics["mrr"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 2 + 1 / 2) / 4)


def test_slices_by_phase_and_by_category_of_either_ticket() -> None:
    embed, pairs = many(80)
    phases = np.where(np.arange(80) < 40, 1, 2)
    category = ["Mail" if row % 4 < 2 else "Network" for row in range(80)]
    other = ["Rare" if row == 0 else "Mail" for row in range(80)]
    sliced = Pairs(pairs.text1, pairs.text2, pairs.labels, pairs.id1, pairs.id2, phases, category, other)
    found = {(each.kind, each.name): each for each in evaluate(embed, sliced, CFG, positive_from=None, seed=0).slices}
    # Rare has one pair: too few to speak of.
    assert set(found) == {("phase", "1"), ("phase", "2"), ("category", "Mail"), ("category", "Network")}
    # Every pair but row 0 has Mail on one side; row 0 has it on the first.
    assert found["category", "Mail"].pairs == 80
    first = sliced.take(np.arange(40))
    scores = embed_pairs(embed, first)[1]
    assert found["phase", "1"].metrics == point_metrics(scores, first.labels, first.labels == 1)
    for each in found.values():
        assert set(each.intervals) == set(each.metrics)
        assert all(
            each.intervals[name].low <= value <= each.intervals[name].high for name, value in each.metrics.items()
        )


def test_a_threshold_without_positives_is_absent_for_that_reason() -> None:
    embed, pairs = many(40)
    graded = Pairs(pairs.text1, pairs.text2, pairs.labels / 2, pairs.id1, pairs.id2)
    found = evaluate(embed, graded, CFG, positive_from=1.0, seed=0, is_dev=True)
    assert found.absent["f1"] == found.absent["roc_auc"] == "one class only: 0 of 40 pairs are positive"


def test_intervals_come_from_the_seed_alone() -> None:
    embed, pairs = many(60)
    one, two, three = (evaluate(embed, pairs, CFG, positive_from=None, seed=seed) for seed in (1, 1, 2))
    assert one.intervals == two.intervals
    assert one.intervals != three.intervals
    assert one.metrics == three.metrics
