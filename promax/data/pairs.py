"""`Pairs`, the one type in which labelled ticket pairs travel through the program."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Pairs:
    """Labelled pairs of ticket texts, column-wise; row i of every column belongs to pair i. Never changed once made.

    Two `Pairs` hold the same if their fingerprints are equal; `==` compares identity, since arrays
    have no single truth value.

    Attributes:
        text1, text2: the texts, as the source has them.
        labels: (n,), in [0, 1]; 1 is the same problem.
        id1, id2: ticket ids as given, else the first 12 hex digits of the text's sha256.
        phases: (n,), whole numbers >= 1; None: the source says nothing about phases.
        category1, category2: "" where a row has none; None: the source says nothing about categories.
    """

    text1: list[str]
    text2: list[str]
    labels: NDArray[np.float64]
    id1: list[str]
    id2: list[str]
    phases: NDArray[np.int64] | None = None
    category1: list[str] | None = None
    category2: list[str] | None = None

    def __post_init__(self) -> None:
        columns = [getattr(self, each.name) for each in fields(self)]
        lengths = {len(column) for column in columns if column is not None}
        assert len(lengths) == 1, f"columns of different lengths: {sorted(lengths)}"
        assert self.labels.dtype == np.float64, self.labels.dtype
        assert self.phases is None or self.phases.dtype == np.int64, self.phases.dtype

    def __len__(self) -> int:
        return len(self.text1)

    def take(self, rows: NDArray[np.int64]) -> Pairs:
        """The pairs at `rows`, in that order.

        >>> pairs = Pairs(["a", "b"], ["c", "d"], np.array([0.0, 1.0]), ["1", "2"], ["3", "4"])
        >>> pairs.take(np.array([1])).text2
        ['d']
        """

        def chosen(column: list[str]) -> list[str]:
            return [column[row] for row in rows]

        return Pairs(
            text1=chosen(self.text1),
            text2=chosen(self.text2),
            labels=self.labels[rows],
            id1=chosen(self.id1),
            id2=chosen(self.id2),
            phases=None if self.phases is None else self.phases[rows],
            category1=None if self.category1 is None else chosen(self.category1),
            category2=None if self.category2 is None else chosen(self.category2),
        )

    def tickets(self) -> NDArray[np.int64]:
        """(n, 2): both tickets of each pair, as numbers 0..k-1 in order of first appearance; not to be written to.

        Texts with the same `text_key` are one ticket.

        >>> Pairs(["a", "A "], ["b", "c"], np.zeros(2), ["1", "2"], ["3", "4"]).tickets()
        array([[0, 1],
               [0, 2]])
        """
        return self._tickets

    @cached_property
    def _tickets(self) -> NDArray[np.int64]:
        numbers: dict[str, int] = {}
        rows = [
            [numbers.setdefault(text_key(text), len(numbers)) for text in both]
            for both in zip(self.text1, self.text2, strict=True)
        ]
        tickets = np.array(rows, dtype=np.int64).reshape(-1, 2)
        tickets.flags.writeable = False
        return tickets

    def fingerprint(self) -> str:
        """sha256, in hex, over all columns in order.

        Every name, column and text is preceded by its kind and length, so no two contents give the same bytes.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for each in fields(self):
            digest.update(_counted(each.name.encode()))
            column = getattr(self, each.name)
            if column is None:
                digest.update(b"absent")
            elif isinstance(column, np.ndarray):
                # Little-endian on every machine, so that a fingerprint can be compared between them.
                data = column.astype(column.dtype.newbyteorder("<")).tobytes()
                digest.update(b"number" + _counted(data))
            else:
                digest.update(b"string" + len(column).to_bytes(8, "little"))
                for text in column:
                    digest.update(_counted(text.encode()))
        return digest.hexdigest()


def _counted(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def text_key(text: str) -> str:
    r"""What two texts have in common if they count as one ticket: runs of white space are one space, case is folded.

    >>> text_key(" VPN \n down") == text_key("vpn down")
    True
    """
    return " ".join(text.split()).casefold()


def text_id(text: str) -> str:
    """The id of a ticket that was given none: the first 12 hex digits of the text's sha256.

    >>> text_id("abc")
    'ba7816bf8f01'
    """
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_binary(labels: NDArray[np.float64]) -> bool:
    """Whether every label is 0 or 1; true of no labels at all."""
    return bool(np.isin(labels, (0.0, 1.0)).all())


def positives(labels: NDArray[np.float64], positive_from: float | None) -> NDArray[np.bool_] | None:
    """(n,): which labels are positive, those >= `positive_from`.

    Labels that are only 0 and 1 need no threshold. Graded labels without one have no classes: None.

    >>> positives(np.array([0.0, 0.5, 1.0]), 0.5)
    array([False,  True,  True])
    >>> positives(np.array([0.0, 0.5, 1.0]), None) is None
    True
    """
    if positive_from is not None:
        return labels >= positive_from
    return labels == 1.0 if is_binary(labels) else None
