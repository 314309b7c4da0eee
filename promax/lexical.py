"""How alike two texts are by their words alone: the control that an encoder must be more than."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def tfidf_similarity(text1: Sequence[str], text2: Sequence[str]) -> NDArray[np.float64]:
    """The cosine of the TF-IDF vectors of `text1[i]` and `text2[i]`, (n,), in 0..1.

    scikit-learn's `TfidfVectorizer` as it comes: lower-cased runs of two or more word characters (letters, digits,
    underscore, of any script), raw counts times idf(t) = ln((1 + N) / (1 + df(t))) + 1, vectors of length 1. It is
    fitted on the texts given, each different text being one of the N documents, however many pairs it is in. So a
    similarity belongs to its set of pairs: the same pair among other texts has another.

    A text without a word is like nothing, itself included: 0. Order, stop words and stems play no part.

    >>> tfidf_similarity(["printer jams", "vpn down"], ["Printer jams!", "mail is slow"]).round(6).tolist()
    [1.0, 0.0]

    Raises:
        ValueError: the columns differ in length.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(text1) != len(text2):
        raise ValueError(f"text1 has {len(text1)} texts, text2 has {len(text2)}: must agree")
    texts = list(dict.fromkeys([*text1, *text2]))
    vectorizer = TfidfVectorizer()
    tokens = vectorizer.build_analyzer()
    if not any(tokens(text) for text in texts):
        return np.zeros(len(text1))  # a vectorizer refuses to be fitted on nothing
    vectors = vectorizer.fit_transform(texts)
    row = {text: number for number, text in enumerate(texts)}
    first, second = vectors[[row[text] for text in text1]], vectors[[row[text] for text in text2]]
    # Rounding takes the cosine of a text with itself past 1 by a bit.
    return np.asarray(first.multiply(second).sum(axis=1), dtype=np.float64).ravel().clip(max=1.0)
