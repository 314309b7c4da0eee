"""The encoder: devices, adapters on every architecture, embeddings.

Architectures are built on torch's meta device where only names and shapes matter: nothing is
allocated, so the published sizes cost nothing.
"""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import (
    AutoModel,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from promax import base, weights
from promax import encoder as encoders
from promax.config import ConfigError, LoraConfig, ModelConfig

# The published sizes of all-MiniLM-L6-v2; transformers' defaults are bert-base, mpnet-base and so on.
MINILM = BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536)
ARCHITECTURES = [
    MINILM,
    RobertaConfig(),
    XLMRobertaConfig(),
    CamembertConfig(),
    MPNetConfig(),
    DistilBertConfig(),
    ModernBertConfig(),
]
TEXTS = ["VPN drops every few minutes", "Cannot log on after the password reset", "Printer prints blank pages"]


def meta(config: PreTrainedConfig) -> PreTrainedModel:
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    assert isinstance(model, PreTrainedModel)
    return model


def linear_names(model: nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def adapted_names(model: nn.Module) -> set[str]:
    return {name.removesuffix(".base_layer") for name in linear_names(model) if name.endswith(".base_layer")}


def by_kind(config: PreTrainedConfig) -> str:
    return str(config.model_type)


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformer:
    """The default encoder; tests that change it open their own."""
    return encoders.load(ModelConfig(), "cpu", seed=0)


# --- devices ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A machine with neither CUDA nor MPS, to which a test adds."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    yield monkeypatch


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_prefers_cuda_then_mps_then_cpu(machine: pytest.MonkeyPatch, cuda: bool, mps: bool, chosen: str) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: cuda)
    machine.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert encoders.resolve_device("auto") == chosen
    assert encoders.resolve_device("cpu") == "cpu"


@pytest.mark.parametrize(("device", "kind"), [("cuda", "cuda"), ("cuda:0", "cuda"), ("mps", "mps")])
def test_a_device_that_is_not_there(machine: pytest.MonkeyPatch, device: str, kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        encoders.resolve_device(device)
    assert str(caught.value) == (
        f"device={device}: this machine has no {kind} device that torch can use; try device=auto"
    )


def test_a_cuda_number_beyond_the_last(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: True)
    machine.setattr(torch.cuda, "device_count", lambda: 2)
    assert encoders.resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(ConfigError) as caught:
        encoders.resolve_device("cuda:2")
    assert str(caught.value) == "device=cuda:2: this machine has 2 cuda device(s), from 0"


# --- target modules --------------------------------------------------------------------------------------------------


def test_every_architecture_of_the_table_is_tested() -> None:
    assert {by_kind(config) for config in ARCHITECTURES} == set(encoders.TARGET_MODULES)


@pytest.mark.parametrize("config", ARCHITECTURES, ids=by_kind)
def test_all_linear_is_every_linear_layer_but_the_pooler(config: PreTrainedConfig) -> None:
    model = meta(config)
    expected = {name for name in linear_names(model) if not name.startswith("pooler")}
    encoders.attach_lora(model, LoraConfig(targets="all_linear"), seed=0)
    assert adapted_names(model) == expected
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        f"{name}.lora_{side}.default.weight" for name in expected for side in "AB"
    }


@pytest.mark.parametrize("config", ARCHITECTURES, ids=by_kind)
def test_qkv_maps_the_hidden_state_to_three_of_its_size_in_each_layer(config: PreTrainedConfig) -> None:
    model = meta(config)
    encoders.attach_lora(model, LoraConfig(targets="qkv"), seed=0)
    hidden = config.hidden_size
    widths = [model.get_submodule(name).out_features for name in adapted_names(model)]
    assert all(model.get_submodule(name).in_features == hidden for name in adapted_names(model))
    assert sum(widths) == 3 * hidden * config.num_hidden_layers
    assert all(".att" in name for name in adapted_names(model))


