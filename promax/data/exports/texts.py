"""The columns of an export -> the text of each ticket: plain, by the template, without ticket numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tqdm import tqdm  # type: ignore[import-untyped]

from promax.data.exports.columns import Columns
from promax.data.exports.leaks import TEXT_ROLES
from promax.data.exports.markup import plain
from promax.data.exports.references import References
from promax.data.template import ticket_text

_CONTEXT_ROLES = TEXT_ROLES[2:]
# What monitoring puts before a short description that it was given no host for.
_NULL_PREFIX = re.compile(r"^NULL\s*:\s*")
# A sys_id or the code of a choice: they name something, but say nothing to an encoder.
_CODE = re.compile(r"[0-9a-f]{32}|\d+")


@dataclass(frozen=True, eq=False)
class Texts:
    """Each ticket's text with and without context, and notes on what was taken out."""

    text: list[str]
    core: list[str]
    notes: list[str]


def write_texts(columns: Columns, roles: frozenset[str], *, jira_ids: bool) -> Texts:
    """Texts made of the columns in `roles`; a ticket that says nothing has "".

    `jira_ids`: the ids are Jira's internal ones, so that the texts name other tickets by keys which
    the ids don't show.
    """
    shorts = [_NULL_PREFIX.sub("", plain(each)) for each in _used(columns, "short", roles)]
    bar = tqdm(_used(columns, "description", roles), desc="texts", disable=None, leave=False)
    descriptions = [plain(each) for each in bar]
    references = References(columns.by_role["id"], [*shorts, *descriptions] if jira_ids else ())
    context, codes = _context(columns, roles, references)
    text, core, numbers, tickets = [], [], 0, 0
    for row in range(len(columns)):
        short, in_short = references.without(shorts[row])
        description, in_description = references.without(descriptions[row])
        numbers += in_short + in_description
        tickets += in_short + in_description > 0
        short, description = short.strip(), description.strip()
        own = ticket_text(short, description)
        own = own if any(each.isalnum() for each in own) else ""
        core.append(own)
        said = {role: context[role][columns.by_role[role][row]] for role in context}
        text.append(ticket_text(short, description, **said) if own and any(said.values()) else own)
    notes = [f"ticket numbers taken out of the texts: {numbers} in {tickets} tickets"] if numbers else []
    if codes:
        notes.append(f"left out of the context, being codes or sys_ids: {codes} values")
    return Texts(text, core, notes)


def _used(columns: Columns, role: str, roles: frozenset[str]) -> list[str]:
    return columns.get(role) if role in roles else [""] * len(columns)


def _context(columns: Columns, roles: frozenset[str], references: References) -> tuple[dict[str, dict[str, str]], int]:
    """Role -> value as exported -> what of it enters the text; and how many different values are codes."""
    context, codes = {}, 0
    for role in _CONTEXT_ROLES:
        if role not in roles or role not in columns.by_role:
            continue
        values = set(columns.by_role[role])
        coded = {value for value in values if _CODE.fullmatch(value)}
        context[role] = {
            value: "" if value in coded else references.without(plain(value))[0].strip() for value in values
        }
        codes += len(coded)
    return context, codes
