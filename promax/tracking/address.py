"""Where a database or a server is: what an address says, and how it may be shown."""

from __future__ import annotations

import re
from pathlib import Path

_WITH_PASSWORD = r"[^\s/@:]*:\S*"
_PASSWORD = re.compile(rf"(?<=://){_WITH_PASSWORD}@")
_CREDENTIALS = re.compile(rf"(?<=://)(?:{_WITH_PASSWORD}|[^\s/@?#]*)@")
_SECRET_OPTION = re.compile(r"([?&](?:password|passwd|pwd|sslpassword|secret|token)=)[^&\s]+", re.IGNORECASE)


def kind_of(address: str) -> str:
    """What is at an address, as "sqlite", "postgresql" or "https"; empty where it is none.

    >>> kind_of("postgresql+psycopg://ann@db/promax"), kind_of("promax.db")
    ('postgresql', '')
    """
    return address.partition("://")[0].partition("+")[0].lower() if "://" in address else ""


def with_driver(address: str) -> str:
    """The address with PostgreSQL's driver: left to itself, SQLAlchemy 2.0 looks for psycopg2 and 2.1 for psycopg."""
    return re.sub(r"^postgresql://", "postgresql+psycopg://", address)


def sqlite_file(address: str) -> Path | None:
    """The file of an SQLite database, as it is written; None of anything else.

    >>> sqlite_file("sqlite:////folder/file.db?timeout=5")
    PosixPath('/folder/file.db')
    """
    return Path(address.partition(":///")[2].partition("?")[0]) if kind_of(address) == "sqlite" else None


def mask(text: str) -> str:
    """`text` with the credentials of every URI in it replaced by ***.

    >>> mask("postgresql://ann:s3cret@db:5432/promax?password=x&sslmode=require")
    'postgresql://***@db:5432/promax?password=***&sslmode=require'
    >>> mask("git+https://github.com/a/b@v1")
    'git+https://github.com/a/b@v1'
    """
    return _SECRET_OPTION.sub(r"\1***", _CREDENTIALS.sub("***@", text))


def has_password(text: str) -> bool:
    """Whether a URI in `text` says a password or a token; a user's name is none.

    >>> has_password("postgresql://ann@db/promax"), has_password("postgresql://ann:s3cret@db/promax")
    (False, True)
    >>> has_password("http://ann:a/b@db"), has_password("postgresql://db/promax?password=x")
    (True, True)
    """
    return bool(_SECRET_OPTION.search(text) or _PASSWORD.search(text))
