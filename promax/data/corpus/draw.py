"""Labelled pairs from generated tickets, with no problem family on two sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from promax.config import ConfigError
from promax.data.corpus.ticket import Ticket, Truth, incident_text
from promax.data.pairs import Pairs

POSITIVE_SHARE = 0.4
HALF_SHARE = 0.2
HARD_SHARE = 0.2  # of all pairs; the rest of the zeros, as many, is drawn at random
PAIRS_PER_TICKET = 4
_SIDES = ("train", "dev", "test")
_TRIES_PER_PAIR = 200
_OF_SAME_SERVICE = 0.7  # of the proposals for hard zeros; the others are of the same kind of symptom


def label(first: Truth, second: Truth) -> float:
    """1 for the same problem, 0.5 for another cause of the same symptom of the same service, else 0."""
    if first.problem == second.problem:
        return 1.0
    return 0.5 if first.family == second.family else 0.0


def draw_pairs(tickets: Sequence[Ticket], train: int, dev: int, test: int, seed: int) -> tuple[Pairs, Pairs, Pairs]:
    """Train, dev and test pairs, all three drawn in the same way from disjoint families.

    Of each side 40 % are labelled 1, 20 % 0.5 and 40 % 0. Half of the zeros are hard: the same
    service with another symptom, or the same kind of symptom of another service of the category; a
    side of few families may have fewer of these. The two tickets of a positive pair have no written
    sighting in common, so that sameness is a matter of meaning. No ticket is in more than four
    pairs, no pair comes twice.

    Raises:
        ConfigError: there are too few tickets for a side.
    """
    rng = Random(f"pairs {seed}")
    wanted = (train, dev, test)
    sides = _deal_families(tickets, wanted, rng)
    drawn = [_Side(side, rng).draw(count) for side, count in zip(sides, wanted, strict=True)]
    for name, rows, count in zip(_SIDES, drawn, wanted, strict=True):
        if len(rows) < count:
            raise ConfigError(
                f"data.tickets.{name}_pairs={count}: only {len(rows)} such pairs can be drawn from "
                f"{len(tickets)} tickets; raise data.tickets.count or lower the number"
            )
    return _pairs(drawn[0]), _pairs(drawn[1]), _pairs(drawn[2])


def draw_adversarial(tickets: Sequence[Ticket], train: int, dev: int, test: int, seed: int) -> Pairs:
    """Pairs for the adversarial diagnostic, from the families of test: up to as many as test has.

    Half are the same problem under two recorded categories, half hard zeros under one; as many of each as the
    tickets give. `draw_pairs` with the same numbers draws as if these were not drawn.
    """
    of_test = _deal_families(tickets, (train, dev, test), Random(f"pairs {seed}"))[_SIDES.index("test")]
    return _pairs(_Side(of_test, Random(f"adversarial {seed}")).draw_adversarial(test))


Row = tuple[Ticket, Ticket]
Propose = Callable[[], "Row | None"]


def _deal_families(tickets: Sequence[Ticket], wanted: Sequence[int], rng: Random) -> list[list[Ticket]]:
    """The tickets of each side: whole families, in proportion to the pairs wanted."""
    families: dict[str, list[Ticket]] = defaultdict(list)
    for ticket in tickets:
        families[ticket.truth.family].append(ticket)
    sides: list[list[Ticket]] = [[] for _ in wanted]
    for key in rng.sample(sorted(families), len(families)):
        # To the side that has least of what it should have.
        least = min(range(len(wanted)), key=lambda at: len(sides[at]) / max(wanted[at], 1))
        sides[least].extend(families[key])
    return sides


class _Side:
    """The tickets of one side, and the ways to propose a pair of each sort."""

    def __init__(self, tickets: list[Ticket], rng: Random) -> None:
        self._tickets = tickets
        self._rng = rng
        self._groups: dict[object, list[Ticket]] = defaultdict(list)
        for ticket in tickets:
            truth = ticket.truth
            for key in (("problem", truth.problem), ("family", truth.family), ("service", truth.service)):
                self._groups[key].append(ticket)
            self._groups["kind", truth.category, truth.symptom].append(ticket)

    def draw(self, count: int) -> list[Row]:
        """`count` different pairs in random order, fewer where the tickets do not give more."""
        if not self._tickets:
            return []
        positive, half, hard = (round(share * count) for share in (POSITIVE_SHARE, HALF_SHARE, HARD_SHARE))
        uses: dict[str, int] = defaultdict(int)
        taken: set[frozenset[str]] = set()
        # The scarcest sorts first, while no ticket is used up.
        rows = self._accept(self._hard, hard, uses, taken)
        zeros = count - positive - half - len(rows)
        for propose, quota in ((self._half, half), (self._positive, positive), (self._random, zeros)):
            rows += self._accept(propose, quota, uses, taken)
        self._rng.shuffle(rows)
        return rows

    def draw_adversarial(self, count: int) -> list[Row]:
        """Up to `count` pairs, one half positive across categories, the other negative within one."""
        if not self._tickets:
            return []
        taken: set[frozenset[str]] = set()
        rows = self._accept(self._positive_across, count // 2, defaultdict(int), taken)
        rows += self._accept(self._hard_within, count // 2, defaultdict(int), taken)
        self._rng.shuffle(rows)
        return rows

    def _accept(self, propose: Propose, quota: int, uses: dict[str, int], taken: set[frozenset[str]]) -> list[Row]:
        rows: list[Row] = []
        for _ in range(quota * _TRIES_PER_PAIR):
            if len(rows) == quota:
                break
            row = propose()
            if row is None:
                continue
            numbers = frozenset(ticket.incident.number for ticket in row)
            if len(numbers) < 2 or numbers in taken or max(uses[number] for number in numbers) >= PAIRS_PER_TICKET:
                continue
            taken.add(numbers)
            for number in numbers:
                uses[number] += 1
            rows.append(row)
        return rows

    def _positive(self) -> Row | None:
        first = self._rng.choice(self._tickets)
        second = self._rng.choice(self._groups["problem", first.truth.problem])
        return None if first.truth.sightings & second.truth.sightings else (first, second)

    def _half(self) -> Row | None:
        first = self._rng.choice(self._tickets)
        second = self._rng.choice(self._groups["family", first.truth.family])
        return None if label(first.truth, second.truth) != 0.5 else (first, second)

    def _hard(self) -> Row | None:
        first = self._rng.choice(self._tickets)
        truth = first.truth
        like: tuple[str, ...] = ("service", truth.service)
        if self._rng.random() >= _OF_SAME_SERVICE:
            like = ("kind", truth.category, truth.symptom)
        second = self._rng.choice(self._groups[like])
        return None if second.truth.family == truth.family else (first, second)

    def _positive_across(self) -> Row | None:
        row = self._positive()
        return None if row is None or _same_category(row) else row

    def _hard_within(self) -> Row | None:
        row = self._hard()
        return row if row is not None and _same_category(row) else None

    def _random(self) -> Row | None:
        first, second = self._rng.choice(self._tickets), self._rng.choice(self._tickets)
        return None if label(first.truth, second.truth) != 0.0 else (first, second)


def _same_category(row: Row) -> bool:
    return row[0].incident.category == row[1].incident.category


def _pairs(rows: list[Row]) -> Pairs:
    first, second = [row[0] for row in rows], [row[1] for row in rows]
    return Pairs(
        text1=[incident_text(ticket.incident) for ticket in first],
        text2=[incident_text(ticket.incident) for ticket in second],
        labels=np.array([label(a.truth, b.truth) for a, b in rows], dtype=np.float64),
        id1=[ticket.incident.number for ticket in first],
        id2=[ticket.incident.number for ticket in second],
        category1=[ticket.incident.category for ticket in first],
        category2=[ticket.incident.category for ticket in second],
    )
