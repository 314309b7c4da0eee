"""Ticket numbers in texts, which a model could match instead of understanding what happened."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

# From so many different numbers on, a prefix in a Jira export is a project: UTF-8, SHA-256 and their
# like have fewer. In 2,503 Hadoop issues UTF has 2, CWE 5, and those with 10 or more are all projects.
PROJECT_FROM = 10

_DIGITS = re.compile(r"\d+")
_KEY = re.compile(r"(?<![A-Za-z0-9-])([A-Z][A-Z0-9_]+-)([1-9]\d*)(?![\w-])")
# What stands right before a ticket number: ServiceNow's usual prefixes, or a word for a ticket.
_PREFIX = re.compile(
    r"(?<![a-z0-9])(?:INC|PRB|CHG|REQ|RITM|SCTASK|CTASK|PTASK|TASK|CALL|TKT|SIR)[ #:_-]{0,2}$", re.IGNORECASE
)
_WORD_FOR_IT = re.compile(r"\b(?:bug|ticket|issue|incident|case)s? ?(?:no\.?|nr\.?|id)? ?#? ?$", re.IGNORECASE)
_LONGEST_BEFORE = 20
_WORD_BEFORE, _WORD_AFTER = re.compile(r"[\w-]{0,60}$"), re.compile(r"[\w-]{0,60}")
_ADDRESS = re.compile(r"sys_id=[0-9a-f]{32}")
# Stands where a number was until brackets that held nothing else are gone too; cells hold no such character.
_GONE = "\x00"
_EMPTIED = re.compile(r"[(\[][\s,;]*\x00[\s,;\x00]*[)\]]")


class References:
    """Finds and takes out the ticket numbers of one export.

    Taken out are the export's own ids, as far as no ordinary number looks like them (a letter and a digit,
    or six digits), numbers by ServiceNow's prefixes, words like "bug 1234", a record's address, and keys
    of Jira projects: those of the ids, or, where the ids are Jira's internal ones (`keys_in`, the
    texts), of every prefix that has at least `PROJECT_FROM` different numbers there.

    >>> References(["HADOOP-17"]).without("as in HADOOP-1234 (INC0012345), with HADOOP-3.2, run() and UTF-8")
    ('as in  , with HADOOP-3.2, run() and UTF-8', 2)
    """

    def __init__(self, ids: Iterable[str], keys_in: Iterable[str] = ()) -> None:
        own = [each for each in ids if _is_telling(each)]
        self._own = {each.casefold() for each in own}
        self._own_digits = {run[0] for each in own if (run := _DIGITS.search(each))}
        numbers: dict[str, set[str]] = defaultdict(set)
        for text in keys_in:
            for project, number in _KEY.findall(text):
                numbers[project].add(number)
        projects = {project for project, several in numbers.items() if len(several) >= PROJECT_FROM}
        projects |= {key[1] for each in own if (key := _KEY.fullmatch(each))}
        self._projects = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(sorted(projects)) or '(?!)'})$")

    def without(self, text: str) -> tuple[str, int]:
        """The text without ticket numbers, and how many were taken out."""
        parts, at, count = [], 0, 0
        for run in _DIGITS.finditer(text):
            if run.start() < at:
                continue  # in a word that is gone
            start, end = self._number_at(text, run)
            if start < end:
                parts += [text[at : max(at, start)], _GONE]
                at, count = end, count + 1
        rest = "".join(parts) + text[at:]
        rest, addresses = _ADDRESS.subn(_GONE, rest) if "sys_id=" in rest else (rest, 0)
        count += addresses
        return (_EMPTIED.sub("", rest).replace(_GONE, ""), count) if count else (text, 0)

    def _number_at(self, text: str, run: re.Match[str]) -> tuple[int, int]:
        """From where to where there is a ticket number around a run of digits; an empty range: there is none."""
        start, end = run.span()
        before = text[max(0, start - _LONGEST_BEFORE) : start]
        if before.endswith("-") and (match := self._projects.search(before)) and _is_key(text, start, end):
            return start - len(match[0]), end
        if run[0] in self._own_digits:
            first = start - len(_WORD_BEFORE.search(text[max(0, start - 60) : start])[0])  # type: ignore[index]
            last = _WORD_AFTER.match(text, end).end()  # type: ignore[union-attr]
            if text[first:last].casefold() in self._own:
                return first, last
        if end - start >= 4 and (match := _WORD_FOR_IT.search(before)):
            return start - len(match[0]), end
        if end - start >= 5 and (match := _PREFIX.search(before)):
            return start - len(match[0]), end
        return start, start


def _is_key(text: str, start: int, end: int) -> bool:
    """HADOOP-3.2 is a version, HADOOP-1234.001.patch a ticket's file."""
    return end - start >= 3 or re.match(r"\.\d", text[end : end + 2]) is None


def _is_telling(own: str) -> bool:
    digits = sum(each.isdigit() for each in own)
    return digits >= 6 or 0 < digits < sum(each.isalnum() for each in own)
