"""Does training in bfloat16 end where training in float32 does? AskUbuntu titles, three seeds.

    python experiments/speed/accuracy.py FOLDER

FOLDER holds train.jsonl, dev.jsonl and test.jsonl with text1, text2 and label. Prints dev and test
Spearman by seed and precision, and writes accuracy.json beside this script. Dropout is on, the
embeddings are those of the precision trained in, and precision is all that differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from promax import encoder
from promax.config import LoraConfig, ModelConfig, OptimConfig
from promax.data.pairs import Pairs
from promax.evaluate import embed_pairs, point_metrics
from promax.train import fit

SEEDS, TRAIN, HELD_OUT = (0, 1, 2), 3000, 1000
OPTIM = OptimConfig(lr=1e-4, epochs=2, keep="last")


def read(path: Path, count: int) -> Pairs:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:count]]
    ids = [str(row) for row in range(2 * len(rows))]
    columns = ([row[name] for row in rows] for name in ("text1", "text2", "label"))
    text1, text2, labels = columns
    return Pairs(text1, text2, np.array(labels, float), ids[::2], ids[1::2], None)


def spearman(model: object, pairs: Pairs, precision: str) -> float:
    def embed(texts: list[str]) -> object:
        return encoder.embed(model, texts, 64, precision=precision)

    return point_metrics(embed_pairs(embed, pairs)[1], pairs.labels, None)["spearman"]


def main(folder: Path) -> None:
    train, dev, test = (
        read(folder / f"{name}.jsonl", n)
        for name, n in zip(("train", "dev", "test"), (TRAIN, HELD_OUT, HELD_OUT), strict=True)
    )
    rows = []
    for seed in SEEDS:
        for precision in ("fp32", "bf16"):
            model = encoder.load(ModelConfig(lora=LoraConfig()), "cpu", seed)
            score = lambda: {"spearman": spearman(model, dev, precision)}  # noqa: B023, E731
            report = fit(model, train, OPTIM, "packed", seed, score, lambda epoch: None, precision)
            row = {"seed": seed, "engine": report.engine, "dev": report.epochs[-1].dev["spearman"]}
            rows.append(row | {"test": spearman(model, test, precision), "seconds": round(report.seconds)})
            print(rows[-1], flush=True)
    means = {
        side: float(np.mean([row[side] for row in rows[1::2]]) - np.mean([row[side] for row in rows[::2]]))
        for side in ("dev", "test")
    }
    print("bf16 minus fp32, mean of the seeds:", means)
    record = {
        "train": TRAIN,
        "held_out": HELD_OUT,
        "lr": OPTIM.lr,
        "epochs": OPTIM.epochs,
        "rows": rows,
        "difference": means,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
