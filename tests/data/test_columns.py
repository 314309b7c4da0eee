from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from promax.config import ColumnsConfig, ConfigError
from promax.data.columns import Table, to_pairs
from promax.data.pairs import Pairs, text_id

CANARY = "zebrafish-7Q"
TEXTS = {"text1": [f"{CANARY} one", "two"], "text2": ["three", f"four {CANARY}"]}
LABELLED = {**TEXTS, "label": [1, 0]}


def table(columns: dict[str, list[Any]], *, untyped: bool = False) -> Table:
    return Table("my.file", list(columns), columns.__getitem__, lambda row: f"row {row + 1}", untyped)


def read(columns: dict[str, list[Any]], mapping: ColumnsConfig | None = None, *, untyped: bool = False) -> Pairs:
    return to_pairs(table(columns, untyped=untyped), mapping or ColumnsConfig())[0]


def refusal(columns: dict[str, list[Any]], mapping: ColumnsConfig | None = None, *, untyped: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        read(columns, mapping, untyped=untyped)
    assert CANARY not in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


def test_values_arrive_in_their_columns() -> None:
    pairs = read(
        {**LABELLED, "phase": [2, 1], "id1": ["INC1", 7], "category1": ["vpn", None], "category2": [5, "mail"]}
    )
    assert (pairs.text1, pairs.text2) == (TEXTS["text1"], TEXTS["text2"])
    assert pairs.labels.tolist() == [1.0, 0.0]
    assert pairs.phases is not None
    assert pairs.phases.tolist() == [2, 1]
    assert pairs.id1 == ["INC1", "7"]
    assert pairs.id2 == [text_id("three"), text_id(f"four {CANARY}")]
    assert (pairs.category1, pairs.category2) == (["vpn", ""], ["5", "mail"])


@pytest.mark.parametrize(
    ("text1", "text2", "label"),
    [
        ("text1", "text2", "label"),
        ("texts1", "texts2", "labels"),
        ("sentence1", "sentence2", "score"),
        ("Sentence_1", "Sentence_2", "SIMILARITY"),
        ("question1", " Question2 ", "is_duplicate"),
    ],
)
def test_usual_names_are_found_in_any_case(text1: str, text2: str, label: str) -> None:
    pairs, notes = to_pairs(table({label: [0, 1], text2: ["c", "d"], text1: ["a", "b"]}), ColumnsConfig())
    assert (pairs.text1, pairs.text2, pairs.labels.tolist()) == (["a", "b"], ["c", "d"], [0.0, 1.0])
    named = (("text1", text1), ("text2", text2), ("label", label))
    listed = ", ".join(role if role == name else f"{role} from {name}" for role, name in named)
    assert notes[0] == f"my.file: columns read: {listed}"


def test_a_mapped_name_wins_over_a_usual_one() -> None:
    mapping = ColumnsConfig(text1="Short Description", label="same")
    pairs = read({**LABELLED, "Short Description": ["p", "q"], "same": [0, 1]}, mapping)
    assert (pairs.text1, pairs.labels.tolist()) == (["p", "q"], [0.0, 1.0])


def test_one_category_column_serves_both_sides() -> None:
    pairs = read({**LABELLED, "Category": ["vpn", "mail"]})
    assert pairs.category1 == pairs.category2 == ["vpn", "mail"]


def test_a_category_of_each_side_comes_before_a_shared_one() -> None:
    pairs = read({**LABELLED, "category": ["p", "q"], "categories1": ["a", "b"], "categories2": ["c", "d"]})
    assert (pairs.category1, pairs.category2) == (["a", "b"], ["c", "d"])


@pytest.mark.parametrize("name", ["phase", "phases", "phase_indicators", "Phase_Indicator"])
def test_phases_are_read_under_each_name_that_writers_use(name: str) -> None:
    pairs, notes = to_pairs(table({**LABELLED, name: [3, 2.0]}), ColumnsConfig())
    assert pairs.phases is not None
    assert pairs.phases.tolist() == [3, 2]
    assert len(notes) == 1


def test_absent_phases_are_said_aloud_and_never_phase_1() -> None:
    pairs, notes = to_pairs(table(LABELLED), ColumnsConfig())
    assert pairs.phases is None
    assert notes == [
        "my.file: columns read: text1, text2, label",
        "my.file: no phase column (looked for phase, phases, phase_indicators, phase_indicator); pairs have no phase",
    ]


def test_two_phase_columns_that_agree_are_one() -> None:
    pairs = read({**LABELLED, "phases": [1, 2], "phase_indicators": [1, 2]})
    assert pairs.phases is not None
    assert pairs.phases.tolist() == [1, 2]


def test_two_phase_columns_that_differ_are_refused() -> None:
    assert refusal({**LABELLED, "phase_indicators": [1, 2], "phases": [1, 1]}) == (
        "my.file: phases and phase_indicators could each be the phase column, and they differ;"
        " choose one with data.columns.phase"
    )


def test_two_phase_columns_that_differ_are_fine_once_one_is_chosen() -> None:
    pairs = read({**LABELLED, "phase_indicators": [1, 2], "phases": [1, 1]}, ColumnsConfig(phase="phase_indicators"))
    assert pairs.phases is not None
    assert pairs.phases.tolist() == [1, 2]


def test_a_missing_column_is_named_with_what_was_looked_for_and_what_is_there() -> None:
    assert refusal({**TEXTS, "grade": [0, 1]}) == (
        "my.file: no label column (looked for label, labels, score, similarity, similarity_score, is_duplicate);"
        " name it with data.columns.label\n"
        "columns present: text1, text2, grade"
    )


def test_a_mapped_column_that_is_missing() -> None:
    assert refusal(LABELLED, ColumnsConfig(label="Grade")) == (
        "my.file: no column Grade (data.columns.label=Grade)\ncolumns present: text1, text2, label"
    )


def test_a_mapped_optional_column_that_is_missing_is_no_less_an_error() -> None:
    assert refusal(LABELLED, ColumnsConfig(phase="stage")).startswith("my.file: no column stage (data.columns.phase=")


def test_a_text_that_became_a_column_name_is_not_shown() -> None:
    assert refusal({f"{CANARY} does not start since the update of Monday": [], "b": []}).endswith(
        "\ncolumns present: b, 1 unlike a name (not shown)"
    )


@pytest.mark.parametrize("name", ["Short description", "grade_2", "u_cat.name", "N-1", "Dringlichkeitsgröße", "n" * 40])
def test_a_name_like_an_identifier_is_shown(name: str) -> None:
    for untyped in (False, True):
        assert refusal({**TEXTS, name: []}, untyped=untyped).endswith(f"\ncolumns present: text1, text2, {name}")


@pytest.mark.parametrize("text", ["vpn is down", "down!", "a@b.org", "down\nagain", "a  b", "n" * 41, ""])
def test_a_name_unlike_an_identifier_is_counted(text: str) -> None:
    assert refusal({**TEXTS, text: []}).endswith("\ncolumns present: text1, text2, 1 unlike a name (not shown)")


def test_a_csv_file_without_a_header_line() -> None:
    signs = {
        "0.0": "a number",
        " TRUE": "a truth value",
        "false": "a truth value",
        "can't connect": "a text unlike a name",
        "mail is slow": "a text unlike a name",
    }
    for cell, sign in signs.items():
        assert refusal({CANARY: ["a"], f"{CANARY} down": ["b"], cell: ["1"]}, untyped=True).endswith(
            f"\nline 1 holds {sign}, so it seems to be a row: a CSV file begins with a line of column names"
        )


def test_an_index_column_without_a_name_makes_no_row_of_the_header_line() -> None:
    assert refusal({"": ["0"], "text1": ["a"], "grade": ["1"]}, untyped=True).endswith(
        "\ncolumns present: text1, grade, 1 unlike a name (not shown)"
    )


def test_two_columns_of_one_name() -> None:
    columns = table(LABELLED)
    twice = Table("my.file", [*columns.names, "label"], columns.column, columns.place)
    with pytest.raises(ConfigError) as caught:
        to_pairs(twice, ColumnsConfig())
    assert str(caught.value) == "my.file: 2 columns are named label; rename all but one"


def test_columns_of_different_lengths() -> None:
    assert refusal({**TEXTS, "label": [1, 0, 1], "other": []}) == (
        "my.file: columns of different lengths: text1 2, text2 2, label 3; row i of each must be pair i"
    )


@pytest.mark.parametrize("columns", [{}, {"text1": [], "text2": [], "label": []}])
def test_no_rows(columns: dict[str, list[Any]]) -> None:
    assert refusal(columns) == "my.file: no rows; a source of pairs needs at least one"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (1.5, "1.5"),
        (-1, "-1"),
        (math.nan, "NaN"),
        (Decimal("NaN"), "NaN"),
        (math.inf, "inf"),
        (Decimal("4.2"), "4.2"),
        (10**60, "a number of many digits"),
        (None, "missing"),
        (f"{CANARY}", "a text of length 12"),
        ("1", "a text of length 1"),
        ([1], "a list"),
        ({CANARY: 1}, "an object"),
    ],
)
def test_a_label_that_is_no_number_from_0_to_1(value: object, seen: str) -> None:
    assert refusal({**TEXTS, "label": [1, value]}) == f"my.file: row 2: label is {seen}; must be a number from 0 to 1"


