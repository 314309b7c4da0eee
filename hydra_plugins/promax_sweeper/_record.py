"""What a study leaves: its own run in MLflow, figures, the best settings as an override file."""

from __future__ import annotations

import csv
import io
import math
import shlex
import statistics
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import yaml
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from hydra_plugins.promax_sweeper import _plots
from hydra_plugins.promax_sweeper._study import REASON, RETRY_OF, RUNS, SAME_AS, SAMPLER, TRAINED, Standing, Study
from hydra_plugins.promax_sweeper._subject import Subject
from promax.files import replace

if TYPE_CHECKING:
    from promax.tracking import Store

# A float this close to an end, as a share of its range, is at the end; no draw hits it exactly.
NEAR = 0.02


@contextmanager
def opened(study: Study, subject: Subject) -> Iterator[str | None]:
    """The sweep's own run, open for the length of the block; None where the task is not recorded.

    Runs that dead workers left open are closed at its end, those of other machines too, which nothing else closes.
    """
    if subject.study is None:
        yield None
        return
    from promax.tracking import held_signals, open_store, open_sweep, status_and_reason

    store = open_store(subject.tracking_uri)
    # Commands that begin together find one run, not make one each.
    with study.storage.turn():
        run = open_sweep(store, study.name, study.run, _params(study))
        study.run = run.run_id
    try:
        yield run.run_id
    except BaseException as error:
        with held_signals(unless=store.is_server):
            _close_the_deads_runs(store, study, run.run_id)
            run.end(*status_and_reason(error))
        raise
    with held_signals(unless=store.is_server):
        _close_the_deads_runs(store, study, run.run_id)
        run.end("FINISHED")


def _close_the_deads_runs(store: Store, study: Study, parent: str) -> None:
    from promax.tracking import close_lost_runs, sweep_dead_runs

    sweep_dead_runs(store)
    close_lost_runs(store, study.name, parent, lambda number: study.trials()[number].state.is_finished())


def write(study: Study, subject: Subject, run_id: str | None, folder: Path) -> None:
    """Print what was found, and put figures, trials and the best settings into `folder` and the sweep's own run."""
    standing, best = study.standing(), study.best()
    print(
        f"study {study.name}: {standing.settled} trials: {standing.complete} complete, {standing.pruned} pruned, "
        f"{standing.failed} failed"
    )
    replace(folder / "trials.csv", _trials_csv(study).encode())
    if best is None:
        return
    # A config that sweeps by itself, as experiment=lr_epochs, is to train this once.
    words = [*study.space.overrides(best.params), "hydra.mode=RUN"]
    here = override_file(study, best, [subject.from_anywhere(word) for word in words])
    replace(folder / "best.yaml", here.encode())
    shares = {} if all_equal(study) else importances(study)
    found = _findings(study, best, shares)
    for line in [*found, *_cost(study), *_plots.draw(study.optuna, folder)]:
        print(line)
    print(f"run the best again: promax train @{folder / 'best.yaml'}\nfigures of all trials: {folder / 'study.html'}")
    if "rule.question" in subject.settings:
        print(f"the verdict: promax confirm {shlex.quote(study.name)}")
    print(f"browse the study: optuna-dashboard {study.storage.label}")
    if run_id is None:
        return
    from promax.tracking import DESCRIPTION_TAG, Run, open_store, run_link

    store = open_store(subject.tracking_uri)
    run, best_run = Run(store, run_id), (best.user_attrs.get(RUNS) or ["none"])[-1]
    text = _description(standing, found, run_link(store.experiment_id(study.name), best_run))
    run.set_tags({"promax.best_trial": best.number, "promax.best_run": best_run, DESCRIPTION_TAG: text})
    values = {f"best/{name}": value for name, value in zip(study.options.objective, best.values, strict=True)}
    counts = {f"trials/{name}": float(getattr(standing, name)) for name in ("complete", "pruned", "failed")}
    run.log_metrics({**values, **counts, **{f"importance/{key}": share for key, share in shares.items()}})
    for name in ("trials.csv", "study.html"):
        run.log_artifact(folder / name)
    # As it was said: where files lie on this machine is no part of what others read.
    run.log_text(override_file(study, best, words), "best.yaml")
    run.log_artifact(folder / "figures", "figures")


def all_equal(study: Study) -> int:
    """How many trials completed, where they are several and worth the same, so that none can be chosen; else 0."""
    complete = [trial.values for trial in study.trials() if trial.state == TrialState.COMPLETE]
    return len(complete) if len(complete) > 1 and all(values == complete[0] for values in complete) else 0


def override_file(study: Study, trial: FrozenTrial, words: list[str]) -> str:
    """A trial's overrides as YAML that `promax train @FILE` takes."""
    shown = ", ".join(f"{name} {value:.4f}" for name, value in zip(study.options.objective, trial.values, strict=True))
    head = f"# Study {study.name}, trial {trial.number}: {shown}. Run it: promax train @best.yaml\n"
    if equals := all_equal(study):
        head += f"# All {equals} trials scored the same; this is the earliest of them.\n"
    return head + yaml.safe_dump(words, allow_unicode=True, width=10_000)


