"""A trained encoder as a folder that `SentenceTransformer(path)` opens, with a model card of ours.

A folder that opens is no proof: an adapter saved from, or loaded onto, the wrong object gives the
base model's embeddings without a word. So what was written is opened again and compared, and only
a folder that passed gets its name.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from huggingface_hub import ModelCardData
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from promax import weights
from promax.config import ConfigError, ModelConfig
from promax.encoder import embed, has_adapter, load, merged_weights

ADAPTER = "adapter_model.safetensors"

# The largest difference in any component of a unit-length embedding that still counts as the same. Merging adds
# B A to W before the product with x rather than after, which moves the last bits of float32.
TOLERANCE = {"adapter": 1e-6, "merged": 1e-5}

# Of several lengths; the last is longer than the 512 tokens that BERT and its kin read.
PROBES = [
    "VPN drops every few minutes",
    "The printer on the third floor prints blank pages since this morning.",
    "Cannot log on to the payroll portal after the password reset, error 403.",
    "disk full " * 300,
]


def save(encoder: SentenceTransformer, folder: Path, mode: Literal["adapter", "merged"], card: str) -> None:
    """Write the encoder to `folder`, which must not exist yet, and prove that it reads back.

    `adapter` writes the LoRA weights alone; the folder names its base model by the absolute path it
    was opened from and needs that path, and peft, to be opened. `merged` writes the whole encoder
    with the adapter folded in, if it has one; the folder needs neither. `encoder` isn't changed.

    The folder is written under a temporary name beside its place and opened again. For a handful of
    fixed sentences its embeddings must equal the encoder's (`TOLERANCE`) and differ from the base
    model's. Then it gets its name; after any failure nothing is left.

    Args:
        encoder: as `promax.encoder.load` opened it, trained since.
        folder: where to; missing parents are made.
        mode: what to write.
        card: the text of README.md, as `card` gives it. The library's own model card is not
            written, since it quotes training texts.

    Raises:
        ConfigError: `folder` exists, or `adapter` is asked of an encoder without one.
        RuntimeError: it can't be written, or what was can't be opened, differs from the encoder, or equals the base.
    """
    if folder.exists():
        raise ConfigError(f"{folder}: exists already, and nothing is overwritten")
    if mode == "adapter" and not has_adapter(encoder):
        raise ConfigError("save=adapter: this encoder has no LoRA adapter; use save=merged")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        base = _open_base(encoder)
        untrained = _embed_probes(base)
        written = Path(scratch) / folder.name
        if mode == "adapter":
            _write(encoder, written, name=folder)
            _pin_float32(written)
        else:
            _write(merged(encoder), written, name=folder)
        (written / "README.md").write_text(card, encoding="utf-8")
        _prove(encoder, written, untrained, TOLERANCE[mode], name=folder)
        written.rename(folder)


def merged(encoder: SentenceTransformer) -> SentenceTransformer:
    """The encoder with its adapter, if it has one, folded into the base's weights; `encoder` isn't changed."""
    base = _open_base(encoder)
    base.load_state_dict(merged_weights(encoder))
    return base


def reopen(folder: Path, base: ModelConfig, mode: Literal["adapter", "merged"], device: str) -> SentenceTransformer:
    """The encoder that `save` wrote to `folder`, in evaluation mode, from safetensors alone.

    `base` is the model group of the run's config. It is found anew and must have the hash that the folder's card
    names: the path in an adapter's own files is that of the machine that trained it, and isn't followed.

    Raises:
        ConfigError: the base can't be found or is another one, or the folder isn't what `save` writes.
    """
    held = _base_sha256(folder / "README.md")
    if (found := weights.weights_sha256(base)) != held:
        raise ConfigError(
            f"model.path={base.path}: its {weights.WEIGHTS} has {found[:12]}…, the run was trained on {held[:12]}…\n"
            "these are not the weights that it started from; nothing was loaded"
        )
    if mode == "merged":
        # All that was trained is in the folder itself, whose weights have a hash of their own.
        return load(replace(base, path=str(folder.resolve()), revision=None, sha256=None, lora=None), device, seed=0)
    encoder = load(base, device, seed=0)
    try:
        _put_adapter(encoder, load_file(folder / ADAPTER, device=device))
    except (OSError, SafetensorError):
        raise ConfigError(f"the saved {ADAPTER} can't be read; it is missing, cut short or damaged") from None
    return encoder


def _put_adapter(encoder: SentenceTransformer, tensors: dict[str, torch.Tensor]) -> None:
    """Give the encoder's LoRA adapter the weights of a saved one, as adapter_model.safetensors names them.

    Raises:
        ConfigError: not exactly the encoder's adapted layers, or other shapes.
    """
    # What PEFT saves as base_model.model.X.lora_A.weight, a model calls X.lora_A.default.weight by the adapter's name.
    named = {
        re.sub(r"^base_model\.model\.(.*\.lora_[AB])\.weight$", r"\1.default.weight", name): tensor
        for name, tensor in tensors.items()
    }
    transformer = encoder.transformers_model
    assert transformer is not None, "weights.locate lets only transformers models pass"
    own = {name: tensor for name, tensor in transformer.state_dict().items() if ".lora_" in name}
    if {name: each.shape for name, each in named.items()} != {name: each.shape for name, each in own.items()}:
        raise ConfigError(
            f"the saved adapter has {len(named)} matrices, the encoder {len(own)} to put them in, and they don't match"
        )
    transformer.load_state_dict(named, strict=False)


def _base_sha256(path: Path) -> str:
    """The base's hash, as `card` wrote it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    found = re.search(r"^\| .* \| ([0-9a-f]{64}) \|$", text, re.MULTILINE)
    if found is None:
        raise ConfigError("the saved model has no card that names its base's hash, so nothing was loaded")
    return found[1]


