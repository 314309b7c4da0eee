"""Tickets from the catalogue: which problems occur, when, how often, and what the record says of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from promax.data.corpus.catalog import Family, Problem, Service, services
from promax.data.corpus.ticket import Incident, Ticket, Truth, ticket_text
from promax.data.corpus.writing import Deck, Wording, write
from promax.data.pairs import text_key

_EXPORTED = datetime(2026, 10, 1, 6, 0)  # an invented day, the same in every corpus
_YEAR = 365 * 24 * 60
_TICKETS_PER_PROBLEM = 5  # below this mean fewer problems occur, so that most have tickets to pair
_MISCATEGORISED = 0.10
_VAGUE = 0.4
_FIRST_LINE = 0.35
_WITH_PROBLEM_RECORD = 0.4
_PRIORITY = {
    ("1", "1"): "1 - Critical",
    ("1", "2"): "2 - High",
    ("2", "1"): "2 - High",
    ("2", "2"): "3 - Moderate",
    ("1", "3"): "3 - Moderate",
    ("3", "1"): "3 - Moderate",
    ("2", "3"): "4 - Low",
    ("3", "2"): "4 - Low",
    ("3", "3"): "5 - Planning",
}
_LEVEL = {"1": "1 - High", "2": "2 - Medium", "3": "3 - Low"}


@dataclass(frozen=True)
class _Case:
    service: Service
    family: Family
    problem: Problem


def generate(count: int, seed: int) -> list[Ticket]:
    """`count` tickets in order of their numbers, the same for the same seed on every machine.

    Every problem of the catalogue occurs once there are five tickets to each, in the mean; a smaller corpus
    is about whole families drawn at random. No two tickets have the same text.
    """
    rng = Random(seed)
    cases = _occurring(count, rng)
    occurrences = sorted(_occurrences(cases, count, rng), key=lambda each: each[0])
    records = {case.problem.key: f"PRB{40_000 + at:07d}" for at, case in enumerate(cases)}
    known = {key for key in records if rng.random() < _WITH_PROBLEM_RECORD}
    decks = {case.problem.key: Deck(rng) for case in cases}
    latest: dict[str, tuple[str, datetime]] = {}
    texts: set[str] = set()
    tickets = []
    for at, (opened, case) in enumerate(occurrences):
        number = f"INC{1_000_001 + at:07d}"
        key = case.problem.key
        parent, since = latest.get(key, ("", opened))
        recent = bool(parent) and opened - since < timedelta(days=3)
        if not recent:
            latest[key] = (number, opened)
        links = (
            records[key] if key in known and rng.random() < 0.6 else "",
            parent if recent and rng.random() < 0.35 else "",
        )
        tickets.append(_ticket(number, case, opened, links, decks[key], texts, rng))
    return tickets


def _occurring(count: int, rng: Random) -> list[_Case]:
    """The problems that occur, in catalogue order: all, or whole families up to one problem for five tickets."""
    families = [(service, family) for service in services() for family in service.families]
    chosen: set[str] = set()
    problems = 0
    for _, family in rng.sample(families, len(families)):
        if problems >= max(count // _TICKETS_PER_PROBLEM, 1):
            break
        chosen.add(family.key)
        problems += len(family.problems)
    return [
        _Case(service, family, problem)
        for service, family in families
        if family.key in chosen
        for problem in family.problems
    ]


def _occurrences(cases: list[_Case], count: int, rng: Random) -> list[tuple[datetime, _Case]]:
    """When which problem is reported: some problems more than others, most reports in one or two waves."""
    weights = [rng.uniform(0.5, 2.0) for _ in cases]
    drawn = Counter(rng.choices(range(len(cases)), weights, k=max(count - 2 * len(cases), 0)))
    # Two reports of every problem first, so that none is left without a pair; a tiny count has not even these.
    order = [at for at in range(len(cases)) for _ in range(2 + drawn[at])][:count]
    waves = [[rng.uniform(0.02, 0.97) * _YEAR for _ in range(rng.choice((1, 1, 2)))] for _ in cases]
    start = _EXPORTED - timedelta(minutes=_YEAR)
    found = []
    for at in order:
        minute = min(rng.choice(waves[at]) + rng.expovariate(1 / 4000), _YEAR - 1)
        found.append((start + timedelta(minutes=int(minute), seconds=rng.randrange(60)), cases[at]))
    return found


def _ticket(
    number: str,
    case: _Case,
    opened: datetime,
    links: tuple[str, str],
    deck: Deck,
    texts: set[str],
    rng: Random,
) -> Ticket:
    record = _Record(number, case, opened, links, _classify(case.service, rng))
    while True:
        wording = write(case.service, case.family, case.problem, opened, deck, rng)
        incident = _incident(record, wording, rng)
        key = text_key(ticket_text(incident))
        if key not in texts:
            break
    texts.add(key)
    truth = Truth(
        problem=case.problem.key,
        family=case.family.key,
        service=case.service.name,
        symptom=case.family.kind,
        category=case.service.category,
        voice=wording.voice,
        sightings=wording.sightings,
    )
    return Ticket(incident, truth)


@dataclass(frozen=True)
class _Classification:
    """Where a ticket was filed."""

    service: str
    offering: str
    category: str
    subcategory: str
    group: str


def _classify(service: Service, rng: Random) -> _Classification:
    """Where whoever opened the ticket files it: not always where it belongs.

    A tenth gets another service's category and, in half of these cases, that one's group too. Some
    are filed under the wider service, and some stay with the service desk.
    """
    filed = service
    if rng.random() < _MISCATEGORISED:
        filed = rng.choice([each for each in services() if each.category != service.category])
    group = filed.group if rng.random() < 0.5 else service.group
    vague = rng.random() < _VAGUE
    return _Classification(
        service=service.portfolio if vague else service.name,
        offering="General Support" if vague else rng.choice(service.offerings),
        category=filed.category,
        subcategory="Other" if vague else filed.subcategory,
        group="Service Desk" if rng.random() < _FIRST_LINE else group,
    )


@dataclass(frozen=True)
class _Record:
    number: str
    case: _Case
    opened: datetime
    links: tuple[str, str]
    filed: _Classification


def _incident(record: _Record, wording: Wording, rng: Random) -> Incident:
    impact = rng.choices("123", (8, 27, 65))[0]
    urgency = "1" if wording.voice == "assistant" else rng.choices("123", (12, 38, 50))[0]
    resolved = record.opened + timedelta(minutes=rng.lognormvariate(7.2, 1.1))
    open_still = resolved > _EXPORTED
    closed = resolved < _EXPORTED - timedelta(days=7)
    agent = f"a{rng.randrange(1_000, 1_400)}"
    filed = record.filed
    return Incident(
        number=record.number,
        opened_at=f"{record.opened:%Y-%m-%d %H:%M:%S}",
        resolved_at="" if open_still else f"{resolved:%Y-%m-%d %H:%M:%S}",
        state=rng.choice(("New", "In Progress", "On Hold")) if open_still else "Closed" if closed else "Resolved",
        priority=_PRIORITY[impact, urgency],
        impact=_LEVEL[impact],
        urgency=_LEVEL[urgency],
        caller_id=wording.caller,
        contact_type=wording.contact_type,
        short_description=wording.short_description,
        description=wording.description,
        category=filed.category,
        subcategory=filed.subcategory,
        business_service=filed.service,
        service_offering=filed.offering,
        assignment_group=filed.group,
        cmdb_ci=wording.host,
        problem_id=record.links[0],
        parent_incident=record.links[1],
        work_notes="" if rng.random() < 0.3 else _work_notes(record, agent, rng),
        close_code="" if open_still else rng.choice(_CLOSE_CODES),
        close_notes="" if open_still else _close_notes(record.case.problem, rng),
        closed_by=agent if closed else "",
    )


_CLOSE_CODES = (
    "Solved (Permanently)",
    "Solved (Permanently)",
    "Solved (Work Around)",
    "Solved Remotely (Permanently)",
    "Closed/Resolved by Caller",
)


def _work_notes(record: _Record, agent: str, rng: Random) -> str:
    noted = record.opened + timedelta(minutes=rng.randrange(10, 300))
    finding = rng.choice(("Analysis", "Root cause", "Checked", "Finding"))
    return f"{noted:%Y-%m-%d %H:%M:%S} - {agent} (Work notes)\n{finding}: {record.case.problem.cause}."


def _close_notes(problem: Problem, rng: Random) -> str:
    return rng.choice(
        (problem.fix, f"Cause: {problem.cause}. {problem.fix}", f"{problem.fix} Confirmed by the caller.")
    )
