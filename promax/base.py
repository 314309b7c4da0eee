"""The base encoder, opened once a process and copied for each run: a sweep's trials have it in common.

What a run is given is its own: its modules are copies, and so are the weights that it may train. Frozen ones share
their memory with the base, and a write into them is found out.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict
from functools import lru_cache
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import AutoConfig
from transformers.utils import logging as transformers_logging

from promax import weights
from promax.config import ConfigError, ModelConfig


def opened(cfg: ModelConfig, seed: int) -> SentenceTransformer:
    """The base of `cfg` on the processor, without its adapter; with one to come, all its weights are frozen.

    It is the same to the last bit whether its files were read for it or for a run before.

    Args:
        cfg: the model group of a run's config.
        seed: decides weights that the files lack; torch's own generators are left as they were.

    Raises:
        ConfigError: as `promax.encoder.load`.
    """
    base, drew = _kept(dataclasses.replace(cfg, name="base", lora=None), weights.files_sha256(cfg))
    # What the files lack was drawn at random: the kept base has that of one seed.
    encoder = _open(cfg, seed)[0] if drew else base.copy(shared=cfg.lora is not None)
    return encoder.requires_grad_(cfg.lora is None)


class Kept:
    """An encoder to be copied and never to be used itself; its tokenizer is its copies' too."""

    def __init__(self, encoder: SentenceTransformer) -> None:
        self._encoder = encoder
        self._versions = self._written()

    def copy(self, *, shared: bool = True) -> SentenceTransformer:
        """A new encoder, with the same parameters; `shared` frozen ones have their memory in common with this one's."""
        assert self._versions == self._written(), "the weights of a kept encoder were written to"
        memo: dict[int, Any] = {id(self._encoder.tokenizer): self._encoder.tokenizer}
        for each in self._encoder.parameters() if shared else ():
            if not each.requires_grad:
                memo[id(each)] = nn.Parameter(each.detach(), requires_grad=False)
        return _copied(self._encoder, memo)

    def _written(self) -> list[int]:
        """How often each parameter was written to, counted over all that share its memory."""
        return [each._version for each in self._encoder.parameters()]


def _copied(encoder: SentenceTransformer, memo: dict[int, Any]) -> SentenceTransformer:
    """`copy.deepcopy(encoder, memo)` in a quarter of the time, which goes into thousands of empty dicts of hooks."""
    modules = list(encoder.modules())
    if any(hasattr(type(each), "__deepcopy__") for each in modules):
        return copy.deepcopy(encoder, memo)
    for each in modules:
        memo[id(each)] = object.__new__(type(each))
    for each in modules:
        copied_vars = vars(memo[id(each)])
        for name, value in vars(each).items():
            if type(value) in (dict, OrderedDict) and not value:
                memo.setdefault(id(value), type(value)())
            copied_vars[name] = copy.deepcopy(value, memo)
    copied: SentenceTransformer = memo[id(encoder)]
    return copied


@lru_cache(maxsize=1)
def _kept(cfg: ModelConfig, _files: str) -> tuple[Kept, bool]:
    """The base of `cfg`, opened once as long as its files stay what they are, and whether they lack weights."""
    encoder, drew = _open(cfg, seed=0)
    return Kept(encoder.requires_grad_(False)), drew


def _open(cfg: ModelConfig, seed: int) -> tuple[SentenceTransformer, bool]:
    """The base encoder from its files, and whether `seed` had a part in it; raises as `opened`."""
    folder = weights.locate(cfg)
    # Reading weights takes a moment; its bar would only get between the lines that say what the run does.
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=[]):
        before = torch.default_generator.manual_seed(seed).get_state()
        try:
            encoder = SentenceTransformer(
                str(folder),
                device="cpu",
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
                config_kwargs=_dropout_rates(cfg, str(folder)),
            )
        except ConfigError:
            raise
        except Exception as error:  # each architecture fails in its own way
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(f"model.path={cfg.path}: can't be opened as a sentence encoder\n{reason}") from error
        drew = not torch.equal(before, torch.default_generator.get_state())
    if encoder.similarity_fn_name != "cosine":
        raise ConfigError(f"model.path={cfg.path}: compares by {encoder.similarity_fn_name}, promax by cosine only")
    if cfg.max_seq_length is not None:
        _set_max_seq_length(encoder, cfg.max_seq_length)
    return encoder, drew


def _dropout_rates(cfg: ModelConfig, folder: str) -> dict[str, Any]:
    """Every dropout rate that the base's config holds, set to `cfg.dropout`; empty where that is null."""
    if cfg.dropout is None:
        return {}
    held = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True).to_dict()
    names = [name for name, value in held.items() if "dropout" in name and isinstance(value, int | float)]
    if not names:
        raise ConfigError(f"model.dropout={cfg.dropout}: the config of {cfg.path} holds no dropout rate to replace")
    return dict.fromkeys(names, cfg.dropout)


def _set_max_seq_length(encoder: SentenceTransformer, length: int) -> None:
    table = getattr(getattr(encoder.transformers_model, "embeddings", None), "position_embeddings", None)
    if isinstance(table, nn.Embedding):
        # RoBERTa and MPNet number positions from padding_idx + 1, so 514 rows hold 512 tokens.
        longest = table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
        if length > longest:
            raise ConfigError(f"model.max_seq_length={length}: this encoder has positions for {longest} tokens at most")
    encoder.max_seq_length = length
