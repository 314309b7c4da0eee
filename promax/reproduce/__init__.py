"""A logged run done again from its record alone, and the two set side by side.

`record` reads what the run left, `places` finds its data files, `checkout` rebuilds its code, `environment` its
packages; `child` is the program that trains in them, `request` starts it; `comparison` says what came out
the same, `reasons` why something may not have, `report` tells. `flow` is the whole, top to bottom. `rejoin` brings
runs here whose pairs stayed where they were made.
"""

from __future__ import annotations

from promax.reproduce.flow import reproduce
from promax.reproduce.rejoin import restored

__all__ = ["reproduce", "restored"]