def card(
    *,
    title: str,
    base: str,
    base_sha256: str,
    run_id: str,
    metrics: dict[str, tuple[float, float, float]],
    confidence: float,
    data: dict[str, str],
    hyperparameters: dict[str, str | int | float],
    mode: Literal["adapter", "merged"],
) -> str:
    """The model card, README.md of a saved folder: what it is, what it reached, how to open it.

    It holds what it is handed and nothing else: no ticket text, no example sentence.

    Args:
        title: the heading, such as the run's name.
        base: the base model, as `promax.weights.model_id` gives it.
        base_sha256: of the base model's model.safetensors.
        run_id: the MLflow run that recorded the training.
        metrics: name -> (value, low end, high end), such as "test/spearman" -> (0.52, 0.47, 0.56).
        confidence: the level of the intervals, such as 0.95.
        data: side -> origin with its fingerprint, such as "train" -> "pairs.jsonl sha256:...".
        hyperparameters: the ones that were used, not the ones that were asked for.
        mode: what the folder holds, as in `save`.
    """
    base_model, _, revision = base.partition("@")
    header = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "sentence-similarity", "promax", *(["lora"] if mode == "adapter" else [])],
        # The field takes hub ids only; a package or a folder is named in the text below.
        base_model=base_model if "/" in base_model else None,
    )
    level = f"{100 * confidence:g} % interval"
    sections = [
        f"---\n{header.to_yaml()}\n---\n",
        f"# {title}\n",
        f"{_KIND[mode]} It turns a text into a vector; the cosine of two vectors says how alike two tickets are.\n",
        "## Base model\n",
        _table(["base", "revision", "sha256 of model.safetensors"], [[base_model, revision or "–", base_sha256]]),
        "## Metrics\n",
        _table(
            ["metric", "value", level], [[k, f"{v:.4f}", f"{a:.4f} to {b:.4f}"] for k, (v, a, b) in metrics.items()]
        ),
        "## Data\n",
        _table(["side", "origin"], [[side, origin] for side, origin in data.items()]),
        "## Training\n",
        f"Recorded as run `{run_id}`. These are the values that the training used.\n",
        _table(["hyperparameter", "value"], [[name, str(value)] for name, value in hyperparameters.items()]),
        "## How to open it\n",
        f"```python\n{_USAGE}\n```\n",
        _NEEDS[mode],
    ]
    return "\n".join(sections)


