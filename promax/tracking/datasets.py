"""What runs were trained and evaluated on, as MLflow lists it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlflow.entities import Dataset, DatasetInput, InputTag

from promax.tracking.address import mask
from promax.tracking.store import Store

# MLflow would cut longer values off without a word.
LONGEST_DIGEST = 36

CONTEXT_TAG = "mlflow.data.context"

Context = Literal["train", "dev", "test", "adversarial", "transfer"]
CONTEXTS: tuple[Context, ...] = ("train", "dev", "test", "adversarial", "transfer")


@dataclass(frozen=True)
class DatasetRecord:
    """One side of a run's data as MLflow lists it: where it came from and how much, never what it says.

    `digest` is the side's fingerprint, `source` a file name, a hub id or the generator's settings, `profile`
    counts such as {"pairs": 1000, "positives": 500}.
    """

    name: str
    digest: str
    context: Context
    source_type: Literal["local", "hugging_face", "code"]
    source: str
    profile: Mapping[str, int | float | str]


def as_input(record: DatasetRecord) -> DatasetInput:
    """The record as MLflow takes it; credentials of URIs are masked."""
    return DatasetInput(
        Dataset(
            name=record.name,
            digest=record.digest[:LONGEST_DIGEST],
            source_type=record.source_type,
            source=json.dumps({_key(record.source_type): mask(record.source)}),
            profile=json.dumps(dict(record.profile)),
        ),
        [InputTag(CONTEXT_TAG, record.context)],
    )


def read_datasets(store: Store, run_id: str) -> list[DatasetRecord]:
    """What a run was trained and evaluated on, in the order train, dev, test, adversarial, transfer."""
    with store.talking():
        inputs: Any = store.client.get_run(run_id).inputs
    found = []
    for each in inputs.dataset_inputs if inputs is not None else ():
        context = next((tag.value for tag in each.tags if tag.key == CONTEXT_TAG), None)
        if context not in CONTEXTS:
            continue  # not of promax's making
        of = each.dataset
        source = json.loads(of.source)[_key(of.source_type)]
        found.append(DatasetRecord(of.name, of.digest, context, of.source_type, source, json.loads(of.profile)))
    return sorted(found, key=lambda each: CONTEXTS.index(each.context))


def _key(source_type: str) -> str:
    return "path" if source_type == "hugging_face" else "uri"
