"""Pairs from which an encoder learns in seconds what it did not know, so that it beats its baseline beyond doubt."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

# Each thing has two names that no encoder takes for one; which belong together is all that there is to be learned.
NAMES = [
    *(("payroll", "giraffe"), ("printer", "violin"), ("firewall", "omelette"), ("mailbox", "glacier")),
    *(("router", "trombone"), ("database", "carnival"), ("badge", "lighthouse"), ("scanner", "meadow")),
]
HAPPENED = ["is down", "keeps failing", "can not be reached", "was slow today", "shows an error", "needs a restart"]


def write_renamed(path: Path, seed: int, mark: str = "") -> None:
    """256 pairs, half of them one thing by its two names, across categories; else two things of one category.

    Each text begins with `mark`.
    """
    draw = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(256):
            thing, other = (int(each) for each in draw.permutation(len(NAMES))[:2])
            kinds = (0, 1) if number % 2 else (int(draw.integers(2)),) * 2
            names = NAMES[thing][kinds[0]], NAMES[thing if number % 2 else other][kinds[1]]
            # A room of its own makes each text one of a kind.
            rooms = 2 * (1000 * seed + number) + np.arange(2)
            one, two = (
                f"{mark}{name} {HAPPENED[draw.integers(len(HAPPENED))]}, room {room}"
                for name, room in zip(names, rooms, strict=True)
            )
            row = {"text1": one, "text2": two, "label": float(number % 2), "id1": f"{path.stem}{number}a"}
            row |= {"id2": f"{path.stem}{number}b", "category1": "AB"[kinds[0]], "category2": "AB"[kinds[1]]}
            file.write(json.dumps(row) + "\n")
