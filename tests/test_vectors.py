"""The cache of embeddings: nothing is encoded twice, nothing half-written is read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from promax import vectors
from promax.config import ConfigError, LoraConfig, ModelConfig
from promax.vectors import cached_vectors, untuned_vectors


class Encoder:
    """Counts what it is given; a text's vector is its length and its first letter's number."""

    def __init__(self, fail_at: int | None = None, wait: float = 0.0) -> None:
        self.calls: list[list[str]] = []
        self._fail_at, self._wait = fail_at, wait

    def __call__(self, texts: list[str]) -> np.ndarray:
        if len(self.calls) == self._fail_at:
            raise KeyboardInterrupt
        self.calls.append(texts)
        time.sleep(self._wait)
        return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float32)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "SHARD", 4)


TEXTS = [f"{letter}{'x' * at}" for at, letter in enumerate("abcdefghij")]
EXPECTED = np.array([[1 + at, ord(letter)] for at, letter in enumerate("abcdefghij")], dtype=np.float32)


@pytest.fixture
def cached(tmp_path: Path) -> Callable[..., np.ndarray]:
    return lambda texts, embed, key="k": cached_vectors(texts, embed, key, tmp_path / "cache", progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock"
    }


def test_each_text_is_encoded_once_in_shards(cached, tmp_path: Path) -> None:
    encoder = Encoder()
    rows = [3, 0, 3, *range(10)]
    found = cached([TEXTS[row] for row in rows], encoder)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, EXPECTED[rows])
    assert [len(call) for call in encoder.calls] == [4, 4, 2]
    assert len(list((tmp_path / "cache" / "k").glob("*.npy"))) == 3


def test_a_second_call_encodes_nothing_in_any_order(cached) -> None:
    cached(TEXTS, Encoder())
    again = Encoder()
    np.testing.assert_array_equal(cached(TEXTS[::-1], again), EXPECTED[::-1])
    assert again.calls == []


def test_a_grown_export_encodes_what_is_new(cached) -> None:
    cached(TEXTS[2:8], Encoder())
    grown = Encoder()
    np.testing.assert_array_equal(cached(TEXTS, grown), EXPECTED)
    assert grown.calls == [[TEXTS[0], TEXTS[1], TEXTS[8], TEXTS[9]]]


def test_another_encoder_has_vectors_of_its_own(cached) -> None:
    cached(TEXTS, Encoder(), "one")
    other = Encoder()
    cached(TEXTS, other, "two")
    assert sum(map(len, other.calls)) == 10


def test_what_was_interrupted_goes_on_and_ends_with_the_same_bytes(cached, tmp_path: Path) -> None:
    whole = cached_vectors(TEXTS, Encoder(), "k", tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        cached(TEXTS, Encoder(fail_at=2))
    rest = Encoder()
    np.testing.assert_array_equal(cached(TEXTS, rest), whole)
    assert rest.calls == [TEXTS[8:]]
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def test_a_shard_is_there_whole_or_not_at_all(cached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file, array, **options) -> None:
        file.write(b"half")
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(OSError, match="no space"):
            cached(TEXTS, Encoder())
    assert contents(tmp_path / "cache") == {}
    np.testing.assert_array_equal(cached(TEXTS, Encoder()), EXPECTED)


def test_what_a_killed_process_left_is_cleared(cached, tmp_path: Path) -> None:
    left = tmp_path / "cache" / "k" / "abc.partial"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a shard")
    np.testing.assert_array_equal(cached(TEXTS, Encoder()), EXPECTED)
    assert not left.exists()


def test_a_damaged_shard_is_named(cached, tmp_path: Path) -> None:
    cached(TEXTS, Encoder())
    shard = min((tmp_path / "cache" / "k").glob("*.npy"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ConfigError) as refusal:
        cached(TEXTS, Encoder())
    assert str(refusal.value) == f"{shard}: damaged, so its vectors can't be read; delete it"


def test_two_at_once_encode_each_text_once(cached, capsys: pytest.CaptureFixture[str]) -> None:
    encoders = [Encoder(wait=0.2), Encoder(wait=0.2)]
    found: list[np.ndarray] = []
    workers = [threading.Thread(target=lambda each=each: found.append(cached(TEXTS, each))) for each in encoders]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(len(call) for encoder in encoders for call in encoder.calls) == 10
    for each in found:
        np.testing.assert_array_equal(each, EXPECTED)
    assert capsys.readouterr().err == "another process is encoding texts with this encoder; waiting for it\n"


def test_what_is_there_is_read_while_another_process_encodes(cached, tmp_path: Path) -> None:
    cached(TEXTS, Encoder())
    with FileLock(tmp_path / "cache" / "k" / "lock"):
        np.testing.assert_array_equal(cached(TEXTS[3:], Encoder()), EXPECTED[3:])


def test_the_encoder_is_the_untuned_one_and_opened_only_for_what_is_missing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is the encoder itself. An adapter that is asked for plays no part: the base is what is frozen."""
    from promax import encoder

    texts = ["VPN drops every few minutes", "The printer prints blank pages", "disk full on the mail server"]
    expected = encoder.embed(encoder.load(ModelConfig(), "cpu", 0), texts, 8)
    found = untuned_vectors(texts, ModelConfig(), device="cpu", batch_size=8, progress=False)
    np.testing.assert_allclose(found, expected, atol=1e-6)

    opened: list[ModelConfig] = []

    def load(model: ModelConfig, *_: object, **__: object) -> None:
        opened.append(model)
        pytest.fail("opened again")

    monkeypatch.setattr(encoder, "load", load)
    adapted = ModelConfig(lora=LoraConfig(), dropout=0.3)
    np.testing.assert_array_equal(untuned_vectors(texts, adapted, device="cpu", batch_size=8, progress=False), found)
    # Another length is another encoder.
    with pytest.raises(pytest.fail.Exception, match="opened again"):
        untuned_vectors(texts, replace(adapted, max_seq_length=16), device="cpu", batch_size=8, progress=False)
    assert opened == [ModelConfig(max_seq_length=16)]
    assert [path.parent.parent for path in project.glob("mlruns/embeddings/*/*.npy")] == [
        project / "mlruns" / "embeddings"
    ]