def trainable(model: nn.Module) -> int:
    """How many numbers an optimizer may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


# Published counts for r = 16: FACTS of the project that promax follows. Where they take the pooler in, its
# adapter's (in + out) r are taken off, since promax refuses it.
@pytest.mark.parametrize(
    ("config", "lora", "count"),
    [
        (MPNetConfig(), LoraConfig(targets="qkv"), 884_736),
        (MPNetConfig(), LoraConfig(target_modules=["q", "k", "v", "o"]), 1_179_648),
        (MPNetConfig(), LoraConfig(targets="all_linear"), 2_678_784 - (768 + 768) * 16),
        (MINILM, LoraConfig(targets="qkv"), 221_184),
        (MINILM, LoraConfig(targets="all_linear"), 675_840 - (384 + 384) * 16),
    ],
)
def test_lora_counts(config: PreTrainedConfig, lora: LoraConfig, count: int) -> None:
    model = meta(config)
    encoders.attach_lora(model, lora, seed=0)
    assert trainable(model) == count


MPNET_HAS = "mpnet has qkv: q, k, v; all_linear: q, k, v, o, intermediate.dense, output.dense"


@pytest.mark.parametrize(
    ("names", "problems"),
    [
        # What silently trained the wrong layers in the project that motivated promax.
        (["query", "key", "value"], "query matches nothing; key matches nothing; value matches nothing"),
        (["q", "k", "value"], "value matches nothing"),
        (["q", "dense"], "dense matches the unused pooler"),
        (["attention", "pooler.dense"], "attention is not a linear layer; pooler.dense matches the unused pooler"),
        (["word_embeddings"], "word_embeddings is not a linear layer"),
        (["all-linear"], "all-linear matches nothing"),
    ],
)
def test_wrong_target_modules_are_all_named_and_nothing_is_adapted(names: list[str], problems: str) -> None:
    model = meta(MPNetConfig())
    with pytest.raises(ConfigError) as caught:
        encoders.attach_lora(model, LoraConfig(target_modules=names), seed=0)
    assert str(caught.value) == f"model.lora.target_modules=[{','.join(names)}]: in mpnet, {problems}\n{MPNET_HAS}"
    assert adapted_names(model) == set()


def test_an_unknown_architecture_needs_target_modules() -> None:
    model = meta(ElectraConfig())
    with pytest.raises(ConfigError) as caught:
        encoders.attach_lora(model, LoraConfig(), seed=0)
    assert str(caught.value) == (
        "model.lora.targets=all_linear: unknown for electra, known for "
        "bert, roberta, xlm-roberta, camembert, mpnet, distilbert, modernbert\n"
        "name the linear layers: model.lora.target_modules=[...] out of "
        "dense, embeddings_project, key, query, value"
    )
    encoders.attach_lora(model, LoraConfig(target_modules=["query", "value"]), seed=0)
    assert len(adapted_names(model)) == 2 * 12
    with pytest.raises(ConfigError, match=r"in electra, nope matches nothing$"):
        encoders.attach_lora(meta(ElectraConfig()), LoraConfig(target_modules=["nope"]), seed=0)


# --- load ------------------------------------------------------------------------------------------------------------


def lora_a(encoder: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in encoder.named_parameters() if ".lora_A." in name}


def test_the_adapter_depends_on_the_seed_alone() -> None:
    cfg = ModelConfig(lora=LoraConfig())
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = lora_a(encoders.load(cfg, "cpu", seed=7))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    again = lora_a(encoders.load(cfg, "cpu", seed=7))
    other = lora_a(encoders.load(cfg, "cpu", seed=8))
    assert len(first) == 6 * 6  # six linear layers in each of six blocks
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_the_settings_of_lora_reach_every_layer() -> None:
    encoder = encoders.load(ModelConfig(lora=LoraConfig(r=4, alpha=12, dropout=0.25)), "cpu", seed=0)
    layers = [module for module in encoder.modules() if hasattr(module, "lora_A")]
    assert len(layers) == 36
    assert {layer.scaling["default"] for layer in layers} == {12 / 4}
    assert {layer.lora_dropout["default"].p for layer in layers} == {0.25}
    assert {layer.lora_A["default"].out_features for layer in layers} == {4}


def test_an_untrained_adapter_changes_nothing(minilm: SentenceTransformer) -> None:
    adapted = encoders.load(ModelConfig(lora=LoraConfig()), "cpu", seed=0)
    assert np.array_equal(encoders.embed(adapted, TEXTS, 8), encoders.embed(minilm, TEXTS, 8))


@pytest.mark.parametrize("lora", [None, LoraConfig()], ids=["full", "lora"])
def test_an_encoder_comes_in_evaluation_mode(lora: LoraConfig | None) -> None:
    encoder = encoders.load(ModelConfig(lora=lora), "cpu", seed=0)
    assert not any(module.training for module in encoder.modules())


def test_without_lora_everything_but_the_pooler_is_trained(minilm: SentenceTransformer) -> None:
    # By hand, with h = 384: embeddings (30522 + 512 + 2) h + 2 h; a block 4 (h h + h) + 2 h + h 1536 + 1536 + 1536 h
    # + h + 2 h; six blocks. The pooler's h h + h brings the model to its published 22,713,216.
    assert trainable(minilm) == 22_565_376
    assert sum(p.numel() for p in minilm.parameters()) == 22_565_376 + 384 * 384 + 384 == 22_713_216


@pytest.mark.parametrize("lora", [None, LoraConfig()], ids=["full", "lora"])
def test_every_trainable_weight_gets_a_gradient(lora: LoraConfig | None) -> None:
    encoder = encoders.load(ModelConfig(lora=lora), "cpu", seed=0).train()
    # Towards another text: cosines of a text with itself have no gradient.
    a, b = (encoder(encoder.preprocess([text]))["sentence_embedding"] for text in TEXTS[:2])
    (a * b).sum().backward()
    got = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert got == {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert len(got) == (101 if lora is None else 72)  # MiniLM's 103 tensors less the pooler's 2; A and B of 36 layers


def test_dropout_replaces_the_rates_of_the_base() -> None:
    def spread(cfg: ModelConfig) -> float:
        encoder = encoders.load(cfg, "cpu", seed=0).train()
        features = encoder.preprocess(TEXTS)
        with torch.no_grad():
            first, second = (encoder(dict(features))["sentence_embedding"] for _ in range(2))
        return float((first - second).norm())

    assert spread(ModelConfig(dropout=0.0)) == 0
    assert 0 < spread(ModelConfig()) < spread(ModelConfig(dropout=0.5))


def write_config(config: PreTrainedConfig, folder: Path) -> str:
    config.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("config", ARCHITECTURES, ids=by_kind)
def test_dropout_reaches_every_dropout_of_the_architecture(config: PreTrainedConfig, tmp_path: Path) -> None:
    rates = base._dropout_rates(ModelConfig(dropout=0.375), write_config(config, tmp_path))
    changed = type(config)(**{**config.to_dict(), **rates})
    model = meta(changed)
    dropouts = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    assert len(dropouts) > config.num_hidden_layers
    assert set(dropouts) == {0.375}


def test_dropout_of_a_base_without_any(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        base._dropout_rates(ModelConfig(path="mine", dropout=0.5), write_config(ResNetConfig(), tmp_path))
    assert str(caught.value) == "model.dropout=0.5: the config of mine holds no dropout rate to replace"


def state(encoder: SentenceTransformer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in encoder.state_dict().items()}


def forget_encoders() -> None:
    base._kept.cache_clear()
    encoders._adapted.cache_clear()


@pytest.mark.parametrize("lora", [LoraConfig(), None], ids=["lora", "full"])
def test_an_encoder_of_a_kept_base_is_one_fresh_from_its_files(
    lora: LoraConfig | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was trained before it in the same process."""
    cfg = ModelConfig(lora=lora)
    forget_encoders()
    fresh = state(encoders.load(cfg, "cpu", seed=7))
    before = encoders.load(cfg, "cpu", seed=3)
    with torch.no_grad():
        for parameter in before.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    monkeypatch.setattr(base, "SentenceTransformer", lambda *_, **__: pytest.fail("opened again"))
    monkeypatch.setattr(encoders, "attach_lora", lambda *_, **__: pytest.fail("attached again"))
    after = encoders.load(cfg, "cpu", seed=7)
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in after.state_dict().items())
    assert after.state_dict().keys() == fresh.keys()
    assert [each.requires_grad for each in after.parameters()] == [each.requires_grad for each in before.parameters()]


