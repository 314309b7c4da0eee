"""Do the intervals of promax cover the truth, does a study without an effect stay unconfirmed, and what is seen?

    python experiments/coverage/simulate.py [--studies 1000] [--part 0/1] [--chunks FOLDER]
    python experiments/coverage/summary.py [--chunks FOLDER]

Draws whole studies from populations whose true metrics are known (population.py) and asks `promax.confirm.effects`
about each. Chunks of 250 studies go to a file as they end, and are not drawn again by the next call; summary.py makes
results.json and power.png of them. The same studies come out whatever is run first, and by however many processes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from population import Floats, Scenario, Study, draw, truth
from protocols import bootstrap_intervals, resampled, verdicts
from scipy.special import ndtri, stdtrit
from tqdm import tqdm

from promax.confirm.effects import Effect, Evidence, Spread, effect, gather, holm
from promax.confirm.evidence import spread_of
from promax.metrics import Metric, pr_auc, roc_auc, spearman

CHUNK = 250
REPLICATES = 300
# Cells: before, rate alone, epochs alone, after; then the baseline.
CONTRASTS = {
    "fix": np.array([-1.0, 0.0, 0.0, 1.0, 0.0]),
    "rate": np.array([-0.5, 0.5, -0.5, 0.5, 0.0]),
    "interaction": np.array([1.0, -1.0, -1.0, 1.0, 0.0]),
    "after less baseline": np.array([0.0, 0.0, 0.0, 1.0, -1.0]),
    "after": np.array([0.0, 0.0, 0.0, 1.0, 0.0]),
    "fix relative to before": np.array([-1.05, 0.0, 0.0, 1.0, 0.0]),
}
CLAIMS = {
    **{name: CONTRASTS[name] for name in ("fix", "rate", "interaction")},
    "epochs": np.array([-0.5, -0.5, 0.5, 0.5, 0.0]),
    **{f"cell {cell} less baseline": np.append(np.eye(4)[cell], -1.0) for cell in range(4)},
}
ALPHAS = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)

EFFECTS = (0.0, 0.01, 0.015, 0.03)
COVERAGE = (
    Scenario("balanced, 1,000 pairs"),
    Scenario("effects, 1,000 pairs", gains=EFFECTS),
    Scenario("balanced, 3,000 pairs", pairs=3000, problems=614),
    Scenario("balanced, 300 pairs", pairs=300, problems=150),
    Scenario("few positives, 68 of 310", pairs=310, problems=110, share=68 / 310),
    Scenario("rounded scores", rounding=0.067),
    Scenario("graded labels", labels="graded", linked=False, problem_share=0.0),
    Scenario("one-sided labels", labels="one-sided", problems=300, gains=EFFECTS),
    Scenario("problems partly unknown", linked=False),
    Scenario("small components", joined=False, problems=300),
    Scenario("3 seeds", seeds=3),
    Scenario("10 seeds", seeds=10),
    Scenario("seeds dominate", seed_sd=0.02),
    Scenario("seeds change pairs only", seed_sd=0.0, seed_noise=0.3),
    Scenario("seeds change nothing", seed_sd=0.0, seed_noise=0.0),
    # Harder than asked for: problems with up to 21 of the 150 positive pairs, and 24 groups' worth of them.
    Scenario("300 pairs, crowded in 50 groups", pairs=300, problems=62),
)
WITH_PR_AUC = (
    *("balanced, 1,000 pairs", "balanced, 300 pairs", "few positives, 68 of 310", "rounded scores"),
    *("one-sided labels", "300 pairs, crowded in 50 groups"),
)
REGIMES = {
    "both sources": Scenario("power, both sources"),
    "seeds dominate": Scenario("power, seeds dominate", seed_sd=0.015),
    "tickets dominate": Scenario("power, tickets dominate", seed_sd=0.001),
}
GAINS = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03)


def power_scenarios(regime: Scenario) -> list[Scenario]:
    """The regime at each true gain of the last cell over the first, half of it in the two between."""
    return [replace(regime, gains=(0.0, gain / 2, gain / 2, gain)) for gain in GAINS]


def metrics_of(scenario: Scenario) -> list[Metric[Any]]:
    """ROC-AUC is left out: on 0/1 labels its intervals are Spearman's (tests/confirm/test_effects.py)."""
    return [spearman, pr_auc] if scenario.name in WITH_PR_AUC else [spearman]


