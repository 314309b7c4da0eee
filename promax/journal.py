"""What of a run goes into its record, and under which names.

No ticket text unless `tracking.log_text` asks for it: ids, counts, hashes and scores.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from promax import figures, weights
from promax.adversarial import Diagnosis
from promax.compare import ADVERSARIAL, ADVERSARIAL_REASON, TIER, differences, reached, verdict
from promax.config import Config, to_yaml
from promax.data.pairs import Pairs, is_binary
from promax.data.splits import Side, Splits
from promax.description import describe
from promax.evaluate import Evaluation
from promax.metrics import Difference, Interval
from promax.provenance import Provenance, config_hash
from promax.scores import ScoreTable
from promax.slices import log_slices
from promax.tracking import (
    BASELINE_KEY,
    BASELINE_RUN,
    DESCRIPTION_TAG,
    DatasetRecord,
    Run,
    RunInfo,
    Store,
    finished_scores,
    mask,
)
from promax.train import EpochRecord, FitReport

LOSS, LEARNING_RATE = "train/loss", "train/learning_rate"


def tags(
    cfg: Config, splits: Splits, provenance: Provenance, baseline_key: str | None, baseline: RunInfo | None
) -> dict[str, object]:
    """What a run is found and judged by: kind, baseline, code, data, machine."""
    found: dict[str, object] = {
        "promax.kind": "tuned" if cfg.optim.epochs > 0 else "baseline",
        "promax.config_hash": config_hash(cfg),
        "promax.labels": "binary" if is_binary(splits.test.labels) else "graded",
        "promax.model_sha256": weights.weights_sha256(cfg.model),
        "promax.model_files_sha256": weights.files_sha256(cfg.model),
        **provenance.tags(),
    }
    for side, pairs in splits.sides():
        found[f"promax.data.{side}"] = pairs.fingerprint()
    if baseline is not None:
        found[BASELINE_RUN] = baseline.run_id
    if baseline_key is not None:
        found[BASELINE_KEY] = baseline_key
    return found


def log_request(record: Run, cfg: Config, splits: Splits, provenance: Provenance, overrides: Sequence[str]) -> None:
    """What was asked for and from where: config, overrides, code, packages, data."""
    record.log_text(to_yaml(cfg), "config.yaml")
    record.log_text("\n".join(overrides) + "\n", "overrides.txt")
    record.log_text("\n".join(provenance.requirements) + "\n", "requirements.txt")
    if provenance.diff:
        record.log_text(provenance.diff, "git.diff")
    if provenance.changed or provenance.untracked:
        lines = [f"M {name}" for name in provenance.changed] + [f"? {name}" for name in provenance.untracked]
        lines += [f"* {name}" for name in _masked(provenance.diff)]
        record.log_text("\n".join(lines) + "\n", "git_status.txt")
    if splits.notes:
        record.log_text("\n".join(splits.notes) + "\n", "data_notes.txt")
    record.log_datasets([_dataset(cfg, splits, side, pairs) for side, pairs in splits.sides()])
    if cfg.tracking.log_text:
        for side, pairs in splits.sides():
            record.log_text(_texts(pairs), f"texts/{side}.jsonl")


def _masked(diff: str) -> list[str]:
    """The files in a diff with credentials of URIs in them, without which they are recorded.

    >>> _masked("diff --git a/x.py b/x.py\\n+URI = 'http://ann:s3cret@db'\\ndiff --git a/y.py b/y.py\\n+1\\n")
    ['x.py']
    """
    parts = re.split(r"^(?=diff --git )", diff, flags=re.MULTILINE)
    return [part.partition("\n")[0].rpartition(" b/")[2] for part in parts if mask(part) != part]


def log_epoch(record: Run, epoch: EpochRecord) -> None:
    """One point of the learning curve; the learning rate is the one read from the optimizer."""
    dev = {f"dev/{name}": value for name, value in epoch.dev.items()}
    record.log_metrics({LOSS: epoch.loss, LEARNING_RATE: epoch.lr, **dev}, step=epoch.epoch)


def is_of_epochs(name: str) -> bool:
    """Whether a metric is one of `log_epoch`'s, with a point for each epoch; dev has another behind its last.

    >>> is_of_epochs("dev/spearman"), is_of_epochs("train/steps")
    (True, False)
    """
    return name in (LOSS, LEARNING_RATE) or name.startswith("dev/")


def log_fit(record: Run, report: FitReport, select_by: str, baseline: RunInfo | None) -> None:
    """What training really did, beside what the parameters say was asked of it."""
    done: dict[str, float] = {
        "train/peak_learning_rate": report.peak_lr,
        "train/steps": report.steps,
        "train/epochs_run": report.epochs_run,
        "train/best_epoch": report.best_epoch,
        "train/trainable_parameters": report.trainable_parameters,
        "train/micro_batch_size": report.micro_batch_size,
        "train/seconds": report.seconds,
        "train/pairs_per_second": sum(report.examples_per_phase.values()) / report.seconds,
    }
    done |= {f"train/examples_phase_{phase}": count for phase, count in report.examples_per_phase.items()}
    # Which engine took the steps, and in which precision, follows from the encoder and the processor too.
    record.log_metrics(done, step=report.epochs_run, tags={"promax.engine": report.engine})
    record.log_text(_steps(report), "steps.csv")
    curve = [epoch.dev.get(select_by, math.nan) for epoch in report.epochs]
    reference = baseline.metrics.get(f"dev/{select_by}") if baseline is not None else None
    numbers = [epoch.epoch for epoch in report.epochs]
    if record.pictures:
        figure = figures.learning_curve(numbers, curve, select_by, report.best_epoch, reference)
        record.log_figure(figure, "figures/learning_curve.png")


def log_evaluation(
    record: Run,
    side: Literal["dev", "test", "transfer"],
    pairs: Pairs,
    found: Evaluation,
    step: int,
    baseline: RunInfo | None,
) -> None:
    """Metrics with their intervals, per-pair scores, slices, figures, and why a metric is absent.

    For dev of a run that trained, `step` is one after the last epoch: the curve ends with the kept encoder.
    """
    values = _named(f"{side}/", found.metrics, found.intervals)
    for each in found.slices:
        if each.kind == "phase":
            values |= {f"{side}/phase_{each.name}/{name}": value for name, value in each.metrics.items()}
    if found.threshold is not None:
        values[f"{side}/threshold"] = found.threshold
    record.log_metrics(values, step=step)
    record.log_scores(side, score_table(pairs, found))
    log_slices(record, side, found, baseline)
    if found.absent:
        record.log_text(json.dumps(found.absent, indent=2) + "\n", f"absent/{side}.json")
    if record.pictures:
        figure = figures.score_distributions(found.scores, pairs.labels, f"{side}: scores by label")
        record.log_figure(figure, f"figures/scores_{side}.png")


def log_adversarial(record: Run, store: Store, pairs: Pairs, found: Diagnosis, baseline: RunInfo | None) -> None:
    """What the diagnostic on `pairs` came to, its figures beside the baseline's, the scores of the chosen pairs."""
    reasons = {ADVERSARIAL_REASON: "; ".join(found.reasons)} if found.reasons else {}
    values = _named("test/adversarial_", found.metrics, found.intervals)
    record.log_metrics(values, tags={ADVERSARIAL: found.status, **reasons})
    report = _adversarial(found, values, values if baseline is None else baseline.metrics)
    record.log_text(json.dumps(report, indent=2) + "\n", "adversarial.json")
    if found.selection is None or not len(found.scores):
        return
    rows, positive = found.selection.rows, found.selection.positive
    asked = pairs.take(rows)
    table = ScoreTable(rows, asked.id1, asked.id2, found.units, asked.labels, found.scores, asked.phases)
    record.log_scores("adversarial", table)
    curves = [("TF-IDF", found.selection.overlap), ("encoder", found.scores)]
    if baseline is not None:
        curves.insert(0, ("baseline", finished_scores(store, baseline.run_id, "adversarial").score))
    if record.pictures:
        figure = figures.roc([(name, scores, positive) for name, scores in curves], "ROC on adversarial pairs")
        record.log_figure(figure, "figures/roc_adversarial.png")


