"""How a problem is put into words: who writes, what they have seen of it, and in which form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from promax.data.corpus.catalog import Family, Problem, Service, voices
from promax.data.corpus.phrases import Filler, fill, misspell, sentences, shorthand

VOICES = ("user", "alert", "desk", "assistant", "engineer")
# Shares in per cent, in the order of VOICES: people first, as at any service desk.
_VOICE_SHARES = (46, 15, 19, 9, 11)
# One, two or three sightings from a user; and whether a sentence on the symptom alone stands beside them.
_SIGHTING_SHARES = (40, 42, 18)
_SYMPTOM_ALONE = 0.2
_MISSPELT = 0.35
_LOWER_CASE = {"user": 0.12, "desk": 0.5}
_UPPER_CASE = 0.05
_TITLE_WIDTH = 80  # where older ServiceNow instances cut a short description
# Spelt out, since strftime's names follow the locale of the process.
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True)
class Wording:
    """The free text of one ticket, how it came in, and the problem's sightings that it is made of."""

    voice: str
    contact_type: str
    short_description: str
    description: str
    caller: str
    host: str
    sightings: frozenset[str]


class Deck:
    """Deals the sightings of one problem so that none comes twice before all have come once."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._left: dict[tuple[str, ...], list[str]] = {}

    def deal(self, sightings: tuple[str, ...], count: int, told: list[str]) -> list[str]:
        """`count` different sightings that are not yet `told`, or as many as there are."""
        left = self._left.setdefault(sightings, [])
        hand: list[str] = []
        while len(hand) < count:
            fresh = [each for each in left if each not in told and each not in hand]
            if not fresh:
                if all(each in told or each in hand for each in sightings):
                    break
                left.extend(self._rng.sample(sightings, len(sightings)))
                continue
            left.remove(fresh[0])
            hand.append(fresh[0])
        return hand


def write(service: Service, family: Family, problem: Problem, opened: datetime, deck: Deck, rng: Random) -> Wording:
    """One ticket's wording of `problem`, in a voice drawn at random."""
    voice = rng.choices(VOICES, _VOICE_SHARES)[0]
    forms = voices()["voices"][voice]
    contact, body = rng.choice([(contact, body) for contact, bodies in forms["bodies"].items() for body in bodies])
    facts = _facts(service, opened, rng)
    witness = _Witness(voice, service, family, problem, deck, rng, facts)
    title, body = witness.tell(rng.choice(forms["titles"])), witness.tell(body)
    if voice != "alert":
        title, body = _by_hand(title, body, voice, rng)
    return Wording(
        voice=voice,
        contact_type=contact,
        short_description=title[:_TITLE_WIDTH].rstrip(),
        description=body,
        caller="svc-monitoring" if voice == "alert" else facts["user"],
        host=facts["host"],
        sightings=frozenset(witness.told),
    )


class _Witness:
    """Fills the forms of one ticket, and keeps count of which sightings it has told."""

    def __init__(
        self,
        voice: str,
        service: Service,
        family: Family,
        problem: Problem,
        deck: Deck,
        rng: Random,
        facts: dict[str, str],
    ) -> None:
        self.told: list[str] = []
        self._family, self._problem, self._deck, self._rng = family, problem, deck, rng
        self._slots: dict[str, str | Filler] = dict(facts)
        for name, phrases in voices()["lists"].items():
            self._slots[name] = self._one_of(phrases)
        self._slots["svc"] = lambda: rng.choice((service.name, *service.aka))
        title = self.tell(rng.choice(family.titles))
        self._slots["title"] = shorthand(title, voices()["shorthand"]) if voice == "desk" else title
        self._slots["check"] = self.tell(family.check)
        self._slots["hint"] = lambda: re.split(r"[,.](?: |$)", self._sightings(problem.user, 1)[0])[0]
        self._slots["quote"] = lambda: sentences(self._sightings(problem.user, 1))
        self._slots["clue"] = lambda: self._sightings(problem.log, 1)[0]
        self._slots["notes"] = lambda: self._sightings(problem.desk, 1)[0]
        self._slots["says"] = {
            "user": self._user,
            "alert": self._alert,
            "desk": self._desk,
            "assistant": self._user,
            "engineer": self._engineer,
        }[voice]

    def tell(self, phrase: str) -> str:
        return fill(phrase, self._rng, self._slots)

    def _one_of(self, phrases: list[str]) -> Filler:
        return lambda: self.tell(self._rng.choice(phrases))

    def _sightings(self, of: tuple[str, ...], count: int) -> list[str]:
        hand = self._deck.deal(of, count, self.told)
        self.told += hand
        return [self.tell(each) for each in hand]

    def _user(self) -> str:
        parts = self._sightings(self._problem.user, self._rng.choices((1, 2, 3), _SIGHTING_SHARES)[0])
        if self._rng.random() < _SYMPTOM_ALONE:
            parts.insert(self._rng.randrange(len(parts) + 1), self.tell(self._rng.choice(self._family.seen)))
        return sentences(parts)

    def _alert(self) -> str:
        return "; ".join(self._sightings(self._problem.log, 1 + (self._rng.random() < 0.25)))

    def _desk(self) -> str:
        parts = self._sightings(self._problem.desk, 1)
        if self._rng.random() < 0.25:
            parts += self._sightings(self._problem.log, 1)
        return ", ".join(parts)

    def _engineer(self) -> str:
        # A log line keeps its own capitals.
        lines = "; ".join(self._sightings(self._problem.log, 1 + (self._rng.random() < 0.4)))
        if self._rng.random() < 0.3:
            return f"{lines}. {sentences(self._sightings(self._problem.user, 1))}"
        return f"{lines}."


def _facts(service: Service, opened: datetime, rng: Random) -> dict[str, str]:
    """What stays the same within one ticket: people, places, machines, times."""
    noticed = opened - timedelta(minutes=rng.randrange(5, 90))
    facts = {
        "host": f"{service.host}-{rng.randrange(1, 7):02d}",
        "user": f"u{rng.randrange(10_000, 99_999)}",
        "asset": f"LT-{rng.randrange(10_000, 40_000)}",
        "ext": str(rng.randrange(2_000, 9_000)),
        "day": _DAYS[noticed.weekday()],
        "lastmonth": _MONTHS[opened.month - 2],
        "clock": f"{noticed:%H:%M}",
        "later": f"{opened + timedelta(hours=rng.randrange(1, 4)):%H}:00",
    }
    for name, choices in voices()["once"].items():
        facts[name] = fill(rng.choice(choices), rng, facts)
    return facts


def _by_hand(title: str, body: str, voice: str, rng: Random) -> tuple[str, str]:
    """What hands do to a text: slips, no capitals at all, a title that shouts."""
    if voice in _LOWER_CASE and rng.random() < _MISSPELT:
        title, body = misspell(title, rng, rng.randrange(2)), misspell(body, rng, rng.randrange(1, 4))
    if rng.random() < _LOWER_CASE.get(voice, 0.0):
        return title.lower(), body.lower()
    if voice == "user" and rng.random() < _UPPER_CASE:
        return title.upper(), body
    if voice in ("user", "assistant") and rng.random() < 0.7:
        return title[:1].upper() + title[1:], body
    return title, body
