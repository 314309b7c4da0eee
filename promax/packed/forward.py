"""An encoder's forward pass on packed tokens, with the encoder's own parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft.tuners.lora import Linear as LoraLinear
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch import Tensor, nn
from torch.nn import functional
from transformers import MPNetModel

from promax.packed import anatomy
from promax.packed.layout import Layout, lay_out
from promax.packed.noise import Noise
from promax.packed.ops import Dropper, adapted, attention, drop_add
from promax.packed.precision import has_flash
from promax.packed.tokens import tokenize


class Packed:
    """Computes what `encoder` does, for an encoder that `reasons_against` has nothing against.

    Holds copies of frozen weights; trainable ones are read anew in each pass.

    Args:
        encoder: whose parameters to use.
        dtype: of weights and activations inside; softmax, norms' statistics and all after the last layer
            are float32 in any case.
        still: take all weights for frozen and fold the adapters into them, W + (alpha / r) B A: for
            encoding, between two changes of the weights.
    """

    def __init__(self, encoder: SentenceTransformer, dtype: torch.dtype, *, still: bool = False) -> None:
        self._encoder, self._dtype = encoder, dtype
        transformer: Any = encoder.transformers_model
        layers = anatomy.layers(transformer)
        self._embeddings = transformer.embeddings
        self._mpnet = transformer.encoder if isinstance(transformer, MPNetModel) else None
        self._layers = [
            (
                layer,
                _Linear(layer.qkv, dtype, still),
                _Linear((layer.attended,), dtype, still),
                _Linear((layer.up,), dtype, still),
                _Linear((layer.down,), dtype, still),
            )
            for layer in layers
        ]
        width = layers[0].attended_norm.normalized_shape[0] // layers[0].heads
        flash = dtype == torch.bfloat16 and has_flash(encoder.device) and width % 8 == 0 and width <= 256
        self._pad = not flash or self._mpnet is not None
        # What a recording can't hold: blocks, which differ from batch to batch, and the derivative of a table.
        self.recordable = not self._pad and not any(each.requires_grad for each in self._embeddings.parameters())

    def tokenize(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Token ids of each text; see `promax.packed.tokens`."""
        return tokenize(self._encoder, texts)

    def embed(self, texts: Sequence[NDArray[np.int64]], noise: Noise | None = None) -> Tensor:
        """Sentence embeddings (texts, d), float32, of texts given as token ids; with dropout where there is noise."""
        return self.forward(self.lay_out(texts), noise)

    def lay_out(self, texts: Sequence[NDArray[np.int64]]) -> Layout:
        """Where the tokens of these texts lie, on the encoder's device."""
        heads = self._layers[0][0].heads
        return lay_out(texts, [self._positions(text) for text in texts], heads, self._encoder.device, pad=self._pad)

    def forward(self, layout: Layout, noise: Noise | None) -> Tensor:
        """`embed`, of texts that are laid out."""
        heads = self._layers[0][0].heads
        x = self._embed_tokens(layout, noise)
        bias = self._position_bias(layout)
        for layer, qkv, attended, up, down in self._layers:
            in_attention, after_attention, after_down = layer.rates
            mixed = attention(qkv(x, noise), bias, layout, heads, layer.scaling, Dropper(in_attention, noise))
            x = _norm(layer.attended_norm, drop_add(attended(mixed, noise), x, Dropper(after_attention, noise)))
            inner = layer.activation(up(x, noise))
            x = _norm(layer.down_norm, drop_add(down(inner, noise), x, Dropper(after_down, noise)))
        pooled = x
        for module in list(self._encoder)[1:]:
            if isinstance(module, Pooling):
                pooled = _pool(module.pooling_mode, x, layout)
            elif isinstance(module, Normalize):
                pooled = functional.normalize(pooled, dim=-1)
        return pooled

    def _positions(self, text: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the position table: from 0; or, as in RoBERTa and MPNet, from padding_idx + 1, skipping padding."""
        padding = self._embeddings.position_embeddings.padding_idx
        if padding is None:
            return np.arange(len(text))
        real = text != padding
        return np.asarray(np.cumsum(real) * real + padding, np.int64)

    def _embed_tokens(self, layout: Layout, noise: Noise | None) -> Tensor:
        own = self._embeddings
        x = functional.embedding(layout.ids, own.word_embeddings.weight)
        if hasattr(own, "token_type_embeddings"):
            x = x + own.token_type_embeddings.weight[0]
        x = own.LayerNorm(x + functional.embedding(layout.positions, own.position_embeddings.weight))
        return drop_add(x, torch.zeros_like(x[0]), Dropper(own.dropout.p, noise)).to(self._dtype)

    def _position_bias(self, layout: Layout) -> Tensor | None:
        """MPNet's bias (heads, length, length) by the distance of two tokens, for the longest block."""
        if self._mpnet is None or layout.padded is None:
            return None
        at = torch.arange(max(block.length for block in layout.padded.blocks), device=layout.ids.device)
        # MPNet's own call leaves the number of buckets at its default, whatever the config says.
        buckets = self._mpnet.relative_position_bucket(at[None, :] - at[:, None])  # type: ignore[no-untyped-call]
        values: Tensor = self._mpnet.relative_attention_bias(buckets)
        return values.permute(2, 0, 1).to(self._dtype)


class _Linear:
    """Linear layers that read the same input, as one product."""

    def __init__(self, modules: Sequence[nn.Module], dtype: torch.dtype, still: bool) -> None:
        self._dtype = dtype
        self._bases: list[Any] = [module.base_layer if isinstance(module, LoraLinear) else module for module in modules]
        self._adapters: list[Any] = [module if isinstance(module, LoraLinear) else None for module in modules]
        frozen = still or not any(each.requires_grad for base in self._bases for each in base.parameters())
        self._frozen = None
        if frozen:
            with torch.no_grad():
                self._frozen = self._side_by_side(folded=still)
        if still:
            self._adapters = []

    def __call__(self, x: Tensor, noise: Noise | None) -> Tensor:
        weight, bias = self._frozen or self._side_by_side(folded=False)
        present = [(module, module.active_adapters[0]) for module in self._adapters if module is not None]
        if not present:
            return functional.linear(x, weight, bias)
        # Every layer of an adapter has the same dropout.
        module, name = present[0]
        dropout = module.lora_dropout[name]
        drop = Dropper(dropout.p if isinstance(dropout, nn.Dropout) else 0.0, noise)
        down = torch.stack([each.lora_A[name].weight for each, name in present]).to(self._dtype)
        ups = [
            each.lora_B[name].weight * (each.scaling[name] * drop.scale) if each is not None else base.weight[:, :0]
            for base, each in zip(self._bases, self._adapters, strict=True)
        ]
        up: Tensor = torch.block_diag(*ups)  # type: ignore[no-untyped-call]
        return adapted(x, weight, bias, down, up.to(self._dtype), drop)

    def _side_by_side(self, *, folded: bool) -> tuple[Tensor, Tensor | None]:
        weights = [
            base.weight + module.get_delta_weight(module.active_adapters[0]) if folded and module else base.weight
            for base, module in zip(self._bases, self._adapters, strict=True)
        ]
        biases = [base.bias for base in self._bases]
        joined = None if any(bias is None for bias in biases) else torch.cat(biases).to(self._dtype)
        return torch.cat(weights).to(self._dtype), joined


def _norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    # A GPU's kernel takes one dtype alone.
    weight, bias = (each.to(x.dtype) if x.is_cuda else each for each in (norm.weight, norm.bias))
    return functional.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)


def _pool(mode: str, x: Tensor, layout: Layout) -> Tensor:
    """(texts, d) from (N, d), as the library's pooling does it, in float32."""
    if mode == "cls":
        return x[layout.starts].float()
    if mode == "mean":
        at = torch.arange(len(x), device=x.device) - layout.starts[:, None]
        inside = (at >= 0) & (at < layout.lengths[:, None])
        return (inside / layout.lengths[:, None]) @ x.float()
    # Each text's rows, its first one again where it is shorter than the longest.
    at = torch.arange(layout.longest, device=x.device)
    rows = layout.starts[:, None] + torch.where(at < layout.lengths[:, None], at, 0)
    return x[rows].max(1).values.float()
