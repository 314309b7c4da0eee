"""A run's saved encoder as a model that MLflow opens without promax, peft or the base."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
from packaging.version import Version
from sentence_transformers import SentenceTransformer

from promax import encoder, export, weights
from promax.config import Config
from promax.saved import saved_model
from promax.tracking import RunInfo, Store, write_model

# What opening it takes; MLflow adds itself.
REQUIRED = ("sentence-transformers", "transformers", "torch", "safetensors", "numpy")

# Sentences of promax's own: a model's files show an example, and no user's text may stand there.
EXAMPLE = export.PROBES[:2]


def make(store: Store, run: RunInfo, cfg: Config, folder: Path) -> None:
    """Write the run's encoder to `folder`, its adapter folded in, and prove that it reads back.

    Raises:
        ConfigError: the saved encoder is gone from the record or damaged, or its base is not here.
        RuntimeError: what was written gives other embeddings, by more than `export.TOLERANCE`.
    """
    assert cfg.saves != "none", "config_of lets only runs pass that saved an encoder"
    with saved_model(store, run) as saved:
        tuned = export.reopen(saved, cfg.model, cfg.saves, "cpu")
        whole = export.merged(tuned)
    transformer = whole.transformers_model
    assert transformer is not None, "weights.locate lets only transformers models pass"
    # It is written into the model's description, where this machine's folders have no place.
    transformer.config.name_or_path = transformer.name_or_path = weights.model_id(cfg.model)
    dimension = whole.get_embedding_dimension()
    assert dimension is not None
    written = write_model(whole, folder, run, dimension, EXAMPLE, requirements())
    reopened = SentenceTransformer(str(written), device="cpu", local_files_only=True)
    off = float(
        np.abs(encoder.embed(reopened, export.PROBES, batch_size=1) - encoder.embed(tuned, export.PROBES, 1)).max()
    )
    if off > export.TOLERANCE["merged"]:
        raise RuntimeError(
            f"run {run.short_id}: not promoted, since what was written gives other embeddings than its encoder: "
            f"a component differs by {off:.3g}, allowed is {export.TOLERANCE['merged']:g}"
        )


def requirements() -> list[str]:
    """The packages with their versions here; a build's local part, like +cpu, is on no index."""
    return [f"{name}=={Version(version(name)).public}" for name in REQUIRED]
