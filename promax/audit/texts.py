"""What should not stand in a ticket's text: answers, numbers, and people. Counted, never quoted."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping

from promax.audit.finding import Finding, Severity
from promax.audit.side import CONFIDENCE, Side
from promax.data.pairs import text_key

# Share of the texts, lower end of its 99 % interval, from which a leak is an error.
LEAK_ERROR = 0.01
SHORTEST_ID = 4
# A public address has a number at least as high, most of the time; a version hardly ever.
LEAST_IN_ADDRESS = 30

# Prefixes of ServiceNow's own number fields.
_NUMBER = re.compile(r"\b(?:INC|PRB|CHG|RITM|REQ|SCTASK|CTASK|PTASK|TASK|KB|CS)\d{5,}\b", re.IGNORECASE)
_ISSUE_KEY = re.compile(r"(?<![\w./-])([A-Z][A-Z0-9]{1,9})-[1-9]\d{1,6}(?![\w-]|\.\d)")
# Written like issue keys, and no trackers: standards, encodings, hashes, ports.
_NO_PROJECT = re.compile(
    "AES|CVE|CWE|DDR|DIN|EN|HDMI|HTTP|IEC|IEEE|IP|ISO|JSR|KB|MD|PCI|PEP|RFC|RJ|RS|RSA|SHA|SSL|TCP|TLS|UDP|USB|UTC|UTF|WPA"
)
# Headings of what is written at or after resolution, at the start of a line or a sentence.
_RESOLUTION = re.compile(
    r"(?:^|[\n.;|!?]\s*)(?:close[d]? (?:notes?|code|by)|resolution (?:notes?|code)|resolved by|work notes?"
    r"|resolution|root cause|fix applied)\s*:(?!\s*\d+\s*[x×*]\s*\d)",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}\b")
# With a country code, or in groups as they are dialled; a bare run of digits may be anything.
_PHONE = re.compile(
    r"(?<![\w.:/+-])(?:\+\d{1,3}[ ./-]?(?:\(0?\d{1,4}\)|\d)(?:[ ./-]?\d){6,12}"
    r"|\(?0\d{2,4}\)?[ /-]\d{3,4}[ -]?\d{2,5}|\(?\d{3}\)?[ -]\d{3}-\d{4})(?![\w:-]|\.\d)"
)
_IP = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
# Capitalised words after a greeting, a sign-off, a title or "caller:"; only there can a name be told from a product.
_WORDS = r"([A-Z][a-zà-ÿ]+(?: [A-Z][a-zà-ÿ]+)?)"
_NAME = re.compile(
    rf"\b(?:[Hh]i|[Hh]ello|[Dd]ear|[Hh]ey) {_WORDS}(?=\s*[,!\n]|$)"
    rf"|\b(?:[Rr]egards|[Tt]hanks|[Tt]hank you|[Cc]heers|[Ss]incerely)[,.!]?\s+{_WORDS}(?=\s*[\n.(]|$)"
    rf"|\b(?:Mr|Mrs|Ms|Dr)\.? {_WORDS}"
    rf"|\b(?:[Cc]aller|[Rr]equester|[Rr]eported by|[Oo]pened by|[Cc]ontact(?: name)?): ?{_WORDS}"
)
# Who else is greeted and signs: groups, roles, departments.
_NOBODY = re.compile(
    r"\b(?:Accounting|Admin(?:istrator)?|All|Care|Colleagues?|Controlling|Customer|Department|Desk|Engineering|Every"
    r"(?:body|one)|Experts|Facility|Field|Folks|Friends|Group|Guys|Help(?:desk)?|Human|Legal|Logistics|Madam|Management"
    r"|Marketing|Office|Operations|Planning|Production|Purchasing|Quality|Resources|Sales|Security|Service|Sir|Support"
    r"|Team|There)\b"
)


def leaks(side: Side) -> list[Finding]:
    """Texts that hold what is known only afterwards, or a number that names a ticket."""
    from scipy.stats import binomtest

    pairs, check = side.pairs, "leaks in texts"
    texts = _distinct(side)
    headings, numbers = _count(texts, _RESOLUTION), _count(texts, _NUMBER)
    keys = _count(texts, _ISSUE_KEY, lambda match: not _NO_PROJECT.fullmatch(match[1]))
    partners = sum(
        _names(text, other)
        for text1, text2, id1, id2 in zip(pairs.text1, pairs.text2, pairs.id1, pairs.id2, strict=True)
        for text, other in ((text1, id2), (text2, id1))
    )
    counts = {
        "the id of the ticket it is paired with": partners,
        "a heading like a resolution's": headings,
        "a ticket number": numbers,
        "what looks like an issue's key, or a computer's name": keys,
    }
    names = ("partners_named", "resolution_headings", "ticket_numbers", "issue_keys")
    figures = dict(zip(names, map(float, counts.values()), strict=True))
    # Products and computers are called like issues, so that those alone prove nothing.
    share = binomtest(max(headings, numbers), len(texts)).proportion_ci(CONFIDENCE).low
    severity: Severity = "clean" if not keys else "note"
    if partners or headings or numbers:
        severity = "error" if partners or share > LEAK_ERROR else "warning"
    advice = {
        "note": "look whether they are a tracker's: then strip them, since they tell which tickets belong together",
        "clean": "",
    }.get(
        severity, "build the text from what was known when a ticket was opened, and strip numbers: they tell the answer"
    )
    return [Finding(check, side.name, severity, _told(counts, len(texts)), advice, figures)]


def personal_data(side: Side) -> list[Finding]:
    """Texts with what looks like an e-mail address, a phone number, an IP address or a person's name."""
    check, texts = "personal data", _distinct(side)
    counts = {
        "an e-mail address": _count(texts, _EMAIL),
        "what looks like a phone number": _count(texts, _PHONE),
        "an IP address": _count(texts, _IP, _is_address),
        "what looks like a name after a greeting, a sign-off or a title": _count(texts, _NAME, _is_person),
    }
    figures = dict(zip(("emails", "phones", "ips", "names"), map(float, counts.values()), strict=True))
    severity: Severity = "clean" if not any(counts.values()) else "warning"
    if severity != "clean" and sum(counts.values()) == counts["an IP address"]:
        severity = "note"
    advice = "mask them before the texts travel; names elsewhere aren't looked for" if severity != "clean" else ""
    return [Finding(check, side.name, severity, _told(counts, len(texts)), advice, figures)]


