"""A trial's config is what Hydra composes for the same words; those that differ in values alone it composes once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.promax_sweeper._composing import Composer
from promax.cli.compose import register
from promax.config import Config

GIVEN = ["hydra/sweeper=promax_optuna", "hydra.sweeper.n_trials=3"]


@pytest.fixture
def loader(project: Path) -> Iterator[ConfigLoaderImpl]:
    register(Config)
    made = Hydra.create_main_hydra2("trials", create_config_search_path(str(project / "conf")))
    assert isinstance(made.config_loader, ConfigLoaderImpl)
    yield made.config_loader
    GlobalHydra.instance().clear()


@pytest.fixture
def master(loader: ConfigLoaderImpl) -> DictConfig:
    """The sweep's own config, from which a job gets what was said to Hydra itself."""
    return loader.load_configuration("config", GIVEN, run_mode=RunMode.MULTIRUN)


def plain(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=False)


# Trials of a search, one after the other -> how many of them Hydra composes.
SEARCHES: dict[str, tuple[list[list[str]], int]] = {
    "values": ([["optim.lr=1e-5", "optim.epochs=2"], ["optim.lr=2e-05", "optim.epochs=12"]], 1),
    "a top-level value": ([["seed=1", "optim.lr=1e-5"], ["seed=2", "optim.lr=1e-5"], ["seed=1", "optim.lr=1e-3"]], 1),
    "beside what is fixed": ([["data=pairs", "data.train=a", "seed=1"], ["data=pairs", "data.train=a", "seed=2"]], 1),
    "nothing and something": ([["data.train=null"], ["data.train=b.jsonl"], ["data.train='a b,c'"]], 1),
    "forced": ([["++optim.lr=1e-5"], ["++optim.lr=1e-4"]], 1),
    "a list": ([["eval.recall_at=[1]"], ["eval.recall_at=[1,5]"]], 2),
    "a dictionary for nothing": ([["model.lora=null"], ["model.lora={r:4}"]], 2),
    "a group": ([["optim=before_fix"], ["optim=after_fix"], ["optim=before_fix"]], 2),
    "a group and a value": (
        [[f"optim={group}", f"seed={seed}"] for seed in (1, 2) for group in ("before_fix", "after_fix")],
        2,
    ),
    "a group with a package": ([["experiment=demo", "seed=1"], ["experiment=recommended", "seed=1"]], 2),
    "a whole group set anew": ([["model=mpnet_lora", "model.lora.r=8"], ["model=minilm_lora", "model.lora.r=8"]], 2),
    "of Hydra": ([["seed=1", "hydra.job.name=a"], ["seed=1", "hydra.job.name=b"]], 2),
    "in another order": ([["optim.lr=1e-5", "seed=1"], ["seed=1", "optim.lr=1e-5"]], 2),
    "one more": ([["optim.lr=1e-5"], ["optim.lr=1e-5", "seed=1"]], 2),
    "nothing for a dictionary": ([["model.lora={r:4}"], ["model.lora=null"], ["model.lora={r:4}"]], 2),
    "taken away": ([["~optim.lr"], ["~optim.lr"], ["optim.lr=1"]], 2),
    "added": ([["+more=1"], ["+more=2"]], 2),
    "an interpolation": ([["optim.epochs=${seed}"], ["optim.epochs=3"]], 1),
}


@pytest.mark.parametrize("search", SEARCHES)
def test_a_config_is_the_one_that_hydra_composes(
    search: str, loader: ConfigLoaderImpl, master: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials, times = SEARCHES[search]
    expected = [plain(loader.load_sweep_config(master, words)) for words in trials]
    composed: list[list[str]] = []
    load = ConfigLoaderImpl.load_sweep_config

    def counted(self: ConfigLoaderImpl, config: DictConfig, words: list[str]) -> DictConfig:
        composed.append(words)
        return load(self, config, words)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
    composer = Composer(loader, master)
    for words, whole in zip(trials, expected, strict=True):
        found = composer.compose(words)
        assert plain(found) == whole
        # Whoever gets it may write to it.
        OmegaConf.set_struct(found, False)
        found.seed = 99
    assert len(composed) == times


def test_what_hydra_refuses_of_a_later_trial_is_refused(loader: ConfigLoaderImpl, master: DictConfig) -> None:
    composer = Composer(loader, master)
    composer.compose(["optim.epochs=2"])
    with pytest.raises(ConfigCompositionException, match=r"Could not override 'optim\.epoch'\."):
        composer.compose(["optim.epoch=2"])
