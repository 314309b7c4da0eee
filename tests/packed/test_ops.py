"""Noise and the operations built on it: rates, places, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from promax.packed.layout import Layout, lay_out
from promax.packed.noise import Noise
from promax.packed.ops import Dropper, adapted, attention, drop_add

CPU = torch.device("cpu")
ALL_PATTERNS = torch.arange(-(1 << 15), 1 << 15).to(torch.int16).view(torch.bfloat16)


def noise(key: int = 0) -> Noise:
    return Noise([7, key], CPU)


def layout_of(lengths: list[int], heads: int) -> Layout:
    texts = [np.arange(length) for length in lengths]
    return lay_out(texts, texts, heads, CPU)


def rows_of(layout: Layout, text: int) -> slice:
    start = int(layout.starts[text])
    return slice(start, start + int(layout.lengths[text]))


# --- noise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.25, 0.4, 0.5, 0.9])
def test_of_all_patterns_the_rate_is_dropped(rate: float) -> None:
    """Counted over each of the 65,536 patterns; -0 and +0, two patterns, compare equal."""
    drop = Dropper(rate, noise())
    kept = drop.apply(torch.ones(65536), ALL_PATTERNS)
    assert abs(int((kept == 0).sum()) - rate * 65536) <= 1.5
    assert torch.equal(kept, drop.apply(torch.ones(65536, dtype=torch.bfloat16), ALL_PATTERNS).float())
    assert drop.scale == 1 / (1 - rate)


def test_patterns_are_uniform() -> None:
    """A chi-squared over 256 bins of each byte: mean 255, standard deviation 22.6, so under 255 + 5 of those."""
    drawn = noise().draw(4_000_000).view(torch.int16).numpy().view(np.uint16)
    for byte in (drawn & 0xFF, drawn >> 8):
        counts = np.bincount(byte, minlength=256)
        assert ((counts - len(drawn) / 256) ** 2 / (len(drawn) / 256)).sum() < 255 + 5 * 22.6
    # Neighbours and streams don't repeat each other: the correlation's standard deviation is 0.0005.
    for lag in (1, 2, 4, 1 << 20, 1 << 21):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 0.004


def test_noise_follows_from_its_key_alone() -> None:
    def bits(source: Noise) -> Tensor:
        return torch.cat([source.draw(3, 5).flatten(), source.draw(3_000_000), source.draw(7)]).view(torch.int16)

    first = bits(noise())
    torch.manual_seed(1)
    assert torch.equal(bits(noise()), first)
    assert (bits(noise(1)) == first).float().mean() < 0.001


def test_no_rate_and_no_noise_draw_nothing() -> None:
    x = torch.randn(4, 3)
    # 1e-6 is less than half of 1/65,536, the least share that 16 random bits tell from none.
    for drop in (Dropper(0.0, noise()), Dropper(1e-6, noise()), Dropper(0.5, None)):
        assert drop.draw(x) is None
        assert drop.apply(x, None) is x
        assert torch.equal(drop_add(x.clone(), x, drop), x + x)


# --- dropout and sum -------------------------------------------------------------------------------------------------


def test_drop_add_drops_and_scales_the_one_and_not_the_other() -> None:
    x, residual = torch.full((400, 500), 3.0), torch.full((400, 500), 1.0)
    result = drop_add(x, residual, Dropper(0.2, noise()))
    # 1, or 1 + 3 / 0.8; the share has a standard deviation of 0.0009.
    assert set(result.unique().tolist()) == {1.0, 4.75}
    assert (result == 1).float().mean().item() == pytest.approx(0.2, abs=0.004)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_derivatives_of_drop_add(rate: float) -> None:
    x, residual = (torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert gradcheck(lambda x, residual: drop_add(x * 1, residual, Dropper(rate, noise())), (x, residual))


# --- adapters --------------------------------------------------------------------------------------------------------


def adapters() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 4), (5, 4), (5,), (2, 3, 4), (5, 6)]
    return tuple(torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes)


def test_an_adapter_adds_its_product() -> None:
    x, weight, bias, down, up = adapters()
    result = adapted(x, weight, bias, down, up, Dropper(0.0, None))
    torch.testing.assert_close(result, x @ (weight + up @ down.flatten(0, 1)).T + bias)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_derivatives_of_adapted(rate: float) -> None:
    x, weight, bias, down, up = adapters()

    def of(x: Tensor, down: Tensor, up: Tensor) -> Tensor:
        return adapted(x, weight, bias, down, up, Dropper(rate, noise()))

    assert gradcheck(of, tuple(each.requires_grad_() for each in (x, down, up)))


def test_each_adapter_drops_out_on_its_own_and_the_frozen_layer_nothing() -> None:
    """With identities for both adapters and a zero weight, the output is the two masks."""
    x, eye = torch.ones(2000, 50), torch.eye(50)
    up = torch.block_diag(eye, eye)
    masks = adapted(x, torch.zeros(100, 50), None, torch.stack([eye, eye]), up, Dropper(0.1, noise()))
    first, second = (masks == 0).float().chunk(2, 1)
    # Of 100,000 each: standard deviation 0.001. Independent: both are dropped 0.01 of the time.
    assert first.mean().item() == pytest.approx(0.1, abs=0.005)
    assert second.mean().item() == pytest.approx(0.1, abs=0.005)
    assert (first * second).mean().item() == pytest.approx(0.01, abs=0.002)
    untouched = adapted(x, torch.cat([eye, eye]), None, torch.zeros(2, 50, 50), up, Dropper(0.1, noise()))
    assert torch.equal(untouched, torch.ones(2000, 100))


# --- attention -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("lengths", [[1], [5, 33, 2, 16], [17] * 9], ids=str)
def test_attention_is_torchs_text_by_text(lengths: list[int], biased: bool) -> None:
    """Oracle: torch's scaled_dot_product_attention on each text alone."""
    torch.manual_seed(0)
    heads, width = 3, 4
    layout = layout_of(lengths, heads)
    qkv = torch.randn(len(layout.ids), 3 * heads * width, dtype=torch.float64)
    bias = torch.randn(heads, 48, 48, dtype=torch.float64) if biased else None
    result = attention(qkv, bias, layout, heads, 0.7, Dropper(0.0, None))
    rest = torch.ones(len(qkv), dtype=torch.bool)
    for text, length in enumerate(lengths):
        mine = rows_of(layout, text)
        q, k, v = qkv[mine].view(length, 3, heads, width).permute(1, 2, 0, 3)
        mask = None if bias is None else bias[:, :length, :length]
        alone = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.7)
        torch.testing.assert_close(result[mine], alone.transpose(0, 1).reshape(length, -1))
        rest[mine] = False
    assert rest.any()
    assert not result[rest].any()


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_derivatives_of_attention(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promax.packed.layout.TOKENS", 8)
    layout = layout_of([3, 1, 2], 2)
    qkv = torch.randn(len(layout.ids), 12, dtype=torch.float64)
    bias = torch.randn(2, 16, 16, dtype=torch.float64)

    def of(qkv: Tensor, bias: Tensor) -> Tensor:
        # The rows of no text get no gradient: nothing reads them.
        return attention(qkv, bias, layout, 2, 0.7, Dropper(rate, noise()))[:6]

    assert gradcheck(of, (qkv.requires_grad_(), bias.requires_grad_()), fast_mode=True)


def test_attention_drops_out_probabilities() -> None:
    """All scores equal, one-hot values: the output is each query's row of probabilities."""
    length, heads = 64, 8
    layout = layout_of([length] * 4, heads)
    qkv = torch.zeros(len(layout.ids), 3, heads, length)
    for text in range(4):
        qkv[rows_of(layout, text), 2] = torch.eye(length)[:, None]
    result = attention(qkv.flatten(1), None, layout, heads, 1.0, Dropper(0.1, noise()))[: 4 * length]
    values = result.unique()
    torch.testing.assert_close(values, torch.tensor([0, 1 / 64 / 0.9]))
    # Of 131,072 probabilities: standard deviation 0.0008.
    assert (result == 0).float().mean().item() == pytest.approx(0.1, abs=0.004)
