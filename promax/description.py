"""A run in words: some lines of Markdown that the MLflow UI shows above all else, and what its model card states."""

from __future__ import annotations

from collections.abc import Mapping

from promax.config import Config
from promax.data.splits import Splits
from promax.tracking import RunInfo, compare_link, run_link
from promax.train import FitReport

SHOWN = {"spearman": "Spearman", "roc_auc": "ROC-AUC"}
VERDICTS = {
    "better": "**better** than the un-tuned encoder, on this test set and for this seed",
    "worse": "**worse** than the un-tuned encoder, on this test set and for this seed",
    "undecided": "**undecided**: the interval of the difference from the un-tuned encoder holds zero",
    None: "no verdict: its difference from the un-tuned encoder has no value",
}


def run_name(cfg: Config) -> str:
    """How a run is called in tables and in the MLflow UI.

    >>> run_name(Config(seed=3))
    'minilm lr=5e-05 epochs=12 seed=3'
    """
    if cfg.optim.epochs == 0:
        return f"{cfg.model.name} baseline"
    return f"{cfg.model.name} lr={cfg.optim.lr:g} epochs={cfg.optim.epochs} seed={cfg.seed}"


def describe(
    run_id: str,
    cfg: Config,
    splits: Splits,
    own: Mapping[str, float],
    baseline: RunInfo | None,
    verdict: str | None,
    standing: str,
) -> str:
    """The verdict, the result on test beside the baseline's, what was trained on what, and how to do it again.

    `own` are the run's metrics by the names they have in the record: test/... and delta/...; `standing` is the rest of
    what it reached, in words. Lists and no tables: the UI sets those without any space.
    """
    head = VERDICTS[verdict] if baseline is not None else "**baseline**: the un-tuned encoder, as it came"
    found = [_line(name, own, baseline) for name in SHOWN if f"test/{name}" in own]
    pairs = ", ".join(f"{len(each):,} {side}" for side, each in splits.sides())
    level = f"Intervals of {100 * cfg.eval.confidence:g} %"
    again = f"Again: `promax reproduce {run_id[:8]}`"
    if baseline is not None:
        level += "; the difference is measured pair by pair"
        study = baseline.experiment_id
        beside = compare_link(study, [baseline.run_id, run_id])
        again = f"[Beside the baseline]({beside}), [the baseline]({run_link(study, baseline.run_id)}). {again}"
    return "\n".join(
        [
            *(head, ""),
            *(f"- {line}" for line in [*found, standing]),
            *("", f"{_trained(cfg)}. Pairs of {cfg.data.name}: {pairs}. {level}.", "", again),
        ]
    )


def data_origins(splits: Splits) -> dict[str, str]:
    """Side -> where it came from, how many pairs, its fingerprint."""
    return {
        side: f"{splits.origins[side]}, {len(pairs)} pairs, fingerprint {pairs.fingerprint()}"
        for side, pairs in splits.sides()
    }


def used(cfg: Config, report: FitReport) -> dict[str, str | int | float]:
    """The hyperparameters that training used, read from what it did where it left a trace."""
    lora = cfg.model.lora
    return {
        "learning rate (peak, read from the optimizer)": report.peak_lr,
        "epochs": report.epochs_run,
        "kept epoch": report.best_epoch if cfg.optim.keep == "best" else report.epochs_run,
        "optimizer steps": report.steps,
        "batch size": cfg.optim.batch_size,
        "loss": cfg.optim.loss,
        "schedule": f"{cfg.optim.schedule}, warm-up {cfg.optim.warmup_ratio:g}",
        "weight decay": cfg.optim.weight_decay,
        "curriculum": cfg.optim.curriculum,
        "LoRA": f"r {lora.r}, alpha {lora.alpha}, dropout {lora.dropout:g}" if lora is not None else "none",
        "trained parameters": report.trainable_parameters,
        "seed": cfg.seed,
    }


def _line(name: str, own: Mapping[str, float], baseline: RunInfo | None) -> str:
    line = f"{SHOWN[name]} on test {_figure(own, f'test/{name}')}"
    if baseline is None or f"test/{name}" not in baseline.metrics:
        return line
    line += f", the baseline's {baseline.metrics[f'test/{name}']:.4f}"
    return f"{line}: **{_figure(own, f'delta/{name}', '+.4f')}**" if f"delta/{name}" in own else line


def _figure(metrics: Mapping[str, float], name: str, form: str = ".4f") -> str:
    """A metric, with its interval where it has one."""
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    value = f"{metrics[name]:{form}}"
    return value if low is None or high is None else f"{value} [{low:{form}}, {high:{form}}]"


def _trained(cfg: Config) -> str:
    if cfg.optim.epochs == 0:
        return f"Evaluated: {cfg.model.name}, nothing trained"
    rest = f"batches of {cfg.optim.batch_size}, loss {cfg.optim.loss}, seed {cfg.seed}"
    return f"Trained: {cfg.model.name}, learning rate {cfg.optim.lr:g}, {cfg.optim.epochs} epochs, {rest}"
