"""What every schema is written in: strict types, the ranges they share, and the error that refuses."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

# Strict: "1e-5" in quotes is a text and true is no number; what was written is what is meant.
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Share = Annotated[float, Field(gt=0, lt=0.5)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Bound = Annotated[float, Field(ge=-1, le=1)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"\S")]


class ConfigError(ValueError):
    """A request that can't be run as written; its text is shown to the user as it stands."""


def as_text(value: Any) -> str:
    """A value as config files write it, and as the record has it: null, true, false, and floats with every digit.

    >>> as_text(None), as_text(True), as_text(5e-05), as_text("cosine")
    ('null', 'true', '5e-05', 'cosine')
    """
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
