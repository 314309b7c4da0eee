"""Optuna's samplers and pruners under the names of the options."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from optuna import pruners, samplers
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import ExperimentalWarning

from hydra_plugins.promax_sweeper._options import Options
from hydra_plugins.promax_sweeper._space import Space
from promax.config import ConfigError

T = TypeVar("T")

_SAMPLERS: dict[str, Callable[..., samplers.BaseSampler]] = {
    "tpe": samplers.TPESampler,
    "gp": samplers.GPSampler,
    "random": samplers.RandomSampler,
    "qmc": samplers.QMCSampler,
    # The grid's settings wait in the storage, so that nothing is left to draw.
    "grid": samplers.RandomSampler,
    "cmaes": samplers.CmaEsSampler,
    "nsgaii": samplers.NSGAIISampler,
}
# One sequence, or one state in the storage, for the whole study: a new seed a trial would break it.
_ONE_SEED = ("qmc", "cmaes")
_NUMBERS_ONLY = ("qmc", "cmaes")

# 25: a trial goes on while it is among the better quarter; Optuna has no default.
_DEFAULTS: dict[str, dict[str, Any]] = {"percentile": {"percentile": 25.0}, "patient": {"patience": 2}}


def make_sampler(options: Options, number: int) -> samplers.BaseSampler:
    """The sampler that draws trial `number`: the same draw whichever worker asks, and after whatever interruption.

    Raises:
        ConfigError: `sampler_options` do not fit it.
    """
    ours: dict[str, Any] = {"seed": options.seed + number}
    if options.sampler in _ONE_SEED:
        # What comes before the sequence has begun, or where it has no say, is drawn for each trial anew.
        ours = {"seed": options.seed, "independent_sampler": samplers.RandomSampler(options.seed + number)}
    return _made("sampler", options.sampler, _SAMPLERS[options.sampler], options.sampler_options, **ours)


def drawn_by(options: Options, number: int) -> str:
    """What drew trial `number`, to be recorded: the sampler and its seed."""
    return f"{options.sampler}, seed {options.seed if options.sampler in _ONE_SEED else options.seed + number}"


def make_pruner(options: Options) -> pruners.BasePruner:
    """The pruner; `patient` gives the median rule patience.

    Raises:
        ConfigError: `pruner_options` do not fit it.
    """
    kinds: dict[str, Callable[..., pruners.BasePruner]] = {
        "median": pruners.MedianPruner,
        "percentile": pruners.PercentilePruner,
        "asha": pruners.SuccessiveHalvingPruner,
        "hyperband": pruners.HyperbandPruner,
        "patient": lambda **given: pruners.PatientPruner(pruners.MedianPruner(), **given),
        "wilcoxon": pruners.WilcoxonPruner,
        "none": pruners.NopPruner,
    }
    given = {**_DEFAULTS.get(options.pruner, {}), **options.pruner_options}
    return _made("pruner", options.pruner, kinds[options.pruner], given)


def check(options: Options, space: Space) -> None:
    """Refuse a space that the sampler can't search, and options that it doesn't take.

    Raises:
        ConfigError: as said.
    """
    if not space.parameters and options.sampler != "grid":
        raise ConfigError("nothing to search: give a range, like 'optim.lr=tag(log,interval(1e-6,1e-3))'")
    choices = [key for key, each in space.distributions.items() if isinstance(each, CategoricalDistribution)]
    if choices and options.sampler in _NUMBERS_ONLY:
        raise ConfigError(
            f"hydra.sweeper.sampler={options.sampler}: can't search choices ({', '.join(choices)}); "
            "use tpe, gp, random, nsgaii or grid"
        )
    if options.sampler == "cmaes" and len(options.objective) > 1:
        raise ConfigError("hydra.sweeper.sampler=cmaes: one objective only; use nsgaii or tpe")
    make_sampler(options, 0)
    make_pruner(options)


def _made(what: str, name: str, make: Callable[..., T], given: dict[str, Any], **ours: Any) -> T:
    if taken := sorted(given.keys() & ours.keys()):
        raise ConfigError(f"hydra.sweeper.{what}_options.{taken[0]}: set hydra.sweeper.{taken[0]} instead")
    try:
        with warnings.catch_warnings():
            # Some are experimental in Optuna 5, which is no news to whoever asks for one by name.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return make(**given, **ours)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"hydra.sweeper.{what}_options={given}: {name} refuses them: {error}") from None