def log_outcome(
    record: Run,
    store: Store,
    cfg: Config,
    splits: Splits,
    test: Evaluation,
    adversarial: Diagnosis,
    baseline: RunInfo | None,
) -> None:
    """The paired differences from the baseline, the verdict, the tiers and the ROC beside the baseline's."""
    standing = reached(cfg.tiers, test.metrics, baseline, adversarial.status)
    outcome = {TIER: standing.absolute or "none", "promax.tier_relative": standing.relative or "none"}
    curves = [(_legend(cfg), test.scores)]
    gains: dict[str, float] = {}
    if baseline is not None:
        reference = finished_scores(store, baseline.run_id, "test")
        found, gains = _differences(record, "delta", reference, score_table(splits.test, test), cfg)
        if "spearman" in found:
            outcome["promax.verdict"] = verdict(found["spearman"])
        curves.insert(0, ("baseline", reference.score))
    if record.pictures and test.positive is not None and 0 < test.positive.sum() < len(test.positive):
        figure = figures.roc([(name, scores, test.positive) for name, scores in curves], "ROC on test")
        record.log_figure(figure, "figures/roc.png")
    own = _named("test/", test.metrics, test.intervals) | gains
    why = f" ({'; '.join(adversarial.reasons)})" if adversarial.reasons else ""
    words = f"tier {outcome['promax.tier']}; adversarial diagnostic {adversarial.status}{why}"
    outcome[DESCRIPTION_TAG] = describe(record.run_id, cfg, splits, own, baseline, outcome.get("promax.verdict"), words)
    record.log_metrics(gains, tags=outcome)


