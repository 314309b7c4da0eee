"""Where the files of a recorded run lie now, and whether they are the same to the byte."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promax.config import ConfigError
from promax.weights import file_sha256

_SIDES = ("train", "dev", "test", "adversarial", "transfer")
# The keys that may be set anew, since they say where something lies and not what it is.
PLACES = (*(f"data.{side}" for side in _SIDES), "data.path", "model.path")
_HASHED = re.compile(r"^(?P<name>.+?) sha256:(?P<sha256>[0-9a-f]{64})")


def located(
    recorded: Mapping[str, Any],
    sources: Mapping[str, str],
    words: Sequence[str],
    folders: Sequence[Path],
    command: str,
) -> dict[str, Any]:
    """A `recorded` config with the absolute paths of its files, each with the bytes that it had.

    `sources` is what the record has of each side's source, `words` are KEY=PATH for files that lie elsewhere now; a
    relative path is looked for in each of `folders`. What names no file, such as a split on the hub or a package,
    stays as it is. `command` is where the words belong, for what is refused.

    Raises:
        ConfigError: another key than those of `PLACES`, files that are missing, a file of other bytes.
    """
    config = copy.deepcopy(dict(recorded))
    given = _given(words)
    for key, place in given.items():
        _put(config, key, place)
    files = {side: written for side in _SIDES if (written := _file(config, side)) is not None}
    found = {side: _absolute(written, folders) for side, written in files.items()}
    if missing := [f"data.{side}={files[side]}" for side, file in found.items() if file is None]:
        raise ConfigError(
            f"{', '.join(missing)}: no such file in {' or '.join(map(str, dict.fromkeys(folders)))}\n"
            f"say where it lies: {command} {missing[0].partition('=')[0]}=FILE"
        )
    for side, file in found.items():
        assert file is not None, "a missing one was refused"
        expected = _sha256(sources, side, Path(recorded["data"][side]).name)
        if expected is not None and (here := file_sha256(file)) != expected:
            raise ConfigError(
                f"data.{side}={file}: other bytes than the run had: sha256 {expected[:12]}… then, {here[:12]}… now\n"
                f"nothing was done; give the file as it was: {command} data.{side}=FILE"
            )
        config["data"][side] = str(file)
    for group in ("data", "model"):
        # A folder, where there is one of that name; else a hub id or a package.
        folder = config[group].get("path")
        if folder is not None and (there := _absolute(folder, folders)) is not None:
            config[group]["path"] = str(there)
    return config


def _given(words: Sequence[str]) -> dict[str, str]:
    given = {}
    for word in words:
        key, _, path = word.partition("=")
        if key not in PLACES or not path:
            raise ConfigError(
                f"{word}: every setting of a run stays as it was; only where files lie can be said anew,"
                f" by KEY=PATH with {', '.join(PLACES)}"
            )
        given[key] = path
    return given


def _put(config: dict[str, Any], key: str, path: str) -> None:
    group, _, name = key.partition(".")
    if config[group].get(name) is None:
        raise ConfigError(f"{key}={path}: the run had no {key}, so it can't lie elsewhere")
    config[group][name] = path


def _file(config: dict[str, Any], side: str) -> str | None:
    """The path of a side's file; None where it has none, or is a split of a data set."""
    is_split = side in ("train", "dev", "test") and config["data"]["source"] != "files"
    return None if is_split else config["data"].get(side)


def _absolute(written: str, folders: Sequence[Path]) -> Path | None:
    path = Path(written).expanduser()
    return next((file.resolve() for folder in folders if (file := folder / path).exists()), None)


def _sha256(sources: Mapping[str, str], side: str, name: str) -> str | None:
    """The hash that the record has of a side's file, also where it was cut and its own side has none of it."""
    own_first = [sources.get(side, ""), *sources.values()]
    hashes = [match["sha256"] for source in own_first if (match := _HASHED.match(source)) and match["name"] == name]
    return hashes[0] if hashes else None
