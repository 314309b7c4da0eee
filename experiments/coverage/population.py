"""The population that studies are drawn from: problems, tickets, pairs, and the scores of runs with known true metrics.

A pair's score is, in standard deviations of the baseline's scores,

    separation of its cell and seed * label + what the pair is like + what fine-tuning changed + what the seed changed,

each of the last three with an effect of either ticket, of either problem, and of the pair alone. So pairs that share a
ticket or a problem are dependent, pairs differ in how hard they are for all runs alike, fine-tuning moves some pairs
whatever the seed, and a seed moves all pairs together (its separation) and each by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from promax.data.groups import resampling_units
from promax.metrics import Metric, spearman

Floats = NDArray[np.float64]

# Share of problems by their number of tickets: 4.2 positive pairs a problem, of which some are drawn.
SIZES = {2: 0.40, 3: 0.30, 4: 0.15, 5: 0.10, 7: 0.05}
# Of a pair's variance, what its two tickets bring; the two problems bring Scenario.problem_share.
TICKET_SHARE = 0.32
# Parts of fine-tuning's own change: common to all cells, and of each cell. In standard deviations of a pair.
COMMON, OWN = 0.22, 0.10
# Separation of the classes for the baseline, in standard deviations of the difference of a positive and a negative
# pair: an area of Phi(1.45) = 0.927, so a Spearman of 0.74 on balanced labels, as on AskUbuntu titles.
SEPARATION = 1.4538
# One-sided: no pair is further than this from its class's mean on the wrong side, in standard deviations; and the
# separation, smaller since what is left of the classes overlaps less.
ONE_SIDED, ONE_SIDED_SEPARATION = 1.3, 0.9


@dataclass(frozen=True)
class Scenario:
    """What is drawn. `gains` are the true Spearman gains of the four cells over the baseline.

    `seed_sd` is the spread of a run's true Spearman over seeds, half of its variance common to all cells of a seed;
    `seed_noise` the seed's own change of a pair, in standard deviations of a pair. Labels are "two" (0/1), "graded"
    (0, .5, 1) or "one-sided": positives at least, negatives at most so similar to the baseline. `rounding` is the step
    that scores are rounded to. With `joined`, a negative pair joins any two problems; without, problems come in
    twos that nothing joins to others.
    """

    name: str
    pairs: int = 1000
    problems: int = 205
    share: float = 0.5
    seeds: int = 5
    gains: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    seed_sd: float = 0.003
    seed_noise: float = 0.12
    labels: str = "two"
    rounding: float | None = None
    joined: bool = True
    linked: bool = True
    problem_share: float = 0.18


@dataclass(frozen=True)
class Study:
    """One drawn study, as `promax.confirm.effects.gather` takes it."""

    cells: Floats
    baseline: Floats
    label: Floats
    positive: NDArray[np.bool_] | None
    units: NDArray[np.int64]


@dataclass(frozen=True)
class Law:
    """The law of a cell's scores: label * (separation + seed * a standard normal deviate of the run) + noise."""

    separation: float
    seed: float
    noise: float


def draw(scenario: Scenario, random: np.random.Generator) -> Study:
    """One study: its own problems, tickets, pairs and seeds."""
    tickets, problem_of, label = _pairs(scenario, random)
    problems = problem_of[tickets]

    def field(*shape: int) -> Floats:
        of_ticket = random.normal(scale=math.sqrt(TICKET_SHARE / 2), size=(*shape, len(problem_of)))
        of_problem = random.normal(scale=math.sqrt(scenario.problem_share / 2), size=(*shape, problem_of.max() + 1))
        alone = random.normal(scale=math.sqrt(1 - TICKET_SHARE - scenario.problem_share), size=(*shape, len(tickets)))
        sides = (of_ticket[..., tickets[:, side]] + of_problem[..., problems[:, side]] for side in (0, 1))
        return np.asarray(sum(sides) + alone)

    base, *laws = _laws(scenario)
    pair = field()
    if scenario.labels == "one-sided":
        kept = _kept(scenario, label, pair)
        tickets, problems, label, pair = tickets[kept], problems[kept], label[kept], pair[kept]
    changed = pair + COMMON * field()
    cells = changed + OWN * field(4)[:, None] + scenario.seed_noise * field(4, scenario.seeds)
    deviate = (random.normal(size=scenario.seeds) + random.normal(size=(4, scenario.seeds))) / math.sqrt(2)
    separation = np.array([law.separation for law in laws])[:, None] + laws[0].seed * deviate
    cells += separation[:, :, None] * label
    baseline = pair + base.separation * label
    if scenario.rounding:
        cells, baseline = (np.round(scores / scenario.rounding) for scores in (cells, baseline))
    positive = None if scenario.labels == "graded" else label > 0.5
    return Study(cells, baseline, label, positive, resampling_units(tickets, positive))


def truth(scenario: Scenario, metric: Metric[Any]) -> Floats:
    """The metric's expectation (5,) over seeds on tickets without end, of the four cells and the baseline."""
    base, *laws = _laws(scenario)
    return np.array([expected(scenario, law, metric) for law in (*laws, base)])


def expected(scenario: Scenario, law: Law, metric: Metric[Any]) -> float:
    """The mean over seeds (Gauss-Hermite) of the metric of the scores' law on a fine grid, weighted by probability."""
    deviates, chances = np.polynomial.hermite_e.hermegauss(5 if law.seed else 1)
    values = [_on_grid(scenario, law, law.separation + law.seed * deviate, metric) for deviate in deviates]
    return float(np.array(values) @ (chances / chances.sum()))


