"""The packed engine on a GPU; skipped where there is none. Oracles are the library's pass and autograd on the CPU."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor
from transformers import BertConfig, MPNetConfig, PreTrainedConfig

from promax.config import LoraConfig, OptimConfig
from promax.data.pairs import Pairs
from promax.encoder import attach_lora
from promax.packed import Noise, Packed, encode, resolve
from promax.packed.layout import Layout, lay_out
from promax.packed.ops import Dropper, attention, drop_add
from promax.train import packed
from tests.packed.test_forward import SMALL, alone, build, texts_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")

GPU = torch.device("cuda")
LENGTHS = [2, 3, 15, 16, 17, 33, 64, 129, 511, 512, 600]
# A head is 8 wide, as flash attention wants it.
CONFIGS: list[PreTrainedConfig] = [BertConfig(**SMALL), MPNetConfig(**SMALL)]


def adapted(folder: Path, config: PreTrainedConfig, dropout: float = 0.0) -> SentenceTransformer:
    config = copy.deepcopy(config)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        setattr(config, name, dropout)
    encoder = build(folder, config, normalize=True)
    encoder.requires_grad_(False)
    attach_lora(encoder.transformers_model, LoraConfig(r=4, alpha=8, dropout=dropout), seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) if "lora_B" in name else 0)
    return encoder


def pairs_of(lengths: list[int]) -> Pairs:
    texts = texts_of(lengths)
    count, ids = len(texts) // 2, [str(number) for number in range(len(texts))]
    return Pairs(texts[:count], texts[count:], np.arange(count) % 2.0, ids[:count], ids[count:], None)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_float32_is_the_librarys(config: PreTrainedConfig, tmp_path: Path) -> None:
    encoder = build(tmp_path, config)
    expected = alone(encoder, texts_of(LENGTHS))
    own = Packed(encoder.to(GPU), torch.float32)
    with torch.no_grad():
        found = own.embed(own.tokenize(texts_of(LENGTHS)))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_bfloat16_is_near(config: PreTrainedConfig, tmp_path: Path) -> None:
    encoder = build(tmp_path, config, normalize=True)
    expected = alone(encoder, texts_of(LENGTHS)).numpy()
    found = encode(encoder.to(GPU), texts_of(LENGTHS), 4, torch.bfloat16)
    assert np.einsum("nd,nd->n", found, expected).min() > 0.998


def test_auto_is_bfloat16() -> None:
    assert resolve("auto", GPU) == torch.bfloat16


def layout_of(lengths: list[int], heads: int, *, pad: bool) -> Layout:
    texts = [np.arange(length) for length in lengths]
    return lay_out(texts, texts, heads, GPU, pad=pad)


@pytest.mark.parametrize("lengths", [[1], [5, 33, 2, 16], [17] * 9, [512, 1, 300]], ids=str)
def test_flash_attention_is_the_padded_one(lengths: list[int]) -> None:
    """And its derivative; oracle: the padded products in float32, which are checked in double on the CPU."""
    heads, width, used = 3, 8, sum(lengths)
    padded, flash = (layout_of(lengths, heads, pad=pad) for pad in (True, False))
    torch.manual_seed(0)
    qkv = torch.randn(len(padded.ids), 3 * heads * width, device=GPU)
    weights = torch.randn(used, heads * width, device=GPU)
    results = []
    for layout, dtype in ((padded, torch.float32), (flash, torch.bfloat16)):
        given = qkv[: len(layout.ids)].to(dtype).requires_grad_()
        result = attention(given, None, layout, heads, 0.4, Dropper(0.0, None))[:used]
        (gradient,) = torch.autograd.grad((result.float() * weights).sum(), given)
        results.append((result.float(), gradient[:used].float()))
    for ours, expected in zip(results[1], results[0], strict=True):
        assert (ours - expected).norm() / expected.norm() < 0.01


@pytest.mark.parametrize("pad", [True, False])
def test_attention_drops_out_probabilities(pad: bool) -> None:
    """All scores equal, one-hot values: the output is each query's row of probabilities."""
    length, heads = 64, 8
    layout = layout_of([length] * 4, heads, pad=pad)
    qkv = torch.zeros(len(layout.ids), 3, heads, length, device=GPU, dtype=torch.bfloat16)
    for start in layout.starts.tolist():
        qkv[start : start + length, 2] = torch.eye(length, device=GPU, dtype=torch.bfloat16)[:, None]

    def of(key: int) -> Tensor:
        drop = Dropper(0.1, Noise([7, key], GPU))
        return attention(qkv.flatten(1), None, layout, heads, 1.0, drop)[: 4 * length].float()

    result = of(0)
    torch.testing.assert_close(result.unique().cpu(), torch.tensor([0, 1 / 64 / 0.9]), rtol=0.01, atol=0)
    # Of 131,072 probabilities: standard deviation 0.0008.
    assert (result == 0).float().mean().item() == pytest.approx(0.1, abs=0.004)
    assert torch.equal(result, of(0))
    assert not torch.equal(result, of(1))


