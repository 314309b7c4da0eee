"""Files as a whole: a reader sees the former one or the new one, never a part."""

from __future__ import annotations

import secrets
from pathlib import Path

from promax.config import ConfigError


def make_folder(folder: Path, given: str) -> None:
    """The folder, and those above it, where there is none; `given` is what asked for it, like "--out figures".

    Raises:
        ConfigError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{given}: can't be made a folder: {error.strerror}") from None


def replace(path: Path, content: bytes) -> None:
    """`content` as the file `path`, whatever was there before.

    Raises:
        ConfigError: it can't be written.
    """
    # A name of its own: two machines may write the same file of a shared folder, under the same process number.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