def _on_grid(scenario: Scenario, law: Law, separation: float, metric: Metric[Any]) -> float:
    grid = np.linspace(-8, 14, 5501)
    labels = shares(scenario)
    mass = [share * _density(scenario, law, grid - separation * label, label) for label, share in labels.items()]
    scores = np.tile(grid, len(labels))
    if scenario.rounding:
        scores = np.round(scores / scenario.rounding)
    target: NDArray[Any] = np.repeat(list(labels), len(grid))
    return metric(scores, target if metric is spearman else target > 0.5, np.concatenate(mass))


def _density(scenario: Scenario, law: Law, x: Floats, label: float) -> Floats:
    """Of the pair's part and the noise, at x. One-sided: of a truncated normal variable and a normal one."""
    own = variance(scenario, label)
    both = own * (1 + law.noise**2)
    density = np.exp(-(x**2) / (2 * both)) / math.sqrt(2 * math.pi * both)
    if scenario.labels != "one-sided":
        return np.asarray(density)
    # Given the sum x, the pair's part is normal with this mean and deviation.
    mean, deviation = x * own / both, math.sqrt(own * (1 - own / both)) or 1e-12
    side = 1 if label else -1
    return np.asarray(density * ndtr(side * (mean + side * ONE_SIDED) / deviation) / ndtr(ONE_SIDED / math.sqrt(own)))


def _kept(scenario: Scenario, label: Floats, pair: Floats) -> NDArray[np.intp]:
    """The first pairs that are as one-sided as they must be, as many of each class as the scenario says."""
    similar = np.where(label > 0, pair >= -ONE_SIDED, pair <= ONE_SIDED)
    return np.concatenate(
        [np.flatnonzero(similar & (label == each))[:count] for each, count in _counts(scenario).items()]
    )


def variance(scenario: Scenario, label: float) -> float:
    """Of the pair's part: 1 between problems; inside one, its effect comes twice."""
    return 1 + scenario.problem_share if label == 1 else 1.0


def shares(scenario: Scenario) -> dict[float, float]:
    """The share of each label."""
    if scenario.labels == "graded":
        return {0.0: 0.4, 0.5: 0.3, 1.0: 0.3}
    return {0.0: 1 - scenario.share, 1.0: scenario.share}


def _counts(scenario: Scenario) -> dict[float, int]:
    return {label: round(share * scenario.pairs) for label, share in shares(scenario).items()}


@cache
def _laws(scenario: Scenario) -> tuple[Law, ...]:
    """Of the baseline and the four cells, with separations that give the cells their true gains in Spearman."""
    # The area of two normal classes is Phi(separation / s); its derivative turns seed_sd into a separation's spread.
    s = math.sqrt(variance(scenario, 0) + variance(scenario, 1))
    area = ONE_SIDED_SEPARATION if scenario.labels == "one-sided" else SEPARATION
    base = Law(area * s, 0.0, 0.0)
    noise = math.sqrt(COMMON**2 + OWN**2 + scenario.seed_noise**2)
    slope = math.sqrt(3) * math.exp(-(area**2) / 2) / math.sqrt(2 * math.pi) / s
    start = expected(scenario, base, spearman)

    @cache
    def solved(gain: float) -> Law:
        def lacking(separation: float) -> float:
            return expected(scenario, Law(separation, scenario.seed_sd / slope, noise), spearman) - start - gain

        return Law(brentq(lacking, 0.5, 6.0, xtol=1e-7), scenario.seed_sd / slope, noise)

    return base, *(solved(gain) for gain in scenario.gains)


def _pairs(scenario: Scenario, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Tickets (n, 2) of the pairs, the problem of each ticket, and the labels; half too many where some are refused."""
    sizes = random.choice(list(SIZES), p=list(SIZES.values()), size=scenario.problems)
    first = np.cumsum(sizes) - sizes
    problem_of = np.repeat(np.arange(scenario.problems), sizes)
    inside = random.permutation(np.concatenate([_inside(first[sizes == size], size) for size in SIZES]))
    found = []
    counts = _counts(scenario)
    if scenario.labels == "graded":
        # Grades come with the pairs, so their shares are drawn too; the share of positives is the designer's choice.
        counts = dict(zip(counts, random.multinomial(scenario.pairs, list(shares(scenario).values())), strict=True))
    known = np.arange(len(problem_of))
    for label, count in sorted(counts.items(), reverse=True):
        count = round(count * 1.5) if scenario.labels == "one-sided" else count
        if label == 1:
            pairs = inside
            known = np.unique(pairs[:count]) if scenario.linked else known
        else:
            pairs = random.permutation(_between(scenario, random, known, problem_of, 3 * count))
        found.append(pairs[:count])
    return np.concatenate(found), problem_of, np.repeat(sorted(counts, reverse=True), [len(pairs) for pairs in found])


def _inside(first: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """All pairs of tickets inside problems of one size."""
    return np.asarray((first[:, None, None] + np.column_stack(np.triu_indices(size, 1))).reshape(-1, 2))


def _between(
    scenario: Scenario, random: np.random.Generator, known: NDArray[np.int64], problem_of: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Different pairs of known tickets of two problems, at most `count`."""
    pairs = random.choice(known, size=(count, 2))
    if not scenario.joined:
        # Problems 2 i and 2 i + 1 belong together; the known tickets of a problem are next to each other.
        first, last = (
            np.searchsorted(problem_of[known], problem_of[pairs[:, 0]] ^ 1, side) for side in ("left", "right")
        )
        pairs, first, last = (each[last > first] for each in (pairs, first, last))
        pairs[:, 1] = known[random.integers(first, last)]
    pairs = np.sort(pairs[problem_of[pairs[:, 0]] != problem_of[pairs[:, 1]]], axis=1)
    return np.unique(pairs, axis=0)