def test_labels_may_be_truth_values_and_minus_zero_is_zero() -> None:
    labels = read({**TEXTS, "label": [True, -0.0]}).labels
    assert labels.tolist() == [1.0, 0.0]
    assert not math.copysign(1, labels[1]) < 0


def test_cells_without_types_are_parsed() -> None:
    pairs = read(
        {"text1": ["1", "nan"], "text2": ["NA", "x"], "label": [" 0.25", "TRUE"], "phase": ["1", "2.0"]}, untyped=True
    )
    assert (pairs.text1, pairs.text2) == (["1", "nan"], ["NA", "x"])
    assert pairs.labels.tolist() == [0.25, 1.0]
    assert pairs.phases is not None
    assert pairs.phases.tolist() == [1, 2]


@pytest.mark.parametrize(("cell", "seen"), [("", "empty"), ("nan", "NaN"), ("0,5", "a text of length 3"), ("2", "2.0")])
def test_cells_without_types_that_are_no_label(cell: str, seen: str) -> None:
    assert refusal({**TEXTS, "label": ["1", cell]}, untyped=True) == (
        f"my.file: row 2: label is {seen}; must be a number from 0 to 1"
    )


def test_the_first_of_several_bad_rows_and_how_many_more() -> None:
    columns = {"text1": ["a", "b", "c", "d"], "text2": ["e", "f", "g", "h"]}
    assert refusal({**columns, "label": [0, 2, 1, 3]}) == (
        "my.file: row 2: label is 2; must be a number from 0 to 1 (and 1 more bad row)"
    )
    assert refusal({**columns, "label": [0, 2, None, 3]}) == (
        "my.file: row 2: label is 2; must be a number from 0 to 1 (and 2 more bad rows)"
    )


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\u2060", "\ufeff", "\u00a0"])
def test_a_text_with_nothing_to_read(text: str) -> None:
    assert refusal({**LABELLED, "text2": [CANARY, text]}) == (
        "my.file: row 2: text2 is empty; must hold at least one visible character"
    )


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (12, "a number"),
        (None, "missing"),
        (math.nan, "missing"),
        (True, "a truth value"),
        ([CANARY], "a list"),
        (b"x", "binary data"),
    ],
)
def test_a_text_that_is_no_text(value: object, seen: str) -> None:
    assert refusal({**LABELLED, "text1": [value, CANARY]}) == f"my.file: row 1: text1 is {seen}; must be a text"


