"""Which column of an export plays which role, by its header."""

from __future__ import annotations

import re

from promax.config import ConfigError, ExportColumnsConfig
from promax.data.columns import LIKE_A_NAME, LONGEST_NAME

# Role -> its usual headers as `header_key` writes them, the likeliest first: field names and labels of
# ServiceNow, Jira and Bugzilla, and what ticket data sets call the same.
USUAL_HEADERS: dict[str, tuple[str, ...]] = {
    "id": (
        *("number", "issue key", "key", "issue id", "bug id", "ticket number", "ticket id", "ticket no"),
        *("incident number", "incident id", "ticket", "id"),
    ),
    "sys_id": ("sys id",),
    "short": ("short description", "summary", "title", "subject"),
    "description": ("description", "details", "body", "body html", "text"),
    "category": ("category", "component", "component s", "components"),
    "subcategory": ("subcategory", "sub category", "sub category1"),
    "service": ("business service", "service", "product", "project name"),
    "offering": ("service offering", "offering"),
    "group": ("assignment group", "group", "support group"),
    "opened": ("opened at", "opened", "created", "sys created on", "created on", "created at", "creation time"),
    "resolved": ("resolved at", "resolved", "resolution date", "resolutiondate", "closed at", "closed"),
    "updated": ("sys mod count", "updates", "sys updated on", "sys updated at", "updated", "changed"),
    "problem": ("problem id", "problem", "duplicate group"),
    "parent": ("parent incident number", "parent incident"),
    "duplicates": (
        *("duplicates", "duplicate id", "duplicate of", "dupe of"),
        *("outward issue link duplicate", "inward issue link duplicate"),
    ),
}
# What the text is made of: of two headers that could each be it, none is guessed.
NEVER_IN_DOUBT = ("short", "description")
# Jira writes one column a value, all under one header.
REPEATED = ("duplicates", "category")


def header_key(header: str) -> str:
    """What two spellings of a header have in common.

    >>> header_key("Short description") == header_key("\\ufeffSHORT_DESCRIPTION")
    True
    >>> header_key("Outward issue link (Duplicate)")
    'outward issue link duplicate'
    """
    return re.sub(r"[\W_]+", " ", header).strip().casefold()


def find_columns(source: str, header: list[str], wanted: ExportColumnsConfig) -> tuple[dict[str, list[int]], set[str]]:
    """Role -> the places of its columns in `header`, and the roles that were guessed.

    A role has one column, but for those that Jira spreads over several. Roles without a column are absent.

    Raises:
        ConfigError: a configured header that is missing, one that stands twice, two roles for one
            column, two columns for one role.
    """
    keys = [header_key(each) for each in header]
    found: dict[str, list[int]] = {}
    guessed = set()
    for role in USUAL_HEADERS:
        named = getattr(wanted, role)
        if named is not None:
            places = [place for place, each in enumerate(header) if each == named]
            places = places or [place for place, key in enumerate(keys) if key == header_key(named) != ""]
            if not places:
                raise ConfigError(f"{source}: no column {named} (export.columns.{role}={named})\n{seen(header)}")
        else:
            places = _guess(source, role, header, keys)
            guessed |= {role} if places else set()
        if len(places) > 1 and role not in REPEATED:
            names = " and ".join(header[place] for place in places[:2])
            raise ConfigError(f"{source}: {names} could each be the {role} column; rename all but one")
        if places:
            found[role] = places
    _refuse_shared(source, header, found, guessed)
    return found, guessed & found.keys()


def _guess(source: str, role: str, header: list[str], keys: list[str]) -> list[int]:
    usual = [name for name in USUAL_HEADERS[role] if name in keys]
    if role in NEVER_IN_DOUBT and len(usual) > 1:
        names = " and ".join(header[keys.index(name)] for name in usual[:2])
        raise ConfigError(f"{source}: {names} could each be the {role} column; choose one with export.columns.{role}")
    chosen = usual if role == "duplicates" else usual[:1]
    return [place for name in chosen for place, key in enumerate(keys) if key == name]


def _refuse_shared(source: str, header: list[str], found: dict[str, list[int]], guessed: set[str]) -> None:
    """A guess gives way to what the config says of a column; two words of the config contradict each other."""
    owner: dict[int, str] = {}
    for role in sorted(found, key=lambda each: each in guessed):
        for place in found[role]:
            if place in owner and role not in guessed:
                raise ConfigError(
                    f"{source}: column {header[place]} is named for two roles, {owner[place]} and {role};"
                    f" set export.columns.{role} to another"
                )
        if any(place in owner for place in found[role]):
            del found[role]
            continue
        owner |= dict.fromkeys(found[role], role)


def require(source: str, header: list[str], found: dict[str, list[int]], *, number_rows: bool) -> None:
    """Refuse a table without ids or without text.

    Raises:
        ConfigError: what is missing, the config key that names it, and the headers seen.
    """
    if "id" not in found and not number_rows:
        raise ConfigError(
            f"{source}: no id column (looked for {_usual('id')}); name it with export.columns.id, or set"
            f" export.number_rows=true\n{seen(header)}"
        )
    if "short" not in found and "description" not in found:
        raise ConfigError(
            f"{source}: no text column (looked for {_usual('short')}, {_usual('description')}); name it with"
            f" export.columns.short or export.columns.description\n{seen(header)}"
        )


def seen(header: list[str]) -> str:
    """The headers of a file, for an error: without those that may be a cell, since a first line may be a ticket."""
    usual = {name for names in USUAL_HEADERS.values() for name in names}
    shown = [each for each in header if header_key(each) in usual or _is_like_a_name(each)]
    hidden = len(header) - len(shown)
    more = [f"{hidden} unlike a name (not shown)"] if hidden else []
    return f"columns present: {', '.join([*shown[:60], *more])}"


def _is_like_a_name(header: str) -> bool:
    return len(header) <= LONGEST_NAME and LIKE_A_NAME.fullmatch(header) is not None


def _usual(role: str) -> str:
    return ", ".join(USUAL_HEADERS[role])
