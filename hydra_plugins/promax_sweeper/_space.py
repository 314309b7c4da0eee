"""The search space: Hydra's override grammar on one side, Optuna's distributions on the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import OverrideParseException
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from promax.config import ConfigError

Value = int | float | str
Params = Mapping[str, Value]

# Longer ranges are not enumerated: a float range's own values are looked up in its list.
LONGEST_RANGE = 100_000


@dataclass(frozen=True)
class Parameter:
    """One searched key.

    `prefix` is Hydra's + or ++. `values` are those of a choice or a range as Hydra would write them, in its
    order, None for an interval.
    """

    key: str
    prefix: str
    distribution: BaseDistribution
    values: tuple[str, ...] | None

    def text(self, value: Value) -> str:
        """`value` as the right-hand side of an override.

        A float range's value is the one that Hydra enumerates: low + n * step differs from it in the last digit.
        """
        if isinstance(self.distribution, FloatDistribution) and self.values is not None:
            return min(self.values, key=lambda each: abs(float(each) - float(value)))
        return str(value) if isinstance(value, str) else repr(value)

    def parse(self, text: str) -> Value:
        """The value that the right-hand side of an override stands for.

        Raises:
            ValueError: it is not in the space.
        """
        if isinstance(self.distribution, CategoricalDistribution):
            value: Value = text
        else:
            value = int(text) if isinstance(self.distribution, IntDistribution) else float(text)
        if self.values is not None and not any(_same(each, text) for each in self.values):
            raise ValueError(text)
        # Optuna's own check: it also looks at where a step falls.
        if self.values is None and not self.distribution._contains(self.distribution.to_internal_repr(value)):
            raise ValueError(text)
        return value

    def edges(self) -> tuple[str, ...]:
        """The outermost values: every value of a choice, both ends of a number."""
        if isinstance(self.distribution, CategoricalDistribution):
            assert self.values is not None
            return self.values
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return self.text(self.distribution.low), self.text(self.distribution.high)


@dataclass(frozen=True)
class Space:
    """What is searched and what is fixed, in the order in which it was written."""

    words: tuple[str | Parameter, ...]

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {each.key: each for each in self.words if isinstance(each, Parameter)}

    @property
    def fixed(self) -> list[str]:
        return [each for each in self.words if isinstance(each, str)]

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {key: each.distribution for key, each in self.parameters.items()}

    def overrides(self, params: Params) -> list[str]:
        """The overrides of a trial with these parameters."""
        return [
            each if isinstance(each, str) else f"{each.prefix}{each.key}={each.text(params[each.key])}"
            for each in self.words
        ]

    def corners(self) -> list[list[str]]:
        """Overrides in which every edge of every parameter occurs: what does not compose is seen in one of them."""
        edges = [[each] if isinstance(each, str) else _assignments(each) for each in self.words]
        longest = max((len(each) for each in edges), default=1)
        return [[each[min(i, len(each) - 1)] for each in edges] for i in range(longest)]

    def grid(self) -> Iterator[dict[str, Value]]:
        """Every setting, in the order of Hydra's own sweeper.

        Raises:
            ConfigError: a parameter that is not enumerable.
        """
        parameters = list(self.parameters.values())
        for each in parameters:
            if each.values is None:
                raise ConfigError(f"{each.key}: sampler=grid takes choices and ranges, not an interval")
        for values in itertools.product(*(each.values or () for each in parameters)):
            yield {each.key: each.parse(text) for each, text in zip(parameters, values, strict=True)}

    def point(self, settings: Mapping[str, Any]) -> dict[str, Value]:
        """A starting point: a value for every parameter, as YAML or the command line gives it.

        Raises:
            ConfigError: keys are missing or unknown, or a value is outside the space.
        """
        if settings.keys() != self.parameters.keys():
            raise ConfigError(
                f"hydra.sweeper.enqueue: {', '.join(settings) or 'nothing'} given; each entry must set "
                f"{', '.join(self.parameters)}"
            )
        found = {}
        for key, parameter in self.parameters.items():
            try:
                (override,) = OverridesParser.create().parse_overrides([f"key={yaml_text(settings[key])}"])
                found[key] = parameter.parse(override.get_value_element_as_str())
            except (ValueError, OverrideParseException):
                raise ConfigError(f"hydra.sweeper.enqueue: {key}={settings[key]} is not in the search space") from None
        return found

    def inside(self, params: Params) -> dict[str, Value] | None:
        """A setting of another space, None where it does not lie in this one."""
        try:
            return {key: each.parse(each.text(params[key])) for key, each in self.parameters.items()}
        except (KeyError, ValueError):
            return None

    def canonical(self) -> dict[str, str]:
        """Key -> one text that is equal for equal spaces, whatever way they were written."""
        return {key: _describe(each.distribution) for key, each in sorted(self.parameters.items())}


def parse(words: Sequence[str], loader: ConfigLoader) -> Space:
    """The space of `words`, overrides in Hydra's grammar; of two for one key, the later counts.

    Raises:
        ConfigError: a sweep that can't be searched, by its name.
        OverrideParseException: not an override.
    """
    overrides: dict[str, Override] = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(words)):
        key = override.get_key_element().lstrip("+") or override.get_key_element()
        overrides.pop(key, None)
        overrides[key] = override
    return Space(tuple(_word(override) for override in overrides.values()))


def _word(override: Override) -> str | Parameter:
    if not override.is_sweep_override():
        return str(override.input_line)
    element = override.get_key_element()
    if override.is_delete():
        raise _refused(override, "a deletion can't be searched")
    key = element.lstrip("+")
    distribution, values = _distribution(override)
    return Parameter(key, element[: len(element) - len(key)], distribution, values)


def _distribution(override: Override) -> tuple[BaseDistribution, tuple[str, ...] | None]:
    sweep = override.value()
    tags = set(getattr(sweep, "tags", ()))
    if unknown := sorted(tags - {"log", "int"}):
        raise _refused(override, f"tag {unknown[0]}: the tags are log and int")
    if getattr(sweep, "shuffle", False):
        raise _refused(override, "shuffle: the sampler decides the order")
    if isinstance(sweep, IntervalSweep):
        return _interval(override, sweep, tags), None
    if isinstance(sweep, RangeSweep):
        return _range(override, sweep, tags)
    if tags:
        raise _refused(override, f"tag {min(tags)}: only numbers have it, and these are choices")
    assert isinstance(sweep, ChoiceSweep) or override.is_choice_sweep()
    values = tuple(override.sweep_string_iterator())
    if not values:
        raise _refused(override, "no choice is left")
    if len(set(values)) < len(values):
        raise _refused(override, "a choice is given twice")
    return CategoricalDistribution(values), values


def _interval(override: Override, sweep: IntervalSweep, tags: set[str]) -> BaseDistribution:
    low, high = sweep.start, sweep.end
    assert low is not None and high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise _refused(override, "an interval runs from a lower to a higher number")
    if "log" in tags and low <= 0:
        raise _refused(override, "a logarithmic interval begins above 0")
    # int(interval(1,4)) casts the ends; tag(int, interval(1,4)) leaves them floats.
    if "int" not in tags and isinstance(low, float):
        return FloatDistribution(low, high, log="log" in tags)
    if low != int(low) or high != int(high):
        raise _refused(override, "tag int: the ends must be whole numbers")
    if "log" in tags and low < 1:
        raise _refused(override, "a logarithmic interval of whole numbers begins at 1 or above")
    return IntDistribution(int(low), int(high), log="log" in tags)


def _range(override: Override, sweep: RangeSweep, tags: set[str]) -> tuple[BaseDistribution, tuple[str, ...]]:
    if sweep.step == 0:
        raise _refused(override, "a range's step is not 0")
    assert sweep.start is not None and sweep.stop is not None
    if abs((sweep.stop - sweep.start) / sweep.step) > LONGEST_RANGE:
        raise _refused(override, f"a range of more than {LONGEST_RANGE} values; use an interval")
    values = list(sweep.range())
    if not values:
        raise _refused(override, "an empty range")
    low, high, step = min(values), max(values), abs(sweep.step)
    texts = tuple(repr(each) for each in values)
    if all(isinstance(each, int) for each in values):
        if "log" in tags and (step != 1 or low < 1):
            raise _refused(override, "a logarithmic range has steps of 1 and begins at 1 or above")
        return IntDistribution(int(low), int(high), log="log" in tags, step=int(step)), texts
    if tags:
        raise _refused(override, f"tag {min(tags)}: not with a range of floats; use an interval")
    if len(values) == 1:
        return FloatDistribution(low, high), texts
    return FloatDistribution(*_ends(values, sweep.step), step=float(step)), texts


def _ends(values: Sequence[float], step: float) -> tuple[float, float]:
    """The lowest and the highest value of a float range, with no rounding of the sum.

    With any, Optuna, which reckons in decimals, finds that the steps don't reach the end, and leaves the last one out.
    """
    first = Decimal(repr(values[0]))
    last = first + (len(values) - 1) * Decimal(repr(step))
    return float(min(first, last)), float(max(first, last))


def _refused(override: Override, why: str) -> ConfigError:
    return ConfigError(f"{override.input_line}: {why}")


def _assignments(parameter: Parameter) -> list[str]:
    return [f"{parameter.prefix}{parameter.key}={edge}" for edge in parameter.edges()]


def _describe(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return f"choice({', '.join(sorted(map(str, distribution.choices)))})"
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    kind = "int" if isinstance(distribution, IntDistribution) else "float"
    step = f" step {distribution.step:g}" if distribution.step not in (None, 1) else ""
    return f"{kind} {distribution.low!r} to {distribution.high!r}{' log' if distribution.log else ''}{step}"


def yaml_text(value: Any) -> str:
    """A value of a YAML file as Hydra's overrides write it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _same(one: str, other: str) -> bool:
    """Whether two right-hand sides mean one value: 1e-4 is 0.0001."""
    try:
        return one == other or math.isclose(float(one), float(other), rel_tol=1e-12, abs_tol=0)
    except ValueError:
        return False
