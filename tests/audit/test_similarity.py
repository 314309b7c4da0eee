"""What the un-tuned encoder's scores give away, planted and not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from promax import metrics
from promax.audit import similarity
from promax.audit.finding import Finding

Make = Callable[..., Any]


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def spread(made: Any, separability: float, seed: int = 7) -> np.ndarray[Any, Any]:
    """Scores of both classes around 0.45, their means `separability` apart."""
    random = np.random.default_rng(seed)
    return random.normal(0.45 + separability * (made.pairs.labels - 0.5), 0.12)


def test_a_train_side_that_is_easier_is_an_error(make: Make) -> None:
    """The case of the project this was learned from: separability 0.374 in train, 0.187 in test."""
    train, test = make(0, problems=500), make(1, problems=500)
    easy, hard = spread(train, 0.374), spread(test, 0.187)
    found = one(similarity.easier_train(train.side(scores=easy), test.side("test", scores=hard)))
    assert (found.check, found.where, found.severity) == ("train easier than test", "both", "error")
    apart = [
        scores[made.pairs.labels == 1].mean() - scores[made.pairs.labels == 0].mean()
        for made, scores in ((train, easy), (test, hard))
    ]
    assert found.figures["separability_gap"] == pytest.approx(apart[0] - apart[1])
    overlaps = [metrics.overlap(s, m.pairs.labels == 1) for m, s in ((train, easy), (test, hard))]
    assert found.figures["overlap_gap"] == pytest.approx(overlaps[0] - overlaps[1])
    assert found.advice


@pytest.mark.parametrize("seed", range(5))
def test_sides_drawn_alike_are_clean(make: Make, seed: int) -> None:
    train, test = make(seed), make(100 + seed)
    assert one(similarity.easier_train(train.side(), test.side("test"))).severity == "clean"
    assert one(similarity.distributions(train.side(), test.side("test"))).severity == "clean"


def test_a_small_set_does_not_cry_wolf(make: Make) -> None:
    """Of 25 pairs a class, drawn alike: whatever the gap comes to, its interval holds 0."""
    gaps = []
    for seed in range(6):
        train, test = make(seed, problems=25), make(50 + seed, problems=25)
        found = one(similarity.easier_train(train.side(), test.side("test")))
        assert found.severity in ("clean", "note")
        gaps.append(abs(found.figures["separability_gap"]))
    assert max(gaps) > similarity.EASIER_WARNING  # so that it is the interval that kept silent


def test_a_test_side_that_is_easier_is_a_note(make: Make) -> None:
    train, test = make(0, problems=500), make(1, problems=500)
    found = similarity.easier_train(
        train.side(scores=spread(train, 0.187)), test.side("test", scores=spread(test, 0.374))
    )
    assert one(found).severity == "note"


def test_distributions_that_moved_together_are_unlike_though_not_easier(make: Make) -> None:
    train, test = make(0, problems=400), make(1, problems=400)
    sides = train.side(), test.side("test", scores=test.scores + 0.3)
    assert one(similarity.easier_train(*sides)).severity == "clean"
    found = one(similarity.distributions(*sides))
    assert found.severity == "warning"
    of = [m.scores[m.pairs.labels == 1] for m in (train, test)]
    assert found.figures["positives_ks"] == ks_2samp(of[0], of[1] + 0.3).statistic
    assert found.figures["positives_wasserstein"] == pytest.approx(wasserstein_distance(of[0], of[1] + 0.3))


def in_phases(made: Any, bands: list[tuple[tuple[float, float], tuple[float, float]]]) -> dict[str, Any]:
    """Phases in turn, the scores of each drawn evenly from its bands: (positives, negatives)."""
    random = np.random.default_rng(3)
    phases = np.arange(len(made.pairs)) % len(bands) + 1
    low, high = np.array(
        [bands[p - 1][0 if label else 1] for p, label in zip(phases, made.pairs.labels, strict=True)]
    ).T
    return {"phases": phases.astype(np.int64), "scores": random.uniform(low, high)}


# FACTS: two published definitions of three phases; the second's third phase is inverted.
ONE_SIDED = [((0.52, 0.9), (0.0, 0.36)), ((0.40, 0.9), (0.0, 0.45)), ((0.30, 0.9), (0.0, 0.50))]
BANDED = [((0.52, 0.9), (0.0, 0.36)), ((0.40, 0.52), (0.36, 0.45)), ((0.30, 0.40), (0.45, 0.50))]


def test_the_banded_third_phase_is_inverted(make: Make) -> None:
    made = make(problems=600)
    found = similarity.phases(made.side(**in_phases(made, BANDED)))
    assert [(each.severity, each.text[:8]) for each in found] == [("error", "phase 3:"), ("clean", "phase 1:")]
    assert "inverted" in found[0].text


def test_one_sided_phases_are_not_inverted(make: Make) -> None:
    made = make(problems=600)
    assert one(similarity.phases(made.side(**in_phases(made, ONE_SIDED)))).severity == "clean"


def test_a_phase_of_positives_only_is_an_error(make: Make) -> None:
    made = make()
    phases = np.where(made.pairs.labels == 1, np.arange(300) % 2, 1) + 1
    found = similarity.phases(made.side(phases=phases))
    assert found[0].severity == "error"
    assert found[0].text == f"phase 1: one class only, all {(phases == 1).sum()} pairs are positive"


def test_a_whole_side_can_be_inverted(make: Make) -> None:
    made = make()
    found = one(similarity.phases(made.side("test", scores=-made.scores)))
    assert (found.severity, found.where) == ("error", "test")


def test_a_phase_too_small_to_judge_is_said_to_be(make: Make) -> None:
    made = make(problems=15)
    assert one(similarity.phases(made.side())).severity == "unchecked"


def test_labels_made_by_a_threshold_on_the_encoder_are_an_error(make: Make) -> None:
    made = make()
    found = one(similarity.similarity_rule(made.side(labels=(made.scores > 0.5).astype(float))))
    assert found.severity == "error"
    assert found.figures["similarity_auc"] == 1.0


def test_labels_made_by_bands_are_an_error_though_their_auc_is_not_one(make: Make) -> None:
    """Positive between 0.3 and 0.5: the score alone ranks them badly, its bands give them all."""
    made = make(problems=400)
    labels = ((made.scores > 0.3) & (made.scores < 0.5)).astype(float)
    assert metrics.roc_auc(made.scores, labels == 1) < 0.6
    found = one(similarity.similarity_rule(made.side(labels=labels)))
    assert found.severity == "error"


def test_banded_phases_are_labels_by_similarity(make: Make) -> None:
    made = make(problems=1000)
    found = one(similarity.similarity_rule(made.side(**in_phases(made, BANDED))))
    assert found.severity in ("warning", "error")


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_ground_truth_are_clean(make: Make, seed: int) -> None:
    made = make(seed)
    found = one(similarity.similarity_rule(made.side()))
    assert found.severity == "clean"
    assert found.figures["similarity_auc"] == pytest.approx(metrics.roc_auc(made.scores, made.pairs.labels == 1))


@pytest.mark.parametrize(("noise", "severity"), [(0.01, "error"), (0.3, "clean")])
def test_graded_labels_are_held_against_the_order_of_the_scores(make: Make, noise: float, severity: str) -> None:
    made = make()
    labels = (made.scores + np.random.default_rng(0).normal(0, noise, 300)).clip(0, 1)
    found = one(similarity.similarity_rule(made.side(labels=labels)))
    assert found.severity == severity
    assert found.figures["similarity_spearman"] == pytest.approx(metrics.spearman(made.scores, labels))


@pytest.mark.parametrize(("name", "severity"), [("train", "note"), ("test", "warning")])
def test_scores_that_stop_dead_are_seen(make: Make, name: Any, severity: str) -> None:
    """The positives of phase 2 begin at 0.40 and its negatives end at 0.45, where both are dense."""
    made = make(problems=600)
    random = np.random.default_rng(5)
    drawn = random.normal(0.45, 0.15, 200_000)
    above, below = drawn[drawn >= 0.40], drawn[drawn <= 0.45]
    scores = np.where(made.pairs.labels == 1, above[:1200], below[:1200])
    found = one(similarity.edges(made.side(name, scores=scores)))
    assert found.severity == severity
    assert "no positives below 0.40" in found.text
    assert "no negatives above 0.4" in found.text
    assert found.figures["score_edges"] == 2


@pytest.mark.parametrize("size", [250, 1000, 5000])
def test_a_thinning_tail_is_no_edge(size: int) -> None:
    """Of 200 normal, and as many skewed, samples none is taken for a cut one; of cut ones nearly all are."""
    random = np.random.default_rng(0)
    tails = [np.sort(random.normal(size=size)) for _ in range(200)]
    tails += [np.sort(random.beta(5, 2, size=size)) for _ in range(200)]
    assert sum(similarity.edge_density(scores) > similarity.CUT for scores in tails) <= 2
    cut = [np.sort(np.abs(random.normal(size=size))) for _ in range(200)]
    assert sum(similarity.edge_density(scores) > similarity.CUT for scores in cut) >= 195


def test_graded_labels_without_a_threshold_say_what_is_not_checked(make: Make) -> None:
    made = make()
    graded = made.side(labels=np.linspace(0, 1, 300))
    for findings in (similarity.easier_train(graded, graded), similarity.phases(graded), similarity.edges(graded)):
        assert one(findings).severity == "unchecked"
        assert "data.positive_from" in one(findings).text
