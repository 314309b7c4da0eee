"""A column of dates, as ServiceNow, Jira, Bugzilla or a spreadsheet write them -> moments."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_TIME = (
    r"(?:,?[ T]+(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,]\d+)?)?"
    r" ?(?P<half>[AaPp]\.?[Mm]\.?)?)?(?: ?(?P<zone>Z|UTC|[+-]\d\d:?\d\d))?"
)
# 2019-07-29 11:48:43, with or without a zone
_YEAR_FIRST = re.compile(r"(?P<year>\d{4})[-/.](?P<month>\d\d?)[-/.](?P<day>\d\d?)" + _TIME)
# 30/Sep/21 17:20
_NAMED = re.compile(r"(?P<day>\d\d?)[-/ ](?P<name>[A-Za-z]{3})[a-z]*[-/ ](?P<year>\d{4}|\d\d)" + _TIME)
# 29-02-2016 01:16, day or month first
_NUMERIC = re.compile(r"(?P<one>\d\d?)[-/.](?P<two>\d\d?)[-/.](?P<year>\d{4}|\d\d)" + _TIME)


def read_dates(values: list[str], day_first: bool | None) -> tuple[list[datetime | None], list[str]]:
    """One moment a value, None where there is none or it can't be read; and what to tell the user.

    Moments have no time zone: one that is written is converted to UTC. Two-digit years are of this
    century. Of dates like 03/04/2024 the whole column decides which part is the day, the one that
    passes 12 somewhere; where neither does, or both do, none of them is read. `day_first` overrules.

    >>> read_dates(["30/Sep/21 17:20", "2020-01-02 17:14:21+01:00", ""], None)[0]
    [datetime.datetime(2021, 9, 30, 17, 20), datetime.datetime(2020, 1, 2, 16, 14, 21), None]
    >>> read_dates(["03/04/2024", "29/02/2024"], None)[0]
    [datetime.datetime(2024, 4, 3, 0, 0), datetime.datetime(2024, 2, 29, 0, 0)]
    >>> read_dates(["03/04/2024"], None)
    ([None], ['dates with day and month in doubt, not read: 1; set export.day_first'])
    """
    matches = [_YEAR_FIRST.fullmatch(each) or _NAMED.fullmatch(each) or _NUMERIC.fullmatch(each) for each in values]
    numeric = [match for match in matches if match is not None and match.re is _NUMERIC]
    if day_first is None and numeric:
        passes_12 = [any(int(match[part]) > 12 for match in numeric) for part in ("one", "two")]
        day_first = passes_12[0] if sum(passes_12) == 1 else None
    moments = [None if match is None else _moment(match, day_first) for match in matches]
    doubtful = len(numeric) if day_first is None else 0
    unread = sum(moment is None and value != "" for moment, value in zip(moments, values, strict=True)) - doubtful
    notes = [f"dates with day and month in doubt, not read: {doubtful}; set export.day_first"] if doubtful else []
    return moments, notes + ([f"values that are no date: {unread}"] if unread else [])


def _moment(match: re.Match[str], day_first: bool | None) -> datetime | None:
    part = match.groupdict()
    if match.re is _NUMERIC:
        if day_first is None:
            return None
        part["day"], part["month"] = (part["one"], part["two"]) if day_first else (part["two"], part["one"])
    month = _MONTHS.get(str(part["name"]).lower(), 0) if match.re is _NAMED else int(part["month"])
    year = int(part["year"]) + (2000 if len(part["year"]) == 2 else 0)
    hour = int(part["hour"] or 0)
    if part["half"] and 1 <= hour <= 12:
        hour = hour % 12 + (12 if part["half"][0] in "Pp" else 0)
    try:
        moment = datetime(year, month, int(part["day"]), hour, int(part["minute"] or 0), int(part["second"] or 0))
        return moment - _offset(part["zone"])
    except (ValueError, OverflowError):
        return None  # a 30th of February, or a 13th month


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone in ("Z", "UTC"):
        return timedelta(0)
    size = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return -size if zone[0] == "-" else size
