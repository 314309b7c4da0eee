"""What every schema is written in: strict types, the ranges they share, and the error that refuses."""

from __future__ import annotations

from typing import Annotated

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
