from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from promax.data.exports.dates import read_dates

DAY = datetime(2016, 2, 3)
# As seen in exports of ServiceNow, Jira (both clocks), Bugzilla and spreadsheets; expected values by hand.
FORMS = {
    "2016-02-03 11:48:43": datetime(2016, 2, 3, 11, 48, 43),
    "2016-02-03T11:48:43Z": datetime(2016, 2, 3, 11, 48, 43),
    "2016-02-03T11:48:43.517+0530": datetime(2016, 2, 3, 6, 18, 43),
    "2020-01-02 17:14:21+00:00": datetime(2020, 1, 2, 17, 14, 21),
    "2020-01-01 00:30:00 -08:00": datetime(2020, 1, 1, 8, 30),
    "2016-02-03": DAY,
    "03/Feb/16 17:20": datetime(2016, 2, 3, 17, 20),
    "03/Feb/16 5:20 PM": datetime(2016, 2, 3, 17, 20),
    "03/Feb/16 12:20 AM": datetime(2016, 2, 3, 0, 20),
    "3-February-2016": DAY,
}


@pytest.mark.parametrize("written", FORMS)
def test_forms_that_leave_no_doubt(written: str) -> None:
    assert read_dates([written], None) == ([FORMS[written]], [])


def test_the_whole_column_decides_which_part_is_the_day() -> None:
    day_first = ["03-02-2016 01:16", "29-02-2016 01:16", ""]
    assert read_dates(day_first, None)[0] == [datetime(2016, 2, 3, 1, 16), datetime(2016, 2, 29, 1, 16), None]
    month_first = ["02/03/2016 11:48:43 PM", "02/29/16"]
    assert read_dates(month_first, None)[0] == [datetime(2016, 2, 3, 23, 48, 43), datetime(2016, 2, 29)]
    assert read_dates(["03.02.2016"], True)[0] == [DAY]
    assert read_dates(["02.03.2016"], False)[0] == [DAY]


@pytest.mark.parametrize("values", [["03/04/2016", "05/06/2016"], ["29/02/2016", "02/29/2016"]], ids=["none", "both"])
def test_a_column_in_doubt_is_not_read(values: list[str]) -> None:
    note = "dates with day and month in doubt, not read: 2; set export.day_first"
    assert read_dates([*values, "2016-02-03"], None) == ([None, None, DAY], [note])


def test_what_is_no_date_is_counted() -> None:
    values = ["30-02-2016", "yesterday", "2016-13-01", "31/Foo/16", "2016-02-03 25:00", ""]
    assert read_dates(values, None) == ([None] * 6, ["values that are no date: 5"])


def test_dates_in_doubt_are_said_and_cost_no_ticket(desk: Any) -> None:
    rows = [["number", "summary", "opened_at"], ["1", "x y", "03/04/2016"]]
    export = desk.read(rows)
    assert export.tickets.opened == [None]
    assert export.notes[-1] == ("e.csv: opened: dates with day and month in doubt, not read: 1; set export.day_first")
    assert desk.read(rows, day_first=True).tickets.opened == [datetime(2016, 4, 3)]
