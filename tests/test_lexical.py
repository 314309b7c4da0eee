"""TF-IDF cosines: by hand from the stated formula, and as scikit-learn has them."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from promax.lexical import tfidf_similarity

REPOSITORY = Path(__file__).resolve().parent.parent


def test_by_hand() -> None:
    # Three documents; vpn and slow are in two of them, down and mail in one.
    rare, common = math.log(4 / 2) + 1, math.log(4 / 3) + 1
    mixed, both = math.hypot(rare, common), math.hypot(common, common)
    found = tfidf_similarity(["vpn down", "vpn slow", "vpn down"], ["vpn slow", "mail slow", "mail slow"])
    assert found == pytest.approx([common**2 / (mixed * both), common**2 / (both * mixed), 0.0], abs=1e-12)


def test_as_scikit_learn() -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(f"word{n}" for n in random.zipf(1.5, 12) % 50) for _ in range(60)]
    expected = np.diag(cosine_similarity(*np.split(TfidfVectorizer().fit_transform(texts).toarray(), 2)))
    assert len(set(texts)) == 60
    assert tfidf_similarity(texts[:30], texts[30:]) == pytest.approx(expected, abs=1e-12)


def test_a_text_is_one_document_however_many_pairs_it_is_in() -> None:
    once = tfidf_similarity(["vpn down"], ["vpn slow"])
    assert tfidf_similarity(["vpn down"] * 9, ["vpn slow"] * 9) == pytest.approx(np.repeat(once, 9), abs=0)


def test_case_and_order_are_nothing_and_a_text_is_like_itself() -> None:
    assert tfidf_similarity(["VPN down", "mail"], ["down, vpn!", "mail"]) == pytest.approx([1.0, 1.0], abs=1e-15)
    random = np.random.default_rng(1)
    long = [" ".join(f"word{n}" for n in random.integers(500, size=80)) for _ in range(50)]
    assert tfidf_similarity(long, long).max() <= 1.0


@pytest.mark.parametrize("texts", [["", "..."], ["", "vpn down"]], ids=["no word anywhere", "one empty text"])
def test_a_text_without_words_is_like_nothing(texts: list[str]) -> None:
    assert tfidf_similarity([texts[0], texts[0]], [texts[1], texts[0]]).tolist() == [0.0, 0.0]


def test_no_pairs_have_no_similarities() -> None:
    assert tfidf_similarity([], []).shape == (0,)


def test_columns_of_different_lengths() -> None:
    with pytest.raises(ValueError, match=r"^text1 has 1 texts, text2 has 2: must agree$"):
        tfidf_similarity(["vpn"], ["vpn", "mail"])


def test_the_import_is_light() -> None:
    code = "import sys, promax.lexical; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "False"
