"""The sentence encoder: opened, given its LoRA adapter, asked for embeddings.

The only importer of peft. A low-rank adapter adds (alpha / r) B A to a frozen weight W, with A
(r, in) drawn at random and B (out, r) zero at the start (Hu et al. 2021, arXiv 2106.09685), so that
an untrained adapter changes nothing.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import peft
import torch
from numpy.typing import NDArray
from peft.tuners.lora import Linear as LoraLinear
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import PreTrainedModel

from promax import base, packed, weights
from promax.config import ConfigError, LoraConfig, ModelConfig

_BERT = {
    "qkv": ("query", "key", "value"),
    # output.dense is the attention's and the feed-forward's; a bare `dense` would be the pooler's too.
    "all_linear": ("query", "key", "value", "intermediate.dense", "output.dense"),
}

# transformers' model_type -> the names of its linear layers, matched as PEFT does: whole, or as the end of a
# module's dotted name.
TARGET_MODULES: dict[str, dict[str, tuple[str, ...]]] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "mpnet": {
        "qkv": ("q", "k", "v"),
        "all_linear": ("q", "k", "v", "o", "intermediate.dense", "output.dense"),
    },
    "distilbert": {
        "qkv": ("q_lin", "k_lin", "v_lin"),
        "all_linear": ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
    },
    # One fused matrix for query, key and value.
    "modernbert": {
        "qkv": ("attn.Wqkv",),
        "all_linear": ("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo"),
    },
}


def resolve_device(requested: str) -> str:
    """The torch device to use; `auto` is the first of cuda, mps and cpu that this machine has.

    Raises:
        ConfigError: `requested` names a device that isn't there.

    >>> resolve_device("cpu")
    'cpu'
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if requested == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    kind, _, index = requested.partition(":")
    if (kind == "cuda" and not cuda) or (kind == "mps" and not mps):
        raise ConfigError(f"device={requested}: this machine has no {kind} device that torch can use; try device=auto")
    if index and int(index) >= torch.cuda.device_count():
        raise ConfigError(f"device={requested}: this machine has {torch.cuda.device_count()} cuda device(s), from 0")
    return requested


def load(cfg: ModelConfig, device: str, seed: int) -> SentenceTransformer:
    """Open the base encoder in float32, evaluation mode, with what `cfg` asks for applied.

    With `cfg.lora`, the adapter's weights are the only trainable ones. Without, every weight is
    trainable but a pooler's: sentence embeddings are pooled from token embeddings, so the pooler
    that some base models carry never gets a gradient.

    Args:
        cfg: the model group of a run's config.
        device: where to put it, as `resolve_device` gives it.
        seed: decides all that is drawn at random: the adapter's A, and weights that the base's file
            lacks (a pooler's). The same on every device; torch's own generators are left as they were.

    Raises:
        ConfigError: the base can't be found or isn't the one asked for (see `weights.locate`), can't
            be opened without code of its own, doesn't compare by cosine, or can't take what `cfg` sets.
    """
    if cfg.lora is None:
        encoder = base.opened(cfg, seed)
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad = not _in_pooler(name)
    else:
        encoder = _adapted(dataclasses.replace(cfg, name="adapted"), seed, weights.files_sha256(cfg)).copy()
    return encoder.to(device).eval()


@lru_cache(maxsize=8)
def _adapted(cfg: ModelConfig, seed: int, _files: str) -> base.Kept:
    """The base with its fresh adapter: trials of one seed have it in common, and attaching takes longer than a copy."""
    assert cfg.lora is not None
    encoder = base.opened(cfg, seed)
    attach_lora(_transformer(encoder), cfg.lora, seed)
    return base.Kept(encoder)


def attach_lora(transformer: PreTrainedModel, lora: LoraConfig, seed: int) -> None:
    """Add a fresh LoRA adapter to a transformers model; its own weights are frozen.

    Nothing is changed unless every name in the list of target modules matches a linear layer and
    none of them matches the pooler. The draw of A depends on `seed` alone.

    Raises:
        ConfigError: the architecture has no entry in `TARGET_MODULES` and the config no
            `target_modules`, or names match nothing, a pooler or something not linear (all are listed).
    """
    targets = _targets(transformer, lora)
    expected = _matches(transformer, targets)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        transformer.add_adapter(
            peft.LoraConfig(
                r=lora.r,
                lora_alpha=lora.alpha,
                lora_dropout=lora.dropout,
                target_modules=targets,
                task_type=peft.TaskType.FEATURE_EXTRACTION,
            )
        )
    adapted = {name for name, module in transformer.named_modules() if isinstance(module, LoraLinear)}
    assert adapted == expected, "PEFT adapted other modules than were asked for"


