"""The stores that the UI is measured and photographed on. See README.md.

    python experiments/ui/make_store.py study ROOT           25 runs, trained: a baseline and a grid of 24
    python experiments/ui/make_store.py many ROOT [--runs]   a sweep of 2,000 runs of 12 epochs, recorded, not trained

ROOT is a project root of its own. `many` takes the newest run of the study in ROOT for its model: as many parameters,
tags, datasets and metrics as that, written by the functions that a run writes with, in the same number of transactions.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

CONF = Path(__file__).resolve().parents[2] / "conf"
STUDY, MANY = "grid", "sweep_of_2000"
EPOCHS = 12

# Small enough for 25 runs in some minutes of one core. With a rule, for the sake of the figures: a search has none.
GRID = [
    *("train", "experiment=confirm_fix", f"study={STUDY}"),
    *("seed=range(0,6)", "optim.lr=choice(2e-4,1e-3)", "optim.epochs=choice(1,3)"),
    *("rule.before.lr=2e-4", "rule.before.epochs=1", "rule.after.lr=1e-3", "rule.after.epochs=3"),
    *("data.tickets.count=1000", "data.tickets.train_pairs=64", "data.tickets.dev_pairs=40"),
    *("data.tickets.test_pairs=300", "eval.bootstrap=200"),
]


def study() -> None:
    """The study, trained as `promax train` does it."""
    subprocess.run([sys.executable, "-m", "promax.cli", *GRID], check=True)


def many(runs: int) -> None:
    """The sweep, recorded and not trained: what its model logged, each value moved by a little."""
    from promax.tracking import KIND_TAG, curves, open_store, open_sweep, read_datasets, runs_of, start_run

    store = open_store()
    model = next(run for run in runs_of(store, STUDY) if run.tags[KIND_TAG] == "tuned")
    datasets = read_datasets(store, model.run_id)
    history = curves(store, model)
    each_epoch = {name: points[1] for name, points in history.items() if 1 in points and name != "train/seconds"}
    at_the_end = dict(model.metrics)
    parent = open_sweep(store, MANY, None, {"sampler": "tpe", "objective": "dev/spearman"})
    draw = np.random.default_rng(0)
    began = time.monotonic()
    for number in range(runs):
        lr = float(10 ** draw.uniform(-6, -3))
        params = {**model.params, "optim.lr": lr, "optim.epochs": EPOCHS, "seed": number, "study": MANY}
        tags = {key: value for key, value in model.tags.items() if not key.startswith("mlflow.")}
        tags |= {"promax.sweep": MANY, "promax.trial": str(number)}
        name = f"minilm_lora lr={lr:.3g} epochs={EPOCHS} seed={number}"
        with start_run(store, MANY, name, params, tags, parent.run_id, pictures=False) as run:
            run.log_datasets(datasets)
            for epoch in range(1, EPOCHS + 1):
                run.log_metrics(_moved(each_epoch, draw), step=epoch)
            for prefix in ("audit/", "train/", "dev/", "test/adversarial_", "test/", "delta/"):
                part = {metric: at_the_end.pop(metric) for metric in list(at_the_end) if metric.startswith(prefix)}
                run.log_metrics(_moved(part, draw), step=EPOCHS + 1 if prefix == "dev/" else 0)
            at_the_end = dict(model.metrics)
        if number % 100 == 99:
            print(f"{number + 1} runs, {(number + 1) / (time.monotonic() - began):.1f} a second", flush=True)
    parent.end("FINISHED")


def _moved(values: Mapping[str, float], draw: np.random.Generator) -> dict[str, float]:
    return {name: value + 0.01 * float(draw.normal()) for name, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("study", "many"))
    parser.add_argument("root", type=Path)
    parser.add_argument("--runs", type=int, default=2000)
    options = parser.parse_args()
    options.root.mkdir(parents=True, exist_ok=True)
    if not (options.root / "conf").exists():
        (options.root / "conf").symlink_to(CONF)
    os.environ["PROMAX_ROOT"] = str(options.root.resolve())
    study() if options.what == "study" else many(options.runs)


if __name__ == "__main__":
    main()
