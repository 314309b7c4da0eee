"""Phases by similarity: which candidates, how many, in which words refused."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from promax.config import BuildConfig, ConfigError, PhasesConfig, build
from promax.data.curriculum import draw, earliest, inverted
from promax.data.curriculum.phases import bound, eligible, largest

DEFINITIONS = ("one_sided", "banded")


def test_the_bounds_are_those_of_the_original_project(make_mined) -> None:
    """One-sided: 1 pos >= .52, neg <= .36; 2 .40, .45; 3 .30, .50.

    Banded: 2 pos .40-.52, neg .36-.45; 3 pos .30-.40, neg .45-.50.
    """
    scores = [0.60, 0.52, 0.51, 0.40, 0.39, 0.30, 0.29]
    positive = make_mined([True] * 7, scores)
    one_sided, banded = (eligible(positive, PhasesConfig(definition=name)).astype(int).tolist() for name in DEFINITIONS)
    assert one_sided == [[1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]]
    assert banded == [[1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 0]]
    scores = [0.10, 0.36, 0.37, 0.45, 0.46, 0.50, 0.51]
    negative = make_mined([False] * 7, scores)
    one_sided, banded = (eligible(negative, PhasesConfig(definition=name)).astype(int).tolist() for name in DEFINITIONS)
    assert one_sided == [[1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]]
    assert banded == [[1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 0]]


SIMILARITIES = st.lists(st.sampled_from([0.2, 0.33, 0.38, 0.42, 0.48, 0.6]), max_size=14)


@settings(deadline=None)
@given(SIMILARITIES, SIMILARITIES, st.sampled_from(DEFINITIONS), st.sampled_from([0.5, 0.3]))
def test_no_larger_size_fits_every_phase(make_mined, high, low, definition: str, share: float) -> None:
    """The oracle is networkx's maximum flow: from a source over the phases to the pairs they may have."""
    cfg = PhasesConfig(definition=definition, positive_share=share)
    candidates = make_mined([True] * len(high) + [False] * len(low), high + low)

    def fits(pairs: int) -> bool:
        wanted = {True: round(pairs * share), False: pairs - round(pairs * share)}
        if min(wanted.values()) == 0:
            return False
        for of, count in wanted.items():
            graph = nx.DiGraph()
            graph.add_nodes_from(["source", "sink"])
            for phase, row in enumerate(eligible(candidates, cfg)):
                graph.add_edge("source", ("phase", phase), capacity=count)
                for at in np.flatnonzero(row & (candidates.positive == of)).tolist():
                    graph.add_edge(("phase", phase), at, capacity=1)
                    graph.add_edge(at, "sink", capacity=1)
            if nx.maximum_flow_value(graph, "source", "sink") < 3 * count:
                return False
        return True

    expected = max((pairs for pairs in range(1, 40) if fits(pairs)), default=0)
    assert largest(candidates, cfg) == expected
    if expected:
        cfg = PhasesConfig(definition=definition, positive_share=share, pairs=max(expected, 2))
        assert len(draw(candidates, cfg, np.random.default_rng(0))) == 3 * expected


@pytest.fixture
def many(make_mined):
    rng = np.random.default_rng(0)
    positive = [True] * 3000 + [False] * 3000
    similarity = np.concatenate([rng.uniform(0.25, 0.9, 3000), rng.uniform(0, 0.6, 3000)]).tolist()
    return make_mined(positive, similarity, ["link"] * 3000 + ["random", "nearest", "same_category"] * 1000)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_each_phase_is_balanced_within_its_bounds_and_no_pair_comes_twice(many, definition: str) -> None:
    cfg = PhasesConfig(definition=definition, pairs=300)
    train = draw(many, cfg, np.random.default_rng(0))
    assert len({tuple(row) for row in train.rows.tolist()}) == len(train) == 900
    for phase in (1, 2, 3):
        inside = train.take(np.flatnonzero(train.phase == phase))
        assert (inside.positive.sum(), (~inside.positive).sum()) == (150, 150)
        assert eligible(inside, cfg)[phase - 1].all()
        counts = np.unique(inside.origin[~inside.positive], return_counts=True)[1]
        assert counts.tolist() == [50, 50, 50]


def test_null_takes_as_many_as_every_phase_can_have(many) -> None:
    cfg = PhasesConfig(pairs=None)
    train = draw(many, cfg, np.random.default_rng(0))
    assert np.bincount(train.phase)[1:].tolist() == [largest(many, cfg)] * 3


def test_the_share_of_positives_is_read(many) -> None:
    train = draw(many, PhasesConfig(pairs=100, positive_share=0.3), np.random.default_rng(0))
    assert [int(train.positive[train.phase == phase].sum()) for phase in (1, 2, 3)] == [30, 30, 30]


