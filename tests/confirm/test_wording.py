"""Each kind of claim in each of its verdicts, to the letter: what is said must be true of the verdict and no more."""

from __future__ import annotations

import dataclasses

import pytest

from promax.config import ClaimConfig
from promax.confirm.claims import Contrast, Judgement, contrasts
from promax.confirm.effects import Effect, Spread
from promax.confirm.wording import bound, sentence
from promax.metrics import Interval


def of(made, of, at_least, verdict, number, low, high, relative=True):
    """A judgement with figures as given; the words depend on nothing else."""
    claim = ClaimConfig(name="it", of=of, at_least=at_least)
    study = made.study(made.grid(0.8, 0.8, 0.8, 0.8), seeds=range(5))
    contrast: Contrast = contrasts(claim, made.rule, study.settings)[0]
    interval = Interval(low, high, 0.95)
    measured = Effect(number, interval, 0.5, Spread(0, 0, 0, 5, 50), 0.01, None, None, 0.0)
    share = (number, interval) if relative else None
    return Judgement(claim, contrast, measured, share, measured, 0.5, verdict, "9 seeds"), study


RATE, EPOCHS = "the learning rate (2e-05 to 5e-05)", "the number of epochs (6 to 12)"
FIX = "the fix (2e-05, 6 epochs to 5e-05, 12 epochs)"
AFTER = "the encoder trained with 5e-05, 12 epochs"
OTHER = "2e-05, 6 epochs"


@pytest.mark.parametrize(
    ("kind", "at_least", "verdict", "figures", "text"),
    [
        ("lr", 0.02, "CONFIRMED", (0.04, 0.03, 0.05), f"{RATE} gains at least 2 %: +4.00 % [+3.00, +5.00]"),
        (
            "lr",
            0.02,
            "REFUTED",
            (0.004, 0.001, 0.007),
            f"{RATE} gains less than 2 %: +0.40 % [+0.10, +0.70], a gain but less than claimed",
        ),
        (
            "epochs",
            0.05,
            "REFUTED",
            (-0.004, -0.007, -0.001),
            f"{EPOCHS} gains less than 5 %: -0.40 % [-0.70, -0.10], a loss",
        ),
        (
            "fix",
            0.07,
            "REFUTED",
            (0.004, -0.001, 0.009),
            f"{FIX} gains less than 7 %: +0.40 % [-0.10, +0.90], no change that this study can tell from none",
        ),
        (
            "fix",
            0.07,
            "UNDECIDED",
            (0.06, 0.01, 0.11),
            f"open whether {FIX} gains at least 7 %: +6.00 % [+1.00, +11.00]; what would decide it: 9 seeds",
        ),
        ("fix", 0.0, "CONFIRMED", (0.04, 0.03, 0.05), f"{FIX} gains: +4.00 % [+3.00, +5.00]"),
        ("fix", 0.0, "REFUTED", (-0.04, -0.05, -0.03), f"{FIX} loses: -4.00 % [-5.00, -3.00]"),
        ("fix", -0.01, "CONFIRMED", (0.0, -0.005, 0.005), f"{FIX} loses no more than 1 %: +0.00 % [-0.50, +0.50]"),
        ("fix", -0.01, "REFUTED", (-0.04, -0.05, -0.03), f"{FIX} loses more than 1 %: -4.00 % [-5.00, -3.00]"),
        (
            "baseline",
            0.0,
            "CONFIRMED",
            (0.04, 0.03, 0.05),
            f"{AFTER} is better than the un-tuned one: +4.00 % [+3.00, +5.00]",
        ),
        (
            "baseline",
            0.0,
            "REFUTED",
            (-0.04, -0.05, -0.03),
            f"{AFTER} is worse than the un-tuned one: -4.00 % [-5.00, -3.00]",
        ),
        (
            "baseline",
            0.09,
            "REFUTED",
            (0.04, 0.03, 0.05),
            f"{AFTER} is not 9 % better than the un-tuned one: +4.00 % [+3.00, +5.00], a gain but less than claimed",
        ),
        (
            "baseline",
            0.0,
            "UNDECIDED",
            (0.0, -0.1, 0.1),
            f"open whether {AFTER} is better than the un-tuned one: +0.00 % [-10.00, +10.00]; "
            "what would decide it: 9 seeds",
        ),
        ("level", 0.55, "CONFIRMED", (0.57, 0.56, 0.58), f"{AFTER} reaches Spearman 0.55: 0.5700 [0.5600, 0.5800]"),
        (
            "level",
            0.55,
            "REFUTED",
            (0.51, 0.50, 0.52),
            f"{AFTER} stays below Spearman 0.55: 0.5100 [0.5000, 0.5200]",
        ),
        (
            "level",
            0.55,
            "UNDECIDED",
            (0.55, 0.5, 0.6),
            f"open whether {AFTER} reaches Spearman 0.55: 0.5500 [0.5000, 0.6000]; what would decide it: 9 seeds",
        ),
        (
            "optimum",
            -0.005,
            "CONFIRMED",
            (0.01, 0.005, 0.015),
            f"{AFTER} is no more than 0.5 % worse than every other setting tried: least sure against {OTHER}, "
            "+1.00 % [+0.50, +1.50]",
        ),
        (
            "optimum",
            -0.005,
            "REFUTED",
            (-0.04, -0.05, -0.03),
            f"{AFTER} is more than 0.5 % worse than {OTHER}: -4.00 % [-5.00, -3.00]",
        ),
        (
            "optimum",
            0.0,
            "UNDECIDED",
            (0.01, -0.01, 0.03),
            f"open whether {AFTER} is better than every other setting tried: least sure against {OTHER}, "
            "+1.00 % [-1.00, +3.00]; what would decide it: 9 seeds",
        ),
    ],
)
def test_a_verdict_in_words(made, kind, at_least, verdict, figures, text) -> None:
    judgement, study = of(made, kind, at_least, verdict, *figures, relative=kind != "level")
    assert sentence(judgement, study) == text


def test_without_a_share_the_difference_is_told(made) -> None:
    """The un-tuned encoder's Spearman may be none that a share could be taken of."""
    judgement, study = of(made, "baseline", 0.0, "CONFIRMED", 0.04, 0.03, 0.05, relative=False)
    assert sentence(judgement, study) == f"{AFTER} is better than the un-tuned one: +0.0400 [+0.0300, +0.0500]"


def test_too_few_seeds_are_said_as_such(made) -> None:
    judgement, study = of(made, "baseline", 0.0, "UNDECIDED", 0.04, 0.03, 0.05)
    judgement = dataclasses.replace(judgement, lacks="2 of the 5 seeds that the rule asks for")
    study = dataclasses.replace(study, seeds=[0, 1])
    assert sentence(judgement, study).endswith("; the study has 2 of the 5 seeds that the rule asks for")


@pytest.mark.parametrize(
    ("kind", "at_least", "text"),
    [("lr", 0.02, "+2 %"), ("fix", 0.0, "above 0"), ("optimum", -0.005, "-0.5 %"), ("level", 0.6, "Spearman 0.6")],
)
def test_bounds_are_written_as_people_claim_them(made, kind, at_least, text) -> None:
    judgement, _ = of(made, kind, at_least, "CONFIRMED", 0.04, 0.03, 0.05)
    assert bound(judgement, made.rule) == text
