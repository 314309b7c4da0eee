"""Everything that Hydra's grammar can say of a sweep is searched as Hydra means it, or refused by name."""

from __future__ import annotations

import math
import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hydra_plugins.promax_sweeper._identity import identity
from hydra_plugins.promax_sweeper._options import Options
from hydra_plugins.promax_sweeper._space import Space, parse
from promax.config import ConfigError


class Loader:
    """Of a config loader what `glob` needs."""

    def get_group_options(self, group: str, results_filter: object) -> list[str]:
        assert group == "model"
        return ["minilm", "minilm_lora", "mpnet"]


def space(*words: str) -> Space:
    return parse(words, Loader())  # type: ignore[arg-type]


LOG = FloatDistribution(1e-6, 1e-3, log=True)
SEARCHED: dict[str, BaseDistribution] = {
    "x=1,2": CategoricalDistribution(("1", "2")),
    "x=choice(a,b)": CategoricalDistribution(("a", "b")),
    "x=choice(1,true)": CategoricalDistribution(("1", "True")),
    "x=null,1": CategoricalDistribution(("null", "1")),
    "x='a,b','c'": CategoricalDistribution(("'a,b'", "'c'")),
    "x=[1,2],[3]": CategoricalDistribution(("[1,2]", "[3]")),
    "x=choice({a:1},{a:2})": CategoricalDistribution(("{a:1}", "{a:2}")),
    "x=a\\:b,c": CategoricalDistribution(("a\\:b", "c")),
    "x=sort(3,1,2)": CategoricalDistribution(("1", "2", "3")),
    "x=str(choice(1,2))": CategoricalDistribution(("1", "2")),
    "x=int(choice(1.5,2.5))": CategoricalDistribution(("1", "2")),
    "x=bool(choice(0,1))": CategoricalDistribution(("False", "True")),
    "x=inf,1": CategoricalDistribution(("inf", "1")),
    "model=glob(mini*)": CategoricalDistribution(("minilm", "minilm_lora")),
    "model=glob(*,exclude=minilm)": CategoricalDistribution(("minilm_lora", "mpnet")),
    # Hydra's stop is excluded: 2, 4, ..., 16.
    "x=range(2,17,2)": IntDistribution(2, 16, step=2),
    "x=range(1,17)": IntDistribution(1, 16),
    "x=range(5)": IntDistribution(0, 4),
    "x=range(4,1,-1)": IntDistribution(2, 4),
    "x=sort(range(1,4),reverse=true)": IntDistribution(1, 3),
    "x=range(1,2,0.5)": FloatDistribution(1.0, 1.5, step=0.5),
    "x=float(range(1,4))": FloatDistribution(1.0, 3.0, step=1.0),
    "x=range(0.1,0.5,0.1)": FloatDistribution(0.1, 0.4, step=0.1),
    "x=range(0.05,0.35,0.15)": FloatDistribution(0.05, 0.2, step=0.15),
    "x=range(0.3,1.2,0.3)": FloatDistribution(0.3, 0.9, step=0.3),
    "x=range(0.9,0.1,-0.3)": FloatDistribution(0.3, 0.9, step=0.3),
    "x=tag(log,range(1,17))": IntDistribution(1, 16, log=True),
    "x=interval(1,3)": FloatDistribution(1.0, 3.0),
    "x=tag(log,interval(1e-6,1e-3))": LOG,
    "x=tag(int,interval(1,16))": IntDistribution(1, 16),
    "x=int(interval(1,16))": IntDistribution(1, 16),
    "x=tag(int,log,interval(1,16))": IntDistribution(1, 16, log=True),
    "+x=interval(1,3)": FloatDistribution(1.0, 3.0),
    "++x=interval(1,3)": FloatDistribution(1.0, 3.0),
    "group@place=a,b": CategoricalDistribution(("a", "b")),
}

REFUSED = {
    "x=shuffle(1,2)": "shuffle: the sampler decides the order",
    "x=shuffle(range(1,4))": "shuffle: the sampler decides the order",
    "~x=1,2": "a deletion can't be searched",
    "x=range(3,3)": "an empty range",
    "x=range(1,4,0)": "a range's step is not 0",
    "x=range(0,1000000)": "a range of more than 100000 values; use an interval",
    "x=tag(log,range(1,17,2))": "a logarithmic range has steps of 1 and begins at 1 or above",
    "x=tag(log,range(0,17))": "a logarithmic range has steps of 1 and begins at 1 or above",
    "x=tag(log,range(0.1,0.5,0.1))": "tag log: not with a range of floats; use an interval",
    "x=tag(log,choice(1,2))": "tag log: only numbers have it, and these are choices",
    "x=tag(mine,interval(1,2))": "tag mine: the tags are log and int",
    "x=interval(3,1)": "an interval runs from a lower to a higher number",
    "x=interval(1,1)": "an interval runs from a lower to a higher number",
    "x=interval(1,inf)": "an interval runs from a lower to a higher number",
    "x=interval(1,nan)": "an interval runs from a lower to a higher number",
    "x=tag(log,interval(0,1))": "a logarithmic interval begins above 0",
    "x=tag(int,interval(1.5,3))": "tag int: the ends must be whole numbers",
    "x=tag(int,log,interval(0.5,3))": "tag int: the ends must be whole numbers",
    "x=1,1": "a choice is given twice",
    "x=1e-5,0.00001": "a choice is given twice",
    "model=glob(none*)": "no choice is left",
}


