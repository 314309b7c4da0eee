"""Ground truth: which tickets an export says are of one problem, and by what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promax.data.exports import Tickets
from promax.data.groups import components
from promax.data.pairs import text_key

NO_GROUP = -1


@dataclass(frozen=True, eq=False)
class Truth:
    """What an export says of which tickets are one problem.

    Attributes:
        group: (n,), the problem of each ticket, numbered; -1: nothing is said of it.
        linked: the pairs of rows, lower first, that a duplicate link joins.
        parent: (n,), the row of each ticket's parent, -1 where it has none or that is not in the export.
        weak: groups are categories.
        notes: what a user must be told.
    """

    group: NDArray[np.int64]
    linked: frozenset[tuple[int, int]]
    parent: NDArray[np.int64]
    weak: bool
    notes: list[str]

    def take(self, rows: NDArray[np.int64]) -> Truth:
        """The truth about the tickets at `rows`; what it says of others is lost, but no group changes."""
        place = {int(row): at for at, row in enumerate(rows)}
        kept = ((place[a], place[b]) for a, b in self.linked if a in place and b in place)
        return Truth(
            group=self.group[rows],
            linked=frozenset((min(pair), max(pair)) for pair in kept),
            parent=np.array([place.get(int(row), -1) for row in self.parent[rows]], dtype=np.int64),
            weak=self.weak,
            notes=self.notes,
        )


def linked_truth(tickets: Tickets, links: Iterable[tuple[str, str]]) -> Truth:
    """The problems that problem records, parents and duplicate links come to, with their transitive closure.

    `links` are pairs of ids, beside those of `tickets.links`. Tickets that name one problem record are one
    problem, and so are a ticket and its parent, tickets that name one parent (which may be outside the
    export), and the two ends of a link. A link that leaves the export says nothing, and is counted.
    """
    row = {name: at for at, name in enumerate(tickets.id)}
    linked, dropped = _links(tickets, links, row)
    # Problem records, and parents outside the export, are nodes beside the tickets.
    beside: dict[tuple[str, str], int] = {}

    def node(kind: str, name: str) -> int:
        return beside.setdefault((kind, name), len(tickets) + len(beside))

    edges = [(at, at) for at in range(len(tickets))] + list(linked)
    edges += [(at, node("problem", name)) for at, name in enumerate(tickets.problem) if name]
    named = [(at, name) for at, name in enumerate(tickets.parent) if name]
    edges += [(at, row[name] if name in row else node("parent", name)) for at, name in named]
    found = components(np.array(edges, dtype=np.int64).reshape(-1, 2))[: len(tickets)]
    alone = np.bincount(found, minlength=1)[found] == 1 if len(found) else np.zeros(0, dtype=np.bool_)
    parent = np.full(len(tickets), -1, dtype=np.int64)
    for at, name in named:
        parent[at] = row.get(name, -1)
    group = np.where(alone, NO_GROUP, found)
    notes = [_described(tickets, group, linked)]
    if dropped:
        notes.append(f"duplicate links that leave the export and say nothing: {dropped} of {dropped + len(linked)}")
    return Truth(group, linked, parent, weak=False, notes=notes)


def category_truth(tickets: Tickets) -> Truth:
    """Tickets of one category as if they were one problem, which they seldom are: the last resort."""
    numbers = {name: at for at, name in enumerate(sorted({*tickets.category} - {""}))}
    group = np.array([numbers.get(name, NO_GROUP) for name in tickets.category], dtype=np.int64)
    note = (
        f"weak labels: a positive pair is two tickets of one of {len(numbers)} categories, not of one problem;"
        " a model trained on them learns the category"
    )
    return Truth(group, frozenset(), np.full(len(tickets), -1, dtype=np.int64), weak=True, notes=[note])


def one_a_text(tickets: Tickets, truth: Truth) -> tuple[NDArray[np.int64], list[str]]:
    """The rows that pairs may be made of, ascending, and notes on what was left out.

    Only tickets that ground truth says something of: two that nobody linked may well be one problem,
    while two that were filed under different ones were looked at. Of tickets with the same words, context
    apart, the first stands for all: the same text is neither two tickets nor, as templates show, one
    problem. Where they are of several problems, their text says nothing and is left out.
    """
    first: dict[str, int] = {}
    torn: set[str] = set()
    known = np.flatnonzero(truth.group != NO_GROUP)
    keys = [text_key(tickets.core[at]) for at in known]
    for at, key in zip(known.tolist(), keys, strict=True):
        if truth.group[first.setdefault(key, at)] != truth.group[at]:
            torn.add(key)
    rows = np.array([at for key, at in first.items() if key not in torn], dtype=np.int64)
    notes = []
    if len(first) < len(known):
        notes.append(f"tickets left out, since they repeat another's words: {len(known) - len(first)}")
    if torn:
        notes.append(f"texts left out, since they stand in tickets of several problems: {len(torn)}")
    return rows, notes


def origins(tickets: Tickets, truth: Truth, pairs: NDArray[np.int64]) -> NDArray[np.str_]:
    """What each pair (m, 2) of one group is known by: `problem`, `parent`, `link`, else `closure`; or `weak`.

    "" where the closure contradicts the export: both tickets name a problem record, and not the same.
    """
    if truth.weak:
        return np.full(len(pairs), "weak", dtype="<U13")
    found = []
    for a, b in pairs.tolist():
        both = tickets.problem[a], tickets.problem[b]
        if both[0] and both[0] == both[1]:
            found.append("problem")
        elif truth.parent[a] == b or truth.parent[b] == a:
            found.append("parent")
        elif (min(a, b), max(a, b)) in truth.linked:
            found.append("link")
        else:
            found.append("" if all(both) else "closure")
    return np.array(found, dtype="<U13")


def _links(
    tickets: Tickets, links: Iterable[tuple[str, str]], row: dict[str, int]
) -> tuple[frozenset[tuple[int, int]], int]:
    """The links inside the export as pairs of rows, lower first, and how many others there are."""
    own = ((name, other) for name, others in zip(tickets.id, tickets.links, strict=True) for other in others)
    named = {(min(pair), max(pair)) for pair in (*own, *links) if pair[0] != pair[1]}
    inside = [(row[a], row[b]) for a, b in named if a in row and b in row]
    return frozenset((min(pair), max(pair)) for pair in inside), len(named) - len(inside)


def _described(tickets: Tickets, group: NDArray[np.int64], linked: frozenset[tuple[int, int]]) -> str:
    known = group != NO_GROUP
    problems, parents = (sum(map(bool, column)) for column in (tickets.problem, tickets.parent))
    largest = max(Counter(group[known].tolist()).values(), default=0)
    return (
        f"ground truth: {known.sum()} of {len(tickets)} tickets in {len(np.unique(group[known]))} problems, the largest"
        f" of {largest}; {problems} name a problem record, {parents} a parent, {len(linked)} duplicate links"
    )
