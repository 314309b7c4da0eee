"""Made-up pair sets with nothing wrong, into which each test plants what its check must find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from promax.audit.side import Ruler, Side, make_side
from promax.data.pairs import Pairs, text_id


@dataclass(frozen=True)
class Made:
    """Pairs, the similarities that an encoder and TF-IDF would give them, and how a side is made of them."""

    pairs: Pairs
    scores: NDArray[np.float64]
    lexical: NDArray[np.float64]

    def side(
        self, name: Literal["train", "test"] = "train", positive_from: float | None = None, **columns: Any
    ) -> Side:
        """The side, with `columns` of the pairs, `scores` or `lexical` put in place of its own."""
        scores, lexical = columns.pop("scores", self.scores), columns.pop("lexical", self.lexical)
        tokens = columns.pop("tokens", lambda texts: np.full(len(texts), 20))
        ruler = Ruler(lambda *_: np.asarray(scores), lambda *_: np.asarray(lexical), tokens, longest=128)
        return make_side(name, replace(self.pairs, **columns), positive_from, ruler, seed=0)


def _make(seed: int = 0, problems: int = 150) -> Made:
    """Two tickets a problem, one positive and one negative pair a problem: every text is once in each class.

    Texts are words drawn at random, classes overlap as they do for a real encoder, rows are in random order.
    """
    random = np.random.default_rng(seed)
    words = np.array([f"w{number}" for number in range(400)])
    texts = [" ".join(random.choice(words, 8)) + f" s{seed}" for _ in range(2 * problems)]
    first, second = texts[:problems], texts[problems:]
    # The positives' partners, moved on by one problem.
    text1, text2 = first * 2, second + second[1:] + second[:1]
    labels = np.repeat([1.0, 0.0], problems)
    order = random.permutation(2 * problems)
    pairs = Pairs(text1, text2, labels, [text_id(text) for text in text1], [text_id(text) for text in text2])
    scores = random.normal(0.4 + 0.2 * labels, 0.15).clip(-0.2, 1)
    lexical = random.normal(0.2 + 0.1 * labels, 0.12).clip(0, 1)
    return Made(pairs.take(order), scores[order], lexical[order])


@pytest.fixture
def make() -> Callable[..., Made]:
    """(seed=0, problems=150) -> a made-up pair set with nothing wrong."""
    return _make
