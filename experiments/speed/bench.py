"""How fast the packed engine is beside sentence-transformers' own trainer and `encode`, on this machine.

    python experiments/speed/bench.py [--data NAME=FILE.jsonl ...] [--rounds 2] [--sweep] [--out results.json]

Every measurement is a process of its own, and the two sides take turns, so that what else the machine
does falls on both. Both sides train the same batches of the same pairs by the same plan: MiniLM-L6,
LoRA r 16 on all linear layers, batch 16. The reference computes in float32 (bf16 autocast makes it no
faster), packed in what `precision=auto` chooses. A step's time is that from one step's end to the
next, in the median; packed tokenizes beforehand, so its share of that is added. Without --data, texts
are the embedded corpus' tickets, and the first sentences of them as titles. --sweep adds packed's
throughput by batch size, text length and threads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promax.data.pairs import Pairs
    from promax.train.course import Course

WARM_UP = 2
ENCODED = 512
LIBRARIES = ("torch", "transformers", "sentence-transformers", "peft", "numpy")


# --- one measurement, in its own process -----------------------------------------------------------------------------


def measure(job: dict[str, Any]) -> dict[str, Any]:
    import torch

    from promax import encoder
    from promax.config import LoraConfig, ModelConfig

    torch.set_num_threads(job["threads"])
    rate = job["dropout"]
    model = encoder.load(
        ModelConfig(
            lora=LoraConfig(dropout=0.1 if rate else 0.0),
            dropout=None if rate else 0.0,
            max_seq_length=job.get("length"),
        ),
        "cpu",
        seed=0,
    )
    found = encode(model, job) if job["what"] == "encode" else train(model, job)
    return found | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def train(model: Any, job: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from promax.config import OptimConfig
    from promax.packed import Packed, resolve
    from promax.train import packed, plan_for, reference

    cfg = OptimConfig(epochs=1, batch_size=job["batch"], lr=1e-4, keep="last")
    count = job["batch"] * (WARM_UP + job["steps"])
    pairs = pairs_of(read(job["data"]), count)
    plan = plan_for(pairs, cfg, 0)
    ends: list[float] = []
    dtype = resolve("auto", model.device)
    with timed(ends)(model, plan, cfg, lambda: {"spearman": 0.0}, lambda epoch: None) as course:
        if job["engine"] == "packed":
            packed.train(model, pairs, plan, cfg, 0, course, dtype)
        else:
            reference.train(model, pairs, plan, cfg, 0, course)
    started = time.perf_counter()
    tokens = Packed(model, dtype).tokenize([*pairs.text1, *pairs.text2])
    tokenizing = (time.perf_counter() - started) / plan.steps if job["engine"] == "packed" else 0.0
    seconds = statistics.median(np.diff(ends)[WARM_UP - 1 :]) + tokenizing
    lengths = np.array([len(each) for each in tokens], float)
    return {
        "pairs_per_second": job["batch"] / seconds,
        "tokens_per_text": float(lengths.mean()),
        "teraflops": flops(model, lengths) / plan.steps / seconds / 1e12,
    }


def pairs_of(texts: list[tuple[str, str]], count: int) -> Pairs:
    """As many pairs, the texts over and over; every second label is 1."""
    import numpy as np

    from promax.data.pairs import Pairs

    rows = (texts * (1 + count // len(texts)))[:count]
    ids = [str(row) for row in range(2 * count)]
    return Pairs([a for a, _ in rows], [b for _, b in rows], np.arange(count) % 2.0, ids[::2], ids[1::2], None)


def timed(ends: list[float]) -> type[Course]:
    """A course that notes when each step ends."""
    from promax.train.course import Course

    class Timed(Course):
        def after_step(self, rows: Any, loss: float) -> None:
            ends.append(time.perf_counter())
            super().after_step(rows, loss)

    return Timed


def flops(model: Any, lengths: Any) -> float:
    """Forwards and backwards through frozen weights, their adapters and attention: what the mathematics asks for."""
    weights = sum(each.numel() for name, each in model.named_parameters() if name.endswith("base_layer.weight"))
    adapters = sum(each.numel() for name, each in model.named_parameters() if "lora_" in name)
    config = model.transformers_model.config
    attention = 3 * 4 * config.hidden_size * config.num_hidden_layers * (lengths**2).sum()
    return float((4 * weights + 6 * adapters) * lengths.sum() + attention)


def encode(model: Any, job: dict[str, Any]) -> dict[str, Any]:
    from promax.packed import encode, resolve

    texts = [text for pair in read(job["data"]) for text in pair][:ENCODED]
    best = {}
    for batch in (16, 32, 64, 128):
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            if job["engine"] == "packed":
                encode(model, texts, batch, resolve("auto", model.device))
            else:
                model.encode(texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)
            seconds.append(time.perf_counter() - started)
        best[batch] = len(texts) / min(seconds)
    fastest = max(best, key=lambda batch: best[batch])
    return {"texts_per_second": best[fastest], "batch": fastest}


def peak(job: dict[str, Any]) -> dict[str, Any]:
    """The most that this machine's matrix product reaches, in TFLOP/s, by dtype."""
    import torch

    torch.set_num_threads(job["threads"])
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        left = torch.ones(2048, 2048, dtype=dtype)
        seconds = []
        for _ in range(10):
            started = time.perf_counter()
            left @ left
            seconds.append(time.perf_counter() - started)
        found[str(dtype).removeprefix("torch.")] = 2 * 2048**3 / min(seconds) / 1e12
    return found


