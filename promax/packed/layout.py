"""Where the tokens of a batch lie: one unpadded matrix, and the attention's padded blocks made from it.

Linear layers, norms and activations see each token by itself, so they run on one matrix of all tokens
of all texts, without padding: ticket texts padded to the longest of their batch are half padding.
Only attention needs texts apart. Where no kernel takes texts of any length side by side, texts of like
length are taken together, a few at a time, and rows are copied into blocks (texts, heads, length,
width) and back by index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Each new shape makes oneDNN build kernels, 0.4-1.4 ms each; rounding leaves few shapes, which it remembers.
TOKENS, LENGTH = 128, 16
# Tokens of an attention block. More means fewer calls, less means less padding, which a GPU has units to spare for.
BLOCK = {"cpu": 512, "cuda": 1 << 14}


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
class Padded:
    """How texts attend in blocks.

    A head-wise matrix has one row of a head's width for each text, head and position of the blocks,
    padding included: R rows, and where it is copied from, one more of zeros.

    Attributes:
        blocks: the longest text first.
        to_heads: (3 R,), for each row of the head-wise queries, keys and values, the row of the packed matrix
            seen as (N * 3 * heads, width). Padding comes from the last row, whose gradient is always 0.
        from_heads: (N * 3 * heads,), the way back; rows of no text come from the row of zeros.
        to_context, from_context: (R,) and (N * heads,), the same for the attention's result.
    """

    blocks: list[Block]
    to_heads: Tensor
    from_heads: Tensor
    to_context: Tensor
    from_context: Tensor


@dataclass(frozen=True)
class Layout:
    """A batch of texts as one matrix of N rows, the longest text first, and at least one row of no text in the end.

    Attributes:
        ids, positions: (N,), token ids and rows of the table of position embeddings.
        starts, lengths: (texts,), first row and number of tokens, in the order the texts were given.
        bounds: int32, the first row of each text in the matrix's order, and of pieces of the rest; at last N.
        longest: a number of tokens that no text and no piece of the rest exceeds.
        padded: the attention's blocks, or None where its kernel takes the texts by their bounds.
    """

    ids: Tensor
    positions: Tensor
    starts: Tensor
    lengths: Tensor
    bounds: Tensor
    longest: int
    padded: Padded | None


def lay_out(
    texts: Sequence[NDArray[np.int64]],
    positions: Sequence[NDArray[np.int64]],
    heads: int,
    device: torch.device,
    *,
    pad: bool = True,
) -> Layout:
    """Place texts, given as their token ids (each at least one) and those tokens' positions."""
    lengths = np.array([len(text) for text in texts])
    assert lengths.min() >= 1, "a text without tokens"
    order = np.argsort(-lengths, kind="stable")
    sizes = lengths[order]
    used, first_rows = int(sizes.sum()), np.cumsum(sizes) - sizes
    # A GPU's kernels have no shapes to remember, but its recordings do, so theirs are rounded more coarsely.
    step = TOKENS if pad else max(TOKENS, 1 << used.bit_length() >> 4)
    rows = (used // step + 1) * step
    longest = int(sizes[0]) if pad else max(64, 1 << (int(sizes[0]) - 1).bit_length())
    rest = np.linspace(used, rows, -(-step // longest) + 1, dtype=np.int64)
    starts = np.empty_like(sizes)
    starts[order] = first_rows

    def column(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.concatenate([*(parts[text] for text in order), np.zeros(rows - used, np.int64)])

    blocks, indices = _blocks(sizes, first_rows, rows, heads, device) if pad else ([], [])
    columns = [column(texts), column(positions), starts, lengths, np.concatenate([first_rows, rest])]
    ids, places, firsts, counts, ends, *moves = send([*columns, *indices], device)
    padded = Padded(blocks, *moves) if pad else None
    return Layout(ids, places, firsts, counts, ends.int(), longest, padded)


def send(columns: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor]:
    """Columns of one dtype as tensors, (n,) each, there; to a GPU in one copy that the processor doesn't wait for."""
    if device.type != "cuda":
        return [torch.from_numpy(each.ravel()).to(device) for each in columns]
    whole = torch.from_numpy(np.concatenate([each.ravel() for each in columns])).pin_memory()
    return list(torch.split(whole.to(device, non_blocking=True), [each.size for each in columns]))


def _blocks(
    sizes: NDArray[np.int64], first_rows: NDArray[np.int64], rows: int, heads: int, device: torch.device
) -> tuple[list[Block], list[NDArray[np.int64]]]:
    """The blocks, and the four indices of `Padded`."""
    head = np.arange(heads)
    blocks: list[Block] = []
    sources, places, begin = [], np.empty((rows, heads), np.int64), 0
    (lengths,) = send([sizes], device)
    for mine, length in _parts(sizes, BLOCK.get(device.type, BLOCK["cpu"])):
        is_token = np.arange(length) < sizes[mine, None]
        row = np.where(is_token, first_rows[mine, None] + np.arange(length), rows - 1)
        # (texts, heads, length): where each position of the block lies.
        sources.append((row[:, None, :] * heads + head[:, None]).ravel())
        place = begin + np.arange(len(row) * heads * length).reshape(-1, heads, length)
        places[row[is_token]] = place.transpose(0, 2, 1)[is_token]
        certain = int(sizes[mine][-1])
        padding = torch.arange(certain, length, device=device) >= lengths[mine, None]
        blocks.append(Block(len(row), length, slice(begin, begin + place.size), certain, padding[:, None, None]))
        begin += place.size
    places[sizes.sum() :] = begin
    source = np.concatenate(sources)
    # A row of (N, 3, heads, width) is `2 * heads` further on for each row of (N, heads, width) before it.
    to_heads = source + 2 * heads * (source // heads) + heads * np.arange(3)[:, None]
    from_heads = np.where(places[:, None] == begin, 3 * begin, places[:, None] + begin * np.arange(3)[:, None])
    return blocks, [to_heads, from_heads, source, places]


def _parts(sizes: NDArray[np.int64], most: int) -> Iterator[tuple[slice, int]]:
    """The texts of each block, a power of two of them (again to have few shapes), and its length."""
    start = 0
    while start < len(sizes):
        length = -(-int(sizes[start]) // LENGTH) * LENGTH
        count = min(len(sizes) - start, max(1, most // length))
        count = 1 << (count.bit_length() - 1)
        yield slice(start, start + count), length
        start += count