def test_a_phase_that_cant_be_filled_says_what_was_found_and_what_stopped_it(make_mined) -> None:
    """By hand: phase 1 wants two of each class and takes both 0.6, phase 2 then has one positive pair left."""
    candidates = make_mined([True] * 4 + [False] * 6, [0.6, 0.6, 0.45, 0.35] + [0.1] * 6)
    with pytest.raises(ConfigError) as refusal:
        draw(candidates, PhasesConfig(pairs=4), np.random.default_rng(0))
    assert str(refusal.value) == (
        "phases.pairs=4: phase 2 has 1 of 2 positive pairs, similarity >= 0.4; phase 3 has 1 of 2 positive pairs,"
        " similarity >= 0.3; 4 positive and 6 negative candidates in train\n"
        "phases.pairs=2 is what every phase can have, nothing was written"
    )
    with pytest.raises(ConfigError) as refusal:
        draw(candidates, PhasesConfig(pairs=4, definition="banded"), np.random.default_rng(0))
    assert str(refusal.value) == (
        "phases.pairs=4: phase 2 has 1 of 2 positive pairs, similarity >= 0.4 and < 0.52; phase 2 has 0 of 2 negative"
        " pairs, similarity <= 0.45 and > 0.36; phase 3 has 1 of 2 positive pairs, similarity >= 0.3 and < 0.4; phase 3"
        " has 0 of 2 negative pairs, similarity <= 0.5 and > 0.45; 4 positive and 6 negative candidates in train\n"
        "no phases.pairs fits these bounds, nothing was written"
    )


def test_null_is_refused_where_a_class_is_missing(make_mined) -> None:
    candidates = make_mined([True] * 3, [0.9, 0.8, 0.7])
    with pytest.raises(ConfigError, match=r"^phases.pairs=null: phase 1 has 0 of 1 negative pairs, similarity <= 0.36"):
        draw(candidates, PhasesConfig(pairs=None), np.random.default_rng(0))


def test_the_banded_third_phase_warns_that_it_is_inverted(many) -> None:
    """By its bounds: positives lie in 0.30-0.40, negatives in 0.45-0.50."""
    warnings = {
        name: inverted(draw(many, cfg, np.random.default_rng(0)), cfg)
        for name in DEFINITIONS
        if (cfg := PhasesConfig(definition=name, pairs=300))
    }
    assert warnings["one_sided"] == []
    assert warnings["banded"] == [
        "WARNING: phase 3 is inverted: its positive pairs (similarity >= 0.3 and < 0.4) are less similar than its"
        " negative ones (similarity <= 0.5 and > 0.45), 0.35 against 0.48 in the mean; phases.definition=one_sided has"
        " no such phase"
    ]


def test_pairs_to_judge_by_get_the_first_phase_they_meet(make_mined) -> None:
    """By hand, with the one-sided bounds; the last phase has what meets none."""
    pairs = make_mined([True] * 4 + [False] * 4, [0.6, 0.45, 0.35, 0.1, 0.2, 0.4, 0.5, 0.8])
    for name in DEFINITIONS:
        assert earliest(pairs, PhasesConfig(definition=name)).phase.tolist() == [1, 2, 3, 3, 1, 2, 3, 3]


def test_the_bound_in_words() -> None:
    banded = PhasesConfig(definition="banded")
    assert bound(banded, 0, positive=True) == "similarity >= 0.52"
    assert bound(banded, 2, positive=False) == "similarity <= 0.5 and > 0.45"
    assert bound(PhasesConfig(), 2, positive=False) == "similarity <= 0.5"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (
            "phases: {positive_from: [0.5]}",
            "phases.positive_from has 1 values, phases.negative_to 3: must have one a phase each",
        ),
        (
            "phases: {positive_from: [0.3, 0.4, 0.5]}",
            "phases.positive_from=[0.3, 0.4, 0.5]: must fall from phase to phase",
        ),
        (
            "phases: {negative_to: [0.3, 0.3, 0.5]}",
            "phases.negative_to=[0.3, 0.3, 0.5]: must rise from phase to phase",
        ),
        ("phases: {pairs: 1}", "phases.pairs=1: must be at least 2, or null"),
        ("phases: {definition: nested}", "phases.definition=nested: must be 'one_sided' or 'banded'"),
        ("mining: {margin: 1.2}", "mining.margin=1.2: must be at most 1.0"),
        (
            "splits: {dev: 0.4, test: 0.4, adversarial: 0.2}",
            "splits.dev=0.4, test=0.4, adversarial=0.2: must leave a share for train",
        ),
    ],
    ids=["lengths", "rising", "level", "size", "definition", "margin", "shares"],
)
def test_a_config_that_makes_no_phases_is_refused(written: str, text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build(OmegaConf.create(written), BuildConfig)
    assert str(refusal.value) == text
