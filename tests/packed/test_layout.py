"""Where tokens lie: every token is in one place, and comes back from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from promax.packed.layout import lay_out

CPU = torch.device("cpu")
LENGTHS = [[1], [512], [3, 1, 4, 1, 5, 9, 2, 6], [127], [128], list(range(1, 129)), [16] * 33, [300, 2, 40]]


@pytest.mark.parametrize("lengths", LENGTHS, ids=lambda lengths: f"{len(lengths)}-texts-of-{max(lengths)}")
def test_every_token_is_in_one_row_and_one_place_of_its_block(lengths: list[int]) -> None:
    heads = 2
    texts = [1000 * (number + 1) + np.arange(length) for number, length in enumerate(lengths)]
    layout = lay_out(texts, [np.arange(length) for length in lengths], heads, CPU)
    n, padded = len(layout.ids), layout.padded
    assert padded is not None
    assert n % 128 == 0 and sum(lengths) < n <= sum(lengths) + 128
    for text, start, length in zip(texts, layout.starts.tolist(), layout.lengths.tolist(), strict=True):
        assert layout.ids[start : start + length].tolist() == text.tolist()
        assert layout.positions[start : start + length].tolist() == list(range(length))
    assert sum(block.texts for block in padded.blocks) == len(lengths)
    assert padded.blocks[-1].rows.stop == len(padded.to_context)

    # A row's content names its token and head: copied to the blocks and back, nothing moves and no row is lost.
    content = (layout.ids[:, None] * 10 + torch.arange(heads)).flatten()
    by_head = torch.cat([content[padded.to_context], torch.tensor([-1])])
    back = by_head[padded.from_context]
    own = torch.arange(n).repeat_interleave(heads) < sum(lengths)
    assert torch.equal(back[own], content[own])
    assert (back[~own] == -1).all()
    tripled = (content.view(n, 1, heads) * 10 + torch.arange(3)[:, None]).flatten()
    by_head = torch.cat([tripled[padded.to_heads], torch.tensor([-1])])
    assert torch.equal(by_head[:-1].view(3, -1) // 10, content[padded.to_context].expand(3, -1))
    assert torch.equal(by_head[:-1].view(3, -1) % 10, torch.arange(3)[:, None].expand(3, len(padded.to_context)))
    back = by_head[padded.from_heads].view(n, 3 * heads)
    assert torch.equal(back[: sum(lengths)], tripled.view(n, -1)[: sum(lengths)])
    assert (back[sum(lengths) :] == -1).all()

    # In a block, each text is a row of tokens in order, then padding, which comes from a row of no text.
    for block in padded.blocks:
        rows = (padded.to_context[block.rows] // heads).view(block.texts, heads, block.length)
        assert (rows[:, 0] == rows[:, 1]).all()
        assert (rows[:, 0, : block.certain].diff(dim=1) == 1).all()
        assert torch.equal(rows[:, 0, block.certain :] == n - 1, block.padding[:, 0, 0])


def test_texts_of_like_length_share_a_block() -> None:
    texts = [np.zeros(length, np.int64) for length in [10, 200, 12, 190, 9, 180, 40]]
    layout = lay_out(texts, texts, 1, CPU)
    assert layout.padded is not None
    # 512 tokens a block and a power of two: two texts of up to 208 tokens, then the third and what follows it.
    assert [(block.texts, block.length) for block in layout.padded.blocks] == [(2, 208), (2, 192), (2, 16), (1, 16)]


def test_for_a_gpu_shapes_are_few_and_every_row_is_within_bounds() -> None:
    texts = [1000 * number + np.arange(length) for number, length in enumerate([3, 1, 40, 7])]
    layout = lay_out(texts, [np.arange(len(text)) for text in texts], 2, CPU, pad=False)
    # The rest of 128 rows in pieces of up to 64.
    assert layout.bounds.tolist() == [0, 40, 47, 50, 51, 89, 128] and layout.bounds.dtype == torch.int32
    assert (layout.longest, layout.padded, layout.starts.tolist()) == (64, None, [47, 50, 0, 40])
    assert layout.ids[:51].tolist() == [*texts[2], *texts[3], *texts[0], *texts[1]]
    assert layout.positions[:51].tolist() == (layout.ids[:51] % 1000).tolist()
    shortest = lay_out([np.zeros(1, np.int64)], [np.zeros(1, np.int64)], 2, CPU, pad=False)
    assert shortest.bounds.tolist() == [0, 1, 64, 128]
    shapes = set()
    for seed in range(200):
        lengths = np.random.default_rng(seed).integers(60, 256, 32)
        texts = [np.zeros(length, np.int64) for length in lengths]
        layout = lay_out(texts, texts, 2, CPU, pad=False)
        shapes.add((len(layout.ids), len(layout.bounds), layout.longest))
        assert layout.bounds.diff().max() <= layout.longest and layout.bounds.diff().min() >= 0
        assert layout.bounds[-1] == len(layout.ids) <= lengths.sum() * 9 / 8
    assert len(shapes) <= 6


def test_a_text_without_tokens_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="a text without tokens"):
        lay_out([np.empty(0, np.int64)], [np.empty(0, np.int64)], 1, CPU)