def importances(study: Study) -> dict[str, float]:
    """Each parameter's share in what makes a trial good (PED-ANOVA, Watanabe et al. 2023); empty where undefined."""
    # Of several objectives the first; PED-ANOVA takes lower for better.
    sign = -1 if study.options.direction[0] == "maximize" else 1
    target = None if len(study.options.objective) == 1 else lambda trial: sign * trial.values[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(
                study.optuna, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), target=target
            )
    except (ValueError, RuntimeError):  # too few trials, or all of them equal
        return {}
    return {key: share for key, share in found.items() if math.isfinite(share)}


def at_an_end(study: Study, trial: FrozenTrial) -> list[str]:
    """Which of a trial's numbers lie at an end of their range, so that better ones may lie beyond it. Not seeds."""
    found = []
    for key, parameter in study.space.parameters.items():
        each = parameter.distribution
        if not isinstance(each, IntDistribution | FloatDistribution) or each.low == each.high:
            continue
        if key.rpartition(".")[2] == "seed":
            continue
        scale = math.log if each.log else float
        place = (scale(trial.params[key]) - scale(each.low)) / (scale(each.high) - scale(each.low))
        margin = 0.0 if parameter.values is not None or isinstance(each, IntDistribution) else NEAR
        if place <= margin or place >= 1 - margin:
            side = "lower" if place <= margin else "upper"
            found.append(f"{key}={trial.params[key]:g} is at the {side} end of {each.low:g} to {each.high:g}")
    return found


def _findings(study: Study, best: FrozenTrial, shares: Mapping[str, float]) -> list[str]:
    values = ", ".join(f"{name} {value:.4f}" for name, value in zip(study.options.objective, best.values, strict=True))
    spread = best.user_attrs.get("spread")
    over = f" (mean of {len(study.options.seeds)} seeds, standard deviation {spread[0]:.4f})" if spread else ""
    words = " ".join(f"{key}={each.text(best.params[key])}" for key, each in study.space.parameters.items())
    if equals := all_equal(study):
        return [
            f"all {equals} trials scored the same, {values}{over}: nothing can be chosen by it; best.yaml holds the "
            f"earliest, trial {best.number}: {words}"
        ]
    lines = [f"best: trial {best.number}, {values}{over}: {words}"]
    if shares:
        lines.append("importance: " + ", ".join(f"{key} {share:.2f}" for key, share in shares.items()))
    lines += [f"warning: {each}; widen it, the best may lie beyond" for each in at_an_end(study, best)]
    return lines


def _description(standing: Standing, found: list[str], best_run: str) -> str:
    """The sweep in Markdown, for the MLflow UI."""
    counts = f"{standing.complete} complete, {standing.pruned} pruned, {standing.failed} failed"
    words = "\n".join(f"- {line}" for line in found)
    return (
        f"A sweep of {standing.settled} trials, chosen among on dev: {counts}\n\n{words}\n\n"
        f"[The best trial's run]({best_run}). Its settings again: `promax train @best.yaml`, one of its artifacts; "
        "all trials are drawn in study.html there"
    )


def besides(trial: FrozenTrial) -> float | None:
    """The seconds of a trial that were neither steps nor embeddings; None where its runs did not tell."""
    trained = trial.user_attrs.get(TRAINED)
    return None if trained is None or trial.duration is None else trial.duration.total_seconds() - trained


def _cost(study: Study) -> list[str]:
    # Without the first, which pays for what the others share.
    seconds = [each for trial in study.trials()[1:] if (each := besides(trial)) is not None]
    if not seconds:
        return []
    return [f"besides training, a trial took {statistics.median(seconds):.2f} s (median of {len(seconds)})"]


def _trials_csv(study: Study) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys, objective = list(study.space.parameters), study.options.objective
    times = ("epochs", "seconds", "seconds_besides_training")
    of_trial = {"reason": REASON, "retry_of": RETRY_OF, "same_as": SAME_AS, "sampler": SAMPLER}
    writer.writerow(["trial", "state", *keys, *objective, "spread", *times, *of_trial, "runs"])
    for trial in study.trials():
        attrs = trial.user_attrs
        settings = [trial.params.get(key, "") for key in keys]
        values = [repr(value) for value in trial.values or ()] or [""] * len(objective)
        spread = " ".join(f"{each:.6f}" for each in attrs.get("spread", ()))
        seconds = f"{trial.duration.total_seconds():.1f}" if trial.duration is not None else ""
        other = besides(trial)
        spent = [len(trial.intermediate_values), seconds, "" if other is None else f"{other:.3f}"]
        more = [attrs.get(key, "") for key in of_trial.values()]
        runs = " ".join(attrs.get(RUNS, ()))
        writer.writerow([trial.number, trial.state.name, *settings, *values, spread, *spent, *more, runs])
    return text.getvalue()


def _params(study: Study) -> dict[str, object]:
    options = study.options
    return {
        **{f"space.{key}": text for key, text in study.space.canonical().items()},
        "sampler": options.sampler,
        "sampler_options": options.sampler_options or None,
        "sampler_seed": options.seed,
        "pruner": options.pruner,
        "pruner_options": options.pruner_options or None,
        "objective": ", ".join(options.objective),
        "direction": ", ".join(options.direction),
        "seeds": options.seeds or None,
    }
