"""What a trial of a sweep costs besides training, part by part. See README.md.

    python experiments/trial_cost/measure.py            pairs with categories: slices and the diagnostic
    python experiments/trial_cost/measure.py --plain    pairs without

Sweeps in a project root of its own, in one process, and times the functions of `PARTS` in each trial; what one of them
calls of another counts for that other alone. The first trial, which pays for what the others share, is shown apart.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Part -> module and attribute of each function that belongs to it, as the caller finds it.
PARTS = {
    "training steps": ["promax.train.packed:_Steps.take"],
    "embedding": ["promax.packed:encode"],
    "tokenising": ["promax.packed.forward:Packed.tokenize"],
    "opening the encoder": ["promax.encoder:load"],
    "hashing its files": ["promax.weights:locate", "promax.weights:files_sha256", "promax.weights:file_sha256"],
    "metrics and intervals": [
        *("promax.run:evaluate", "promax.run:diagnose", "promax.journal:differences", "promax.run:point_metrics"),
    ],
    "figures": ["promax.tracking:Run.log_figure"],
    "saving the adapter": ["promax.run:_save"],
    "the record": [
        *(f"promax.tracking:Run.{name}" for name in ("log_params", "set_tags", "log_metrics", "log_text")),
        *(f"promax.tracking:Run.{name}" for name in ("log_artifact", "log_scores", "log_datasets")),
        *(f"promax.run:{name}" for name in ("open_store", "find_baseline", "_record", "log_audit")),
        *("promax.journal:finished_scores", "promax.journal:log_request"),
    ],
    "the study": [
        *(f"hydra_plugins.promax_sweeper._study:Study.{name}" for name in ("take", "complete", "prune")),
    ],
    "composing": ["hydra_plugins.promax_sweeper._running:Job.run"],
}
# What no two trials share.
TRAINING = ("training steps", "embedding")


class Clock:
    """Seconds on the clock and of the processor, by part; a part that is called stops its caller's."""

    def __init__(self) -> None:
        self.trials: list[dict[str, tuple[float, float]]] = []
        self._spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._running = ["all else"]
        self._last = self._now()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*given: Any, **named: Any) -> Any:
            self._tick()
            self._running.append(part)
            try:
                return function(*given, **named)
            finally:
                self._tick()
                self._running.pop()

        return wrapper

    def lap(self) -> None:
        """A trial is over."""
        self._tick()
        self.trials.append({part: (wall, cpu) for part, (wall, cpu) in self._spent.items()})
        self._spent.clear()

    def _tick(self) -> None:
        now = self._now()
        for kind in (0, 1):
            self._spent[self._running[-1]][kind] += now[kind] - self._last[kind]
        self._last = now

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()


def patch(clock: Clock) -> None:
    for part, places in PARTS.items():
        for place in places:
            module, _, path = place.partition(":")
            *outer, name = path.split(".")
            owner = functools.reduce(getattr, outer, importlib.import_module(module))
            setattr(owner, name, clock.timed(part, getattr(owner, name)))
    worker = importlib.import_module("hydra_plugins.promax_sweeper._worker")
    settle = worker._settle

    def and_lap(*given: Any) -> None:
        settle(*given)
        clock.lap()

    worker._settle = and_lap


def words(root: Path, options: argparse.Namespace) -> list[str]:
    sizes = {"train_pairs": 64, "dev_pairs": options.dev, "test_pairs": options.test}
    data = [f"data.tickets.{key}={value}" for key, value in sizes.items()]
    if options.plain:
        data = ["data=pairs", *(f"data.{side}={root / side}.jsonl" for side in _write_plain(root, sizes))]
    return [
        *("train", "-m", "hydra/sweeper=promax_optuna", "optim.lr=tag(log,interval(1e-6,1e-3))", *data),
        *("optim.epochs=1", f"model.max_seq_length={options.length}", "device=cpu", f"save={options.save}"),
        *(f"hydra.sweeper.n_trials={options.trials + 1}", "hydra.sweeper.pruner=none", "study=trial_cost"),
    ]


def _write_plain(root: Path, sizes: dict[str, int]) -> list[str]:
    from promax.data import corpus

    train, dev, test = sizes.values()
    sides = corpus.draw_pairs(corpus.generate(3000, seed=0), train=train, dev=dev, test=test, seed=0)
    for name, side in zip(("train", "dev", "test"), sides, strict=True):
        rows = zip(side.text1, side.text2, side.labels.tolist(), strict=True)
        lines = [json.dumps({"text1": one, "text2": two, "label": float(label >= 1)}) for one, two, label in rows]
        (root / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["train", "dev", "test"]


def show(clock: Clock) -> None:
    first, *rest = clock.trials
    print(f"\n| part | first trial | wall, median of {len(rest)} | CPU, median |\n| --- | --- | --- | --- |")
    for part in [*PARTS, "all else"]:
        wall, cpu = (statistics.median(trial.get(part, (0.0, 0.0))[kind] for trial in rest) for kind in (0, 1))
        print(f"| {part} | {first.get(part, (0.0, 0.0))[0]:.3f} | {wall:.3f} | {cpu:.3f} |")

    def besides(trial: dict[str, tuple[float, float]], kind: int) -> float:
        return sum(spent[kind] for part, spent in trial.items() if part not in TRAINING)

    wall, cpu = (statistics.median(besides(trial, kind) for trial in rest) for kind in (0, 1))
    print(f"| **besides training and embedding** | {besides(first, 0):.3f} | **{wall:.3f}** | **{cpu:.3f}** |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10, help="trials to take the median of (default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="pairs without categories")
    parser.add_argument("--dev", type=int, default=500, help="dev pairs (default: %(default)s)")
    parser.add_argument("--test", type=int, default=1000, help="test pairs (default: %(default)s)")
    parser.add_argument("--length", type=int, default=16, help="tokens of a text (default: %(default)s)")
    parser.add_argument("--save", default="none", help="as of a run (default: %(default)s)")
    options = parser.parse_args()
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="trial-cost-") as folder:
        root = Path(folder)
        (root / "conf").symlink_to(Path(__file__).resolve().parents[2] / "conf")
        os.environ["PROMAX_ROOT"] = folder
        from promax.cli import main as promax

        patch(clock)
        try:
            promax(words(root, options))
        except SystemExit as ended:
            if ended.code:
                raise
    show(clock)


if __name__ == "__main__":
    main()
