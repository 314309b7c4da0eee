"""The whole of one run, top to bottom: encoder, training, evaluation, record."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from filelock import FileLock
from sentence_transformers import SentenceTransformer

from promax import description, encoder, export, journal, packed, portable, weights
from promax.adversarial import diagnose
from promax.audit.training import log_audit
from promax.clock import Clock
from promax.config import Config, ConfigError, checkout, flatten, project_root
from promax.data.pairs import positives
from promax.data.splits import Splits
from promax.evaluate import Embed, Evaluation, embed_pairs, evaluate, point_metric_names, point_metrics
from promax.provenance import Provenance, collect
from promax.tracking import (
    BASELINE_RUN,
    Run,
    RunInfo,
    Store,
    find_baseline,
    get_run,
    open_store,
    read_ahead,
    send_at_once,
    settle,
    start_run,
)
from promax.train import EpochRecord, FitReport, fit, plan_for
from promax.trial import TRIAL_TAG, Trial

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """A finished run: its id in the record, its baseline's, and what it reached.

    `baseline_id` is None for a baseline itself, `dev` where there is no dev side, `fit` where nothing was
    trained.
    """

    run_id: str
    baseline_id: str | None
    dev: Evaluation | None
    test: Evaluation
    fit: FitReport | None


@dataclass(frozen=True)
class _Setting:
    """What all the steps of a run share."""

    cfg: Config
    splits: Splits
    store: Store
    device: str
    provenance: Provenance
    overrides: Sequence[str]
    trial: Trial | None
    clock: Clock

    @property
    def pictures(self) -> bool:
        """Whether the run gets figures: a search has its own, but runs of a study with a rule are looked at singly."""
        return self.trial is None or self.cfg.rule is not None

    def tell(self, text: str, *values: object) -> None:
        """Say what every run says, and the trials of a sweep need not say each."""
        _logger.log(logging.INFO if self.trial is None else logging.DEBUG, text, *values)


def run(cfg: Config, splits: Splits, overrides: Sequence[str] = (), trial: Trial | None = None) -> RunResult:
    """Train and evaluate what `cfg` asks for and record it, after its baseline where the study has none yet.

    `overrides` are the words of the command line, for the record; `trial` is the trial of a sweep that this run is.

    Raises:
        Pruned: the sweep ended the trial after an epoch; the run is recorded as KILLED, with its curve.
        ConfigError: the request does not fit the pairs, the model or the machine.
        RuntimeError: training did not do what was configured; the run is then recorded as FAILED.
    """
    clock = Clock()
    try:
        return _run(cfg, splits, overrides, trial, clock)
    finally:
        if trial is not None:
            trial.trained(clock.trained)


def _run(cfg: Config, splits: Splits, overrides: Sequence[str], trial: Trial | None, clock: Clock) -> RunResult:
    device = encoder.resolve_device(cfg.device)
    portable.check(cfg, device)
    if trial is None:
        provenance, store = collect(checkout(), device), open_store(cfg.tracking.uri)
    else:
        provenance, store = _collect_once(checkout(), device), _open_once(project_root(), cfg.tracking.uri)
    setting = _Setting(cfg, splits, store, device, provenance, overrides, trial, clock)
    sizes = ", ".join(f"{len(pairs)} {side}" for side, pairs in splits.sides()) + " pairs"
    for note in (*splits.notes, sizes):
        setting.tell("data: %s", note)
    if cfg.optim.epochs == 0:
        return _record(setting, encoder.load(cfg.model, device, cfg.seed), baseline=None)
    # What doesn't fit is refused before the baseline, and before there is a run that could fail of it.
    _check_training(cfg, splits)
    model = encoder.load(cfg.model, device, cfg.seed)
    baseline = _baseline_of(setting)
    # At hand before anything is trained: once it is, a server may be away.
    read_ahead(setting.store, baseline.run_id)
    return _record(setting, model, baseline)


@lru_cache(maxsize=1)
def _collect_once(root: Path | None, device: str) -> Provenance:
    """The trials of a worker have code, libraries and machine in common."""
    return collect(root, device)


@lru_cache(maxsize=1)
def _open_once(_root: Path, uri: str | None) -> Store:
    """The trials of a worker are recorded in one place; nobody asks a second time whether it answers."""
    return open_store(uri)


def _check_training(cfg: Config, splits: Splits) -> None:
    assert splits.train is not None and splits.dev is not None, "a run that trains is given both sides"
    plan_for(splits.train, cfg.optim, cfg.seed)
    select_by = cfg.optim.select_by
    if select_by in ("roc_auc", "pr_auc") and positives(splits.dev.labels, cfg.data.positive_from) is None:
        raise ConfigError(
            f"optim.select_by={select_by}: dev has graded labels and no such metric; "
            "set data.positive_from, or select by spearman or pearson"
        )


def baseline_config(cfg: Config) -> Config:
    """The run that `cfg` is measured against: the same encoder on the same pairs, nothing trained.

    >>> baseline_config(Config()).optim.epochs
    0
    """
    model = dataclasses.replace(cfg.model, name=cfg.model.name.removesuffix("_lora"), lora=None)
    return dataclasses.replace(cfg, model=model, optim=dataclasses.replace(cfg.optim, epochs=0), save="none")


# The baselines that trials of this process were measured against, by record, study and what they depend on: none of a
# sweep's trials looks for it again.
_BASELINES: dict[tuple[Store, str, str], RunInfo] = {}


def _baseline_of(setting: _Setting) -> RunInfo:
    """The study's baseline on these pairs, computed now where there is none yet."""
    store, trial = setting.store, setting.trial
    if trial is not None and BASELINE_RUN in trial.tags:
        return get_run(store, trial.tags[BASELINE_RUN])
    key = _baseline_key(setting)
    if trial is None:
        return _found_or_made(setting, key)
    where = (store, setting.cfg.study, key)
    if where not in _BASELINES:
        _BASELINES[where] = _found_or_made(setting, key)
    return _BASELINES[where]