@pytest.mark.parametrize("word", SEARCHED)
def test_a_sweep_is_searched_as_hydra_means_it(word: str) -> None:
    ((key, found),) = space(word).distributions.items()
    assert key == re.sub(r"^\++", "", word).partition("=")[0]
    assert found == SEARCHED[word]


@pytest.mark.parametrize("word", REFUSED)
def test_what_cannot_be_searched_is_refused_by_name(word: str) -> None:
    with pytest.raises(ConfigError) as refused:
        space(word)
    assert str(refused.value) == f"{word}: {REFUSED[word]}"


@pytest.mark.parametrize("word", [word for word in SEARCHED if "interval" not in word])
def test_every_value_of_an_enumerable_sweep_is_written_as_hydra_writes_it(word: str) -> None:
    """Against Hydra's own enumeration, which its basic sweeper launches; a range may run the other way."""
    (override,) = OverridesParser.create(config_loader=Loader()).parse_overrides([word])  # type: ignore[arg-type]
    expected = [f"{override.get_key_element()}={each}" for each in override.sweep_string_iterator()]
    searched = space(word)
    assert [searched.overrides(point) for point in searched.grid()] == [[each] for each in expected]


@given(st.integers(-500, 500), st.integers(1, 200), st.integers(2, 12), st.sampled_from((1, -1)))
def test_optuna_draws_as_many_values_of_a_float_range_as_hydra_enumerates(start, step, count, sign) -> None:
    # In hundredths, with the stop half a step behind the last value.
    numbers = (start, start + sign * (count * step - step / 2), sign * step)
    searched = space("x=range({})".format(",".join(repr(each / 100) for each in numbers)))
    (found,) = searched.distributions.values()
    assert isinstance(found, FloatDistribution) and found.step is not None
    assert round((found.high - found.low) / found.step) + 1 == count == len(list(searched.grid()))


def test_fixed_words_and_their_order_are_kept_and_the_last_word_for_a_key_counts() -> None:
    searched = space("a=1,2", "b=5", "+c=range(1,3)", "a=interval(0,1)")
    assert searched.overrides({"a": 0.25, "c": 2}) == ["b=5", "+c=2", "a=0.25"]
    assert searched.fixed == ["b=5"]


def test_a_grid_runs_in_the_order_of_hydras_own_sweeper() -> None:
    points = list(space("a=range(3,0,-1)", "b=x,y").grid())
    assert points == [{"a": a, "b": b} for a in (3, 2, 1) for b in ("x", "y")]


def test_a_grid_of_an_interval_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^x: sampler=grid takes choices and ranges, not an interval$"):
        list(space("x=interval(0,1)").grid())


def test_the_corners_hold_every_edge() -> None:
    corners = space("a=x,y,z", "b=interval(1,2)", "c=7").corners()
    assert corners == [["a=x", "b=1.0", "c=7"], ["a=y", "b=2.0", "c=7"], ["a=z", "b=2.0", "c=7"]]


STARTS = {
    "an interval's float": ("x=tag(log,interval(1e-6,1e-3))", 2e-5, 2e-5),
    "a float written as text": ("x=tag(log,interval(1e-6,1e-3))", "2e-5", 2e-5),
    "an interval's end": ("x=interval(0,1)", 1, 1.0),
    "a range": ("x=range(2,17,2)", 6, 6),
    "a choice of numbers": ("x=0.00001,2e-5", 1e-5, "1e-05"),
    "a choice of words": ("x=a,b", "b", "b"),
    "a flag": ("x=true,false", True, "True"),
    "nothing": ("x=null,1", None, "null"),
}


@pytest.mark.parametrize("case", STARTS)
def test_a_starting_point_is_found_in_the_space(case: str) -> None:
    word, given, expected = STARTS[case]
    assert space(word).point({"x": given}) == {"x": expected}


OUTSIDE = {
    "beyond an interval": ("x=interval(0,1)", 2),
    "between steps": ("x=range(2,17,2)", 5),
    "no choice": ("x=a,b", "c"),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_a_starting_point_outside_the_space_is_refused(case: str) -> None:
    word, given = OUTSIDE[case]
    with pytest.raises(ConfigError, match=rf"^hydra.sweeper.enqueue: x={given} is not in the search space$"):
        space(word).point({"x": given})


def test_a_starting_point_sets_every_parameter() -> None:
    with pytest.raises(ConfigError, match=r"^hydra.sweeper.enqueue: x given; each entry must set x, y$"):
        space("x=1,2", "y=1,2").point({"x": 1})


def test_equal_spaces_are_equal_however_they_are_written() -> None:
    def spoken(*words: str) -> dict[str, str]:
        return identity(Options(), space(*words), {}, {})["space"]

    assert spoken("x=1,2", "y=range(1,4)") == spoken("y=range(3,0,-1)", "x=choice(2,1)")
    assert spoken("x=interval(1,2)") != spoken("x=tag(log,interval(1,2))")
    assert spoken("x=range(1,4)") != spoken("x=range(1,4,2)")


def test_floats_keep_every_digit() -> None:
    searched = space("x=interval(0,1)")
    (word,) = searched.overrides({"x": math.pi / 10})
    assert float(word.partition("=")[2]) == math.pi / 10
