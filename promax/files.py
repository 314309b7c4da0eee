"""Files as a whole: a reader sees the former one or the new one, never a part."""

from __future__ import annotations

import os
from pathlib import Path

from promax.config import ConfigError


def make_folder(out: Path) -> None:
    """The folder `out`, and those above it, where there is none.

    Raises:
        ConfigError: it can't be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out}: can't be made a folder: {error.strerror}") from None


def replace(path: Path, content: bytes) -> None:
    """`content` as the file `path`, whatever was there before.

    Raises:
        ConfigError: it can't be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
