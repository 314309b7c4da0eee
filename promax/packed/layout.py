"""Where the tokens of a batch lie: one unpadded matrix, and the attention's padded blocks made from it.

Linear layers, norms and activations see each token by itself, so they run on one matrix of all tokens
of all texts, without padding: ticket texts padded to the longest of their batch are half padding.
Only attention needs texts apart. For it texts of like length are taken together, a few at a time, and
rows are copied into blocks (texts, heads, length, width) and back by index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Each new shape makes oneDNN build kernels, 0.4-1.4 ms each; rounding leaves few shapes, which it remembers.
TOKENS, LENGTH = 128, 16
# Tokens of an attention block. More means fewer calls, less means less padding.
BLOCK = 512


@dataclass(frozen=True)
class Block:
    """Texts that attend together: `texts` of them, padded to `length`, at `rows` of the head-wise matrices.

    The first `certain` positions are tokens in each of the texts; for those after, `padding`
    (texts, 1, 1, length - certain) says which are not.
    """

    texts: int
    length: int
    rows: slice
    certain: int
    padding: Tensor


@dataclass(frozen=True)
class Layout:
    """A batch of texts as one matrix of N rows, the longest text first, at least one row belonging to no text.

    A head-wise matrix has one row of a head's width for each text, head and position of the blocks,
    padding included: R rows, and where it is copied from, one more of zeros.

    Attributes:
        ids, positions: (N,), token ids and rows of the table of position embeddings.
        blocks: how the texts attend.
        to_heads: (3 R,), for each row of the head-wise queries, keys and values, the row of the packed matrix
            seen as (N * 3 * heads, width). Padding comes from the last row, whose gradient is always 0.
        from_heads: (N * 3 * heads,), the way back; rows of no text come from the row of zeros.
        to_context, from_context: (R,) and (N * heads,), the same for the attention's result.
        starts, lengths: (texts,), first row and number of tokens, in the order the texts were given.
    """

    ids: Tensor
    positions: Tensor
    blocks: list[Block]
    to_heads: Tensor
    from_heads: Tensor
    to_context: Tensor
    from_context: Tensor
    starts: Tensor
    lengths: Tensor


def lay_out(
    texts: Sequence[NDArray[np.int64]], positions: Sequence[NDArray[np.int64]], heads: int, device: torch.device
) -> Layout:
    """Place texts, given as their token ids (each at least one) and those tokens' positions."""
    lengths = np.array([len(text) for text in texts])
    assert lengths.min() >= 1, "a text without tokens"
    order = np.argsort(-lengths, kind="stable")
    sizes = lengths[order]
    used = int(sizes.sum())
    rows = -(-(used + 1) // TOKENS) * TOKENS
    first_rows = np.cumsum(sizes) - sizes
    blocks, sources, places = _blocks(sizes, first_rows, rows, heads, device)
    end = blocks[-1].rows.stop
    starts = np.empty_like(first_rows)
    starts[order] = first_rows
    # A row of (N, 3, heads, width) is `2 * heads` further on for each row of (N, heads, width) before it.
    to_heads = sources + 2 * heads * (sources // heads) + heads * np.arange(3)[:, None]
    from_heads = np.where(places[:, None] == end, 3 * end, places[:, None] + end * np.arange(3)[:, None])

    def on_device(values: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(values.ravel()).to(device)

    def column(parts: Sequence[NDArray[np.int64]]) -> Tensor:
        return on_device(np.concatenate([*(parts[text] for text in order), np.zeros(rows - used, np.int64)]))

    indices = (to_heads, from_heads, sources, places, starts, lengths)
    return Layout(column(texts), column(positions), blocks, *map(on_device, indices))


def _blocks(
    sizes: NDArray[np.int64], first_rows: NDArray[np.int64], rows: int, heads: int, device: torch.device
) -> tuple[list[Block], NDArray[np.int64], NDArray[np.int64]]:
    """The blocks; for each head-wise row its row in (N * heads, width); and, (N, heads), the reverse."""
    head = np.arange(heads)
    blocks: list[Block] = []
    sources, places, begin = [], np.empty((rows, heads), np.int64), 0
    for mine, length in _parts(sizes):
        is_token = np.arange(length) < sizes[mine, None]
        row = np.where(is_token, first_rows[mine, None] + np.arange(length), rows - 1)
        # (texts, heads, length): where each position of the block lies.
        sources.append((row[:, None, :] * heads + head[:, None]).ravel())
        place = begin + np.arange(len(row) * heads * length).reshape(-1, heads, length)
        places[row[is_token]] = place.transpose(0, 2, 1)[is_token]
        certain = int(sizes[mine][-1])
        padding = torch.from_numpy(~is_token[:, None, None, certain:]).to(device)
        blocks.append(Block(len(row), length, slice(begin, begin + place.size), certain, padding))
        begin += place.size
    places[sizes.sum() :] = begin
    return blocks, np.concatenate(sources), places


def _parts(sizes: NDArray[np.int64]) -> Iterator[tuple[slice, int]]:
    """The texts of each block, a power of two of them (again to have few shapes), and its length."""
    start = 0
    while start < len(sizes):
        length = -(-int(sizes[start]) // LENGTH) * LENGTH
        count = min(len(sizes) - start, max(1, BLOCK // length))
        count = 1 << (count.bit_length() - 1)
        yield slice(start, start + count), length
        start += count
