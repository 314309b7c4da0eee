"""The losses: which labels each can learn from, and the library's object for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from promax.config import ConfigError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

# Losses that read a label as a class: anything else would weigh a pair (contrastive) or drop it (online_contrastive).
BINARY = frozenset({"contrastive", "online_contrastive"})


def check_labels(loss: str, labels: NDArray[np.float64], phases: NDArray[np.int64] | None, curriculum: str) -> None:
    """Refuse labels that `loss` would ignore, or that carry no signal for it.

    mnrl reads no label: it takes every pair for a positive one and would pull labelled negatives
    together, so all labels must be 1. contrastive and online_contrastive need the labels 0 and 1,
    and both of them. cosine, cosent and angle need at least two distinct labels: with one, cosent
    and angle are constant, and cosine is best served by an encoder that gives every pair that same
    similarity. With curriculum=phased each phase is trained alone, so each must hold that by itself.

    Args:
        loss: `optim.loss`.
        labels: (n,), in [0, 1].
        phases: (n,), or None.
        curriculum: `optim.curriculum`.

    Raises:
        ConfigError: says the rule and how many pairs break it, and in which phase.

    >>> check_labels("cosent", np.array([1.0, 1.0, 1.0]), None, "none")
    Traceback (most recent call last):
    promax.config.kinds.ConfigError: optim.loss=cosent: all 3 training pairs have label 1, which carries no signal
    needs at least two distinct labels
    """
    if curriculum != "phased" or phases is None:
        _check(loss, labels, "training pairs")
        return
    for phase in np.unique(phases).tolist():
        _check(loss, labels[phases == phase], f"training pairs of phase {phase}")


def _check(loss: str, labels: NDArray[np.float64], these: str) -> None:
    n = len(labels)
    if loss == "mnrl":
        negative = int((labels != 1.0).sum())
        if negative:
            raise ConfigError(
                f"optim.loss=mnrl: takes every pair for a positive one, "
                f"but {negative} of {n} {these} have a label below 1\n"
                "keep only pairs of label 1, or use loss=cosent or loss=cosine"
            )
        if n < 2:
            raise ConfigError(f"optim.loss=mnrl: {n} {these}; needs at least 2, as each is the other's negative")
        return
    graded = int((~np.isin(labels, (0.0, 1.0))).sum())
    if loss in BINARY and graded:
        raise ConfigError(
            f"optim.loss={loss}: {graded} of {n} {these} have a label other than 0 and 1\n"
            "cut the labels with data.binary=true and data.positive_from, or use loss=cosent or loss=cosine"
        )
    values = np.unique(labels)
    if len(values) < 2:
        seen = f"all {n} {these} have label {values[0]:g}" if n else f"no {these}"
        needs = "the labels 0 and 1" if loss in BINARY else "at least two distinct labels"
        raise ConfigError(f"optim.loss={loss}: {seen}, which carries no signal\nneeds {needs}")


def build(loss: str, encoder: SentenceTransformer) -> nn.Module:
    """The library's loss object for `optim.loss`, with the library's own margins and scales.

    Each has `compute_loss_from_embeddings([u, v], labels)` with u and v (b, d): the loss of b pairs,
    a scalar. cosine: mean (cos - label)^2. cosent and angle: log(1 + sum of exp(20 (s_j - s_i)) over
    the pairs with label_i > label_j), s being the cosine or the angle's similarity. contrastive:
    mean of d^2 / 2 for label 1, max(0, 0.5 - d)^2 / 2 for 0, with d = 1 - cos; online_contrastive:
    the sum of the same, not halved, over the hard pairs of the batch. mnrl: mean cross-entropy of
    finding v_i among all v by 20 cos(u_i, v).
    """
    from sentence_transformers.sentence_transformer import losses as library

    classes = {
        "cosine": library.CosineSimilarityLoss,
        "cosent": library.CoSENTLoss,
        "angle": library.AnglELoss,
        "contrastive": library.ContrastiveLoss,
        "online_contrastive": library.OnlineContrastiveLoss,
        "mnrl": library.MultipleNegativesRankingLoss,
    }
    built: nn.Module = classes[loss](encoder)
    return built
