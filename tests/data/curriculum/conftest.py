"""Tickets and candidates to order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from promax.data.curriculum import Mined
from promax.data.exports import Tickets

MakeTickets = Callable[..., Tickets]
MakeMined = Callable[..., Mined]


@pytest.fixture(scope="session")
def make_tickets() -> MakeTickets:
    """Tickets by keyword columns; what isn't given is empty, and texts differ."""

    def make(ids: Sequence[str], **columns: Sequence[object]) -> Tickets:
        given = {
            "text": [f"words of {name} (Context: [x])" for name in ids],
            "core": [f"words of {name}" for name in ids],
            **{name: [""] * len(ids) for name in ("category", "service", "problem", "parent")},
            "opened": [None] * len(ids),
            "links": [()] * len(ids),
        }
        return Tickets(id=list(ids), **{name: list(values) for name, values in {**given, **columns}.items()})

    return make


@pytest.fixture(scope="session")
def make_mined() -> MakeMined:
    """Candidates by class and similarity; each of two tickets of its own unless `rows` are given."""

    def make(
        positive: Sequence[bool], similarity: Sequence[float], origin: Sequence[str] | None = None, rows: object = None
    ) -> Mined:
        count = len(positive)
        return Mined(
            rows=np.arange(2 * count).reshape(-1, 2) if rows is None else np.asarray(rows, dtype=np.int64),
            positive=np.array(positive, dtype=np.bool_),
            origin=np.array(origin or ["problem" if of else "random" for of in positive], dtype="<U13"),
            similarity=np.array(similarity, dtype=np.float64),
            phase=np.zeros(count, dtype=np.int64),
        )

    return make
