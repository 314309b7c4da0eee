"""How a ticket export is read: which column is what, what may enter the text, how dates are written."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from promax.config.kinds import STRICT, Name


@dataclass(frozen=True, config=STRICT)
class ExportColumnsConfig:
    """Headers of the columns to read, in any case; a header that is null is looked for under its usual names.

    `problem` is a value that tickets of one problem share (`problem_id`, a duplicate group). `parent`
    is guessed from `parent_incident` alone: the general `parent` of ServiceNow and Jira links a task
    to its project, not an incident to its like. `duplicates` holds ids of duplicates, several a cell
    if need be. `updated` (a count or a date) tells which of several rows of one ticket is the last.
    """

    id: Name | None = None
    sys_id: Name | None = None
    short: Name | None = None
    description: Name | None = None
    category: Name | None = None
    subcategory: Name | None = None
    service: Name | None = None
    offering: Name | None = None
    group: Name | None = None
    opened: Name | None = None
    resolved: Name | None = None
    updated: Name | None = None
    problem: Name | None = None
    parent: Name | None = None
    duplicates: Name | None = None


@dataclass(frozen=True, config=STRICT)
class ExportConfig:
    """How a ticket export becomes tickets.

    `context: none` leaves service, category and group out of the text. `allow_leak` names columns
    that may enter the text although they were written at or after resolution. `number_rows` numbers
    the tickets of a file without an id column. `day_first` decides between 03/04 and 04/03, null: the
    whole column decides, or no date is read. `encoding` is a Python codec, null: UTF-8, else
    Windows-1252. `links_columns` are the two headers of a file of links, null: its usual names.
    """

    columns: ExportColumnsConfig = field(default_factory=ExportColumnsConfig)
    context: Literal["last", "none"] = "last"
    allow_leak: list[Name] = field(default_factory=list)
    number_rows: bool = False
    day_first: bool | None = None
    encoding: Name | None = None
    links_columns: Annotated[list[Name], Field(min_length=2, max_length=2)] | None = None
