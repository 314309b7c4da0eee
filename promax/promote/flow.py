"""`promax promote`, the whole of it from top to bottom."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from promax.config import Config, ConfigError
from promax.promote.gate import Judgement, in_words, judge
from promax.saved import config_of
from promax.tracking import (
    CHAMPION,
    Run,
    RunInfo,
    Store,
    artifacts_in,
    crown,
    find_champion,
    get_run,
    open_store,
    register,
)

# Tag of a run: what came of it when it was last to be promoted.
PROMOTION = "promax.promotion"


def promote(reference: str, name: str | None, uri: str | None, *, dry_run: bool) -> bool:
    """Register a run's encoder and make it the champion, if the gate lets it; says what was found, and whether it did.

    The registered model is called like the run's study where `name` is None. A run that is refused is not
    registered; its tag promax.promotion says why. With `dry_run` nothing is written.

    Raises:
        ConfigError: no such run, or one that isn't finished or saved no encoder; or the run to beat is gone.
    """
    store = open_store(uri)
    run = get_run(store, reference)
    cfg = config_of(store, run)
    if not artifacts_in(store, run.run_id, "model"):
        raise ConfigError(f"run {run.short_id}: its saved encoder is gone from the record; train it again")
    name = name if name is not None else run.study
    champion = find_champion(store, name)
    if champion is not None and champion.run_id == run.run_id:
        print(f"run {run.short_id} is {name}@{CHAMPION} already, version {champion.version}; nothing to do")
        return True
    judgement = judge(store, run, cfg, champion)
    _tell(run, judgement, every=dry_run)
    if dry_run:
        outcome = f"would become {name}@{CHAMPION}" if judgement.passed else f"would not become {name}@{CHAMPION}"
        print(f"run {run.short_id} {outcome}; nothing was written")
        return judgement.passed
    if not judgement.passed:
        reasons = "; ".join(each.text for each in judgement.findings if not each.passed)
        Run(store, run.run_id).set_tags({PROMOTION: f"{name}: refused: {reasons}"})
        standing = f"version {champion.version} stays" if champion is not None else "there is none"
        print(f"run {run.short_id} does not become {name}@{CHAMPION}: {standing}")
        return False
    version = _promoted(store, run, cfg, name, judgement)
    if find_champion(store, name) != champion:
        raise ConfigError(
            f"{name}@{CHAMPION}: moved while run {run.short_id} was registered as version {version}; promote it again"
        )
    crown(store, name, version)
    Run(store, run.run_id).set_tags({PROMOTION: f"{name}: version {version}, {CHAMPION}"})
    print(f"run {run.short_id} is {name}@{CHAMPION} now, version {version}")
    print(
        f'open it: mlflow.set_tracking_uri("{store.label}");'
        f' mlflow.sentence_transformers.load_model("models:/{name}@{CHAMPION}")'
    )
    return True


def _promoted(store: Store, run: RunInfo, cfg: Config, name: str, judgement: Judgement) -> str:
    """Register the encoder with the evidence for it, and return its version."""
    from promax.promote.model import make

    difference = judgement.difference
    assert difference is not None, "the gate passes nothing that was not compared"
    tags = {
        "promax.beat_run": judgement.rival.run_id,
        "promax.delta_spearman": f"{difference.estimate:+.6f}",
        "promax.delta_spearman_low": f"{difference.interval.low:+.6f}",
        "promax.delta_spearman_high": f"{difference.interval.high:+.6f}",
        "promax.delta_confidence": f"{difference.interval.confidence:g}",
    }
    findings = "\n".join(f"- {each.text}" for each in judgement.findings)
    description = f"**{run.name}** ({difference.estimate:+.4f} Spearman, {in_words(difference)})\n\n{findings}"
    with TemporaryDirectory(prefix="promax-") as scratch:
        folder = Path(scratch) / "model"
        make(store, run, cfg, folder)
        return register(store, run, name, folder, tags, description)


def _tell(run: RunInfo, judgement: Judgement, *, every: bool) -> None:
    """The findings, a line each; without `every` those alone that stand in the way, or the one that decided."""
    shown = judgement.findings if every or judgement.passed else [f for f in judgement.findings if not f.passed]
    for each in shown:
        print(f"{'yes' if each.passed else 'no '}  {run.short_id} {each.text}")