def _found_or_made(setting: _Setting, key: str) -> RunInfo:
    cfg, store = setting.cfg, setting.store
    mlruns = project_root() / "mlruns"
    mlruns.mkdir(parents=True, exist_ok=True)
    # The workers of a sweep begin together: one makes the baseline, the others wait and find it.
    with FileLock(mlruns / "baseline.lock"):
        # It may wait on disk, for a server that was away when it was made.
        send_at_once(store)
        found = find_baseline(store, cfg.study, key)
        if found is not None:
            setting.tell("baseline: run %s, found again", found.short_id)
            return found
        _logger.info("baseline: this study has none on these pairs, so it comes first")
        untuned = baseline_config(cfg)
        model = encoder.load(untuned.model, setting.device, untuned.seed)
        made = _record(dataclasses.replace(setting, cfg=untuned, trial=None, clock=Clock()), model, baseline=None)
        settle(store, made.run_id)
        return get_run(store, made.run_id)


def _baseline_key(setting: _Setting) -> str:
    """A hash of all that a baseline's metrics depend on: the encoder's files, pairs, evaluation, libraries, device."""
    cfg, splits = setting.cfg, setting.splits
    parts = {
        "files": weights.files_sha256(cfg.model),
        "versions": setting.provenance.versions,
        "max_seq_length": cfg.model.max_seq_length,
        "dev": splits.dev.fingerprint() if splits.dev is not None else None,
        "test": splits.test.fingerprint(),
        "adversarial": splits.adversarial.fingerprint() if splits.adversarial is not None else None,
        "transfer": splits.transfer.fingerprint() if splits.transfer is not None else None,
        "positive_from": cfg.data.positive_from,
        "eval": dataclasses.asdict(cfg.eval),
        "device": "portable" if portable.is_set() else setting.device.partition(":")[0],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _record(setting: _Setting, model: SentenceTransformer, baseline: RunInfo | None) -> RunResult:
    """One run, from its first parameter to its last artifact."""
    cfg, splits, provenance, trial = setting.cfg, setting.splits, setting.provenance, setting.trial
    tags = _tags(setting, model, baseline)
    name, parent = description.run_name(cfg), trial.parent if trial else None
    with start_run(setting.store, cfg.study, name, flatten(cfg), tags, parent, pictures=setting.pictures) as record:
        if trial is not None:
            trial.opened(record.run_id)
        setting.tell("run %s: %s", record.run_id[:8], name)
        journal.log_request(record, cfg, splits, provenance, setting.overrides)
        # Judged in float32, so that the saved model scores as recorded; bfloat16 is exact enough to rank epochs.
        embed = setting.clock.timed(partial(encoder.embed, model, batch_size=cfg.eval.batch_size))
        ranked = partial(embed, precision=cfg.precision)
        report = _train(model, ranked, setting, record) if cfg.optim.epochs > 0 else None
        saves = report is not None and cfg.saves != "none"
        # The learning curve is in the record by now; all else that was measured comes in one piece, and before an
        # encoder is written, which takes a moment in which it could be lost.
        with record.together():
            if report is not None:
                journal.log_fit(record, report, cfg.optim.select_by, baseline)
            shown = partial(embed, progress=trial is None and sys.stderr.isatty())
            dev, test = _judge(shown, setting, record, report, baseline)
            if report is not None and not saves:
                record.log_metrics({"train/other_seconds": setting.clock.other()})
        if report is not None and saves:
            _save(model, setting, record, report, test)
            record.log_metrics({"train/other_seconds": setting.clock.other()})
    return RunResult(record.run_id, baseline.run_id if baseline else None, dev, test, report)


def _judge(
    embed: Embed, setting: _Setting, record: Run, report: FitReport | None, baseline: RunInfo | None
) -> tuple[Evaluation | None, Evaluation]:
    """Dev where there is one, and test: evaluated and recorded, with all that is measured beside them."""
    cfg, splits, store = setting.cfg, setting.splits, setting.store
    setting.tell("evaluating on dev and test" if splits.dev is not None else "evaluating on test")
    judge = partial(evaluate, embed, cfg=cfg.eval, positive_from=cfg.data.positive_from, seed=cfg.seed)
    dev = judge(splits.dev, is_dev=True) if splits.dev is not None else None
    # Test comes last and once: but for the audit, which chooses nothing, nothing before this line has seen it.
    threshold = dev.threshold if dev is not None else None
    test = judge(splits.test, threshold=threshold)
    # One step after the last epoch, since it is the kept epoch's encoder that is judged.
    step = report.epochs_run + 1 if report is not None else 0
    if dev is not None and splits.dev is not None:
        journal.log_evaluation(record, "dev", splits.dev, dev, step, baseline)
    # A single number has no course: at step 0 the UI draws it as bars, run beside run.
    journal.log_evaluation(record, "test", splits.test, test, 0, baseline)
    if splits.transfer is not None:
        found = judge(splits.transfer, threshold=threshold)
        journal.log_transfer(record, store, cfg, splits.transfer, found, baseline)
    hard = splits.adversarial if splits.adversarial is not None else splits.test
    adversarial = diagnose(embed, hard, splits.dev, cfg.eval, positive_from=cfg.data.positive_from, seed=cfg.seed)
    journal.log_adversarial(record, store, hard, adversarial, baseline)
    journal.log_outcome(record, store, cfg, splits, test, adversarial, baseline)
    return dev, test


def _tags(setting: _Setting, model: SentenceTransformer, baseline: RunInfo | None) -> dict[str, object]:
    """All that a run is tagged with from its start."""
    cfg, trial = setting.cfg, setting.trial
    # A tuned run names its baseline; only a baseline is found by what it depends on.
    key = _baseline_key(setting) if baseline is None else None
    tags = journal.tags(cfg, setting.splits, setting.provenance, key, baseline) | dict(trial.tags if trial else {})
    if cfg.optim.epochs > 0:
        tags["promax.precision"] = packed.recorded_precision(cfg.precision, model.device)
    return tags


def _train(model: SentenceTransformer, embed: Embed, setting: _Setting, record: Run) -> FitReport:
    cfg, train, dev = setting.cfg, setting.splits.train, setting.splits.dev
    assert train is not None and dev is not None, "a run that trains is given both sides"
    log_audit(record, cfg, setting.splits, setting.device, repeat=setting.trial is None)
    positive = positives(dev.labels, cfg.data.positive_from)

    def dev_score() -> dict[str, float]:
        return point_metrics(embed_pairs(embed, dev)[1], dev.labels, positive)

    def on_epoch(epoch: EpochRecord) -> None:
        setting.clock.trained += epoch.seconds
        journal.log_epoch(record, epoch)
        if setting.trial is not None:
            # What has no value after this epoch is measured all the same.
            measured = dict.fromkeys(point_metric_names(graded=positive is None), math.nan) | epoch.dev
            setting.trial.report({f"dev/{name}": value for name, value in measured.items()}, epoch.epoch)

    number = setting.trial.tags.get(TRIAL_TAG) if setting.trial is not None else None
    label = f"trial {number}" if number is not None else None
    return fit(model, train, cfg.optim, cfg.engine, cfg.seed, dev_score, on_epoch, cfg.precision, label)


def _save(model: SentenceTransformer, setting: _Setting, record: Run, report: FitReport, test: Evaluation) -> None:
    """Write the model, prove that it reads back, and only then put it into the record."""
    cfg = setting.cfg
    assert cfg.saves != "none", "asked to save nothing"
    card = export.card(
        title=description.run_name(cfg),
        base=weights.model_id(cfg.model),
        base_sha256=weights.weights_sha256(cfg.model),
        run_id=record.run_id,
        metrics={f"test/{name}": (test.metrics[name], each.low, each.high) for name, each in test.intervals.items()},
        confidence=cfg.eval.confidence,
        data=description.data_origins(setting.splits),
        hyperparameters=description.used(cfg, report),
        mode=cfg.saves,
    )
    with tempfile.TemporaryDirectory(prefix="promax-") as scratch:
        folder = Path(scratch) / "model"
        export.save(model, folder, cfg.saves, card)
        record.log_artifact(folder, "model")