def evidence(study: Study, metric: Metric[Any]) -> Evidence:
    target = study.label if metric is spearman else study.positive
    return gather(metric, study.cells, study.baseline, target, study.units)


def studies(scenario: Scenario, chunk: int, count: int = CHUNK) -> Iterator[Study]:
    """The chunk's studies; each has a generator of its own, so none depends on how many came before."""
    for number in range(count):
        yield draw(scenario, np.random.default_rng([zlib.crc32(repr(scenario).encode()), chunk, number]))


def coverage_chunk(scenario: Scenario, chunk: int, count: int = CHUNK) -> dict[str, Any]:
    """How often intervals hold the truth, contrast by contrast; and how often anything is confirmed."""
    tallies: dict[str, dict[str, float]] = {}
    confirmed = 0
    drawn = studies(scenario, chunk, count)
    truths = {metric.__name__: truth(scenario, metric) for metric in metrics_of(scenario)}
    for study in drawn:
        for metric in metrics_of(scenario):
            found = evidence(study, metric)
            for name, weights in CONTRASTS.items():
                true = float(weights @ truths[metric.__name__])
                _add(tallies.setdefault(f"{metric.__name__}: {name}", {}), _tally(effect(found, weights), true))
            if metric is spearman:
                confirmed += confirms(found)
    return {"studies": count, "confirmed": confirmed, "tallies": tallies}


def confirms(found: Evidence) -> bool:
    """Whether any claim of the study, adjusted for all of them, is CONFIRMED."""
    estimates = {name: float(weights @ found.means) for name, weights in CLAIMS.items()}
    p_values = [spread_of(found, weights).chance(abs(estimates[name])) for name, weights in CLAIMS.items()]
    return bool((holm(p_values) <= 0.05)[[estimate > 0 for estimate in estimates.values()]].any())


def _tally(found: Effect, true: float) -> dict[str, float]:
    spread, distance = found.spread, abs(found.estimate - true)
    tickets, seeds = spread.tickets + spread.both, spread.seeds + spread.both
    unsubtracted = Spread(spread.tickets, spread.seeds + spread.both, spread.both, spread.runs, spread.effective)
    return {
        "covered": found.interval.low <= true <= found.interval.high,
        "off": found.estimate - true,
        "squared": distance**2,
        "variance": spread.error**2,
        "width": 2 * spread.margin(0.95),
        "lost: normal quantile": distance <= spread.error * ndtri(0.975),
        "lost: tickets alone": distance <= np.sqrt(tickets) * stdtrit(spread.effective, 0.975),
        "lost: seeds alone": distance <= np.sqrt(seeds) * stdtrit(spread.runs - 1, 0.975),
        "lost: interaction counted twice": distance <= unsubtracted.margin(0.95),
    }


def _add(total: dict[str, float], more: dict[str, float]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0.0) + float(value)


def bootstrap_chunk(scenario: Scenario, chunk: int, count: int) -> dict[str, Any]:
    """Coverage of the bootstraps that lost, of the same studies' ROC-AUC, beside what won and independent pairs."""
    tallies: dict[str, dict[str, float]] = {}
    truths = truth(scenario, roc_auc)
    for study in studies(scenario, chunk, count):
        found = evidence(study, roc_auc)
        samples = resampled(roc_auc, study.cells, study.baseline, study.positive, study.units, REPLICATES)
        pairs = np.arange(len(study.label))
        unclustered = evidence(replace(study, units=np.column_stack([pairs, pairs])), roc_auc)
        for name, weights in CONTRASTS.items():
            true = float(weights @ truths)
            intervals = bootstrap_intervals(found.values, samples, weights)
            for title, each in (("promax", found), ("pairs taken as independent", unclustered)):
                interval = effect(each, weights).interval
                intervals[title] = (interval.low, interval.high)
            _add(
                tallies.setdefault(name, {}),
                {title: float(low <= true <= high) for title, (low, high) in intervals.items()}
                | {f"width: {title}": high - low for title, (low, high) in intervals.items()},
            )
    return {"studies": count, "tallies": tallies}


