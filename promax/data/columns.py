"""A table of any origin -> `Pairs`: find which column holds what, and check every value.

Whatever is wrong is refused with the table, the row and the rule, and never with a ticket's text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np

from promax.config import ColumnsConfig, ConfigError
from promax.data.pairs import Pairs, text_id

T = TypeVar("T")

# Role -> the names it usually goes by, tried in this order and in any case.
USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "text1": ("text1", "texts1", "text_1", "sentence1", "sentence_1", "question1"),
    "text2": ("text2", "texts2", "text_2", "sentence2", "sentence_2", "question2"),
    "label": ("label", "labels", "score", "similarity", "similarity_score", "is_duplicate"),
    "id1": ("id1", "ids1", "id_1", "qid1"),
    "id2": ("id2", "ids2", "id_2", "qid2"),
    "phase": ("phase", "phases", "phase_indicators", "phase_indicator"),
    "category1": ("category1", "categories1", "category_1"),
    "category2": ("category2", "categories2", "category_2"),
}
# One column that speaks for both sides of a pair, where there is none for each side.
SHARED_NAMES: dict[str, tuple[str, ...]] = {"category1": ("category",), "category2": ("category",)}
REQUIRED = ("text1", "text2", "label")

NO_ROWS = "no rows; a source of pairs needs at least one"

# A header line that was forgotten makes texts into names: only what is written like a name is shown.
LONGEST_NAME = 40
LIKE_A_NAME = re.compile(r" *[\w.-]+( [\w.-]+)? *")


@dataclass(frozen=True)
class Table:
    """Named columns of values as they were read, before anything is known of their meaning.

    Attributes:
        source: the file, or the dataset and split, as the user wrote it; errors begin with it.
        names: the columns present.
        column: name -> its values.
        place: index of a value -> where a user finds it, like "line 7".
        untyped: every value is a text, as in CSV, so numbers are parsed.
    """

    source: str
    names: list[str]
    column: Callable[[str], Sequence[Any]]
    place: Callable[[int], str]
    untyped: bool = False


def to_pairs(table: Table, columns: ColumnsConfig) -> tuple[Pairs, list[str]]:
    """The table's pairs, and notes on which columns were taken and what is missing.

    A column that `columns` names is taken; a name that is null is looked for under its usual
    names. Labels may be numbers or true and false, phases whole numbers from 1, ids and categories
    texts or whole numbers. Other columns are ignored.

    Raises:
        ConfigError: a column that is missing, doubtful or of another length; no rows; a value that
            breaks its rule: the first such row, and how many more there are.
    """
    if not table.names:
        raise ConfigError(f"{table.source}: {NO_ROWS}")
    taken = {each.name: _find(table, each.name, getattr(columns, each.name)) for each in fields(ColumnsConfig)}
    values = {role: table.column(name) for role, name in taken.items() if name is not None}
    if table.untyped:
        values |= {role: [_parsed(cell) for cell in values[role]] for role in ("label", "phase") if role in values}
    _refuse_lengths(table, {str(taken[role]): len(column) for role, column in values.items()})

    def read(role: str, convert: Callable[[Any], T]) -> list[T] | None:
        return _converted(table, str(taken[role]), values[role], convert) if role in values else None

    text1, text2 = read("text1", _text) or [], read("text2", _text) or []
    labels = read("label", _label)
    phases = read("phase", _phase)
    pairs = Pairs(
        text1=text1,
        text2=text2,
        labels=np.array(labels, dtype=np.float64),
        id1=_ids(read("id1", _name), text1),
        id2=_ids(read("id2", _name), text2),
        phases=None if phases is None else np.array(phases, dtype=np.int64),
        category1=read("category1", _name),
        category2=read("category2", _name),
    )
    return pairs, _notes(table, taken)


def _ids(given: list[str] | None, texts: list[str]) -> list[str]:
    return [own or text_id(text) for own, text in zip(given or [""] * len(texts), texts, strict=True)]


def _find(table: Table, role: str, mapped: str | None) -> str | None:
    if mapped and mapped not in table.names:
        raise ConfigError(f"{table.source}: no column {mapped} (data.columns.{role}={mapped})\n{_present(table)}")
    found = [mapped] if mapped else _named(table, USUAL_NAMES[role]) or _named(table, SHARED_NAMES.get(role, ()))
    if not found and role in REQUIRED:
        raise ConfigError(
            f"{table.source}: no {role} column (looked for {', '.join(USUAL_NAMES[role])});"
            f" name it with data.columns.{role}\n{_present(table)}"
        )
    for name in found:
        if table.names.count(name) > 1:
            raise ConfigError(f"{table.source}: {table.names.count(name)} columns are named {name}; rename all but one")
    if len(found) > 1 and any(list(table.column(found[0])) != list(table.column(other)) for other in found[1:]):
        raise ConfigError(
            f"{table.source}: {' and '.join(found)} could each be the {role} column, and they differ;"
            f" choose one with data.columns.{role}"
        )
    return found[0] if found else None


def _named(table: Table, usual: tuple[str, ...]) -> list[str]:
    return [name for wanted in usual for name in table.names if name.strip().casefold() == wanted]


def _present(table: Table) -> str:
    signs = [_sign_of_a_row(name) for name in table.names] if table.untyped else []
    if any(signs):
        sign = next(filter(None, signs))
        return f"line 1 holds {sign}, so it seems to be a row: a CSV file begins with a line of column names"
    shown = [name for name in table.names if _is_like_a_name(name)]
    hidden = len(table.names) - len(shown)
    more = [f"{hidden} unlike a name (not shown)"] if hidden else []
    return f"columns present: {', '.join(shown + more)}"


def _sign_of_a_row(cell: str) -> str | None:
    """What a cell of a header line holds in place of a name; None: it may well be one."""
    value = _parsed(cell)
    if not isinstance(value, str):
        return "a truth value" if isinstance(value, bool) else "a number"
    # Table libraries leave the name of an index column empty.
    return "a text unlike a name" if cell.strip() and not _is_like_a_name(cell) else None


def _is_like_a_name(name: str) -> bool:
    return len(name) <= LONGEST_NAME and LIKE_A_NAME.fullmatch(name) is not None


def _refuse_lengths(table: Table, lengths: dict[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise ConfigError(f"{table.source}: columns of different lengths: {counts}; row i of each must be pair i")
    if 0 in lengths.values():
        raise ConfigError(f"{table.source}: {NO_ROWS}")


def _converted(table: Table, name: str, values: Sequence[Any], convert: Callable[[Any], T]) -> list[T]:
    """Every value converted, or one error for all that can't be: `convert` says why by a ValueError."""
    converted: list[T] = []
    complaints: list[str] = []
    for index, value in enumerate(values):
        try:
            converted.append(convert(value))
        except ValueError as error:
            complaints.append(f"{table.source}: {table.place(index)}: {name} {error}")
    if complaints:
        more = len(complaints) - 1
        raise ConfigError(complaints[0] + (f" (and {more} more bad row{'s' * (more > 1)})" if more else ""))
    return converted


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {_kind(value)}; must be a text")
    # Zero-width characters are no white space to Python, and nothing to read for an encoder either.
    if not any(character.isprintable() and not character.isspace() for character in value):
        raise ValueError("is empty; must hold at least one visible character")
    return _unicode(value)


