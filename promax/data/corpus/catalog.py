"""What can go wrong: services, their symptoms, and the problems behind each symptom.

The knowledge is written out in the YAML files beside this module, one a category. A problem is a
service, a symptom and a cause; it carries its own sightings, that is, what a user, a log or a
service desk agent would say of it. No sighting is shared between two problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

VOICES_FILE = "voices.yaml"

# libyaml's loader reads the same language ten times faster; builds of PyYAML without it exist.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Problem:
    """One cause of one symptom of one service.

    `user`, `log` and `desk` are the sightings, each from another point of view; `cause` and `fix`
    are known after resolution only and never reach a ticket's text.
    """

    key: str
    cause: str
    fix: str
    user: tuple[str, ...]
    log: tuple[str, ...]
    desk: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """A symptom of a service, with the problems that cause it.

    `kind` is the symptom's kind across services (login, slow, data, ...). `titles`, `seen` and
    `check` say nothing of the cause: they are true of every problem of the family.
    """

    key: str
    kind: str
    titles: tuple[str, ...]
    seen: tuple[str, ...]
    check: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Service:
    """A business service; `aka` are the names people use for it, `host` the stem of its host names.

    `portfolio` is the wider service that it belongs to, which many pick for want of a better one.
    """

    name: str
    category: str
    portfolio: str
    subcategory: str
    offerings: tuple[str, ...]
    group: str
    aka: tuple[str, ...]
    host: str
    families: tuple[Family, ...]


@cache
def services() -> tuple[Service, ...]:
    """Every service of the catalogue, by category file name, then in file order."""
    files = sorted(
        (each for each in resources.files(__package__).iterdir() if each.name.endswith(".yaml")),
        key=lambda each: each.name,
    )
    return tuple(
        _service(entry, content["category"], content["portfolio"])
        for content in (_read(each.read_text("utf-8")) for each in files if each.name != VOICES_FILE)
        for entry in content["services"]
    )


@cache
def voices() -> dict[str, Any]:
    """The content of the voices file: lists of phrases, and titles and bodies for each voice."""
    content: dict[str, Any] = _read(resources.files(__package__).joinpath(VOICES_FILE).read_text("utf-8"))
    return content


def _read(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _service(entry: dict[str, Any], category: str, portfolio: str) -> Service:
    slug = entry["name"].lower().replace(" ", "-")
    return Service(
        name=entry["name"],
        category=category,
        portfolio=portfolio,
        subcategory=entry["subcategory"],
        offerings=tuple(entry["offerings"]),
        group=entry["group"],
        aka=tuple(entry["aka"]),
        host=entry["host"],
        families=tuple(_family(symptom, f"{slug}/{symptom['symptom']}") for symptom in entry["symptoms"]),
    )


def _family(entry: dict[str, Any], key: str) -> Family:
    return Family(
        key=key,
        kind=entry["symptom"],
        titles=tuple(entry["titles"]),
        seen=tuple(entry["seen"]),
        check=entry["check"],
        problems=tuple(
            Problem(
                key=f"{key}/{place}",
                cause=cause["cause"],
                fix=cause["fix"],
                user=tuple(cause["user"]),
                log=tuple(cause["log"]),
                desk=tuple(cause["desk"]),
            )
            for place, cause in enumerate(entry["causes"], start=1)
        ),
    )
