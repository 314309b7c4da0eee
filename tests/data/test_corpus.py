"""The embedded corpus: what it promises of tickets, labels and difficulty."""

from __future__ import annotations

import csv
import re
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score

from promax import encoder
from promax.config import ConfigError, ModelConfig
from promax.data import corpus
from promax.data.corpus.catalog import services
from promax.data.pairs import Pairs, text_key
from promax.evaluate import embed_pairs

TICKETS = corpus.generate(3000, seed=0)
BY_NUMBER = {ticket.incident.number: ticket for ticket in TICKETS}


@pytest.fixture(scope="module")
def sides() -> tuple[Pairs, Pairs, Pairs]:
    return corpus.draw_pairs(TICKETS, train=2000, dev=500, test=1000, seed=0)


def test_the_catalogue_is_no_toy() -> None:
    known = services()
    problems = [problem for service in known for family in service.families for problem in family.problems]
    assert len({service.category for service in known}) >= 12
    assert len({service.name for service in known}) == len(known) >= 60
    assert len({problem.key for problem in problems}) == len(problems) >= 300
    # A family of one cause could not give a pair of label 0.5.
    assert min(len(family.problems) for service in known for family in service.families) >= 2


def test_no_sighting_is_shared_by_two_problems() -> None:
    """A phrase that two problems share would make their tickets alike for no reason."""
    sightings = [
        text_key(sighting)
        for service in services()
        for family in service.families
        for problem in family.problems
        for sighting in {*problem.user, *problem.log, *problem.desk}
    ]
    assert [each for each, count in Counter(sightings).items() if count > 1] == []


def test_the_seed_decides_everything() -> None:
    assert corpus.generate(600, seed=4) == corpus.generate(600, seed=4)
    assert corpus.generate(600, seed=4) != corpus.generate(600, seed=5)
    one, two = (corpus.draw_pairs(TICKETS, 100, 40, 60, seed=2) for _ in range(2))
    assert [side.fingerprint() for side in one] == [side.fingerprint() for side in two]


def test_ten_thousand_tickets_take_less_than_ten_seconds() -> None:
    started = time.perf_counter()
    assert len({ticket.incident.number for ticket in corpus.generate(10_000, seed=1)}) == 10_000
    assert time.perf_counter() - started < 10


def test_about_one_ticket_in_ten_is_filed_under_a_wrong_category() -> None:
    wrong = np.mean([ticket.incident.category != ticket.truth.category for ticket in TICKETS])
    assert 0.08 <= wrong <= 0.12


def test_several_voices_speak() -> None:
    shares = Counter(ticket.truth.voice for ticket in TICKETS)
    assert len(shares) >= 4
    assert min(shares.values()) > 0.03 * len(TICKETS)


def test_texts_vary_in_length_and_no_two_tickets_are_the_same() -> None:
    texts = [corpus.ticket_text(ticket.incident) for ticket in TICKETS]
    assert len({text_key(text) for text in texts}) == len(texts)
    low, middle, high = np.percentile([len(text.split()) for text in texts], [5, 50, 95])
    assert low < 35
    assert 30 <= middle <= 55
    assert high > 65


def test_a_text_holds_no_number_and_nothing_written_at_resolution() -> None:
    for ticket in TICKETS:
        text = corpus.ticket_text(ticket.incident)
        assert re.search(r"\b(INC|PRB|CHG)\d+", text) is None
        for column in corpus.LEAK_COLUMNS:
            value = getattr(ticket.incident, column)
            assert len(value) < 12 or value not in text, column


def test_resolved_tickets_have_the_leak_columns_and_some_have_links() -> None:
    resolved = [ticket.incident for ticket in TICKETS if ticket.incident.resolved_at]
    assert len(resolved) > 0.5 * len(TICKETS)
    assert all(each.close_notes and each.close_code for each in resolved)
    assert all(each.closed_by for each in resolved if each.state == "Closed")
    numbers, linked, parents = set(BY_NUMBER), Counter[str](), 0
    for ticket in TICKETS:
        linked[ticket.incident.problem_id] += 1
        if parent := ticket.incident.parent_incident:
            parents += 1
            assert parent in numbers
            # A parent is an earlier report of the same problem.
            assert BY_NUMBER[parent].truth.problem == ticket.truth.problem
            assert BY_NUMBER[parent].incident.opened_at <= ticket.incident.opened_at
    assert 0.05 < 1 - linked[""] / len(TICKETS) < 0.5
    assert parents > 0


def test_labels_follow_the_problem_and_nothing_else(sides: tuple[Pairs, Pairs, Pairs]) -> None:
    for pairs, count in zip(sides, (2000, 500, 1000), strict=True):
        for id1, id2, label in zip(pairs.id1, pairs.id2, pairs.labels, strict=True):
            first, second = BY_NUMBER[id1].truth, BY_NUMBER[id2].truth
            same = 1.0 if first.problem == second.problem else 0.5 if first.family == second.family else 0.0
            assert label == same
        assert Counter(pairs.labels.tolist()) == {1.0: 0.4 * count, 0.5: 0.2 * count, 0.0: 0.4 * count}


def test_no_family_is_on_two_sides_and_no_ticket_in_more_than_four_pairs(sides: tuple[Pairs, Pairs, Pairs]) -> None:
    families = [{BY_NUMBER[number].truth.family for number in pairs.id1 + pairs.id2} for pairs in sides]
    assert not families[0] & families[1]
    assert not families[0] & families[2]
    assert not families[1] & families[2]
    for pairs in sides:
        assert max(Counter(pairs.id1 + pairs.id2).values()) <= 4
        assert len({frozenset(pair) for pair in zip(pairs.id1, pairs.id2, strict=True)}) == len(pairs)


def test_test_pairs_are_hard(sides: tuple[Pairs, Pairs, Pairs]) -> None:
    """Un-tuned MiniLM between 0.70 and 0.88 on the binary view, TF-IDF at least 0.05 below it."""
    test = sides[2]
    positive = test.labels >= 1
    model = encoder.load(ModelConfig(), "cpu", seed=0)
    scores = embed_pairs(partial(encoder.embed, model, batch_size=64), test)[1]
    words = TfidfVectorizer().fit(test.text1 + test.text2)
    overlap = words.transform(test.text1).multiply(words.transform(test.text2)).sum(axis=1)
    minilm, tfidf = roc_auc_score(positive, scores), roc_auc_score(positive, np.asarray(overlap).ravel())
    assert 0.70 <= minilm <= 0.88
    assert tfidf <= minilm - 0.05


def test_the_export_has_its_columns_and_not_the_truth(tmp_path: Path) -> None:
    corpus.write_csv(TICKETS[:50], tmp_path / "incident.csv")
    with (tmp_path / "incident.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 50
    assert {"number", "short_description", "problem_id", "parent_incident", *corpus.LEAK_COLUMNS} <= set(rows[0])
    assert not {"problem", "family", "voice", "sightings"} & set(rows[0])
    assert [row["description"] for row in rows] == [ticket.incident.description for ticket in TICKETS[:50]]


def test_too_few_tickets_are_refused_with_the_number() -> None:
    with pytest.raises(
        ConfigError, match=r"^data\.tickets\.train_pairs=2000: only \d+ such pairs can be drawn from 600"
    ):
        corpus.draw_pairs(corpus.generate(600, seed=0), train=2000, dev=20, test=20, seed=0)
