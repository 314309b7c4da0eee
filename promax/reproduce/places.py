"""Where the files of a recorded run lie now, and whether they are the same to the byte."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promax.config import ConfigError
from promax.data.splits import BESIDE, SIDES
from promax.files import regular
from promax.weights import file_sha256

_SIDES = (*SIDES, *BESIDE)
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
    given = places(words)
    for key, there in given.items():
        group, _, name = key.partition(".")
        if config[group].get(name) is None:
            raise ConfigError(f"{key}={there[-1]}: the run had no {key}, so it can't lie elsewhere")
    files = {side: given.get(f"data.{side}", [written]) for side in _SIDES if (written := _file(config, side))}
    found = {side: [file for each in there if (file := _absolute(each, folders))] for side, there in files.items()}
    if missing := [f"data.{side}={files[side][-1]}" for side in files if not found[side]]:
        raise ConfigError(
            f"{', '.join(missing)}: no such file in {' or '.join(map(str, dict.fromkeys(folders)))}\n"
            f"say where it lies: {command} {missing[0].partition('=')[0]}=FILE"
        )
    for side, candidates in found.items():
        expected = _sha256(sources, side, Path(config["data"][side]).name)
        config["data"][side] = str(candidates[-1] if expected is None else _same(side, candidates, expected, command))
    for group in ("data", "model"):
        # A folder, where there is one of that name; else a hub id or a package.
        folder = given.get(f"{group}.path", [config[group].get("path")])[-1]
        if folder is not None:
            config[group]["path"] = str(_absolute(folder, folders) or folder)
    return config


def places(words: Sequence[str]) -> dict[str, list[str]]:
    """Key -> where that lies, as `words`, KEY=PATH, say it; said several times, one of them is meant for each run.

    Raises:
        ConfigError: another key than those of `PLACES`.
    """
    given: dict[str, list[str]] = {}
    for word in words:
        key, _, path = word.partition("=")
        if key not in PLACES or not path:
            raise ConfigError(
                f"{word}: every setting of a run stays as it was; only where files lie can be said anew,"
                f" by KEY=PATH with {', '.join(PLACES)}"
            )
        given.setdefault(key, []).append(path)
    return given


def _same(side: str, candidates: Sequence[Path], expected: str, command: str) -> Path:
    """The file that has the bytes which the run had."""
    here = ""
    for file in candidates:
        try:
            here = file_sha256(regular(file))
        except OSError as error:
            raise ConfigError(f"data.{side}={file}: can't be read: {error.strerror or error}") from None
        if here == expected:
            return file
    raise ConfigError(
        f"data.{side}={candidates[-1]}: other bytes than the run had: sha256 {expected[:12]}… then, {here[:12]}… now\n"
        f"nothing was done; give the file as it was: {command} data.{side}=FILE"
    )


def _file(config: dict[str, Any], side: str) -> str | None:
    """The path of a side's file; None where it has none, or is a split of a data set."""
    is_split = side in SIDES and config["data"]["source"] != "files"
    return None if is_split else config["data"].get(side)


def _absolute(written: str, folders: Sequence[Path]) -> Path | None:
    path = Path(written).expanduser()
    return next((file.resolve() for folder in folders if (file := folder / path).exists()), None)


def _sha256(sources: Mapping[str, str], side: str, name: str) -> str | None:
    """The hash that the record has of a side's file, also where it was cut and its own side has none of it."""
    own_first = [sources.get(side, ""), *sources.values()]
    hashes = [match["sha256"] for source in own_first if (match := _HASHED.match(source)) and match["name"] == name]
    return hashes[0] if hashes else None
