"""The tiers of a result: minimum, good, excellent, production, by bounds that the config states."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from promax.config import TierConfig, TiersConfig


@dataclass(frozen=True)
class Standing:
    """The highest tier reached, absolutely and relative to the baseline; None below the lowest.

    `withheld` names the tier that only a missing piece of evidence stands before, with that piece.
    """

    absolute: str | None
    relative: str | None
    withheld: str | None


def standing(
    tiers: TiersConfig,
    *,
    spearman: float | None,
    roc_auc: float | None,
    baseline_spearman: float | None,
    adversarial: str | None,
) -> Standing:
    """Which tiers a run's test metrics reach. None stands for a metric that was not measured, and reaches nothing.

    `adversarial` is what the adversarial diagnostic came to: passed, failed, not run or not valid; None is not run.

    The relative gain is spearman / baseline_spearman - 1; it has no meaning for a baseline at or below zero.

    >>> tiers = TiersConfig(minimum=TierConfig(spearman=0.55, gain=0.09), good=TierConfig(spearman=0.58, gain=0.15))
    >>> standing(tiers, spearman=0.56, roc_auc=None, baseline_spearman=0.48, adversarial=None)
    Standing(absolute='minimum', relative='good', withheld=None)
    """
    gain = None
    if spearman is not None and baseline_spearman is not None and baseline_spearman > 0:
        gain = spearman / baseline_spearman - 1
    absolute = relative = withheld = None
    for name in asdict(tiers):
        bounds: TierConfig = getattr(tiers, name)
        if _reaches(bounds, spearman, roc_auc):
            if not bounds.adversarial or adversarial == "passed":
                absolute, withheld = name, None
            else:
                withheld = f"{name}: adversarial diagnostic {adversarial or 'not run'}"
        if bounds.gain is not None and gain is not None and gain >= bounds.gain:
            relative = name
    return Standing(absolute, relative, withheld)


def _reaches(bounds: TierConfig, spearman: float | None, roc_auc: float | None) -> bool:
    asked = [
        (bound, value) for bound, value in ((bounds.spearman, spearman), (bounds.roc_auc, roc_auc)) if bound is not None
    ]
    return bool(asked) and all(value is not None and value >= bound for bound, value in asked)
