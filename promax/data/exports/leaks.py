"""Columns that tell how a ticket ended, which no text may hold: known by their name, or by when they are filled."""

from __future__ import annotations

import re

from promax.data.exports.roles import header_key

# The roles whose columns make up a ticket's text; all but the first two are its context.
TEXT_ROLES = ("short", "description", "service", "offering", "category", "subcategory", "group")

# Words of headers of columns that are written while a ticket is worked on or when it ends, or that are
# the ground truth itself. In any case, and with anything around them: u_close_notes_2 is one.
_LEAK = re.compile(
    r"\b(?:re ?sol(?:ution|utions|ved|ve|ver)|solution|clos(?:e|ed|ure|ing)|work ?notes?|work ?around|comments?|"
    r"journal|notes?|log ?work|root cause|caused?|fix(?:ed)?|outcome|rfc|state|status|duration|reopen|"
    r"reassignment|knowledge|made sla|time worked|time spent|updated|mod count|duplicates?|dupe)\b"
    r"|^(?:problem(?: id| number)?|parent(?: incident)?(?: number| id)?|sys id)$"
)

# Filled for a fifth of the share expected, where at least 20 were: by chance with probability below
# 2e-5 (a Poisson of mean 20 being 4 or less).
EXPECTED = 20
SHARE_OF_EXPECTED = 0.2

# How ServiceNow begins an entry of a journal: "2019-07-29 11:48:43 - Name (Work notes)".
_JOURNAL_ENTRY = re.compile(
    r"^\d{1,4}[-/.]\d\d?[-/.]\d{1,4} \d\d?:\d\d(?::\d\d)?(?: [AP]M)? - .{1,80} \([\w ]+\)", re.M
)
JOURNAL_SHARE = 0.1


def leaks_by_name(header: str) -> bool:
    """Whether a column of that name is written at or after resolution, or is the truth that a model must find.

    >>> [leaks_by_name(each) for each in ("closed_code", "Resolution Notes", "u_close_notes", "short_description")]
    [True, True, True, False]
    """
    return _LEAK.search(header_key(header)) is not None


def leaks_by_timing(values: list[str], resolved: list[str] | None) -> str | None:
    """Why the column is taken for one that is written after a ticket was opened; None: no sign of it.

    Two signs. A column that says nothing of the outcome is filled as often for tickets still open as
    for resolved ones, so one that is filled for at most a fifth as many open tickets as that, where
    at least 20 were expected, is filled at resolution. And a column of which a tenth of the
    filled cells hold entries of a journal, with a time and a name, grows while a ticket is worked on.
    """
    filled = [value != "" for value in values]
    entries = sum(_JOURNAL_ENTRY.search(value) is not None for value in values)
    if entries and entries >= JOURNAL_SHARE * sum(filled):
        return f"{entries} of its {sum(filled)} values hold journal entries"
    if resolved is None:
        return None
    done = [moment != "" for moment in resolved]
    still_open = len(done) - sum(done)
    filled_done = sum(each and over for each, over in zip(filled, done, strict=True))
    filled_open = sum(filled) - filled_done
    expected = still_open * filled_done / sum(done) if any(done) else 0.0
    if expected < EXPECTED or filled_open > SHARE_OF_EXPECTED * expected:
        return None
    return f"it is filled for {filled_done} of {sum(done)} resolved tickets and {filled_open} of {still_open} others"
