"""How `promax data build` grows with its export: wall time by stage and peak memory.

    python experiments/data_build/scale.py                          10,000, 50,000 and 200,000 tickets, MiniLM
    python experiments/data_build/scale.py 10000                    one of them
    python experiments/data_build/scale.py --encoder stand-in       everything but the encoding, in minutes

Each size is a process of its own, so that its peak memory is its own. What is done is kept in results.jsonl
and skipped; a build that was killed goes on behind its last shard of embeddings and is marked as resumed.
Exports, embeddings and pairs lie under mlruns/data_build/ and can be deleted.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promax import build as verb
from promax.config import BuildConfig, PhasesConfig, project_root
from promax.data import corpus, curriculum
from promax.data.corpus import Incident
from promax.vectors import cached_vectors, untuned_vectors

SIZES = (10_000, 50_000, 200_000)
ONE_CORPUS = 10_000
# The defaults, but for the size of a phase: one that the smallest export can fill with either encoder.
CONFIG = BuildConfig(phases=PhasesConfig(pairs=4000))
RESULTS = Path(__file__).parent / "results.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, help="tickets, multiples of 10,000")
    parser.add_argument("--encoder", choices=("minilm", "stand-in"), default="minilm")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.sizes[0], options.encoder)
        return
    for size in options.sizes or SIZES:
        if (size, options.encoder) in {(row["tickets"], row["encoder"]) for row in results()}:
            print(f"{size} tickets, {options.encoder}: done before")
            continue
        words = [sys.executable, __file__, str(size), "--encoder", options.encoder, "--one"]
        subprocess.run(words, check=True)


def results() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def measure(size: int, encoder: str) -> None:
    """Build from `size` tickets, and add a line to the results."""
    scratch = project_root() / "mlruns" / "data_build" / f"{encoder}-{size}"
    scratch.mkdir(parents=True, exist_ok=True)
    export, out = scratch / "incident.csv", scratch / "pairs"
    if not export.exists():
        write_export(size, export)
    # A cache of its own, so that every text is encoded within the time that is measured.
    os.environ["PROMAX_ROOT"] = str(scratch)
    resumed = any(scratch.glob("mlruns/embeddings/*/*.npy"))
    for path in out.glob("*"):
        path.unlink()
    seconds: dict[str, float] = {}
    encoded: list[int] = []
    vectors_of = timed(seconds, "encode", partial(embed, encoder=encoder, encoded=encoded, scratch=scratch))
    verb.read_export = timed(seconds, "read", verb.read_export)
    curriculum.negatives = timed(seconds, "search", curriculum.negatives)
    curriculum.hard_pairs = timed(seconds, "adversarial", curriculum.hard_pairs)
    verb._write = timed(seconds, "write", verb._write)
    started = time.perf_counter()
    manifest = verb.build(export, None, out, CONFIG, vectors_of)
    wall = time.perf_counter() - started
    row = {
        "tickets": size,
        "encoder": encoder,
        "encoded": encoded[0],
        "pairs": {side: held["count"] for side, held in manifest["pairs"].items()},
        "seconds": {
            **{name: round(each, 1) for name, each in seconds.items()},
            "rest": round(wall - sum(seconds.values()), 1),
            "wall": round(wall, 1),
        },
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3),
        "threads": os.environ.get("OMP_NUM_THREADS", f"all of {os.cpu_count()}"),
        "resumed": resumed,
        "versions": manifest["versions"],
    }
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row))


def timed(seconds: dict[str, float], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def measured(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started

    return measured


def write_export(size: int, path: Path) -> None:
    """The embedded corpus over and over, with another seed each time, as one export.

    Numbers are made unique by the seed. Problem records are not: the catalogue is the same in every corpus, and a
    record belongs to a problem of it, so two corpora's tickets of one record are of one problem.
    """
    names = [each.name for each in fields(Incident)]
    partial_path = path.with_suffix(".partial")
    with partial_path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(names)
        for seed in range(size // ONE_CORPUS):
            for ticket in corpus.generate(ONE_CORPUS, seed):
                incident = ticket.incident
                parent = incident.parent_incident
                own = replace(
                    incident,
                    number=f"{incident.number}{seed:03d}",
                    parent_incident=f"{parent}{seed:03d}" if parent else "",
                )
                writer.writerow(astuple(own))
    partial_path.replace(path)


def embed(texts: Sequence[str], *, encoder: str, encoded: list[int], scratch: Path) -> NDArray[np.float32]:
    encoded.append(len(texts))
    if encoder == "minilm":
        return untuned_vectors(texts, CONFIG.model, device="cpu", batch_size=CONFIG.batch_size)
    return cached_vectors(texts, stand_in, "stand-in", scratch / "mlruns" / "embeddings")


def stand_in(texts: list[str]) -> NDArray[np.float32]:
    """Vectors of MiniLM's length from hashed words: as many numbers to store and search, and next to no time."""
    from sklearn.feature_extraction.text import HashingVectorizer

    words = HashingVectorizer(n_features=8192, alternate_sign=False).transform(texts)
    directions = np.random.default_rng(0).normal(size=(8192, 384)).astype(np.float32)
    vectors = np.asarray(words.astype(np.float32) @ directions)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
