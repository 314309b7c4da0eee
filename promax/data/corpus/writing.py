"""How a problem is put into words: who writes, what they have seen of it, and in which form."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from promax.data.corpus.catalog import Family, Problem, Service, voices
from promax.data.corpus.phrases import Filler, fill, misspell, sentences, shorthand

VOICES = ("user", "alert", "desk", "assistant", "engineer")
# Shares of the voices, in their order: people first, as in any service desk's statistics.
_VOICE_WEIGHTS = (46, 15, 19, 9, 11)
_SIGHTINGS = (30, 45, 25)
_SEEN = 0.2
_TITLE_WIDTH = 80  # where older ServiceNow instances cut a short description


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

    def deal(self, sightings: tuple[str, ...], count: int) -> list[str]:
        """`count` different sightings, or as many as there are."""
        left = self._left.setdefault(sightings, [])
        hand: list[str] = []
        while len(hand) < min(count, len(sightings)):
            if not any(each not in hand for each in left):
                left.extend(self._rng.sample(sightings, len(sightings)))
            hand.append(left.pop(next(at for at, each in enumerate(left) if each not in hand)))
        return hand


def write(service: Service, family: Family, problem: Problem, opened: datetime, deck: Deck, rng: Random) -> Wording:
    """One ticket's wording of `problem`, in a voice drawn at random."""
    voice = rng.choices(VOICES, _VOICE_WEIGHTS)[0]
    witness = _Witness(family, problem, deck, rng, _facts(service, opened, rng))
    forms = voices()["voices"][voice]
    body = rng.choice(forms["bodies"])
    title = rng.choice(forms["titles"])
    title, body = witness.tell(title, body, voice)
    if voice != "alert":
        title, body = _by_hand(title, body, voice, rng)
    return Wording(
        voice=voice,
        contact_type=rng.choice(forms["contact"]),
        short_description=title[:_TITLE_WIDTH].rstrip(),
        description=body,
        caller="svc-monitoring" if voice == "alert" else witness.facts["user"],
        host=witness.facts["host"],
        sightings=frozenset(witness.used),
    )


class _Witness:
    """Fills the forms of one ticket, and keeps count of what was told of the problem."""

    def __init__(self, family: Family, problem: Problem, deck: Deck, rng: Random, facts: dict[str, str]) -> None:
        self.facts = facts
        self.used: list[str] = []
        self._family, self._problem, self._deck, self._rng = family, problem, deck, rng
        self._slots: dict[str, str | Filler] = dict(facts)
        self._slots["svc"] = lambda: rng.choice(facts["names"].split("|"))
        for name, phrases in voices()["lists"].items():
            self._slots[name] = self._from_list(phrases)

    def tell(self, title: str, body: str, voice: str) -> tuple[str, str]:
        """The two forms filled in, what is told of the problem being different in each."""
        abbreviations = voices()["shorthand"] if voice == "desk" else {}
        self._slots["title"] = shorthand(self._fill(self._rng.choice(self._family.titles)), abbreviations)
        self._slots["check"] = self._fill(self._family.check)
        self._slots["hint"] = lambda: re.split("[,.]", self._deal(self._problem.user, 1)[0])[0]
        self._slots["clue"] = lambda: self._deal(self._problem.log, 1)[0]
        self._slots["notes"] = lambda: self._deal(self._problem.desk, 1)[0]
        self._slots["quote"] = lambda: sentences(self._deal(self._problem.user, 1))
        title = self._fill(title)
        says: dict[str, Callable[[], str]] = {
            "user": self._user,
            "alert": self._alert,
            "desk": self._desk,
            "assistant": self._user,
            "engineer": self._engineer,
        }
        self._slots["says"] = says[voice]
        return title, self._fill(body)

    def _from_list(self, phrases: list[str]) -> Filler:
        return lambda: self._fill(self._rng.choice(phrases))

    def _fill(self, phrase: str) -> str:
        return fill(phrase, self._rng, self._slots)

    def _deal(self, sightings: tuple[str, ...], count: int) -> list[str]:
        hand = self._deck.deal(sightings, count)
        self.used += hand
        return [self._fill(each) for each in hand]

    def _user(self) -> str:
        parts = self._deal(self._problem.user, self._rng.choices((1, 2, 3), _SIGHTINGS)[0])
        if self._rng.random() < _SEEN:
            parts.insert(self._rng.randrange(len(parts) + 1), self._fill(self._rng.choice(self._family.seen)))
        return sentences(parts)

    def _alert(self) -> str:
        return "; ".join(self._deal(self._problem.log, 1 + (self._rng.random() < 0.25)))

    def _desk(self) -> str:
        parts = self._deal(self._problem.desk, 1)
        if self._rng.random() < 0.25:
            parts += self._deal(self._problem.log, 1)
        return ", ".join(parts)

    def _engineer(self) -> str:
        parts = self._deal(self._problem.log, 1 + (self._rng.random() < 0.4))
        if self._rng.random() < 0.3:
            parts += self._deal(self._problem.user, 1)
        return sentences(parts)


def _facts(service: Service, opened: datetime, rng: Random) -> dict[str, str]:
    """What stays the same within one ticket: people, places, machines, times."""
    seen = opened - timedelta(minutes=rng.randrange(5, 90))
    return {
        "names": "|".join((service.name, *service.aka)),
        "host": f"{service.host}-{rng.randrange(1, 7):02d}",
        "user": f"u{rng.randrange(10_000, 99_999)}",
        "asset": f"LT-{rng.randrange(10_000, 40_000)}",
        "ext": str(rng.randrange(2_000, 9_000)),
        "dept": rng.choice(voices()["departments"]),
        "site": rng.choice(voices()["sites"]),
        "day": f"{seen:%A}",
        "lastmonth": f"{opened.replace(day=1) - timedelta(days=1):%B}",
        "clock": f"{seen:%H:%M}",
        "later": f"{opened + timedelta(hours=rng.randrange(1, 5)):%H}:00",
    }


def _by_hand(title: str, body: str, voice: str, rng: Random) -> tuple[str, str]:
    """What hands do to a text: slips, no capitals at all, a title that shouts."""
    if voice in ("user", "desk") and rng.random() < 0.35:
        title, body = misspell(title, rng, rng.randrange(2)), misspell(body, rng, rng.randrange(1, 4))
    if rng.random() < {"user": 0.12, "desk": 0.5}.get(voice, 0.0):
        title, body = title.lower(), body.lower()
    elif voice == "user" and rng.random() < 0.05:
        title = title.upper()
    elif rng.random() < 0.7:
        title = title[:1].upper() + title[1:]
    return title, body
