"""Dev, test and the adversarial pairs: what a model is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from promax.config import ConfigError
from promax.data.curriculum.mined import Mined, evenly, joined, measured
from promax.data.curriculum.mining import SAME_CATEGORY
from promax.data.exports import Tickets

Lexical = Callable[[Sequence[str], Sequence[str]], NDArray[np.float64]]

# Same-category pairs to choose hard negatives from: many more than are wanted, so that close matches are found.
CANDIDATES = 50_000
# No ticket is in more hard negatives than this, or a few that resemble everything would be most of them.
MATCHES = 4


def mixture(candidates: Mined, most: int, name: str, rng: np.random.Generator) -> Mined:
    """As many positive as negative pairs, `most` in all, without a look at the similarity.

    Positive ones are drawn evenly, negative ones from every origin in parts as equal as can be. So dev
    and test are drawn alike, and neither by the bounds of train's phases.

    Raises:
        ConfigError: there is no pair of one class.
    """
    positive, negative = (np.flatnonzero(candidates.positive == of) for of in (True, False))
    count = min(len(positive), len(negative), most // 2)
    if count == 0:
        raise ConfigError(
            f"splits.{name}: {len(positive)} positive and {len(negative)} negative pairs for {name}; it needs both"
            " classes\nGive an export with more linked tickets, or a larger share; nothing was written"
        )
    return joined(
        [
            candidates.take(rng.choice(positive, count, replace=False)),
            candidates.take(negative[evenly(candidates.origin[negative], count, rng)]),
        ]
    )


def hard_pairs(
    positive: Mined,
    tickets: Tickets,
    group: NDArray[np.int64],
    vectors: NDArray[np.float32],
    lexical: Lexical,
    most: int,
    rng: np.random.Generator,
) -> Mined:
    """Hard positives and as many hard negatives, `most` in all: categories and shared words mislead.

    Hard positives cross categories, hard negatives are of one category. Each positive is matched with a
    negative that shares as many words or just more, by the cosine of TF-IDF vectors without context: so the
    positives are those of low overlap, the negatives those of high overlap, words tell nothing, and there is
    no gap between the two by which they would tell the label the other way round. The un-tuned
    encoder has no part in the choice. Negatives come from the tickets of the positive candidates.
    """
    category = np.array(tickets.category)
    first, second = category[positive.rows].T
    across = np.flatnonzero((first != second) & (first != "") & (second != ""))
    across = rng.permutation(across)
    within = _within_categories(np.unique(positive.rows), category, group, rng)
    rows = np.concatenate([positive.rows[across], within])
    overlap = lexical(*([tickets.core[row] for row in column] for column in rows.T))
    low, high = overlap[: len(across)], overlap[len(across) :]
    pairs = rng.permutation(_matched(low, high, within))[: most // 2]
    negative = within[pairs[:, 1]]
    return joined(
        [
            positive.take(across[pairs[:, 0]]),
            measured(negative, False, np.full(len(negative), SAME_CATEGORY, dtype="<U13"), vectors),
        ]
    )


def _within_categories(
    pool: NDArray[np.int64], category: NDArray[np.str_], group: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Up to `CANDIDATES` pairs of one category and different problems, in random order."""
    pool = rng.permutation(pool[category[pool] != ""])
    pool = pool[np.argsort(category[pool], kind="stable")]
    found, count = [np.empty((0, 2), dtype=np.int64)], 0
    # Each ticket with the one 1, 2, 3, ... places after it.
    for step in range(1, len(pool)):
        pairs = np.stack([pool[:-step], pool[step:]], axis=1)
        pairs = pairs[category[pairs[:, 0]] == category[pairs[:, 1]]]
        if not len(pairs) or count >= CANDIDATES:
            break
        found.append(pairs[group[pairs[:, 0]] != group[pairs[:, 1]]])
        count += len(found[-1])
    return rng.permutation(np.concatenate(found))[:CANDIDATES]


def _matched(low: NDArray[np.float64], high: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """(k, 2): where values of `low` and of `high` stand, the second of each two the next that isn't below the first.

    Each value is matched once, from the lowest up, so that no other choice matches more. A ticket of `pairs`, to
    which `high` belongs, is in `MATCHES` of them at most.
    """
    uses: dict[int, int] = {}
    free = iter(np.argsort(high, kind="stable").tolist())
    found = []
    for at in np.argsort(low, kind="stable").tolist():
        for other in free:
            a, b = pairs[other].tolist()
            if high[other] >= low[at] and max(uses.get(a, 0), uses.get(b, 0)) < MATCHES:
                uses[a], uses[b] = uses.get(a, 0) + 1, uses.get(b, 0) + 1
                found.append((at, other))
                break
    return np.array(found, dtype=np.int64).reshape(-1, 2)
