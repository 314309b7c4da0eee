"""The schema of `promax data build`: from a ticket export to pairs in phases."""

from __future__ import annotations

from dataclasses import field
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from promax.config.exports import ExportConfig
from promax.config.kinds import STRICT, Bound, ConfigError, Count, Share
from promax.config.schema import ModelConfig

Bounds = Annotated[list[Bound], Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class MiningConfig:
    """Which pairs are candidates.

    `truth: linked` takes tickets for one problem that share a problem record, a parent or a duplicate
    link, `category` those that share their category, which is weak, and `auto` the category only where
    an export links nothing.

    No ticket is in more than `pairs_per_ticket` candidates of one origin, and no problem gives more
    than `pairs_per_group` positive ones, so that a problem of hundreds of tickets is one among others.

    A nearest neighbour is a negative candidate if its similarity is at most `margin` times that of
    the positive pair that it is mined for; the nearest `neighbours` tickets are looked through for one.
    """

    truth: Literal["auto", "linked", "category"] = "auto"
    pairs_per_ticket: Annotated[int, Field(ge=2)] = 8
    pairs_per_group: Count = 100
    neighbours: Annotated[int, Field(ge=1, le=2048)] = 256
    margin: Annotated[float, Field(gt=0, le=1)] = 0.95


@dataclass(frozen=True, config=STRICT)
class PhasesConfig:
    """The phases of train, from easy to hard, by the similarity that the un-tuned encoder gives a pair.

    Phase p takes positive pairs from `positive_from[p]` on and negative ones up to `negative_to[p]`.
    `one_sided` sets no other bound, so a later phase may hold easy pairs too. `banded` takes only what
    the phase before could not: positives below its `positive_from`, negatives above its `negative_to`.

    Each phase gets `pairs` pairs, `positive_share` of them positive; null: as many as the scarcest
    phase can have.
    """

    definition: Literal["one_sided", "banded"] = "one_sided"
    positive_from: Bounds = field(default_factory=lambda: [0.52, 0.40, 0.30])
    negative_to: Bounds = field(default_factory=lambda: [0.36, 0.45, 0.50])
    pairs: Annotated[int, Field(ge=2)] | None = 5000
    positive_share: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def __post_init__(self) -> None:
        if len(self.positive_from) != len(self.negative_to):
            raise ConfigError(
                f"phases.positive_from has {len(self.positive_from)} values, phases.negative_to"
                f" {len(self.negative_to)}: must have one a phase each"
            )
        if any(earlier <= later for earlier, later in pairwise(self.positive_from)):
            raise ConfigError(f"phases.positive_from={self.positive_from}: must fall from phase to phase")
        if any(earlier >= later for earlier, later in pairwise(self.negative_to)):
            raise ConfigError(f"phases.negative_to={self.negative_to}: must rise from phase to phase")


@dataclass(frozen=True, config=STRICT)
class SplitsConfig:
    """How the problems are dealt to train, dev, test and the adversarial pairs: shares of the positive candidates.

    Train has the rest. `dev_pairs`, `test_pairs` and `adversarial_pairs` are the most that these sides hold.
    """

    dev: Share = 0.1
    test: Share = 0.2
    adversarial: Share = 0.1
    dev_pairs: Annotated[int, Field(ge=2)] = 1000
    test_pairs: Annotated[int, Field(ge=2)] = 2000
    adversarial_pairs: Annotated[int, Field(ge=2)] = 1000

    def __post_init__(self) -> None:
        if self.dev + self.test + self.adversarial >= 1:
            shares = f"splits.dev={self.dev:g}, test={self.test:g}, adversarial={self.adversarial:g}"
            raise ConfigError(f"{shares}: must leave a share for train")


@dataclass(frozen=True, config=STRICT)
class BuildConfig:
    """The whole of one build. `seed` decides every draw; `batch_size` and `device` are the encoder's."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    batch_size: Count = 64
    export: ExportConfig = field(default_factory=ExportConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    mining: MiningConfig = field(default_factory=MiningConfig)
    phases: PhasesConfig = field(default_factory=PhasesConfig)
    splits: SplitsConfig = field(default_factory=SplitsConfig)
