"""Tickets from the catalogue: which problems occur, when, how often, and what the record says of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from promax.data.corpus.catalog import Family, Problem, Service, services
from promax.data.corpus.ticket import Incident, Ticket, Truth, incident_text
from promax.data.corpus.writing import Deck, Wording, write
from promax.data.pairs import text_key

MISCATEGORISED = 0.1
_VAGUE = 0.5  # filed under the wider service, as "Other"
_FIRST_LINE = 0.5  # still with the service desk
_WITH_PROBLEM_RECORD = 0.4
_TICKETS_PER_PROBLEM = 5  # below this mean fewer problems occur, so that most have tickets to pair
_EXPORTED = datetime(2026, 10, 1, 6, 0)  # an invented day, the same in every corpus
_DAYS_BACK = 365
_PARENT_WITHIN = timedelta(days=3)


@dataclass(frozen=True)
class _Case:
    service: Service
    family: Family
    problem: Problem


def generate(count: int, seed: int) -> list[Ticket]:
    """`count` tickets in order of their numbers, the same for the same seed on every machine.

    Every problem of the catalogue occurs once there are five tickets to each, in the mean; a smaller
    corpus is about whole families drawn at random. No two tickets have the same text.

    >>> first, second = generate(2, seed=0)
    >>> first.incident.number, second.incident.number
    ('INC1000001', 'INC1000002')
    """
    rng = Random(seed)
    cases = _occurring(count, rng)
    reports = _reports(cases, count, rng)
    decks = {case.problem.key: Deck(rng) for case in cases}
    links = _Links(cases, rng)
    texts: set[str] = set()
    tickets = []
    for at, (opened, case) in enumerate(reports):
        number = f"INC{1_000_001 + at:07d}"
        problem_id, parent = links.of(number, opened, case.problem.key)
        record = _Record(number, opened, case, _file(case.service, rng), problem_id, parent)
        tickets.append(_ticket(record, decks[case.problem.key], texts, rng))
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


def _reports(cases: list[_Case], count: int, rng: Random) -> list[tuple[datetime, _Case]]:
    """When which problem is reported, in order of time: some more often than others, in one or two waves."""
    weights = [rng.uniform(0.5, 2.0) for _ in cases]
    drawn = Counter(rng.choices(range(len(cases)), weights, k=max(count - 2 * len(cases), 0)))
    # Two reports of every problem first, so that none is left without a pair; a tiny count has not even these.
    order = [at for at in range(len(cases)) for _ in range(2 + drawn[at])][:count]
    waves = [[rng.uniform(5, _DAYS_BACK - 5) for _ in range(rng.choice((1, 1, 2)))] for _ in cases]
    reports = [(_opened(rng.choice(waves[at]), rng), cases[at]) for at in order]
    return sorted(reports, key=lambda report: report[0])


def _opened(wave: float, rng: Random) -> datetime:
    """A moment some days after the wave began, mostly in office hours."""
    start = _EXPORTED.replace(hour=0) - timedelta(days=_DAYS_BACK)
    day = start + timedelta(days=min(int(wave + rng.expovariate(1 / 3)), _DAYS_BACK - 1))
    if day.weekday() >= 5 and rng.random() < 0.8:
        day -= timedelta(days=day.weekday() - 4)
    hour = rng.triangular(6, 19, 9.5) if rng.random() < 0.9 else rng.uniform(0, 24)
    return day + timedelta(seconds=int(hour * 3600))


class _Links:
    """Problem records and parent incidents, which an export holds for some tickets only."""

    def __init__(self, cases: list[_Case], rng: Random) -> None:
        self._rng = rng
        self._records = {
            case.problem.key: f"PRB{40_000 + at:07d}"
            for at, case in enumerate(cases)
            if rng.random() < _WITH_PROBLEM_RECORD
        }
        self._parents: dict[str, tuple[str, datetime]] = {}

    def of(self, number: str, opened: datetime, problem: str) -> tuple[str, str]:
        """`problem_id` and `parent_incident` of a ticket, "" where it has none."""
        parent, since = self._parents.get(problem, (number, opened))
        if parent == number or opened - since > _PARENT_WITHIN:
            self._parents[problem] = (number, opened)
            parent = ""
        return (
            self._records.get(problem, "") if self._rng.random() < 0.6 else "",
            parent if self._rng.random() < 0.35 else "",
        )


@dataclass(frozen=True)
class _Filing:
    service: str
    offering: str
    category: str
    subcategory: str
    group: str


def _file(service: Service, rng: Random) -> _Filing:
    """Where a ticket is filed: not always where it belongs.

    A tenth gets the category of another service, and half of these its group too. Some are filed
    under the wider service, and some have not left the service desk.
    """
    filed = service
    if rng.random() < MISCATEGORISED:
        filed = rng.choice([each for each in services() if each.category != service.category])
    vague = rng.random() < _VAGUE
    group = filed.group if rng.random() < 0.5 else service.group
    return _Filing(
        service=service.portfolio if vague else service.name,
        offering="General Support" if vague else rng.choice(service.offerings),
        category=filed.category,
        subcategory="Other" if vague else filed.subcategory,
        group="Service Desk" if rng.random() < _FIRST_LINE else group,
    )


@dataclass(frozen=True)
class _Record:
    number: str
    opened: datetime
    case: _Case
    filing: _Filing
    problem_id: str
    parent: str


def _ticket(record: _Record, deck: Deck, texts: set[str], rng: Random) -> Ticket:
    """A ticket whose text is not among `texts`, which it joins."""
    case = record.case
    while True:
        wording = write(case.service, case.family, case.problem, record.opened, deck, rng)
        incident = _incident(record, wording, rng)
        key = text_key(incident_text(incident))
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


_LEVELS = {1: "1 - High", 2: "2 - Medium", 3: "3 - Low"}
# ServiceNow's matrix: impact plus urgency, less one.
_PRIORITIES = {1: "1 - Critical", 2: "2 - High", 3: "3 - Moderate", 4: "4 - Low", 5: "5 - Planning"}
_CLOSE_CODES = (
    "Solved (Permanently)",
    "Solved (Permanently)",
    "Solved (Work Around)",
    "Solved Remotely (Permanently)",
    "Closed/Resolved by Caller",
)


def _incident(record: _Record, wording: Wording, rng: Random) -> Incident:
    impact = rng.choices((1, 2, 3), (8, 27, 65))[0]
    urgency = 1 if wording.voice == "assistant" else rng.choices((1, 2, 3), (12, 38, 50))[0]
    resolved = record.opened + timedelta(minutes=rng.lognormvariate(7.2, 1.1))
    unresolved = resolved > _EXPORTED
    closed = resolved < _EXPORTED - timedelta(days=7)
    agent = f"a{rng.randrange(1_000, 1_400)}"
    filing, problem = record.filing, record.case.problem
    return Incident(
        number=record.number,
        opened_at=f"{record.opened:%Y-%m-%d %H:%M:%S}",
        resolved_at="" if unresolved else f"{resolved:%Y-%m-%d %H:%M:%S}",
        state=rng.choice(("New", "In Progress", "On Hold")) if unresolved else "Closed" if closed else "Resolved",
        priority=_PRIORITIES[impact + urgency - 1],
        impact=_LEVELS[impact],
        urgency=_LEVELS[urgency],
        caller_id=wording.caller,
        contact_type=wording.contact_type,
        short_description=wording.short_description,
        description=wording.description,
        category=filing.category,
        subcategory=filing.subcategory,
        business_service=filing.service,
        service_offering=filing.offering,
        assignment_group=filing.group,
        cmdb_ci=wording.host,
        problem_id=record.problem_id,
        parent_incident=record.parent,
        work_notes=_work_notes(record.opened, problem, agent, rng),
        close_code="" if unresolved else rng.choice(_CLOSE_CODES),
        close_notes="" if unresolved else _close_notes(problem, rng),
        closed_by=agent if closed else "",
    )


def _work_notes(opened: datetime, problem: Problem, agent: str, rng: Random) -> str:
    if rng.random() < 0.3:
        return ""
    noted = opened + timedelta(minutes=rng.randrange(10, 300))
    finding = rng.choice(("Analysis", "Root cause", "Checked", "Finding"))
    return f"{noted:%Y-%m-%d %H:%M:%S} - {agent} (Work notes)\n{finding}: {problem.cause}."


def _close_notes(problem: Problem, rng: Random) -> str:
    return rng.choice(
        (problem.fix, f"Cause: {problem.cause}. {problem.fix}", f"{problem.fix} Confirmed by the caller.")
    )
