"""Files as a whole: a reader sees the former one or the new one, never a part; and only what is a file is read."""

from __future__ import annotations

import errno
import re
import secrets
import stat
from pathlib import Path

from promax.config import ConfigError


def regular(path: Path) -> Path:
    """`path`, unless it is a pipe or a device, reading from which might never end.

    Raises:
        OSError: it is one, or there is nothing.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "must be a regular file, no pipe or device")
    return path


def file_name(name: str) -> str:
    """A study's name as that of one file or folder: it leads nowhere else, and is not hidden."""
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "_"


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