def test_a_copy_is_what_a_deep_copy_is() -> None:
    """Module by module: what is one object within the encoder is one within its copy, and none is in both."""
    encoder = encoders.load(ModelConfig(), "cpu", seed=0)
    transformer = encoder.transformers_model
    assert transformer is not None
    seen: list[str] = []
    transformer.embeddings.register_forward_hook(lambda *_: seen.append("embeddings"))
    plain, copied = copy.deepcopy(encoder), base._copied(encoder, {})
    numbers = [{id(each): number for number, each in enumerate(which.modules())} for which in (plain, copied)]
    for one, other, own in zip(plain.modules(), copied.modules(), encoder.modules(), strict=True):
        assert type(one) is type(other) is type(own) and list(vars(one)) == list(vars(other)) == list(vars(own))
        for (name, left), right, mine in zip(vars(one).items(), vars(other).values(), vars(own).values(), strict=True):
            assert type(left) is type(right), name
            if isinstance(left, dict):
                assert list(left) == list(right) and right is not mine, name
            if isinstance(left, nn.Module):
                assert numbers[0][id(left)] == numbers[1][id(right)], name
    assert not {id(each) for each in encoder.parameters()} & {id(each) for each in copied.parameters()}
    texts = ["VPN drops", "cannot log in to the portal"]
    one, other = (torch.from_numpy(each.encode(texts)) for each in (plain, copied))
    assert torch.equal(one, other) and seen == ["embeddings"] * 2