def test_half_a_surrogate_pair() -> None:
    """JSON can spell it, no tokenizer takes it and no hash."""
    assert refusal({**LABELLED, "text1": [CANARY, CANARY + "\ud83d"]}) == (
        "my.file: row 2: text1 holds half of a surrogate pair; must be valid Unicode"
    )


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (0, "0"),
        (1.5, "1.5"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (None, "missing"),
        (True, "a truth value"),
        (2**70, str(2**70)),
        (CANARY, "a text of length 12"),
    ],
)
def test_a_phase_that_is_no_whole_number_from_1(value: object, seen: str) -> None:
    assert (
        refusal({**LABELLED, "phase": [1, value]}) == f"my.file: row 2: phase is {seen}; must be a whole number from 1"
    )


def test_ids_are_texts_or_whole_numbers() -> None:
    pairs = read({**LABELLED, "id1": [7.0, math.nan], "id2": [" INC2 ", ""]})
    assert pairs.id1 == ["7", text_id("two")]
    assert pairs.id2 == ["INC2", text_id(f"four {CANARY}")]
    assert (
        refusal({**LABELLED, "id1": ["a", 1.5]}) == "my.file: row 2: id1 is a number; must be a text or a whole number"
    )
    assert refusal({**LABELLED, "category": [[CANARY], "a"]}) == (
        "my.file: row 1: category is a list; must be a text or a whole number"
    )
