"""A schema's keys, dotted as on the command line: which there are, and how an unknown one is refused."""

from __future__ import annotations

import difflib
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints


def unknown_key(key: str, schema: type[Any]) -> str:
    """One line that refuses `key` and names the keys that stand at its place.

    >>> from promax.config import Config
    >>> unknown_key("model.lora.rank", Config)
    'model.lora.rank: unknown key. Allowed in model.lora: r, alpha, dropout, targets, target_modules'
    """
    parent, _, last = key.rpartition(".")
    while parent and not _fields_at(parent, schema):
        key, (parent, _, last) = parent, parent.rpartition(".")
    allowed = _fields_at(parent, schema)
    dotted = f"{parent}." if parent else ""
    close = difflib.get_close_matches(last, allowed, n=1)
    hint = f", did you mean {dotted}{close[0]}?" if close else "."
    return f"{key}: unknown key{hint} Allowed {f'in {parent}' if parent else 'at the top'}: {', '.join(allowed)}"


def is_known(key: str, schema: type[Any]) -> bool:
    """Whether a dotted key stands in `schema`.

    >>> from promax.config import Config
    >>> is_known("model.lora.r", Config), is_known("model.lora.rank", Config)
    (True, False)
    """
    parent, _, last = key.rpartition(".")
    return last in _fields_at(parent, schema)


def is_value(key: str, schema: type[Any]) -> bool:
    """Whether a dotted key stands in `schema` and is no group of keys.

    >>> from promax.config import Config
    >>> is_value("optim.loss", Config), is_value("model.lora", Config)
    (True, False)
    """
    return is_known(key, schema) and not _fields_at(key, schema)


def hint_at(path: str, root: type[Any]) -> Any:
    """The annotated type at a dotted path below `root`, None where there is none."""
    node: Any = root
    for part in path.split(".") if path else []:
        schema = _schema(node)
        node = get_type_hints(schema).get(part) if schema is not None else None
    return node


def _schema(hint: Any) -> Any:
    return next((each for each in (hint, *get_args(hint)) if is_dataclass(each)), None)


def _fields_at(path: str, root: type[Any]) -> list[str]:
    schema = _schema(hint_at(path, root))
    return [each.name for each in fields(schema)] if schema is not None else []
