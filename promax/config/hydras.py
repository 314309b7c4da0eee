"""Hydra's own settings, of which some can name code to run: what a config may say there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from promax.config.kinds import ConfigError

# Hydra itself looks these two up among the installed plugins.
_PLUGINS = ("launcher._target_", "sweeper._target_")
# logging.config makes a handler of any class that is named, and calls whatever stands under "()".
_HANDLERS = ("logging.StreamHandler", "logging.NullHandler")
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
# Others have a library loaded (LD_PRELOAD, OMP_TOOL_LIBRARIES), or say where a run is recorded.
_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TOKENIZERS_PARALLELISM"),
    *("CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"),
)

# What Hydra and its launchers write lies in mlruns/, unless a user says otherwise; a step there is a name or a time.
_FOLDERS = (("sweep", "dir"), ("launcher", "submitit_folder"), ("launcher", "temp_folder"))
_STEP = r"/(?!\.\.?(?:/|$))(?:\$\{now:[^/{}]*\}|[^/${}])+"
_WITHIN = re.compile(rf"(\$\{{oc\.env:PROMAX_ROOT\}}/mlruns|\$\{{hydra\.sweep\.dir\}})({_STEP})+")
# A job that writes nothing of its own is in the working directory.
_AS_IT_IS = {("run", "dir"): ".", ("sweep", "subdir"): ".", ("output_subdir",): None}

_PACKAGE = re.compile(r"\b(?!file://)[a-z]+://[^\s,'\"\]]*")

# Here a reference to other keys could stand for any of the above; these of Hydra's are single words or paths.
_WRITTEN_OUT = ("callbacks", "launcher", "sweeper", "job_logging", "hydra_logging")
_REFERENCE = re.compile(r"\$\{(?!hydra\.(job|run|sweep|runtime)\.|now:)")


def refuse_code(hydra: Mapping[str, Any], words: Iterable[str] = ()) -> None:
    """Refuse what Hydra would run, or have written, because a config says so; `hydra` is that node, resolved or not.

    `words` are the overrides of the command line, by which a user may name a folder elsewhere. Shell lines that a
    launcher runs on a cluster, such as `hydra.launcher.setup` of submitit, are what that is for.

    Raises:
        ConfigError: a callback; a class outside Hydra's plugins; a handler of logging's but for the terminal; another
            variable than of threads and devices; a search over settings of Hydra's; a folder outside mlruns/.
    """
    said = {word.partition("=")[0].lstrip("+") for word in words}
    for path, value in _leaves(hydra):
        key = path[-1]
        if path[0] in _WRITTEN_OUT and isinstance(value, str) and _REFERENCE.search(value):
            raise _refused(path, value, "must be written out here")
        elsewhere = value is not None and not _WITHIN.fullmatch(str(value))
        if path in _FOLDERS and elsewhere and f"hydra.{'.'.join(path)}" not in said:
            rule = "must be a folder in ${oc.env:PROMAX_ROOT}/mlruns; another is named on the command line"
            raise _refused(path, value, rule)
        if path in _AS_IT_IS and value != _AS_IT_IS[path]:
            kept = _AS_IT_IS[path] or "null"
            raise _refused(path, value, f"must be {kept}; a run is recorded in MLflow, and leaves no folder of Hydra's")
        if path[0] == "callbacks" or (key == "_target_" and ".".join(path) not in _PLUGINS):
            raise _refused(path, value, "no code that a config names is run")
        if path[0] in ("job_logging", "hydra_logging"):
            _check_logging(path, value)
        if path[:2] == ("job", "env_set") and key not in _VARIABLES:
            raise _refused(path, value, f"only {', '.join(_VARIABLES)} can be set here; set others in the shell")
        if path[:2] == ("sweeper", "params") and ".".join(path[2:]).lstrip("+~").startswith("hydra"):
            raise _refused(path, value, "Hydra's own settings are no part of a search")


def refuse_packages(said: Iterable[str]) -> None:
    """Refuse that Hydra looks for configs in Python packages, which it imports while it composes; so, before it does.

    `said` is the search path of the primary config, and the overrides of it.

    Raises:
        ConfigError: a place that is no folder, of the one or for the other.
    """
    for text in said:
        if found := _PACKAGE.search(text):
            raise ConfigError(f"hydra.searchpath: {found[0]}: must be folders; of a package, code would be run")


def _check_logging(path: Sequence[str], value: object) -> None:
    if path[-1] in ("()", "."):
        raise _refused(path, value, "no code that a config names is run")
    if path[-1] == "class" and value not in _HANDLERS:
        raise _refused(path, value, f"must be {' or '.join(_HANDLERS)}; runs are logged in MLflow")
    if isinstance(value, str) and "://" in value and value not in _STREAMS:
        raise _refused(path, value, f"must be {' or '.join(_STREAMS)}")


def _leaves(node: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Each value that is neither mapping nor list, with the keys that lead to it."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, (*path, str(key)))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _leaves(value, (*path, str(number)))
    else:
        yield path, node


def _refused(path: Sequence[str], value: object, rule: str) -> ConfigError:
    return ConfigError(f"hydra.{'.'.join(path)}={value}: {rule}")
