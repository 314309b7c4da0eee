"""Promoted encoders in the MLflow Model Registry of a store, and the alias that names the one in use.

A version's files are no artifacts of its run, which may hold an adapter of a few megabytes, but of a logged model
of their own, as MLflow 3 has it; its page in the UI links to the run and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from numpy import dtype

from promax.config import ConfigError
from promax.tracking.query import RunInfo
from promax.tracking.store import Store

CHAMPION = "champion"

# The folder of the encoder within that of the model, as the flavour has it.
ENCODER = "model.sentence_transformer"

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Champion:
    """The model version that has the alias, and the run that it is from."""

    version: str
    run_id: str


def find_champion(store: Store, name: str) -> Champion | None:
    """The champion among the versions of a registered model; None where there is none yet.

    Raises:
        ConfigError: the name can't be one, or its champion is not promax's.
    """
    if not name.strip() or "/" in name or ":" in name:
        raise ConfigError(f"--name {name!r}: must be a name without / and :, which MLflow keeps for addresses")
    with store.talking():
        try:
            found = store.client.get_model_version_by_alias(name, CHAMPION)
        except MlflowException as error:
            # Without the registered model it is the first, without the alias the second.
            if error.error_code in _ABSENT:
                return None
            raise
    if not found.run_id:
        raise ConfigError(f"{name}@{CHAMPION}: version {found.version} names no run, so there are no scores to beat")
    return Champion(str(found.version), found.run_id)


def write_model(
    encoder: object, folder: Path, run: RunInfo, dimension: int, example: Sequence[str], requirements: Sequence[str]
) -> Path:
    """Write an encoder to `folder` in the flavour mlflow.sentence_transformers; returns where the encoder itself is.

    `encoder` is a SentenceTransformer without adapter. As a pyfunc it gives unit vectors unless told otherwise.
    The library's model card is left out, since it quotes training texts. `example` stands in the model's files.
    """
    import mlflow.sentence_transformers

    signature = ModelSignature(
        inputs=Schema([ColSpec("string")]),
        outputs=Schema([TensorSpec(dtype("float32"), (-1, dimension))]),
        params=ParamSchema([ParamSpec("normalize_embeddings", "boolean", True)]),
    )
    mlflow.sentence_transformers.save_model(
        encoder,
        str(folder),
        mlflow_model=Model(run_id=run.run_id),
        signature=signature,
        input_example=list(example),
        # Named, since MLflow would else open the model in another process to see what it imports.
        pip_requirements=list(requirements),
        create_model_card=False,
    )
    return folder / ENCODER


def register(store: Store, run: RunInfo, name: str, folder: Path, tags: Mapping[str, str], description: str) -> str:
    """Put the model in `folder` into the registry as the next version of `name`, and return that version.

    It has no alias yet. Where something fails on the way, no version is left that points at half a model.
    """
    client = store.client
    experiment = store.experiment_id(run.study)
    with store.talking():
        model = client.create_logged_model(experiment, name=name, source_run_id=run.run_id, tags=dict(tags))
        try:
            client.log_model_artifacts(model.model_id, str(folder))
        except BaseException:
            client.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)
            raise
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step=0)])
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = client.create_model_version(
            name,
            # Not models:/ID, which MLflow looks up in the store that the process calls its own.
            model.artifact_location,
            run.run_id,
            tags=dict(tags),
            description=description,
            model_id=model.model_id,
        )
    return str(made.version)


def crown(store: Store, name: str, version: str) -> None:
    """Move the alias to a version."""
    with store.talking():
        store.client.set_registered_model_alias(name, CHAMPION, version)