def read(data: str) -> list[tuple[str, str]]:
    """Pairs of texts: of a file, or the embedded corpus' tickets or their first sentences."""
    if data not in ("tickets", "titles"):
        rows = [json.loads(line) for line in Path(data).read_text(encoding="utf-8").splitlines()]
        return [(row["text1"], row["text2"]) for row in rows]
    from promax.data import corpus

    train, _, _ = corpus.draw_pairs(corpus.generate(2000, seed=1), train=400, dev=20, test=20, seed=1)
    pairs = list(zip(train.text1, train.text2, strict=True))
    return pairs if data == "tickets" else [(a.partition(". ")[0], b.partition(". ")[0]) for a, b in pairs]


# --- the table -------------------------------------------------------------------------------------------------------


def run(job: dict[str, Any]) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": str(job["threads"]), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return job | json.loads(done.stdout.splitlines()[-1])


def jobs(data: dict[str, str], rounds: int, threads: int, steps: int) -> Iterator[dict[str, Any]]:
    engines = ("reference", "packed")
    for turn in range(rounds):
        for name, source in data.items():
            base = {"name": name, "data": source, "threads": threads, "batch": 16, "turn": turn, "steps": steps}
            for dropout in (False, True):
                for engine in engines:
                    yield base | {"what": "train", "engine": engine, "dropout": dropout}
            for engine in engines:
                yield base | {"what": "encode", "engine": engine, "dropout": False}


def sweep(data: dict[str, str], threads: int, steps: int) -> Iterator[dict[str, Any]]:
    name, source = next(iter(data.items()))
    base = {"name": name, "data": source, "threads": threads, "batch": 16, "turn": 0, "dropout": True}
    base |= {"what": "sweep", "engine": "packed", "steps": steps}
    yield from (base | {"batch": batch} for batch in (4, 16, 64))
    yield from (base | {"length": length} for length in (16, 32, 64, 128, 256))
    yield from (base | {"threads": count} for count in range(1, threads + 1))


def table(results: list[dict[str, Any]], top: float) -> list[str]:
    lines = [f"{'':34}{'reference':>12}{'packed':>12}{'ratio':>8}{'of peak':>9}{'memory':>16}"]
    keys = dict.fromkeys((each["name"], each["what"], each["dropout"]) for each in results if each["what"] != "sweep")
    for key in keys:
        mine = [each for each in results if (each["name"], each["what"], each["dropout"]) == key]
        unit = "texts_per_second" if key[1] == "encode" else "pairs_per_second"
        rates, memory, share = {}, {}, 0.0
        for engine in ("reference", "packed"):
            sides = [each for each in mine if each["engine"] == engine]
            rates[engine] = statistics.median(each[unit] for each in sides)
            memory[engine] = max(each["peak_mb"] for each in sides)
            share = statistics.median(each.get("teraflops", 0.0) for each in sides) / top
        what = key[1] if key[1] == "encode" else f"train, dropout {'on' if key[2] else 'off'}"
        lines.append(
            f"{key[0] + ', ' + what:34}{rates['reference']:12.1f}{rates['packed']:12.1f}"
            f"{rates['packed'] / rates['reference']:7.1f}x{share:9.0%}"
            f"{memory['reference']:8} ->{memory['packed']:5}"
        )
    lines += [
        f"packed, dropout on: batch {each['batch']}, up to {each.get('length', 256)} tokens, "
        f"{each['threads']} thread(s): {each['pairs_per_second']:.1f} pairs/s"
        for each in results
        if each["what"] == "sweep"
    ]
    return lines


def machine() -> dict[str, Any]:
    flags: list[str] = []
    information = Path("/proc/cpuinfo")
    if information.exists():
        line = next(line for line in information.read_text().splitlines() if line.startswith("flags"))
        flags = sorted(flag for flag in line.split() if flag.startswith(("amx", "avx512_bf16", "avx512f", "avx2")))
    return {"processor": platform.machine(), "cores": os.cpu_count(), "flags": flags, "load": os.getloadavg()[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", metavar="NAME=FILE", default=[])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="timed, after two that are not")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        job = json.loads(asked.job)
        print(json.dumps(peak(job) if job["what"] == "peak" else measure(job)))
        return
    data = dict(each.split("=", 1) for each in asked.data) or {"tickets": "tickets", "titles": "titles"}
    todo = list(jobs(data, asked.rounds, asked.threads, asked.steps))
    todo += sweep(data, asked.threads, asked.steps) if asked.sweep else []
    top = run({"what": "peak", "threads": asked.threads})
    results = []
    for number, job in enumerate(todo, 1):
        print(f"{number}/{len(todo)} {job['name']} {job['what']} {job['engine']}", file=sys.stderr, flush=True)
        results.append(run(job))
    lines = table(results, top["bfloat16"])
    print("\n".join([f"GEMM peak: float32 {top['float32']:.2f}, bfloat16 {top['bfloat16']:.2f} TFLOP/s", *lines]))
    if asked.out:
        kept = [{key: value for key, value in each.items() if key != "data"} for each in results]
        versions = {name: version(name) for name in LIBRARIES}
        record = {"machine": machine(), "versions": versions, "peak_teraflops": top, "table": lines, "results": kept}
        asked.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
