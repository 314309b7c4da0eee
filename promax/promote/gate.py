"""What a run has to show before it becomes the champion, each with its figure and the rule; no model is loaded.

Spearman decides, as it does for the verdict of `promax compare`. A diagnostic that was not run, or not valid, is not
passed: the gate asks for evidence, and a missing piece is no evidence for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from promax.compare import ADVERSARIAL, ADVERSARIAL_REASON, TIER, differences
from promax.config import Config, ConfigError, TiersConfig
from promax.metrics import Difference
from promax.tracking import BASELINE_RUN, Champion, RunInfo, Store, get_run, read_datasets, read_scores


@dataclass(frozen=True)
class Finding:
    """One thing that the gate looked at."""

    passed: bool
    text: str


@dataclass(frozen=True)
class Judgement:
    """What was found, the run that had to be beaten, and by how much it was, where the two can be compared."""

    findings: list[Finding]
    rival: RunInfo
    difference: Difference | None

    @property
    def passed(self) -> bool:
        return all(each.passed for each in self.findings)


def judge(store: Store, run: RunInfo, cfg: Config, champion: Champion | None) -> Judgement:
    """Set a run against the champion, or its own baseline where there is none, and look at its tier and diagnostic.

    Raises:
        ConfigError: the run to beat, or the scores of one of the two, are gone from the record.
    """
    beaten = champion.run_id if champion is not None else run.tags.get(BASELINE_RUN)
    if beaten is None:
        raise ConfigError(f"run {run.short_id}: its record names no baseline to beat; train it again")
    name = f"the champion, version {champion.version}" if champion is not None else "its own un-tuned baseline"
    try:
        rival = get_run(store, beaten)
    except ConfigError:
        way = "delete that version" if champion is not None else "train it again"
        raise ConfigError(
            f"run {beaten[:8]}, {name}: gone from the record, so there is nothing to beat\n"
            f"restore it in the MLflow UI, or {way}"
        ) from None
    difference, comparison = _compare(store, run, cfg, rival, f"{name} (run {rival.short_id})")
    return Judgement([comparison, _tier(run, cfg.tiers), _diagnostic(run)], rival, difference)


def _compare(store: Store, run: RunInfo, cfg: Config, rival: RunInfo, name: str) -> tuple[Difference | None, Finding]:
    ours, theirs = (_test_digest(store, each) for each in (run, rival))
    if ours is None or ours != theirs:
        digests = f"{ours or 'none recorded'} and {theirs or 'none recorded'}"
        text = f"was tested on other pairs than {name}: {digests}; must be the same to be compared"
        return None, Finding(False, text)
    tables = (read_scores(store, rival.run_id, "test"), read_scores(store, run.run_id, "test"))
    try:
        found, absent = differences(*tables, cfg.data.positive_from, cfg.eval, cfg.seed)
    except ConfigError:
        sizes = f"{len(tables[1])} and {len(tables[0])} pairs"
        text = f"was scored on other pairs than {name}: {sizes}, with other ids or labels; must be the same"
        return None, Finding(False, text)
    if "spearman" not in found:
        text = f"can't be set against {name} in Spearman: {absent['spearman']}"
        return None, Finding(False, text)
    return found["spearman"], _beaten(found["spearman"], name)


def _test_digest(store: Store, run: RunInfo) -> str | None:
    return next((each.digest for each in read_datasets(store, run.run_id) if each.context == "test"), None)


def _beaten(difference: Difference, name: str) -> Finding:
    figure = f"{difference.estimate:+.4f} Spearman, {in_words(difference)}"
    if difference.interval.low > 0:
        return Finding(True, f"beats {name}: {figure}")
    return Finding(False, f"does not beat {name}: {figure}; the whole interval must be above zero")


def in_words(difference: Difference) -> str:
    """The interval of a difference.

    >>> from promax.metrics import Interval
    >>> in_words(Difference(0.02, Interval(-0.01, 0.05, 0.95)))
    '95 % interval -0.0100 to +0.0500'
    """
    each = difference.interval
    return f"{100 * each.confidence:g} % interval {each.low:+.4f} to {each.high:+.4f}"


def _tier(run: RunInfo, tiers: TiersConfig) -> Finding:
    tier = run.tags.get(TIER, "none")
    if tier != "none":
        return Finding(True, f"reached a tier: {tier}")
    measured = {"Spearman": "test/spearman", "ROC-AUC": "test/roc_auc"}
    had = ", ".join(f"{name} {run.metrics[key]:.4f}" for name, key in measured.items() if key in run.metrics)
    for name in asdict(tiers):
        bounds = getattr(tiers, name)
        asked = {"Spearman": bounds.spearman, "ROC-AUC": bounds.roc_auc}
        if rule := [f"{metric} {bound:g}" for metric, bound in asked.items() if bound is not None]:
            return Finding(False, f"reached no tier: test {had}; {name}, the lowest, asks for {' and '.join(rule)}")
    return Finding(False, f"reached no tier: test {had}; its config bounds none (tiers.minimum.spearman)")


def _diagnostic(run: RunInfo) -> Finding:
    status, reason = run.tags.get(ADVERSARIAL, "not run"), run.tags.get(ADVERSARIAL_REASON)
    if status == "passed":
        return Finding(True, "passed the adversarial diagnostic")
    why = f" ({reason})" if reason else ""
    return Finding(False, f"adversarial diagnostic {status}{why}; it must be passed")