def _told(counts: Mapping[str, int], total: int) -> str:
    """What was found in how many of the texts; else what was looked for."""
    found = ", ".join(f"{count} hold {what}" for what, count in counts.items() if count)
    return f"of {total} texts, {found}" if found else f"none of {total} texts holds {' or '.join(counts)}"


def _distinct(side: Side) -> list[str]:
    """One text of each ticket."""
    return list({text_key(text): text for text in side.pairs.text1 + side.pairs.text2}.values())


def _count(texts: Iterable[str], pattern: re.Pattern[str], holds: Callable[[re.Match[str]], bool] = bool) -> int:
    return sum(any(holds(match) for match in pattern.finditer(text)) for text in texts)


def _names(text: str, ticket_id: str) -> bool:
    """Whether a text holds an id, as a word; short ids are found in any text."""
    return len(ticket_id) >= SHORTEST_ID and re.search(rf"(?<!\w){re.escape(ticket_id)}(?!\w)", text) is not None


def _is_address(match: re.Match[str]) -> bool:
    """Whether four numbers are an address that may be somebody's: a public one of small numbers is a version."""
    try:
        address = ipaddress.IPv4Address(match[0])
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or address.is_multicast or match[0].startswith("255."):
        return False
    return address.is_private or max(address.packed) >= LEAST_IN_ADDRESS


def _is_person(match: re.Match[str]) -> bool:
    return _NOBODY.search(match[0]) is None