_KIND = {
    "adapter": "A sentence encoder, fine-tuned on pairs of tickets: a LoRA adapter over the base model below.",
    "merged": "A sentence encoder, fine-tuned on pairs of tickets.",
}
_USAGE = """\
from sentence_transformers import SentenceTransformer

encoder = SentenceTransformer("path/to/this/folder")
embeddings = encoder.encode(texts, normalize_embeddings=True)
scores = embeddings @ embeddings.T"""
_NEEDS = {
    "adapter": "This needs `peft`, and the base model at the path that `adapter_config.json` names as\n"
    "`base_model_name_or_path`: elsewhere, set it to where that machine keeps the file with the hash above.\n",
    "merged": "The folder holds the whole encoder; nothing else is needed.\n",
}


def _table(header: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)]) + "\n"


def _open_base(encoder: SentenceTransformer) -> SentenceTransformer:
    """The model that the training started from, opened anew from the files that `encoder` was opened from."""
    transformer = encoder.transformers_model
    assert transformer is not None
    base = SentenceTransformer(
        transformer.name_or_path,
        device=str(encoder.device),
        local_files_only=True,
        model_kwargs={"use_safetensors": True, "dtype": torch.float32},
    )
    base.max_seq_length = encoder.max_seq_length
    return base


def _embed_probes(encoder: SentenceTransformer) -> NDArray[np.float32]:
    # One at a time: the long one would pad the others to its length.
    return embed(encoder, PROBES, batch_size=1)


def _write(encoder: SentenceTransformer, folder: Path, *, name: Path) -> None:
    try:
        encoder.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
    except (OSError, SafetensorError) as error:
        # Most often a full disk, of which the library's exception alone would not tell.
        reason = str(error).partition("\n")[0]
        raise RuntimeError(f"{name}: not saved, since it can't be written: {reason}") from None


def _pin_float32(folder: Path) -> None:
    """Have the base under an adapter opened in float32, as it was for the training, however its file stores it."""
    path = folder / "sentence_bert_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, "model_kwargs": {"dtype": "float32"}}, indent=4), encoding="utf-8")


def _prove(
    encoder: SentenceTransformer, written: Path, untrained: NDArray[np.float32], tolerance: float, *, name: Path
) -> None:
    """Open what was written, and compare its embeddings of the probes with the encoder's and the base model's."""
    try:
        reopened = SentenceTransformer(str(written), device=str(encoder.device), local_files_only=True)
        saved = _embed_probes(reopened)
    except Exception as error:  # every way of not opening means the same here
        raise RuntimeError(f"{name}: not saved, since what was written can't be opened: {error}") from error
    if reopened.max_seq_length != encoder.max_seq_length:
        raise RuntimeError(
            f"{name}: not saved, since what was written reads {reopened.max_seq_length} tokens, "
            f"the trained encoder {encoder.max_seq_length}"
        )
    off = float(np.abs(saved - _embed_probes(encoder)).max())
    if off > tolerance:
        raise RuntimeError(
            f"{name}: not saved, since what was written gives other embeddings than the trained encoder: "
            f"a component differs by {off:.3g}, allowed is {tolerance:g}"
        )
    moved = float(np.abs(saved - untrained).max())
    if moved <= tolerance:
        raise RuntimeError(
            f"{name}: not saved, since what was written gives the base model's embeddings: "
            f"no component differs by more than {moved:.3g}; the training changed nothing, or its result was lost"
        )