def embed(
    encoder: SentenceTransformer, texts: list[str], batch_size: int, *, precision: str = "fp32", progress: bool = False
) -> NDArray[np.float32]:
    """Unit-length embeddings of `texts`, row i for text i, shape (n, d).

    In evaluation mode and without gradients; every module's mode is put back. By the packed forward
    pass in `precision` (see `promax.packed.resolve`) where it knows the encoder, else by the library's
    in float32. Equal texts are embedded once and get equal rows to the last bit. No texts give shape (0, d).

    Raises:
        RuntimeError: some embeddings are not finite, as after a training that diverged.
    """
    dimension = encoder.get_embedding_dimension()
    assert dimension is not None
    distinct = list(dict.fromkeys(texts))
    if distinct and not packed.reasons_against(encoder):
        encoded = packed.encode(
            encoder, distinct, batch_size, packed.resolve(precision, encoder.device), progress=progress
        )
    else:
        encoded = _encode(encoder, distinct, batch_size, progress=progress)
    vectors = np.asarray(encoded, dtype=np.float32).reshape(len(distinct), dimension)
    broken = int((~np.isfinite(vectors)).any(axis=1).sum())
    if broken:
        raise RuntimeError(f"{broken} of {len(distinct)} embeddings are not finite; the training diverged")
    row = {text: i for i, text in enumerate(distinct)}
    return vectors[[row[text] for text in texts]]


def _encode(encoder: SentenceTransformer, texts: list[str], batch_size: int, *, progress: bool) -> NDArray[np.float32]:
    modes = [(module, module.training) for module in encoder.modules()]
    try:
        return encoder.encode(texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=progress)
    finally:
        for module, mode in modes:
            module.training = mode


def merged_weights(encoder: SentenceTransformer) -> dict[str, torch.Tensor]:
    """The encoder's weights under the names they have without an adapter, W + (alpha / r) B A where it has one."""
    state = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in encoder.state_dict().items()
        if ".lora_" not in name
    }
    with torch.no_grad():
        for name, module in encoder.named_modules():
            if isinstance(module, LoraLinear):
                state[f"{name}.weight"] = state[f"{name}.weight"] + module.get_delta_weight("default")
    return state


def has_adapter(encoder: SentenceTransformer) -> bool:
    """Whether the encoder carries a LoRA adapter."""
    return any(isinstance(module, LoraLinear) for module in encoder.modules())


def _targets(transformer: PreTrainedModel, lora: LoraConfig) -> list[str]:
    """The names to adapt, each of them checked."""
    kind = transformer.config.model_type
    linear = [name for name, module in transformer.named_modules() if isinstance(module, nn.Linear)]
    if lora.target_modules is None and kind not in TARGET_MODULES:
        names = sorted({name.rpartition(".")[2] for name in linear if not _in_pooler(name)})
        raise ConfigError(
            f"model.lora.targets={lora.targets}: unknown for {kind}, known for {', '.join(TARGET_MODULES)}\n"
            f"name the linear layers: model.lora.target_modules=[...] out of {', '.join(names)}"
        )
    targets = list(lora.target_modules or TARGET_MODULES[kind][lora.targets])
    problems = []
    for target in targets:
        found = _matches(transformer, [target])
        if not found:
            problems.append(f"{target} matches nothing")
        elif any(_in_pooler(name) for name in found):
            problems.append(f"{target} matches the unused pooler")
        elif not found <= set(linear):
            problems.append(f"{target} is not a linear layer")
    if problems:
        known = "; ".join(f"{key}: {', '.join(names)}" for key, names in TARGET_MODULES.get(kind, {}).items())
        raise ConfigError(
            f"model.lora.target_modules=[{','.join(targets)}]: in {kind}, {'; '.join(problems)}"
            + (f"\n{kind} has {known}" if known else "")
        )
    return targets


def _matches(transformer: nn.Module, targets: list[str]) -> set[str]:
    """The modules that PEFT would adapt for a list of targets."""
    return {
        name
        for name, _ in transformer.named_modules()
        if any(name == target or name.endswith(f".{target}") for target in targets)
    }


def _in_pooler(name: str) -> bool:
    return "pooler" in name.split(".")


def _transformer(encoder: SentenceTransformer) -> PreTrainedModel:
    transformer = encoder.transformers_model
    assert transformer is not None, "weights.locate lets only transformers models pass"
    return transformer