def _label(value: Any) -> float:
    if isinstance(value, Decimal):  # an exact column of Parquet
        value = float(value)
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"is {_number_or_kind(value)}; must be a number from 0 to 1")
    return abs(float(value))  # -0.0 is 0.0


def _phase(value: Any) -> int:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 1 <= value < 2**31 or value != int(value):
        raise ValueError(f"is {_number_or_kind(value)}; must be a whole number from 1")
    return int(value)


def _name(value: Any) -> str:
    """An id or a category; "" where the row has none."""
    if _is_missing(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # what a column of whole numbers becomes as soon as one row has none
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"is {_kind(value)}; must be a text or a whole number")
    return _unicode(str(value).strip())


def _unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair; must be valid Unicode") from None
    return text


def _parsed(text: str) -> str | float:
    """The number or truth value that a cell without a type stands for, else the text as it is."""
    word = text.strip().lower()
    if word in ("true", "false"):
        return word == "true"
    try:
        return float(word)
    except ValueError:
        return text


def _number_or_kind(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _kind(value)
    number = str(value).replace("nan", "NaN")
    return number if len(number) <= LONGEST_NAME else "a number of many digits"


def _kind(value: Any) -> str:
    """What a value is, never what it says: a wrong column may hold the texts of tickets."""
    if _is_missing(value):
        return "missing"
    if isinstance(value, str):
        return f"a text of length {len(value)}" if value.strip() else "empty"
    return _KINDS.get(type(value), f"a {type(value).__name__}")


_KINDS: dict[type, str] = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    dict: "an object",
    bytes: "binary data",
}


def _is_missing(value: Any) -> bool:
    """No value at all, or the NaN that a table library puts in its place."""
    return value is None or (isinstance(value, float) and value != value)


def _notes(table: Table, taken: dict[str, str | None]) -> list[str]:
    roles = [role if role == name else f"{role} from {name}" for role, name in taken.items() if name is not None]
    notes = [f"{table.source}: columns read: {', '.join(roles)}"]
    if taken["phase"] is None:
        notes.append(
            f"{table.source}: no phase column (looked for {', '.join(USUAL_NAMES['phase'])}); pairs have no phase"
        )
    return notes
