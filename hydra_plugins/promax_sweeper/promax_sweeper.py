"""The plugin that Hydra finds. Hydra imports this file for every command, so the work is in `_sweep`."""

# No `from __future__ import annotations` here: Hydra runs this file without entering it into sys.modules, where
# dataclasses would look up annotations that are texts.
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class PromaxOptunaConf:
    """The options, `hydra.sweeper.*`; `_options.Options` says what each means and checks it."""

    _target_: str = "hydra_plugins.promax_sweeper.promax_sweeper.PromaxOptuna"
    study_name: str | None = None
    n_trials: int | None = None
    workers: int = 1
    storage: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    enqueue: list[Any] = field(default_factory=list)
    sampler: str = "tpe"
    # Not typed as a mapping, which Hydra would let no key be added to.
    sampler_options: Any = None
    seed: int = 0
    objective: Any = "dev/spearman"
    direction: Any = "maximize"
    seeds: list[int] = field(default_factory=list)
    pruner: str = "median"
    pruner_options: Any = None
    max_failure_rate: float = 0.2
    max_retries: int = 2
    heartbeat: int = 30
    fork: bool = False


ConfigStore.instance().store(group="hydra/sweeper", name="promax_optuna", node=PromaxOptunaConf, provider="promax")


class PromaxOptuna(Sweeper):
    """Searches with Optuna: trials are kept in a database, pruned, resumed, and shared by many workers."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self._task: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self._task, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        from hydra_plugins.promax_sweeper._options import options_from
        from hydra_plugins.promax_sweeper._sweep import sweep

        assert self.hydra_context is not None and self._task is not None and self.config is not None
        return sweep(options_from(self._options), self.hydra_context, self._task, self.config, arguments)
