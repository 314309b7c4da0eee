"""Tickets that train and test share, by text and by id, and tickets that are nearly the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from promax.audit.finding import Finding, Severity
from promax.audit.side import CONFIDENCE, Side
from promax.data.pairs import text_key

# Cosine of character 4-grams' TF-IDF from which two texts are one but for a word or a number.
NEAR = 0.9
# Share of the test tickets, lower end of its 99 % interval.
NEAR_ERROR, NEAR_WARNING = 0.10, 0.01
# Test tickets that are looked up in train, and train tickets in which: both are drawn where there are more.
LOOKED_UP, LOOKED_IN = 2000, 50_000
BLOCK = 200

APART = "cut by groups of tickets: leave train, dev or test out and promax cuts them; or data.on_leak=drop"


def shared_tickets(train: Side, test: Side) -> list[Finding]:
    """Tickets on both sides: by text (white space and case aside), and by id."""
    check = "tickets on both sides"
    keys = [[text_key(text) for text in side.pairs.text1 + side.pairs.text2] for side in (train, test)]
    shared = set(keys[0]) & set(keys[1])
    held = np.array([key in shared for key in keys[1]]).reshape(2, -1).any(axis=0)
    ids = [_texts_by_id(side) for side in (train, test)]
    same_id = {each for each in ids[0].keys() & ids[1].keys() if ids[0][each].isdisjoint(ids[1][each])}
    figures = {"shared_tickets": float(len(shared)), "shared_ids": float(len(same_id))}
    found = []
    if shared:
        text = f"{len(shared)} of {len(set(keys[1]))} test tickets are in train too"
        text += f", in {held.sum()} of {len(test.pairs)} test pairs"
        found.append(Finding(check, "both", "error", text, APART, figures))
    if same_id:
        text = f"{len(same_id)} ticket ids are in train and test with different texts"
        advice = "if the ids are row numbers, leave them out; if they are tickets, the test has been seen: cut anew"
        found.append(Finding(check, "both", "warning", text, advice, figures))
    if not found:
        text = f"none of {len(set(keys[1]))} test tickets is in train, by text or by id"
        found.append(Finding(check, "both", "clean", text, figures=figures))
    return found


def _texts_by_id(side: Side) -> dict[str, set[str]]:
    """Id -> keys of its texts; an id that was made of a text is shared only together with it."""
    given: dict[str, set[str]] = {}
    pairs = side.pairs
    for own, text in zip(pairs.id1 + pairs.id2, pairs.text1 + pairs.text2, strict=True):
        given.setdefault(own, set()).add(text_key(text))
    return given


def near_duplicates(train: Side, test: Side) -> list[Finding]:
    """Test tickets with a ticket in train that is nearly, but not quite, the same text."""
    from scipy.stats import binomtest

    seen = _drawn(train, LOOKED_IN)
    asked = _drawn(test, LOOKED_UP)
    asked = [key for key in asked if key not in set(seen)]
    check = "near duplicates across"
    if not asked:
        return [Finding(check, "both", "unchecked", "every test ticket is in train itself")]
    near = int((nearest(asked, seen) >= NEAR).sum())
    interval = binomtest(near, len(asked)).proportion_ci(CONFIDENCE)
    whole = len(seen) < LOOKED_IN and len(asked) < LOOKED_UP
    of = f"{len(asked)} test tickets{'' if whole else ' drawn'}"
    text = f"{near} of {of} have a near copy in train (cosine of character 4-grams of {NEAR:g} or more)"
    figures = {"near_duplicate_share": near / len(asked)}
    if not near:
        return [Finding(check, "both", "clean", text, figures=figures)]
    severity: Severity = "note"
    if interval.low > NEAR_WARNING:
        severity = "error" if interval.low > NEAR_ERROR else "warning"
    text += f", {near / len(asked):.1%}; {NEAR_WARNING:.0%} passes"
    advice = "put tickets of one template on one side, as by the problem or the form they come from"
    return [Finding(check, "both", severity, text, advice, figures)]


def _drawn(side: Side, most: int) -> list[str]:
    keys = list(dict.fromkeys(text_key(text) for text in side.pairs.text1 + side.pairs.text2))
    if len(keys) <= most:
        return keys
    rows = np.random.default_rng(side.seed).choice(len(keys), most, replace=False)
    return [keys[row] for row in np.sort(rows)]


def nearest(asked: list[str], among: list[str]) -> NDArray[np.float64]:
    """The similarity (n,) of each text of `asked` to the most similar one of `among`.

    The cosine of TF-IDF vectors of character 4-grams, fitted on `among`, through sparse products of a block at a
    time: memory grows with the number of texts, not with that of the comparisons. Texts without a 4-gram give 0.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4), dtype=np.float32)
    try:
        known = vectorizer.fit_transform(among).T.tocsr()
    except ValueError:  # no text of `among` has a 4-gram
        return np.zeros(len(asked))
    vectors = vectorizer.transform(asked)
    blocks = [vectors[start : start + BLOCK] @ known for start in range(0, len(asked), BLOCK)]
    return np.concatenate([np.asarray(block.max(axis=1).todense(), dtype=np.float64).ravel() for block in blocks])
