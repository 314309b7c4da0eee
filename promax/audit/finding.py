"""What a check says: a finding of some severity, that nothing was found, or why it could not look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note", "clean", "unchecked"]
"""How bad it is, from worst to none. Of an error, figures measured on these pairs would mislead; of a warning, they
may; a note is to be known. `clean` is a check that found nothing, `unchecked` one that could not look."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note", "clean", "unchecked")
FOUND: tuple[Severity, ...] = ("error", "warning", "note")

SideName = Literal["train", "test"]
Where = Literal["train", "test", "both"]


def severity_of(value: float, *, warning: float, error: float) -> Severity:
    """How bad a value is of which less is better, by the bounds from which it counts.

    >>> severity_of(0.7, warning=0.5, error=0.9)
    'warning'
    """
    return "error" if value >= error else "warning" if value >= warning else "clean"


@dataclass(frozen=True)
class Finding:
    """What one check says of one side, or of both beside each other.

    Attributes:
        check: the check's name, the same in every report.
        text: the figure and what it is compared with; where nothing was found, what was looked at.
        advice: what to do about it; "" where there is nothing to do.
        figures: name -> number, as they are logged; every one is finite.
    """

    check: str
    where: Where
    severity: Severity
    text: str
    advice: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Report:
    """All that was found, worst first, and what it was found on.

    Attributes:
        subject: side -> what identifies its pairs: origin, number of pairs, fingerprint, number of pairs read closely.
        encoder: the un-tuned encoder whose similarities were used.
    """

    findings: list[Finding]
    subject: dict[str, dict[str, str | int]]
    encoder: str

    def __post_init__(self) -> None:
        self.findings.sort(key=lambda each: SEVERITIES.index(each.severity))

    def of(self, *severities: Severity) -> list[Finding]:
        return [each for each in self.findings if each.severity in severities]

    def figures(self) -> dict[str, float]:
        """Every figure under the name it is logged by: audit/train/separability, audit/separability_gap, ..."""
        return self.counts() | {
            f"audit/{name}" if each.where == "both" else f"audit/{each.where}/{name}": value
            for each in self.findings
            for name, value in each.figures.items()
        }

    def counts(self) -> dict[str, float]:
        """How many findings there are of each severity, under the names that they are logged by."""
        return {f"audit/{severity}s": float(len(self.of(severity))) for severity in FOUND}

    def to_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "encoder": self.encoder,
            "findings": [each.to_json() for each in self.findings],
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Report:
        """The report that `to_json` wrote."""
        return Report(
            [Finding(**each) for each in content["findings"]], dict(content["subject"]), str(content["encoder"])
        )
