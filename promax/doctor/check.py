"""What one check came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it stands, and what to do unless that is ok."""

    status: Literal["ok", "warning", "problem"]
    name: str
    says: str
    todo: str = ""

    def __str__(self) -> str:
        """The line as it is printed.

        >>> str(Check("problem", "conf", "no configs in /x", "set PROMAX_ROOT"))
        'problem  conf       no configs in /x -> set PROMAX_ROOT'
        """
        line = f"{self.status:<8} {self.name:<10} {self.says}"
        return f"{line} -> {self.todo}" if self.todo else line
