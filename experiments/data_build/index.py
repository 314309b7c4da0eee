"""Exact search against two approximate indexes: time, recall, and whether two builds agree.

    python experiments/data_build/index.py VECTORS_FOLDER       a cache of embeddings, mlruns/embeddings/KEY

Prints one line an index: seconds to build and to search 256 neighbours of every vector, the share of the exact
neighbours found, and whether an index built with two threads finds the same twice.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

NEIGHBOURS = 256
MOST = 30_000


def main() -> None:
    shards = [np.load(path)["vector"] for path in sorted(Path(sys.argv[1]).glob("*.npy"))]
    vectors = np.ascontiguousarray(np.concatenate(shards)[:MOST])
    count, size = vectors.shape
    print(f"{count} vectors of {size} components, faiss {faiss.__version__}, {faiss.omp_get_max_threads()} threads")
    exact = report("exact (IndexFlatIP)", lambda: faiss.IndexFlatIP(size), vectors, None)
    report("HNSW (M 32, ef 200/512)", lambda: hnsw(size), vectors, exact)
    report("IVF (4 sqrt(n) lists, 16 probed)", lambda: ivf(size, count), vectors, exact)


def hnsw(size: int) -> Any:
    index = faiss.IndexHNSWFlat(size, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 200, 512
    return index


def ivf(size: int, count: int) -> Any:
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(size), size, int(4 * count**0.5), faiss.METRIC_INNER_PRODUCT)
    index.nprobe = 16
    return index


def report(name: str, make: Any, vectors: Any, exact: Any) -> Any:
    found = []
    for _ in range(2):
        started = time.perf_counter()
        index = make()
        if not index.is_trained:
            index.train(vectors)
        index.add(vectors)
        built = time.perf_counter()
        found.append(index.search(vectors, NEIGHBOURS)[1])
        searched = time.perf_counter()
    recall = 1.0 if exact is None else np.mean([np.isin(a, b).mean() for a, b in zip(exact, found[0], strict=True)])
    again = "the same twice" if (found[0] == found[1]).all() else "different twice"
    print(f"{name}: build {built - started:.1f} s, search {searched - built:.1f} s, recall {recall:.3f}, {again}")
    return found[0]


if __name__ == "__main__":
    main()