def test_drop_add_drops_and_scales_the_one_and_not_the_other() -> None:
    x, residual = torch.full((400, 500), 3.0, device=GPU), torch.full((400, 500), 1.0, device=GPU)
    result = drop_add(x, residual, Dropper(0.2, Noise([1], GPU)))
    assert set(result.unique().tolist()) == {1.0, 4.75}
    assert (result == 1).float().mean().item() == pytest.approx(0.2, abs=0.004)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_gradients_of_a_step(config: PreTrainedConfig, tmp_path: Path) -> None:
    """In float32 the CPU's; in bfloat16 near them."""
    encoder, pairs = adapted(tmp_path, config), pairs_of([9, 40, 3, 17, 130, 8, 25, 60])
    cfg, rows = OptimConfig(loss="cosine", batch_size=4), np.arange(4)

    def gradients(device: str, dtype: torch.dtype) -> Tensor:
        steps = packed._Steps(encoder.to(device), pairs, cfg, 0, dtype)
        steps.differentiate(0, rows)
        return torch.cat([each.grad.flatten().cpu() for each in encoder.parameters() if each.grad is not None])

    expected = gradients("cpu", torch.float32)
    assert (gradients("cuda", torch.float32) - expected).norm() / expected.norm() < 1e-4
    assert (gradients("cuda", torch.bfloat16) - expected).norm() / expected.norm() < 0.1


@pytest.mark.parametrize("loss", ["cosine", "mnrl", "contrastive"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_a_step_does_not_wait_for_the_gpu(loss: str, config: PreTrainedConfig, tmp_path: Path) -> None:
    """torch raises at each call that would."""
    encoder, pairs = adapted(tmp_path, config, 0.1).to(GPU), pairs_of([9, 40, 3, 17, 130, 8, 25, 60])
    steps = packed._Steps(encoder, pairs, OptimConfig(loss=loss, batch_size=4), 0, torch.bfloat16)
    # Twice: as it is, and recorded.
    first = [steps.take(number, np.arange(4), 1e-3) for number in range(2)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        second = steps.take(2, np.arange(4), 1e-3)
        with pytest.raises(RuntimeError, match="synchroniz"):
            torch.ones(1, device=GPU).item()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert np.isfinite([first[0](), first[1](), second()]).all()


@pytest.mark.parametrize("loss", ["cosent", "online_contrastive"])
def test_a_recording_computes_what_was_recorded(loss: str, tmp_path: Path) -> None:
    """With dropout, on batches of several shapes; oracle: the same steps, none of them recorded."""
    pairs = pairs_of([9, 40, 3, 17, 130, 8, 25, 60, 12, 5, 7, 200, 90, 31, 16, 2])
    cfg, batches = OptimConfig(loss=loss, batch_size=4), [np.arange(4), np.arange(4, 8), np.array([1, 6, 3, 4])] * 4

    def losses(*, recorded: bool) -> list[float]:
        steps = packed._Steps(adapted(tmp_path, BertConfig(**SMALL), 0.1).to(GPU), pairs, cfg, 0, torch.bfloat16)
        assert steps._packed.recordable
        if not recorded:
            steps._embed = steps._packed.embed
        return [steps.take(number, rows, 1e-3)() for number, rows in enumerate(batches)]

    plain = losses(recorded=False)
    assert len(set(plain)) >= 10  # a batch without hard pairs has an online_contrastive loss of 0
    np.testing.assert_allclose(losses(recorded=True), plain, rtol=1e-3)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_two_runs_are_bitwise_equal(config: PreTrainedConfig, tmp_path: Path) -> None:
    pairs = pairs_of([9, 40, 3, 17, 300, 8, 25, 200])

    def losses(seed: int) -> list[Any]:
        encoder = adapted(tmp_path, config, 0.1).to(GPU)
        steps = packed._Steps(encoder, pairs, OptimConfig(batch_size=4), seed, torch.bfloat16)
        return [steps.take(number, np.arange(4), 1e-3)() for number in range(20)]

    assert losses(0) == losses(0) != losses(1)