def power_chunk(scenario: Scenario, chunk: int, count: int = CHUNK) -> dict[str, Any]:
    """How often the fix and the win over the baseline are confirmed: by promax at many levels, and as published."""
    tallies: dict[str, dict[str, float]] = {}
    by_seed: dict[str, list[Floats]] = {name: [] for name in ("fix", "after less baseline")}
    confirmed = 0
    for study in studies(scenario, chunk, count):
        found = evidence(study, spearman)
        confirmed += confirms(found)
        for name, differences in by_seed.items():
            one = effect(found, CONTRASTS[name])
            differences.append(CONTRASTS[name] @ found.values)
            _add(
                tallies.setdefault(name, {}),
                {f"promax at {alpha:g}": one.estimate > 0 and one.p <= alpha for alpha in ALPHAS}
                | {"smallest": one.smallest},
            )
    for name, differences in by_seed.items():
        _add(tallies[name], {rule: float(said.sum()) for rule, said in verdicts(np.array(differences)).items()})
    return {"studies": count, "confirmed": confirmed, "tallies": tallies}


def run(work: Sequence[tuple[str, Scenario, int]], folder: Path, part: int) -> None:
    """Do what of the work no file in the folder holds; several processes may, each with a part of its own."""
    makers = {"coverage": coverage_chunk, "power": power_chunk, "bootstrap": partial(bootstrap_chunk, count=CHUNK // 5)}
    done = {_key(record) for record in read(folder)}
    folder.mkdir(parents=True, exist_ok=True)
    for kind, scenario, chunk in tqdm(work, desc="chunks", file=sys.stderr):
        record: dict[str, Any] = {"kind": kind, "scenario": json.loads(json.dumps(asdict(scenario))), "chunk": chunk}
        if _key(record) not in done:
            started = time.process_time()
            record |= makers[kind](scenario, chunk)
            record["cpu_seconds"] = round(time.process_time() - started, 1)
            with (folder / f"{part}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """All chunks in the folder, each once and in one order, whichever process drew it."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted({_key(record): record for record in map(json.loads, lines)}.values(), key=_key)


def _key(record: dict[str, Any]) -> tuple[str, str, int]:
    return record["kind"], json.dumps(record["scenario"], sort_keys=True), record["chunk"]


def planned(studies: int) -> list[tuple[str, Scenario, int]]:
    """All chunks, a round of every scenario after the other, so that what is there at any time is even."""
    work: list[tuple[str, Scenario, int]] = []
    for chunk in range(-(-studies // CHUNK)):
        work += [("coverage", scenario, chunk) for scenario in COVERAGE]
        # Without an effect, false confirmations are rare and need all studies; power is known well enough by half.
        powers = [each for regime in REGIMES.values() for each in power_scenarios(regime)]
        work += [("power", each, chunk) for each in powers if chunk % 2 == 0 or not any(each.gains)]
        work += [("bootstrap", COVERAGE[0], chunk)]
    return work


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="of each scenario")
    parser.add_argument("--part", default="0/1", help="i/n: every n-th chunk from the i-th, for n processes at once")
    parser.add_argument("--chunks", type=Path, default=Path(__file__).with_name("chunks"))
    chosen = parser.parse_args(arguments)
    part, parts = map(int, chosen.part.split("/"))
    run(planned(chosen.studies)[part::parts], chosen.chunks, part)


if __name__ == "__main__":
    main()
