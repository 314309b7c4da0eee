"""A side as files: Parquet, and the columnar JSON that curricula are exchanged in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from promax.data.curriculum.mined import Mined
from promax.data.exports import Tickets

# Parquet column -> its name in the columnar JSON, as its readers and writers know it.
COLUMNS = {
    "text1": "texts1",
    "text2": "texts2",
    "label": "labels",
    "phase": "phase_indicators",
    "id1": "ids1",
    "id2": "ids2",
    "origin": "origins",
    "category1": "categories1",
    "category2": "categories2",
}


def write(pairs: Mined, tickets: Tickets, folder: Path, name: str, metadata: dict[str, Any]) -> None:
    """`name`.parquet and `name`.json in `folder`: the same pairs, row by row; `metadata` goes into the JSON."""
    import pyarrow as pa  # takes a tenth of a second, needed at the very end
    import pyarrow.parquet as pq

    columns = _columns(pairs, tickets)
    types = {"label": pa.int8(), "phase": pa.int64()}
    arrays = {key: pa.array(values, types.get(key, pa.string())) for key, values in columns.items()}
    pq.write_table(pa.table(arrays), folder / f"{name}.parquet")
    columnar = {"metadata": metadata, **{COLUMNS[key]: values for key, values in columns.items()}}
    (folder / f"{name}.json").write_text(json.dumps(columnar, ensure_ascii=False) + "\n", encoding="utf-8")


def _columns(pairs: Mined, tickets: Tickets) -> dict[str, list[Any]]:
    first, second = pairs.rows.T.tolist() if len(pairs) else ([], [])
    return {
        "text1": [tickets.text[row] for row in first],
        "text2": [tickets.text[row] for row in second],
        "label": pairs.positive.astype(int).tolist(),
        "phase": pairs.phase.tolist(),
        "id1": [tickets.id[row] for row in first],
        "id2": [tickets.id[row] for row in second],
        "origin": pairs.origin.tolist(),
        "category1": [tickets.category[row] for row in first],
        "category2": [tickets.category[row] for row in second],
    }
