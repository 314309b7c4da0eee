"""What an encoder is made of, as far as the packed forward pass knows it; and why it can't take one that it doesn't."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from peft.tuners.lora import Linear as LoraLinear
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch import Tensor, nn
from transformers import PreTrainedModel

ARCHITECTURES = ("Bert", "Roberta", "XLMRoberta", "Camembert", "MPNet", "DistilBert")
POOLING = ("mean", "cls", "max")


@dataclass(frozen=True)
class Layer:
    """One block of a transformer with its norms after its sums, as BERT's; rates are those of dropout."""

    qkv: tuple[nn.Module, nn.Module, nn.Module]
    attended: nn.Module
    attended_norm: nn.LayerNorm
    up: nn.Module
    activation: Callable[[Tensor], Tensor]
    down: nn.Module
    down_norm: nn.LayerNorm
    heads: int
    scaling: float
    rates: tuple[float, float, float]  # of the attention's probabilities, after `attended`, after `down`


def reasons_against(encoder: SentenceTransformer) -> list[str]:
    """Why the packed forward pass wouldn't compute what the encoder's own does; empty where it does."""
    modules, transformer = list(encoder), encoder.transformers_model
    kinds = [type(module) for module in modules]
    if kinds[:2] != [Transformer, Pooling] or any(kind is not Normalize for kind in kinds[2:]):
        return [f"its modules are {', '.join(kind.__name__ for kind in kinds)}"]
    if type(transformer) not in [getattr(transformers, f"{name}Model") for name in ARCHITECTURES]:
        return [f"its architecture is {type(transformer).__name__}"]
    assert isinstance(transformer, PreTrainedModel)
    tokenizer, pooling = encoder.tokenizer, modules[1]
    against = {
        f"its pooling is {pooling.pooling_mode}": pooling.pooling_mode not in POOLING,
        "it leaves prompts out of its pooling": not pooling.include_prompt,
        "it puts a prompt before texts": encoder.default_prompt_name is not None,
        "it expands queries": modules[0].query_expansion is not None,
        "it cuts embeddings short": encoder.truncate_dim is not None,
        "it normalizes token embeddings": any(
            module.module_input_name != "sentence_embedding" for module in modules[2:]
        ),
        "it pads on the left": tokenizer.padding_side != "right",
        "an empty text has no token": tokenizer.num_special_tokens_to_add() == 0,
        "it is a decoder": getattr(transformer.config, "is_decoder", False),
        "its weights are not float32": any(each.dtype != torch.float32 for each in transformer.parameters()),
    }
    found = [reason for reason, holds in against.items() if holds]
    if not found:
        found = sorted({reason for layer in layers(transformer) for reason in _against_layer(layer)})
    return found


def _against_layer(layer: Layer) -> Iterator[str]:
    ranks = {rank for module in layer.qkv if type(module) is LoraLinear for rank in module.r.values()}
    if len(ranks) > 1:
        yield "its queries, keys and values have adapters of different ranks"
    for module in (*layer.qkv, layer.attended, layer.up, layer.down):
        if type(module) is LoraLinear:
            (*adapters,) = [name for name in module.active_adapters if name in module.lora_A]
            if len(adapters) != 1 or module.merged or module.disable_adapters:
                yield "it has not one adapter, active and unmerged"
            elif module.lora_variant or any(module.lora_bias.values()) or module.fan_in_fan_out:
                yield "its adapter is more than B A"
            module = module.base_layer
            if any(parameter.requires_grad for parameter in module.parameters()):
                yield "it trains weights under an adapter"
        if type(module) is not nn.Linear:
            yield f"it has a {type(module).__name__} where a linear layer is expected"
    if max(layer.rates) > 0.99:
        yield "a dropout rate is above 0.99"
    if any(type(norm) is not nn.LayerNorm for norm in (layer.attended_norm, layer.down_norm)):
        yield "its norms are not layer norms"


def layers(transformer: PreTrainedModel) -> list[Layer]:
    """The blocks of a transformer of one of the `ARCHITECTURES`, first to last."""
    own: Any = transformer
    if isinstance(transformer, transformers.DistilBertModel):
        return [_distilbert(layer) for layer in own.transformer.layer]
    read = _mpnet if isinstance(transformer, transformers.MPNetModel) else _bert
    return [read(layer) for layer in own.encoder.layer]


def _bert(layer: Any) -> Layer:
    own, after = layer.attention.self, layer.attention.output
    qkv, rates = (own.query, own.key, own.value), (own.dropout.p, after.dropout.p)
    return _with_feed_forward(layer, qkv, after.dense, after.LayerNorm, own.num_attention_heads, own.scaling, rates)


def _mpnet(layer: Any) -> Layer:
    own, after = layer.attention.attn, layer.attention
    qkv, rates = (own.q, own.k, own.v), (own.dropout.p, after.dropout.p)
    scaling = 1 / math.sqrt(own.attention_head_size)
    return _with_feed_forward(layer, qkv, own.o, after.LayerNorm, own.num_attention_heads, scaling, rates)


def _with_feed_forward(
    layer: Any, qkv: Any, attended: Any, norm: Any, heads: int, scaling: float, rates: tuple[float, float]
) -> Layer:
    up, down = layer.intermediate, layer.output
    feed_forward = (up.dense, up.intermediate_act_fn, down.dense, down.LayerNorm)
    return Layer(qkv, attended, norm, *feed_forward, heads, scaling, (*rates, down.dropout.p))


def _distilbert(layer: Any) -> Layer:
    own, after = layer.attention, layer.ffn
    feed_forward = (after.lin1, after.activation, after.lin2, layer.output_layer_norm)
    qkv, rates = (own.q_lin, own.k_lin, own.v_lin), (own.dropout.p, 0.0, after.dropout.p)
    return Layer(qkv, own.out_lin, layer.sa_layer_norm, *feed_forward, own.n_heads, own.scaling, rates)
