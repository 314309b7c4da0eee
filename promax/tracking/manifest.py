"""What an archived study says of itself, as a strict schema: it is a file from somebody else."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator
from typing_extensions import Self

from promax.tracking.datasets import DatasetRecord
from promax.tracking.record import LONGEST_PARAM, LONGEST_TAG

# Bytes of one file in an archive: far above what runs have, far below what fills a disk.
MOST_FILE = 2_000_000_000


def _path(path: str) -> str:
    """Where a file of a run lies: in its folder and in no other, on any system."""
    parts = PurePosixPath(path).parts
    if (
        not parts
        or path != "/".join(parts)
        or path.startswith("/")
        or {".", ".."} & set(parts)
        or set(path) & set('\\:\0"<>|?*')
    ):
        raise ValueError(f"{path!r} is no path within a run")
    return path


Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Hex64 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f]+$")]
Natural = Annotated[int, Field(ge=0, lt=1 << 53)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArchivedFile(_Strict):
    """A file of a run: its bytes as they must be found.

    `whole` is the hash of the table of scores of which these bytes are what `ScoreTable.to_bare_csv` left.
    """

    size: Annotated[int, Field(ge=0, le=MOST_FILE)]
    sha256: Hex64
    whole: Hex64 | None = None


class ArchivedRun(_Strict):
    """A run with all that the record holds of it; a metric is (name, value, Unix milliseconds, step)."""

    run_id: Hex32
    name: Line
    status: Literal["FINISHED", "FAILED", "KILLED"]
    start_time: Natural
    end_time: Natural
    params: dict[Line, Annotated[str, StringConstraints(max_length=LONGEST_PARAM)]]
    tags: dict[Line, Annotated[str, StringConstraints(max_length=LONGEST_TAG)]]
    metrics: list[tuple[Line, FiniteFloat, Natural, Natural]]
    datasets: list[DatasetRecord]
    files: dict[Annotated[str, AfterValidator(_path)], ArchivedFile]

    @property
    def bare(self) -> dict[str, str]:
        """The tables of scores that are here without their pairs, each with the hash that it has with them."""
        return {path: file.whole for path, file in self.files.items() if file.whole is not None}


class Manifest(_Strict):
    """All of a study but the contents of its files; runs in the order in which they began.

    Format 2 is without its pairs, which an earlier promax can't put back.
    """

    format: Literal[1, 2]
    promax: Line
    study: Line
    experiment: Line
    runs: Annotated[list[ArchivedRun], Field(min_length=1)]

    @property
    def is_bare(self) -> bool:
        """Whether its pairs were left out."""
        return self.format == 2

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.is_bare and any(run.bare for run in self.runs):
            raise ValueError("a table without its pairs: must be of format 2")
        return self
