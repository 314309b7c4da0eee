"""What a shell offers when TAB is pressed: verbs and options by argcomplete, overrides from conf/ and the schema.

Whoever presses TAB waits for the answer, so the schema's source is read and not imported: pydantic takes longer to
build its classes than all of this together.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from promax.paths import conf_dir

# The shell's hook sets it, and reads the answer.
COMPLETING = "_ARGCOMPLETE"

_SCHEMA = Path(__file__).resolve().parent.parent / "config"


def answer(parser: argparse.ArgumentParser) -> None:
    """Tell the shell what can stand at its cursor, and end the process."""
    from argcomplete.finders import CompletionFinder
    from argcomplete.packages._argparse import action_is_greedy

    class Finder(CompletionFinder):
        """Offers overrides behind options too, where `promax` takes them and argparse's own `*` is done with."""

        def collect_completions(
            self, active_parsers: list[argparse.ArgumentParser], parsed_args: argparse.Namespace, cword_prefix: str
        ) -> list[str]:
            found = super().collect_completions(active_parsers, parsed_args, cword_prefix)
            verb: Any = active_parsers[-1]
            taking = next((each for each in verb._actions if each.dest == "overrides"), None)
            # An option without its value comes first, and a word that begins as one is one.
            if taking is None or cword_prefix.startswith("-") or any(map(action_is_greedy, verb.active_actions)):
                return found
            return list(dict.fromkeys([*found, *taking.completer(cword_prefix)]))

    Finder()(parser, always_complete_options="long")


def nothing(prefix: str, **_: object) -> list[str]:
    """A completer for what only the user knows: no file names are offered in its place."""
    return []


def overrides(prefix: str, schema: str, within: str = "", **_: object) -> list[str]:
    """The overrides that begin with `prefix`: config groups, the keys of the class `schema`, and values where few are.

    Keys are offered up to their next dot, and only those that begin with `within`.
    """
    keys = {key: values for key, values in schema_keys(schema).items() if key.startswith(within)}
    # An experiment is a group that no key stands for: it sets several at once.
    tops = {key.partition(".")[0] for key in keys} | ({"experiment"} if schema == "Config" else set())
    groups = {name: choices for name, choices in config_groups().items() if name in tops}
    key, equals, _value = prefix.partition("=")
    if equals:
        values = (f"{key}={value}" for value in (*groups.get(key, ()), *keys.get(key, ())))
        return [each for each in values if each.startswith(prefix)]
    return _up_to_a_dot([f"{each}=" for each in dict.fromkeys((*groups, *keys)) if each.startswith(key)], len(key))


def config_groups() -> dict[str, list[str]]:
    """Group -> its choices: the folders of conf/ and the files in them."""
    folders = sorted(path for path in conf_dir().iterdir() if path.is_dir()) if conf_dir().is_dir() else []
    return {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}


def schema_keys(root: str) -> dict[str, tuple[str, ...]]:
    """Dotted key -> the values it may have, () where they can't be listed, for the schema class called `root`.

    >>> keys = schema_keys("Config")
    >>> keys["optim.lr"], keys["engine"], keys["data.binary"]
    ((), ('packed', 'reference'), ('true', 'false'))
    """
    classes = {
        node.name: {
            str(getattr(line.target, "id", "")): line.annotation
            for line in node.body
            if isinstance(line, ast.AnnAssign)
        }
        for path in sorted(_SCHEMA.glob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    return dict(_walk(root, "", classes))


def _walk(name: str, prefix: str, classes: dict[str, dict[str, ast.expr]]) -> Iterable[tuple[str, tuple[str, ...]]]:
    for key, annotation in classes[name].items():
        either = _alternatives(annotation)
        group = next((each.id for each in either if isinstance(each, ast.Name) and each.id in classes), None)
        if group is not None:
            yield from _walk(group, f"{prefix}{key}.", classes)
        else:
            yield f"{prefix}{key}", tuple(value for each in either for value in _values(each))


def _alternatives(annotation: ast.expr) -> list[ast.expr]:
    """The types between the bars of an annotation."""
    if isinstance(annotation, ast.BinOp):
        return [*_alternatives(annotation.left), *_alternatives(annotation.right)]
    return [annotation]


def _values(annotation: ast.expr) -> list[str]:
    if isinstance(annotation, ast.Name) and annotation.id == "bool":
        return ["true", "false"]
    if isinstance(annotation, ast.Subscript) and getattr(annotation.value, "id", "") == "Literal":
        return [str(each.value) for each in ast.walk(annotation.slice) if isinstance(each, ast.Constant)]
    return []


def _up_to_a_dot(words: list[str], typed: int) -> list[str]:
    shown = list(dict.fromkeys(word[: word.find(".", typed) + 1] or word for word in words))
    if len(shown) == 1 and shown[0].endswith("."):
        # Alone it would be completed with a space behind it.
        return _up_to_a_dot(words, len(shown[0]))
    return shown