def log_transfer(
    record: Run, store: Store, cfg: Config, pairs: Pairs, found: Evaluation, baseline: RunInfo | None
) -> None:
    """The pairs of another domain: metrics as of every side, and the paired differences from the baseline."""
    log_evaluation(record, "transfer", pairs, found, step=0, baseline=baseline)
    if baseline is not None:
        reference = finished_scores(store, baseline.run_id, "transfer")
        record.log_metrics(_differences(record, "delta_transfer", reference, score_table(pairs, found), cfg)[1])


def _differences(
    record: Run, name: str, baseline: ScoreTable, tuned: ScoreTable, cfg: Config
) -> tuple[dict[str, Difference], dict[str, float]]:
    """The paired differences from the baseline, also as metrics `name/...`; the record says which have no value."""
    found, absent = differences(baseline, tuned, cfg.data.positive_from, cfg.eval, cfg.seed)
    if absent:
        record.log_text(json.dumps(absent, indent=2) + "\n", f"absent/{name}.json")
    estimates = {metric: each.estimate for metric, each in found.items()}
    return found, _named(f"{name}/", estimates, {metric: each.interval for metric, each in found.items()})


def _legend(cfg: Config) -> str:
    """Short name of the encoder in a legend."""
    return f"{cfg.model.name}, {cfg.optim.epochs} epochs" if cfg.optim.epochs > 0 else f"{cfg.model.name}, un-tuned"


def score_table(pairs: Pairs, found: Evaluation) -> ScoreTable:
    """The scored pairs as they are recorded: ids and numbers, no text."""
    return ScoreTable(
        pair=np.arange(len(pairs)),
        id1=pairs.id1,
        id2=pairs.id2,
        units=found.units,
        label=pairs.labels,
        score=found.scores,
        phases=pairs.phases,
    )


def _named(prefix: str, values: Mapping[str, float], intervals: Mapping[str, Interval]) -> dict[str, float]:
    """Values and the ends of their intervals, by the names they have in the record."""
    named = {f"{prefix}{name}": value for name, value in values.items()}
    for name, interval in intervals.items():
        named |= {f"{prefix}{name}_low": interval.low, f"{prefix}{name}_high": interval.high}
    return named


def _dataset(cfg: Config, splits: Splits, side: Side, pairs: Pairs) -> DatasetRecord:
    kinds: dict[str, Literal["local", "hugging_face", "code"]] = {"files": "local", "hub": "hugging_face"}
    profile: dict[str, int | float | str] = {
        "pairs": len(pairs),
        "tickets": int(pairs.tickets().max()) + 1,
        "mean_label": round(float(pairs.labels.mean()), 4),
    }
    return DatasetRecord(
        name=f"{cfg.data.name} {side}",
        digest=pairs.fingerprint(),
        context=side,
        source_type=kinds.get(cfg.data.source, "code"),
        source=splits.origins[side],
        profile=profile,
    )


def _steps(report: FitReport) -> str:
    rows = [
        (step, repr(loss), repr(lr)) for step, (loss, lr) in enumerate(zip(report.losses, report.lrs, strict=True), 1)
    ]
    return _csv(("step", "loss", "learning_rate"), rows)


def _adversarial(found: Diagnosis, own: Mapping[str, float], baseline: Mapping[str, float]) -> dict[str, object]:
    """The diagnosis as a file; `own` and `baseline` are metrics as recorded. A figure is [value, low, high]."""

    def figure(metrics: Mapping[str, float], name: str) -> list[float | None]:
        return [metrics.get(f"test/adversarial_{name}{end}") for end in ("", "_low", "_high")]

    report: dict[str, object] = {"status": found.status, "reasons": found.reasons}
    if found.selection is not None:
        kinds = ("positives_across_categories", "negatives_within_one")
        report |= {
            "candidates": dict(zip(kinds, found.selection.candidates, strict=True)),
            "chosen": dict(zip(kinds, found.selection.chosen, strict=True)),
            "overlap_bounds": {
                "positives_at_most": found.selection.highest,
                "negatives_at_least": found.selection.lowest,
            },
            "tfidf_roc_auc_on_candidates": found.selection.candidates_roc_auc,
            "same_category_roc_auc_on_all_pairs": found.selection.category_roc_auc,
        }
    for name in ("roc_auc", "f1") if found.metrics else ():
        sides = {"encoder": figure(own, name), "baseline": figure(baseline, name)}
        report[name] = {**sides, "tfidf": figure(own, f"control_{name}")}
    if found.metrics:
        report |= {"roc_auc_over_tfidf": figure(own, "over_control"), "absent": found.absent}
    return report


def _texts(pairs: Pairs) -> str:
    rows = zip(pairs.id1, pairs.text1, pairs.id2, pairs.text2, strict=True)
    return "".join(
        json.dumps({"id1": id1, "text1": text1, "id2": id2, "text2": text2}, ensure_ascii=False) + "\n"
        for id1, text1, id2, text2 in rows
    )


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    return text.getvalue()
