"""Each text is tokenized once a tokenizer, and as the library does it."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
import pytest

from promax import encoder as encoders
from promax.config import ModelConfig
from promax.packed import tokens

TEXTS = ["VPN drops every few minutes", "Cannot log on", "VPN drops every few minutes", "Printer prints blank pages"]


@pytest.fixture
def minilm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An encoder with a tokenizer of its own, and `asked`, how often each text went through it."""
    encoder = copy.deepcopy(encoders.load(ModelConfig(), "cpu", 0))
    encoder.asked = Counter()
    preprocess = encoder.preprocess

    def counted(texts: list[str], **how: Any) -> Any:
        encoder.asked.update(texts)
        return preprocess(texts, **how)

    monkeypatch.setattr(encoder, "preprocess", counted)
    return encoder


def test_a_text_is_tokenized_once(minilm: Any) -> None:
    first = tokens.tokenize(minilm, TEXTS)
    again = tokens.tokenize(minilm, [*reversed(TEXTS), "one more"])
    assert minilm.asked == dict.fromkeys([*TEXTS, "one more"], 1)
    for one, other in zip(first, again[:4][::-1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_ids_are_the_librarys(minilm: Any) -> None:
    for text, ids in zip(TEXTS, tokens.tokenize(minilm, TEXTS), strict=True):
        assert ids.tolist() == minilm.tokenizer(text)["input_ids"]


def test_another_length_is_another_cut(minilm: Any) -> None:
    whole = tokens.tokenize(minilm, TEXTS)
    minilm.max_seq_length = 4
    assert [len(ids) for ids in tokens.tokenize(minilm, TEXTS)] == [4, 4, 4, 4]
    minilm.max_seq_length = 256
    assert [len(ids) for ids in tokens.tokenize(minilm, TEXTS)] == [len(ids) for ids in whole]


def test_what_is_kept_has_a_bound(minilm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST", 3)
    expected = [ids.tolist() for ids in tokens.tokenize(minilm, TEXTS)]
    tokens.tokenize(minilm, ["a fourth"])
    assert len(tokens._KEPT[minilm.tokenizer]) == 1
    many = [*TEXTS, "b", "c"]
    assert [ids.tolist() for ids in tokens.tokenize(minilm, many)][:4] == expected
