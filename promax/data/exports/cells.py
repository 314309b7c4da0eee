"""A cell, as its format gave it -> a text."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import Any

# How exports write that there is no value: an event log's mark, a database's word, a choice list's first entry.
MISSING = frozenset({"", "?", "NULL", "-- None --"})
_TRUTH = {"TRUE": "true", "FALSE": "false"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def cell_text(value: Any, *, raw: bool = False) -> str:
    """What a cell says; "" where it says that there is nothing.

    Of an object that holds a display value beside a value the first is taken, or the second if
    `raw`. A truth value is "true" or "false", as a database writes it, whatever a spreadsheet
    made of it; a whole number has no decimals. Control characters become spaces, and half a
    surrogate pair (a text cut in the middle of an emoji) becomes U+FFFD.

    Raises:
        ValueError: a value that is no text, as the end of a sentence: what it is and what it must be.

    >>> cell_text({"display_value": "INC0010001", "value": "f00d"}), cell_text(13404344.0), cell_text("?")
    ('INC0010001', '13404344', '')
    """
    if isinstance(value, dict) and value.keys() & {"display_value", "value"}:
        display, own = value.get("display_value"), value.get("value")
        value = (own or display) if raw else (display or own)
    if isinstance(value, list):
        return ", ".join(filled for each in value if (filled := cell_text(each, raw=raw)))
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # workbooks know no other numbers
    if isinstance(value, (int, float, datetime, date, time, timedelta)):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("is an object; must be a text, a number or a display value")
    text = _CONTROL.sub(" ", value).strip()
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "" if text in MISSING else _TRUTH.get(text, text)
