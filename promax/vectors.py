"""Embeddings on disk, so that no text is encoded twice by the same encoder.

Encoding is what a build waits for. Its results are kept in shards, files of up to 2,048 texts each, written
whole or not at all: what is killed goes on behind its last shard. A text is found by its own hash
and not by its place, so a grown export, another build and an audit of the pairs find what they share.

Vectors are float32, the encoder's own numbers: half of the space would move similarities by 1e-4, and pairs
across the bounds of their phases. 100,000 texts of 384 components take 155 MB.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

from promax import portable, weights
from promax.config import ConfigError, ModelConfig, project_root

SHARD = 2048
"""Texts in a shard: some seconds to a minute of encoding, which is what a kill can cost."""

DIGEST = 16
"""Bytes of a text's hash: with 2**64 texts, a collision is as likely as not."""

Embed = Callable[[list[str]], NDArray[np.float32]]


def untuned(model: ModelConfig, *, device: str, batch_size: int) -> Embed:
    """The encoder as it is before any training; it, and torch, are loaded when it is first asked for a vector.

    Raises, when asked:
        ConfigError: the encoder can't be had (see `promax.weights.locate`), or there is no such device.
    """
    opened: list[Embed] = []

    def embed(texts: list[str]) -> NDArray[np.float32]:
        from promax import encoder

        if not opened:
            loaded = encoder.load(_base(model), encoder.resolve_device(device), seed=0)
            opened.append(partial(encoder.embed, loaded, batch_size=batch_size))
        return opened[0](texts)

    return embed


def untuned_vectors(
    texts: Sequence[str],
    model: ModelConfig,
    *,
    device: str,
    batch_size: int,
    progress: bool = True,
    embed: Embed | None = None,
) -> NDArray[np.float32]:
    """The unit vectors (n, d) of `texts` by the encoder as it is before any training, through the project's cache.

    `embed` is the encoder where `untuned` has been asked for it already; else it is loaded if a text is missing.

    Raises:
        ConfigError: the encoder can't be had (see `promax.weights.locate`), or there is no such device.
    """
    base = _base(model)
    embed = embed or untuned(model, device=device, batch_size=batch_size)
    settings = f"{weights.files_sha256(base)} {base.max_seq_length}{' portable' if portable.is_set() else ''}"
    key = hashlib.sha256(settings.encode()).hexdigest()[:32]
    return cached_vectors(texts, embed, key, project_root() / "mlruns" / "embeddings", progress=progress)


def _base(model: ModelConfig) -> ModelConfig:
    return replace(model, lora=None, dropout=None)


def cached_vectors(
    texts: Sequence[str], embed: Embed, key: str, folder: Path, *, progress: bool = True
) -> NDArray[np.float32]:
    """The vectors (n, d) of `texts`, row i for text i, from the cache where it has them.

    Args:
        texts: at least one; equal ones are embedded once.
        embed: called with up to `SHARD` texts at a time, only if some are missing: so a model that it
            opens when first called is not opened for a cache that has everything.
        key: what else decides the vectors: the encoder's files and settings, as hexadecimal digits.
        folder: where caches are; this one is the folder `key` in it. Made if need be.
        progress: whether stderr is shown how far the encoding is, if it is a terminal.

    One process fills a cache at a time; another waits, and takes what the first has written. In a cache
    that began empty the shards depend on the texts and their order alone, killed or not. A text that was
    encoded beside others can differ in its last bits (1e-7), since a batch is padded to its longest.

    Raises:
        ConfigError: a shard can't be read.
    """
    assert texts, "no texts, no dimension"
    digests = [_digest(text) for text in texts]
    wanted = {digest: at for at, digest in enumerate(dict.fromkeys(digests))}
    shards = folder / key
    store = _Found(wanted)
    store.read(shards)
    if store.missing():
        shards.mkdir(parents=True, exist_ok=True)
        with _alone(shards):
            for left in shards.glob("*.partial"):
                left.unlink()
            store.read(shards)
            _fill(store, dict(zip(digests, texts, strict=True)), embed, shards, progress)
    return store.vectors()[[wanted[digest] for digest in digests]]


class _Found:
    """The vectors that are wanted and have been read, one row for each digest."""

    def __init__(self, wanted: dict[bytes, int]) -> None:
        self._wanted = wanted
        self._has = np.zeros(len(wanted), dtype=np.bool_)
        self._rows: NDArray[np.float32] | None = None
        self._seen: set[str] = set()

    def missing(self) -> list[bytes]:
        return [digest for digest, at in self._wanted.items() if not self._has[at]]

    def vectors(self) -> NDArray[np.float32]:
        assert self._rows is not None and self._has.all(), "vectors are missing"
        return self._rows

    def read(self, folder: Path) -> None:
        """Take what the shards of `folder` have that was not seen before."""
        for path in sorted(folder.glob("*.npy")):
            if path.name in self._seen:
                continue
            self._seen.add(path.name)
            try:
                shard = np.load(path, mmap_mode="r", allow_pickle=False)
                named, vectors = shard["text"].tobytes(), shard["vector"]
            except (ValueError, IndexError, OSError):
                raise ConfigError(f"{path}: damaged, so its vectors can't be read; delete it") from None
            self.take([named[at : at + DIGEST] for at in range(0, len(named), DIGEST)], vectors)

    def take(self, digests: list[bytes], vectors: NDArray[np.float32]) -> None:
        both = [(at, row) for row, digest in enumerate(digests) if (at := self._wanted.get(digest)) is not None]
        if not both:
            return
        if self._rows is None:
            self._rows = np.empty((len(self._wanted), vectors.shape[1]), dtype=np.float32)
        places, rows = np.array(both).T
        self._rows[places] = vectors[rows]
        self._has[places] = True


def _fill(store: _Found, text_of: dict[bytes, str], embed: Embed, folder: Path, progress: bool) -> None:
    missing = store.missing()
    known = len(text_of) - len(missing)
    show = tqdm(total=len(text_of), initial=known, desc="encoding", unit="text", disable=None if progress else True)
    with show:
        for start in range(0, len(missing), SHARD):
            digests = missing[start : start + SHARD]
            vectors = embed([text_of[digest] for digest in digests])
            _write(digests, vectors, folder)
            store.take(digests, vectors)
            show.update(len(digests))


def _write(digests: list[bytes], vectors: NDArray[np.float32], folder: Path) -> None:
    """One shard, named by the texts in it."""
    shard = np.empty(len(digests), dtype=[("text", f"V{DIGEST}"), ("vector", "<f4", vectors.shape[1:])])
    shard["text"] = np.frombuffer(b"".join(digests), dtype=f"V{DIGEST}")
    shard["vector"] = vectors
    name = hashlib.sha256(b"".join(digests)).hexdigest()[:32]
    partial = folder / f"{name}.partial"
    try:
        with partial.open("wb") as file:
            np.save(file, shard, allow_pickle=False)
        partial.replace(folder / f"{name}.npy")
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache; where another process has it, say so and wait."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tqdm.write("another process is encoding texts with this encoder; waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=DIGEST).digest()