def test_a_kept_adapter_is_that_of_its_config_and_its_seed() -> None:
    """Whichever were kept before: each is the one that PEFT attaches to a base of its own."""
    configs = [
        ModelConfig(lora=LoraConfig(r=rank, targets=targets)) for rank in (2, 3) for targets in ("qkv", "all_linear")
    ]
    for cfg, seed in itertools.product(configs, (0, 1)):
        for _ in range(2):
            loaded = encoders.load(cfg, "cpu", seed)
        assert cfg.lora is not None and loaded.transformers_model is not None
        attached = base.opened(cfg, seed)
        encoders.attach_lora(attached.transformers_model, cfg.lora, seed)
        expected = state(attached)
        assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
        assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in attached.named_parameters()]
        assert loaded.transformers_model.peft_config == attached.transformers_model.peft_config


def test_writing_into_shared_weights_is_found_out() -> None:
    forget_encoders()
    cfg = ModelConfig(lora=LoraConfig())
    frozen = next(each for each in encoders.load(cfg, "cpu", seed=0).parameters() if not each.requires_grad)
    with torch.no_grad():
        frozen.add_(1.0)
    with pytest.raises(AssertionError, match="the weights of a kept encoder were written to"):
        encoders.load(cfg, "cpu", seed=0)
    forget_encoders()


