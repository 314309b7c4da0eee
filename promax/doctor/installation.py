"""Python, the libraries, conf/, the encoders, git, and what Hydra finds."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING

from promax.doctor.check import Check
from promax.paths import conf_dir, project_root

if TYPE_CHECKING:
    from promax.config import ModelConfig

INSTALL = "in promax's checkout: pip install --constraint constraints.txt --editable ."
# Their versions are what a bug report is asked for first.
SHOWN = ("torch", "sentence-transformers", "mlflow", "hydra-core", "optuna")


def python() -> Iterator[Check]:
    """The interpreter's version against setup.cfg's bounds."""
    from packaging.specifiers import SpecifierSet

    own, needed = platform.python_version(), _metadata()["Requires-Python"]
    if SpecifierSet(needed).contains(own, prereleases=True):
        yield Check("ok", "python", f"{own}, needed is {needed}")
    else:
        yield Check("problem", "python", f"{own}, needed is {needed}", "make the environment anew with another Python")


def libraries() -> Iterator[Check]:
    """Each requirement of promax, as its installed metadata has them from setup.cfg."""
    from packaging.requirements import Requirement

    needed = [Requirement(line) for line in metadata.requires("promax") or []]
    needed = [each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    wrong = [check for each in needed if (check := _library(each.name, each.specifier.contains, str(each.specifier)))]
    if wrong:
        yield from wrong
        return
    shown = ", ".join(f"{name} {metadata.version(name)}" for name in SHOWN)
    yield Check("ok", "libraries", f"all {len(needed)} within setup.cfg's bounds: {shown}")


def _library(name: str, allows: Callable[..., bool], bounds: str) -> Check | None:
    """What is wrong with one library, None where nothing is."""
    remedy = f"pip install '{name}{bounds}'"
    try:
        own = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check("problem", "libraries", f"{name} is not installed", remedy)
    if allows(own, prereleases=True):
        return None
    return Check("problem", "libraries", f"{name} {own} is installed, needed is {bounds}", remedy)


def _metadata() -> metadata.PackageMetadata:
    try:
        return metadata.metadata("promax")
    except metadata.PackageNotFoundError:
        raise ModuleNotFoundError(name="promax") from None


def configs() -> Iterator[Check]:
    """conf/, as the verbs look for it."""
    folder = conf_dir()
    if (folder / "config.yaml").is_file():
        yield Check("ok", "conf", f"{folder}, {len(list(folder.rglob('*.yaml')))} files")
    else:
        yield Check("problem", "conf", f"no config.yaml in {folder}", "set PROMAX_ROOT to the folder that holds conf/")


def encoders(models: Callable[[], Mapping[str, ModelConfig]]) -> Iterator[Check]:
    """Whether each encoder of conf/model/ is here, with the hash that is pinned; nothing is downloaded."""
    from promax import weights

    seen: dict[tuple[str, str | None, str | None], list[str]] = {}
    configs = models()
    for name, cfg in configs.items():
        seen.setdefault((cfg.path, cfg.revision, cfg.sha256), []).append(name)
    for names in seen.values():
        cfg, of = configs[names[0]], ", ".join(names)
        if not weights.available(cfg):
            offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
            revision = f" --revision {cfg.revision}" if cfg.revision else ""
            yield Check(
                "warning" if offline else "ok",
                "model",
                f"{of}: not in the hub's cache{', and HF_HUB_OFFLINE is set' if offline else ''}",
                f"hf download {cfg.path}{revision}" if offline else f"the first run with model={names[0]} downloads it",
            )
            continue
        try:
            folder = weights.locate(cfg)
        except ValueError as error:  # a ConfigError; its lines say what to do
            yield Check(
                "problem", "model", f"{of}: {' -> '.join(str(error).splitlines())}", "install or download it again"
            )
        else:
            pinned = f"sha256 {cfg.sha256[:12]}… as pinned" if cfg.sha256 else "no sha256 pinned"
            yield Check("ok", "model", f"{of}: {folder}, {pinned}")


def git() -> Iterator[Check]:
    """Whether runs can say which code they were made with."""
    from promax.provenance import NONE, collect

    if shutil.which("git") is None:
        yield Check("warning", "git", "not found, so runs are recorded without a commit", "install git")
        return
    found = collect(project_root(), "cpu")
    if found.git_commit == NONE:
        text = f"{project_root()} is in no git repository with a commit, so runs are recorded without one"
        yield Check("warning", "git", text, "run promax from a checkout")
    else:
        changed = ", and changes to it, which are recorded with each run" if found.git_dirty else ""
        yield Check("ok", "git", f"commit {found.git_commit[:12]}{changed}")


def sweeper() -> Iterator[Check]:
    """Whether Hydra, which looks for plugins by itself, finds the sweeper; and which launchers there are."""
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()  # goes through what is installed; each plugin it finds enters its configs into the store
    sweepers, launchers = (
        sorted(name.removesuffix(".yaml") for name in ConfigStore.instance().list(f"hydra/{group}"))
        for group in ("sweeper", "launcher")
    )
    if "promax_optuna" in sweepers:
        yield Check("ok", "sweeper", "Hydra finds hydra/sweeper=promax_optuna")
    else:
        yield Check("problem", "sweeper", "Hydra does not find hydra/sweeper=promax_optuna", INSTALL)
    others = "" if len(launchers) > 1 else "; for hydra.sweeper.workers above 1: pip install 'promax[workers]'"
    yield Check("ok", "launchers", f"{', '.join(launchers)}{others}")
