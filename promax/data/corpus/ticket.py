"""A generated ticket: what an export holds of it, and, apart from that, what is really behind it."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from promax.data.template import ticket_text


@dataclass(frozen=True)
class Incident:
    """The columns of a ServiceNow incident export, by field name, as display values.

    `category`, `subcategory` and `assignment_group` are what was recorded, which may be wrong. A
    value that is missing is an empty text.
    """

    number: str
    opened_at: str
    resolved_at: str
    state: str
    priority: str
    impact: str
    urgency: str
    caller_id: str
    contact_type: str
    short_description: str
    description: str
    category: str
    subcategory: str
    business_service: str
    service_offering: str
    assignment_group: str
    cmdb_ci: str
    problem_id: str
    parent_incident: str
    work_notes: str
    close_code: str
    close_notes: str
    closed_by: str


@dataclass(frozen=True)
class Truth:
    """What no export knows: the problem behind a ticket, its family, and how the ticket was written.

    `problem` is the key of a (service, symptom, cause), `family` that of its (service, symptom);
    `category` is the service's own one. `voice` is who speaks; `sightings` are the problem's written
    phrases that the ticket is made of.
    """

    problem: str
    family: str
    service: str
    symptom: str
    category: str
    voice: str
    sightings: frozenset[str]


@dataclass(frozen=True)
class Ticket:
    """An incident as exported, beside the truth about it."""

    incident: Incident
    truth: Truth


# Written at or after resolution: a model that reads them is told the answer.
LEAK_COLUMNS = ("work_notes", "close_code", "close_notes", "closed_by")


def incident_text(incident: Incident) -> str:
    """The text that encoders see: no number, no people, nothing written after the ticket was opened."""
    return ticket_text(
        incident.short_description,
        incident.description,
        service=incident.business_service,
        offering=incident.service_offering,
        category=incident.category,
        subcategory=incident.subcategory,
        group=incident.assignment_group,
    )


def write_csv(tickets: Iterable[Ticket], path: Path) -> None:
    """The export: UTF-8, a header of field names, every value quoted. The truth is not in it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow([each.name for each in fields(Incident)])
        writer.writerows(astuple(ticket.incident) for ticket in tickets)
