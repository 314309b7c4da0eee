"""What the intervals of promax are set against: two published protocols, and estimators that were tried and lost.

The published ones see the metric of every run and not the pairs. With five seeds all their resamples can be listed, so
they are computed exactly here, without drawing.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import binom

from promax.metrics import Metric, bootstrap_weights

Floats = NDArray[np.float64]


def bca_interval(differences: Floats, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """The BCa bootstrap interval of the mean of each row (studies, S): Efron (1987), over all S^S resamples.

    `scipy.stats.bootstrap` draws resamples of the same law. Rows that are constant give their value twice.
    """
    seeds = differences.shape[1]
    drawn = Counter(tuple(sorted(each)) for each in itertools.product(range(seeds), repeat=seeds))
    counts = np.array([[each.count(seed) for seed in range(seeds)] for each in drawn])
    chance = np.array(list(drawn.values())) / seeds**seeds
    means, found = differences @ counts.T / seeds, differences.mean(axis=1, keepdims=True)
    order = np.argsort(means, axis=1)
    means = np.take_along_axis(means, order, axis=1)
    reached = np.cumsum(chance[order], axis=1)
    # As scipy counts: half of what equals the estimate is below it.
    tolerance = 1e-12 * np.abs(differences).max(axis=1, keepdims=True)
    share = chance[order]
    below = (share * (means < found - tolerance)).sum(axis=1) + (share * (abs(means - found) <= tolerance)).sum(
        axis=1
    ) / 2
    bias = ndtri(below)
    # Jackknife means differ from the mean by -(d - mean) / (S - 1), so the acceleration is the skewness / 6 sqrt(S).
    centred = differences - found
    cubes, squares = (centred**3).sum(axis=1), (centred**2).sum(axis=1)
    speed = np.divide(cubes, 6 * squares**1.5, out=np.zeros_like(cubes), where=squares > 0)
    ends = []
    for level in ((1 - confidence) / 2, (1 + confidence) / 2):
        moved = bias + ndtri(level)
        wanted = ndtr(bias + moved / (1 - speed * moved))
        at = np.minimum((reached < wanted[:, None] - 1e-12).sum(axis=1), reached.shape[1] - 1)
        ends.append(means[np.arange(len(means)), at])
    return ends[0], ends[1]


def sign_flip(differences: Floats) -> tuple[Floats, Floats]:
    """The two- and the one-sided p of each row (studies, S): of all 2^S signings, the share with as large a mean."""
    signs = np.array(list(itertools.product((-1, 1), repeat=differences.shape[1])))
    means, found = differences @ signs.T, differences.sum(axis=1, keepdims=True)
    tolerance = 1e-12 * np.abs(differences).sum(axis=1, keepdims=True)
    two_sided = (np.abs(means) >= np.abs(found) - tolerance).mean(axis=1)
    return np.asarray(two_sided), np.asarray((means >= found - tolerance).mean(axis=1))


def outperforms(differences: Floats, threshold: float = 0.75, confidence: float = 0.95) -> NDArray[np.bool_]:
    """Bouthillier et al. (2021): P(A > B) over the seeds is above the threshold, and its percentile interval above 0.5.

    A resample of S seeds has a binomial number of wins, so the interval's ends are binomial quantiles.
    """
    seeds = differences.shape[1]
    share = (differences > 0).mean(axis=1)
    low = binom.ppf((1 - confidence) / 2, seeds, share) / seeds
    return np.asarray((share > threshold) & (low > 0.5))


def verdicts(differences: Floats) -> dict[str, NDArray[np.bool_]]:
    """Which studies each published rule calls an improvement, from their differences by seed (studies, S)."""
    low, _ = bca_interval(differences)
    two_sided, one_sided = sign_flip(differences)
    return {
        "2511.19794, as published: BCa above 0 and two-sided sign-flip p < 0.05": (low > 0) & (two_sided < 0.05),
        "2511.19794, one-sided: BCa above 0 and one-sided sign-flip p < 0.05": (low > 0) & (one_sided < 0.05),
        "2511.19794, half: BCa above 0": low > 0,
        "2103.03098: P(A > B) above 0.75, its interval above 0.5": outperforms(differences),
    }


def resampled(
    metric: Metric[Any],
    cells: Floats,
    baseline: Floats,
    target: NDArray[Any],
    units: NDArray[np.int64],
    replicates: int,
) -> Floats:
    """The metric (replicates, K+1, S) of every run in resamples of the groups of tickets, one resample for all runs."""
    runs = [metric.prepare(run, target) for run in (*cells.reshape(-1, cells.shape[2]), baseline)]
    weights = bootstrap_weights(units, replicates, seed=0)
    values = np.array([[run(each) for run in runs] for each in weights])
    repeated = np.repeat(values[:, -1:], cells.shape[1], axis=1)
    return np.concatenate([values[:, :-1], repeated], axis=1).reshape(replicates, -1, cells.shape[1])


def bootstrap_intervals(values: Floats, samples: Floats, weights: Floats) -> dict[str, tuple[float, float]]:
    """Intervals of a contrast from its runs' metrics (K+1, S) and their resamples (replicates, K+1, S)."""
    seeds = values.shape[1]
    found, drawn = weights @ values, np.tensordot(samples, weights, axes=(1, 0))
    random = np.random.default_rng(0)
    both = np.take_along_axis(drawn, random.integers(seeds, size=drawn.shape), axis=1).mean(axis=1)
    between, tickets = found.var(ddof=1) / seeds, drawn.mean(axis=1).var(ddof=1)
    shared = min(max((drawn.var(axis=0, ddof=1).mean() - tickets) / (seeds - 1), 0.0), between, tickets)
    error = math.sqrt(between + tickets - shared)
    freedom = error**4 / (between**2 / (seeds - 1) + (tickets - shared) ** 2 / (replicate_groups(samples)))
    margin = error * stdtrit(freedom, 0.975)
    low, high = np.quantile(both, [0.025, 0.975])
    return {
        "percentile bootstrap of tickets and seeds": (float(low), float(high)),
        "pigeonhole bootstrap variance, t": (found.mean() - margin, found.mean() + margin),
    }


def replicate_groups(samples: Floats) -> int:
    """Degrees of freedom of a variance over that many resamples."""
    return len(samples) - 1
