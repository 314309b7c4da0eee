"""`promax search`, the whole of it from top to bottom."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promax.config import Config, ExportConfig
from promax.saved import config_of, saved_model
from promax.search.ranking import Hit, nearest, rank
from promax.search.tickets import Searched, read_tickets
from promax.search.view import say, show
from promax.tracking import RunInfo, Store, get_run, open_store
from promax.vectors import untuned, untuned_vectors

# The vectors (n, d) of the tickets, and that of the query.
Vectors = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Found:
    """The nearest tickets by the baseline and by the run, and the rows of the query's known duplicates."""

    tickets: Searched
    baseline: list[Hit]
    tuned: list[Hit]
    duplicates: set[int]


def search(query: str, reference: str, path: Path, top: int, uri: str | None, export: ExportConfig) -> Found:
    """Print the tickets of a file nearest to `query`, by a run's encoder and by the same encoder un-tuned.

    `query` is the id of a ticket in the file, else it is taken for a text. No text is written anywhere. Of the
    tickets, the un-tuned encoder's vectors are kept, by the texts' hashes; of a query that is a text, nothing.

    Raises:
        ConfigError: no such run, or one without a saved encoder; a file that can't be read; another base.
    """
    store = open_store(uri)
    run = get_run(store, reference)
    cfg = config_of(store, run)
    tickets = read_tickets(path, export, cfg.data.columns, cfg.data.positive_from)
    row = tickets.row.get(query)
    before, after = _vectors(store, run, cfg, tickets.text, query if row is None else row)
    by_baseline, by_run = rank(*before, left_out=row), rank(*after, left_out=row)
    top = min(top, len(tickets.id) - (row is not None))
    found = Found(
        tickets,
        nearest(*before, by_baseline, by_run, top),
        nearest(*after, by_run, by_baseline, top),
        set() if row is None else set(np.flatnonzero(tickets.duplicates(row)).tolist()),
    )
    shown = query if row is None else f"{query}  {tickets.text[row]}"
    names = f"{cfg.model.name.removesuffix('_lora')}, not tuned", f"{run.name} ({run.short_id})"
    show(shown, names, (found.baseline, found.tuned), tickets.id, tickets.text, found.duplicates)
    if row is not None:
        say(_told(found, by_baseline, by_run))
    return found


def _vectors(store: Store, run: RunInfo, cfg: Config, texts: list[str], query: str | int) -> tuple[Vectors, Vectors]:
    """The un-tuned encoder's vectors and the run's; the query is a text, or the row of one among `texts`."""
    from promax import encoder, export

    assert cfg.saves != "none", "config_of lets only runs pass that saved an encoder"
    # Not the run's own device, which this machine may not have.
    device, batch_size = encoder.resolve_device("auto"), cfg.eval.batch_size
    with saved_model(store, run) as folder:
        tuned = export.reopen(folder, cfg.model, cfg.saves, device)
    untuned_embed = untuned(cfg.model, device=device, batch_size=batch_size)
    before = untuned_vectors(texts, cfg.model, device=device, batch_size=batch_size, embed=untuned_embed)
    after = encoder.embed(tuned, texts, batch_size, progress=sys.stderr.isatty())
    if isinstance(query, int):
        return (before, before[query]), (after, after[query])
    return (before, untuned_embed([query])[0]), (after, encoder.embed(tuned, [query], batch_size)[0])


def _told(found: Found, by_baseline: NDArray[np.int64], by_run: NDArray[np.int64]) -> str:
    """Where the query's known duplicates stand, in a line or two."""
    if not found.duplicates:
        return "the file names no duplicates of this ticket"
    rows, top = sorted(found.duplicates), len(found.tuned)
    counts = [sum(int(ranks[each]) <= top for each in rows) for ranks in (by_baseline, by_run)]
    first = [int(ranks[rows].min()) for ranks in (by_baseline, by_run)]
    return (
        f"known duplicates: {len(rows)}; among the first {top}: {counts[0]} by the baseline, {counts[1]} by the run;"
        f" the first one at rank {first[0]} by the baseline, {first[1]} by the run"
    )
