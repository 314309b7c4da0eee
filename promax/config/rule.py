"""The schema of a study's decision rule: what is claimed before it is run, and how that is judged."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from promax.config.kinds import STRICT, ConfigError, Count, Name, as_text


def claim_key(name: str) -> str:
    """A claim's name as part of a tag and a metric; MLflow takes few characters.

    >>> claim_key("any gain, from the fix")
    'any_gain_from_the_fix'
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("_")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        raise ConfigError(f"rule: also: {value}: each key must be written whole, like {{optim.loss: cosent}}")
    return as_text(value)


@dataclass(frozen=True, config=STRICT)
class SettingConfig:
    """One cell of a study: what its runs have in common besides the seed.

    `lr` and `epochs` are those of `optim`. `also` names by their whole keys what else the settings differ in, with this
    one's value: `{optim.loss: cosent}`, `{model.lora.r: 8}`. `model.name` and `data.name` stand for all that a config
    of that group says: with an adapter and without, one set of training pairs and another. Values are texts, as the
    record has them.
    """

    lr: Annotated[float, Field(gt=0, le=1)]
    epochs: Count
    # Not in the hash, since a dict has none; settings that differ in it alone are still different.
    also: dict[Name, Annotated[str, BeforeValidator(_text)]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, config=STRICT)
class ClaimConfig:
    """One claim, and from where on it holds.

    `of` is what it speaks of:

    - `lr`, `epochs`: that factor's main effect, from its value in `before` to that in `after`, averaged over
      both values of the other; `at_least` is its share of what `before` reaches (0.02: 2 %).
    - `fix`: `after` less `before`, as a share of what `before` reaches, whatever they differ in.
    - `baseline`: `after` less the un-tuned encoder, as a share of what that reaches.
    - `level`: what `after` reaches, `at_least` in the metric's own units.
    - `optimum`: `after` less each other setting of the study, as a share of what that reaches. -0.01 asks
      that no other be more than 1 % better.

    `published` is the claim as its authors made it, for the report.
    """

    name: Name
    of: Literal["lr", "epochs", "fix", "baseline", "level", "optimum"]
    at_least: Annotated[float, Field(gt=-1, lt=10)] = 0.0
    published: Name | None = None


@dataclass(frozen=True, config=STRICT)
class RuleConfig:
    """What a study is to decide, and how.

    Attributes:
        question: in a sentence, for the report.
        metric: what the claims are about. Spearman and ROC-AUC on 0/1 labels are one number, so one of them counts.
        confidence: of the intervals; 1 - confidence is the chance that any claim is confirmed or refuted wrongly,
            by Holm's procedure over all of them.
        seeds: fewest seeds in every cell for a claim to be decided at all.
        before, after: the two settings that are compared, which name the same keys in `also`; without `before` only
            claims of the baseline, the level and the optimum can be made.
        claims: what is claimed.
    """

    question: Name
    after: SettingConfig
    claims: Annotated[list[ClaimConfig], Field(min_length=1)]
    before: SettingConfig | None = None
    metric: Literal["spearman", "roc_auc", "pr_auc"] = "spearman"
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seeds: Annotated[int, Field(ge=2)] = 5

    def __post_init__(self) -> None:
        names = [claim.name for claim in self.claims]
        keys = [claim_key(name) for name in names]
        if len(set(keys)) < len(keys):
            twice = " and ".join(repr(name) for name in dict.fromkeys(names) if keys.count(claim_key(name)) > 1)
            raise ConfigError(f"rule.claims: two claims are called {twice}; each needs a name, and a tag, of its own")
        if self.before is not None and (odd := sorted(self.before.also.keys() ^ self.after.also.keys())):
            side = "before" if odd[0] in self.after.also else "after"
            raise ConfigError(f"rule.{side}.also: must name {odd[0]} as the other setting does")
        for claim in self.claims:
            self._refuse_without_meaning(claim)

    @property
    def varied(self) -> tuple[str, ...]:
        """What the settings differ in besides learning rate and epochs: keys of a run's config."""
        return tuple(sorted(self.after.also))

    def _refuse_without_meaning(self, claim: ClaimConfig) -> None:
        if claim.of not in ("lr", "epochs", "fix"):
            return
        if self.before is None:
            raise ConfigError(f"rule.before=null: the claim {claim.name!r} is about {claim.of} and needs it")
        if claim.of == "fix":
            if self.before == self.after:
                raise ConfigError(f"rule.after: the same as before; the claim {claim.name!r} needs two settings")
            return
        value = getattr(self.after, claim.of)
        if getattr(self.before, claim.of) == value:
            raise ConfigError(
                f"rule.after.{claim.of}={value:g}: the same as before; the claim {claim.name!r} needs two values"
            )
        for key, value in self.after.also.items():
            if self.before.also[key] != value:
                raise ConfigError(
                    f"rule.after.also.{key}={value}: must be as before, {self.before.also[key]}, for the claim "
                    f"{claim.name!r}, which is about {claim.of} alone"
                )
