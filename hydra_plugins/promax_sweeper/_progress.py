"""What is told of a sweep while its workers, wherever they are, are at it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from types import TracebackType

from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm  # type: ignore[import-untyped]

from hydra_plugins.promax_sweeper._study import REASON, STOPPED, WORKER, Study

# Seconds between two looks at the study.
LOOK_EVERY = 1.0


class Progress:
    """Prints a line for each trial that ends in the length of a `with` block, whoever has run it.

    It is read from the storage, since what a worker prints goes to a launcher's file, on another machine perhaps.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._told: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._told = {trial.number for trial in self._ended()}
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            try:
                self._look()
            except Exception:  # each driver has its own; the next look tells what this one did not
                self._study.storage.rdb.remove_session()
        self._study.storage.rdb.remove_session()

    def _look(self) -> None:
        new = [trial for trial in self._ended() if trial.number not in self._told]
        if not new:
            return
        lines = [f"trial {trial.number} {_ending(trial, self._study)}" for trial in new]
        # In one piece, as other threads print too.
        sys.stderr.write("\n".join(lines) + f", {_standing(self._study, new)}\n")
        sys.stderr.flush()
        self._told |= {trial.number for trial in new}

    def _ended(self) -> list[FrozenTrial]:
        return [trial for trial in self._study.trials() if trial.state.is_finished()]


def _standing(study: Study, new: Sequence[FrozenTrial]) -> str:
    """How far the study is, the best so far, the time left; `new` are the trials that ended just now."""
    standing = study.standing()
    parts = [f"{standing.settled}/{standing.total} done"]
    if len(study.options.objective) == 1:
        best = study.best()
        if best is not None:
            parts.append(f"best {best.value:.4f} (trial {best.number})")
    trials = study.trials()
    seconds = [each.duration.total_seconds() for each in trials if each.duration is not None and _trained(each)]
    if seconds and not standing.done:
        unsettled = standing.total - standing.settled
        # Who has just ended a trial is at work too, though it may not have taken its next one yet.
        at_work = [each for each in trials if each.state == TrialState.RUNNING] + list(filter(_trained, new))
        workers = len({each.user_attrs.get(WORKER) for each in at_work})
        left = sum(seconds) / len(seconds) * unsettled / max(1, min(workers, unsettled))
        parts.append(f"{tqdm.format_interval(left)} left")
    return ", ".join(parts)


def _trained(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def _ending(trial: FrozenTrial, study: Study) -> str:
    if trial.state == TrialState.COMPLETE:
        shown = zip(study.options.objective, trial.values, strict=True)
        return ", ".join(f"{name} {value:.4f}" for name, value in shown)
    if trial.state == TrialState.PRUNED:
        unit = "seed" if study.options.pruner == "wilcoxon" else "epoch"
        steps = len(trial.intermediate_values)
        return f"pruned after {steps} {unit}{'s' if steps > 1 else ''}"
    return f"failed: {trial.user_attrs.get(REASON, 'stopped' if STOPPED in trial.user_attrs else 'its worker died')}"
