"""The options of a sweep, checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from pydantic import Field
from pydantic.dataclasses import dataclass

from promax.config import ConfigError, build
from promax.config.kinds import STRICT, Count, Name

Direction = Literal["maximize", "minimize"]
DEFAULT_TRIALS = 20


@dataclass(frozen=True, config=STRICT)
class Options:
    """What `hydra.sweeper.*` may say.

    Attributes:
        study_name: the study in the storage; null is the config's `study`, which it replaces otherwise.
        n_trials: the study's total over all its workers and resumptions, counting trials that were
            completed, pruned or failed; null is 20, or the whole grid.
        workers: jobs that the configured launcher starts; each takes trials until the study has its total.
        storage: null is mlruns/optuna.db under the project root; else sqlite:////file or postgresql://...
        params: search space in Hydra's override grammar, by key; the command line adds to it and wins.
        enqueue: settings to try first, each a mapping from every searched key to its value.
        sampler: how the next setting is chosen. `grid` takes all there are, in order.
        sampler_options, pruner_options: arguments of Optuna's class of that name.
        seed: of the sampler; trial n of a study draws with seed + n.
        objective: the logged dev metrics to optimise, and `direction` which way, one each.
        seeds: a trial is one run for each of these values of `seed`, its value their mean; empty is one
            run with the config's seed.
        pruner: when to end a trial early. `wilcoxon` compares seeds, the others the metric after an epoch;
            with `seeds`, those decide on the first seed's run alone.
        max_failure_rate: the share of `n_trials` that may fail before the sweep gives up.
        max_retries: how often a trial whose worker died is run again.
        heartbeat: seconds between a trial's signs of life; without four in a row its worker counts as dead.
        fork: where the study in the storage differs, start a new one with its best settings first, which are
            trained anew: what differs may change what they are worth.
    """

    study_name: Name | None = None
    n_trials: Count | None = None
    workers: Count = 1
    storage: Name | None = None
    params: dict[str, Any] = field(default_factory=dict)
    enqueue: list[dict[str, Any]] = field(default_factory=list)
    sampler: Literal["tpe", "gp", "random", "qmc", "grid", "cmaes", "nsgaii"] = "tpe"
    sampler_options: dict[str, Any] = field(default_factory=dict)
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    objective: Annotated[list[Name], Field(min_length=1)] = field(default_factory=lambda: ["dev/spearman"])
    direction: list[Direction] = field(default_factory=lambda: ["maximize"])
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = field(default_factory=list)
    pruner: Literal["median", "percentile", "asha", "hyperband", "patient", "wilcoxon", "none"] = "median"
    pruner_options: dict[str, Any] = field(default_factory=dict)
    max_failure_rate: Annotated[float, Field(ge=0, le=1)] = 0.2
    max_retries: Annotated[int, Field(ge=0)] = 2
    heartbeat: Count = 30
    fork: bool = False

    def __post_init__(self) -> None:
        for name in self.objective:
            if not name.startswith("dev/"):
                raise ConfigError(f"objective={name}: must be a dev metric, like dev/spearman; test is never optimised")
        if len(self.direction) != len(self.objective):
            raise ConfigError(
                f"direction=[{','.join(self.direction)}]: must be one for each objective "
                f"([{','.join(self.objective)}]), each maximize or minimize"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds={self.seeds}: each seed once")
        if len(self.objective) > 1 and self.pruner != "none":
            raise ConfigError(f"pruner={self.pruner}: with several objectives no trial can be pruned; use none")
        if self.pruner == "wilcoxon" and len(self.seeds) < 2:
            raise ConfigError(
                f"pruner=wilcoxon: compares a trial's seeds with the best trial's; hydra.sweeper.seeds={self.seeds}"
                " must hold several, like [0,1,2,3,4,5]"
            )


def options_from(given: Mapping[str, Any]) -> Options:
    """The options as Hydra composed them, checked.

    Raises:
        ConfigError: a value that is not allowed, under its whole key.
    """
    plain: dict[str, Any] = {
        key: OmegaConf.to_container(each, resolve=True) if OmegaConf.is_config(each) else each
        for key, each in given.items()
    }
    for key in ("objective", "direction"):
        plain[key] = [plain[key]] if isinstance(plain[key], str) else plain[key]
    if isinstance(plain["objective"], list) and isinstance(plain["direction"], list) and len(plain["direction"]) == 1:
        plain["direction"] *= len(plain["objective"])
    for key in ("sampler_options", "pruner_options"):
        plain[key] = {} if plain[key] is None else plain[key]
    try:
        return build(OmegaConf.create(plain), Options)
    except ConfigError as error:
        raise ConfigError("\n".join(f"hydra.sweeper.{line}" for line in str(error).splitlines())) from None
