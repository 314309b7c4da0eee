"""Labels that a loss would ignore or learn nothing from are refused; the loss objects are the library's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import pairwise_angle_sim
from torch import Tensor

from promax.config import ConfigError
from promax.train.losses import build, check_labels

BOTH = np.array([1.0, 0.0, 1.0, 0.0])
GRADED = np.array([1.0, 0.0, 0.5, 0.25])
POSITIVES = np.ones(4)
NEGATIVES = np.zeros(4)
HALVES = np.full(4, 0.5)
LOSSES = ["cosine", "cosent", "angle", "contrastive", "online_contrastive", "mnrl"]


@pytest.mark.parametrize(
    ("labels", "accepted"),
    [
        (BOTH, {"cosine", "cosent", "angle", "contrastive", "online_contrastive"}),
        (GRADED, {"cosine", "cosent", "angle"}),
        (POSITIVES, {"mnrl"}),
        (NEGATIVES, set()),
        (HALVES, set()),
        (np.ones(1), set()),
        (np.empty(0), set()),
    ],
)
def test_which_losses_take_which_labels(labels: NDArray[np.float64], accepted: set[str]) -> None:
    def takes(loss: str) -> bool:
        try:
            check_labels(loss, labels, None, "none")
        except ConfigError:
            return False
        return True

    assert {loss for loss in LOSSES if takes(loss)} == accepted


@pytest.mark.parametrize(
    ("loss", "labels", "text"),
    [
        (
            "mnrl",
            GRADED,
            "optim.loss=mnrl: takes every pair for a positive one, but 3 of 4 training pairs have a label below 1\n"
            "keep only pairs of label 1, or use loss=cosent or loss=cosine",
        ),
        ("mnrl", np.ones(1), "optim.loss=mnrl: 1 training pairs; needs at least 2, as each is the other's negative"),
        (
            "online_contrastive",
            GRADED,
            "optim.loss=online_contrastive: 2 of 4 training pairs have a label other than 0 and 1\n"
            "cut the labels with data.binary=true and data.positive_from, or use loss=cosent or loss=cosine",
        ),
        (
            "contrastive",
            NEGATIVES,
            "optim.loss=contrastive: all 4 training pairs have label 0, which carries no signal\n"
            "needs the labels 0 and 1",
        ),
        (
            "cosent",
            HALVES,
            "optim.loss=cosent: all 4 training pairs have label 0.5, which carries no signal\n"
            "needs at least two distinct labels",
        ),
    ],
)
def test_refusals_to_the_letter(loss: str, labels: NDArray[np.float64], text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_labels(loss, labels, None, "none")
    assert str(refused.value) == text


def test_a_phase_of_positives_only_is_refused_when_phases_are_trained_apart() -> None:
    """FACTS 13: such a phase trained at loss 0.0 and nobody noticed."""
    labels = np.concatenate([BOTH, POSITIVES])
    phases = np.repeat(np.array([1, 2]), 4)
    for curriculum in ("none", "mixed"):
        check_labels("cosine", labels, phases, curriculum)
    with pytest.raises(ConfigError) as refused:
        check_labels("cosine", labels, phases, "phased")
    assert str(refused.value) == (
        "optim.loss=cosine: all 4 training pairs of phase 2 have label 1, which carries no signal\n"
        "needs at least two distinct labels"
    )


U = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
V = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [-0.8, 0.6]])
COSINES = np.array([1.0, 0.8, 0.8, 0.0])


def by_hand(loss: str, labels: NDArray[np.float64]) -> float:
    """The formula in `build`'s docstring, in numpy, from the cosines above."""
    distance = 1 - COSINES
    if loss == "cosine":
        return float(np.mean((COSINES - labels) ** 2))
    if loss == "cosent":
        above = [(i, j) for i in range(4) for j in range(4) if labels[i] > labels[j]]
        return float(np.log1p(sum(np.exp(20 * (COSINES[j] - COSINES[i])) for i, j in above)))
    if loss == "contrastive":
        pull, push = distance**2 / 2, np.maximum(0, 0.5 - distance) ** 2 / 2
        return float(np.mean(np.where(labels == 1, pull, push)))
    if loss == "online_contrastive":
        # Positives further apart than the nearest negative, negatives nearer than the furthest positive.
        far, near = distance[labels == 1], distance[labels == 0]
        hard_far, hard_near = far[far > near.min()], near[near < far.max()]
        return float((hard_far**2).sum() + (np.maximum(0, 0.5 - hard_near) ** 2).sum())
    similar = 20 * U.numpy() @ V.numpy().T
    return float(np.mean(np.log(np.exp(similar).sum(axis=1)) - np.diag(similar)))


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "angle"])
def test_the_losses_are_the_ones_documented(loss: str) -> None:
    labels = POSITIVES if loss == "mnrl" else np.array([1.0, 0.0, 1.0, 1.0])
    built = build(loss, SentenceTransformer(modules=[torch.nn.Identity()], device="cpu"))
    computed: Tensor = built.compute_loss_from_embeddings([U, V], torch.tensor(labels))  # type: ignore[operator]
    assert float(computed) == pytest.approx(by_hand(loss, labels), rel=1e-5)


def test_angle_is_cosent_with_another_similarity() -> None:
    """Oracle: cosent's formula over the library's own angle similarity."""
    labels = torch.tensor([0.0, 1.0, 1.0, 1.0])
    built = build("angle", SentenceTransformer(modules=[torch.nn.Identity()], device="cpu"))
    computed: Tensor = built.compute_loss_from_embeddings([U, V], labels)  # type: ignore[operator]
    angle = pairwise_angle_sim(U, V).numpy()
    expected = np.log1p(sum(np.exp(20 * (angle[0] - angle[i])) for i in (1, 2, 3)))
    assert float(computed) == pytest.approx(float(expected), rel=1e-5)