def test_a_base_whose_files_lack_weights_is_that_of_its_seed(tmp_path: Path) -> None:
    """A pooler is not in the file, so that transformers draws one."""
    source = weights.locate(ModelConfig())
    shutil.copytree(source, tmp_path / "model")
    kept = safetensors.torch.load_file(source / "model.safetensors")
    without = {name: tensor for name, tensor in kept.items() if "pooler" not in name}
    assert len(without) == len(kept) - 2
    safetensors.torch.save_file(without, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    cfg = ModelConfig(path=str(tmp_path / "model"), lora=LoraConfig())
    one, again, other = (state(encoders.load(cfg, "cpu", seed)) for seed in (1, 1, 2))
    pooler = next(name for name in one if name.endswith("pooler.dense.weight"))
    assert torch.equal(one[pooler], again[pooler]) and not torch.equal(one[pooler], other[pooler])


def test_max_seq_length_cuts_the_text() -> None:
    encoder = encoders.load(ModelConfig(max_seq_length=8), "cpu", seed=0)
    assert encoder.preprocess(["printer " * 50])["input_ids"].shape == (1, 8)
    # [CLS] and [SEP] take two of the eight.
    long, same_start = encoders.embed(encoder, ["printer " * 50, "printer " * 6], 8)
    assert np.array_equal(long, same_start)


def test_max_seq_length_beyond_the_positions() -> None:
    assert encoders.load(ModelConfig(max_seq_length=512), "cpu", seed=0).max_seq_length == 512
    with pytest.raises(ConfigError) as caught:
        encoders.load(ModelConfig(max_seq_length=513), "cpu", seed=0)
    assert str(caught.value) == "model.max_seq_length=513: this encoder has positions for 512 tokens at most"


def test_a_changed_weights_file_is_not_opened(tmp_path: Path) -> None:
    folder = copy_of_minilm(tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    published = weights.weights_sha256(ModelConfig())
    with pytest.raises(ConfigError, match=r"^model\.sha256=53aa51172d14…: "):
        encoders.load(ModelConfig(path=str(folder), sha256=published), "cpu", seed=0)


def copy_of_minilm(tmp_path: Path, **changes: dict[str, object]) -> Path:
    """A folder with the default encoder's files, some JSON ones with keys changed."""
    folder = tmp_path / "copy"
    shutil.copytree(weights.locate(ModelConfig()), folder, copy_function=lambda a, b: Path(b).symlink_to(a))
    for stem, keys in changes.items():
        path = folder / f"{stem}.json"
        held = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        path.write_text(json.dumps({**held, **keys}), encoding="utf-8")
    return folder


def test_a_base_that_does_not_compare_by_cosine(tmp_path: Path) -> None:
    path = str(copy_of_minilm(tmp_path, config_sentence_transformers={"similarity_fn_name": "dot"}))
    with pytest.raises(ConfigError) as caught:
        encoders.load(ModelConfig(path=path), "cpu", seed=0)
    assert str(caught.value) == f"model.path={path}: compares by dot, promax by cosine only"


def test_a_base_with_code_of_its_own_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    own = {"model_type": "novel", "auto_map": {"AutoConfig": "novel.Novel", "AutoModel": "novel.NovelModel"}}
    folder = copy_of_minilm(tmp_path, config=own)
    (folder / "novel.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ConfigError) as caught:
        encoders.load(ModelConfig(path=str(folder)), "cpu", seed=0)
    first, _, second = str(caught.value).partition("\n")
    assert first == f"model.path={folder}: can't be opened as a sentence encoder"
    assert second and "\n" not in second
    assert not (tmp_path / "ran").exists()


# --- embed -----------------------------------------------------------------------------------------------------------


def test_embeddings_are_the_librarys_in_the_order_given(minilm: SentenceTransformer) -> None:
    texts = [*TEXTS, "x", "word " * 40, TEXTS[0]]
    ours = encoders.embed(minilm, texts, 2)
    assert ours.dtype == np.float32
    assert ours.shape == (6, 384)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)
    # The oracle: the library, one text at a time, so that neither order nor padding can matter.
    alone = np.stack([minilm.encode(text, normalize_embeddings=True) for text in texts])
    np.testing.assert_allclose(ours, alone, atol=1e-6)


def test_equal_texts_are_embedded_once_and_get_the_same_bits(
    minilm: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embedded twice, one copy would be padded to the long text's length and could differ in its last bits."""
    texts = [TEXTS[0], "word " * 40, TEXTS[0]]
    first = encoders.embed(minilm, texts, 2)
    encoded = []
    encode = encoders.packed.encode

    def watched(encoder: SentenceTransformer, given: list[str], *rest: object, **options: object) -> object:
        encoded.extend(given)
        return encode(encoder, given, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(encoders.packed, "encode", watched)
    again = encoders.embed(minilm, texts, 2)
    assert encoded == texts[:2]
    assert np.array_equal(first, again)
    assert np.array_equal(again[0], again[2])


def test_no_texts_give_no_rows(minilm: SentenceTransformer) -> None:
    assert encoders.embed(minilm, [], 2).shape == (0, 384)


def test_embedding_needs_no_dropout_and_leaves_every_mode(minilm: SentenceTransformer) -> None:
    encoder = encoders.load(ModelConfig(dropout=0.5), "cpu", seed=0)
    expected = encoders.embed(minilm, TEXTS, 8)
    encoder.train()
    encoder[1].eval()
    modes = [module.training for module in encoder.modules()]
    assert np.array_equal(encoders.embed(encoder, TEXTS, 8), expected)
    assert [module.training for module in encoder.modules()] == modes
    assert True in modes and False in modes


def test_embeddings_that_are_not_finite_are_an_error() -> None:
    encoder = encoders.load(ModelConfig(), "cpu", seed=0)
    with torch.no_grad():
        # The row of one token: only the text that holds it is hit.
        token = encoder.tokenizer.convert_tokens_to_ids("printer")
        encoder.transformers_model.embeddings.word_embeddings.weight[token] = torch.nan
    with pytest.raises(RuntimeError) as caught:
        encoders.embed(encoder, TEXTS, 1)
    assert str(caught.value) == "1 of 3 embeddings are not finite; the training diverged"


@pytest.mark.parametrize("named", ["modules.json", "config.json"])
def test_code_in_a_model_folder_is_never_run(named: str, tmp_path: Path) -> None:
    """A module class, or an architecture, of the folder's own: its code would leave a file behind."""
    folder, left = tmp_path / "model", tmp_path / "run"
    shutil.copytree(weights.locate(ModelConfig()), folder)
    (folder / "own.py").write_text(f"open({str(left)!r}, 'w').close()\nclass Own: pass\n", encoding="utf-8")
    path = folder / named
    held = json.loads(path.read_text(encoding="utf-8"))
    if named == "modules.json":
        held.append({"idx": 3, "name": "3", "path": "", "type": "own.Own"})
    else:
        held |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    path.write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(ConfigError, match="can't be opened as a sentence encoder"):
        encoders.load(ModelConfig(path=str(folder)), "cpu", seed=0)
    assert not left.exists()
