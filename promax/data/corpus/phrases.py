"""From written phrases to the words of one ticket: alternatives, slots, shorthand, slips of the fingers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random

_ALTERNATIVES = re.compile(r"<([^<>]*\|[^<>]*)>")
_SLOT = re.compile(r"\$([a-z]+)")
_PLAIN_WORD = re.compile(r"(?<![\w.@/-])[a-z]{4,}(?![\w@/-]|\.\w)")
_ENDED = (".", "!", "?", ":", '"', "\n")

Filler = Callable[[], str]


def fill(phrase: str, rng: Random, slots: Mapping[str, str | Filler]) -> str:
    """`phrase` with one of each `<a|b>` chosen and every `$name` replaced from `slots`.

    A slot that is a function is called anew at each place it stands.

    >>> fill("the <red> lamp of $host", Random(0), {"host": "srv-01"})
    'the <red> lamp of srv-01'
    """
    chosen = _ALTERNATIVES.sub(lambda match: rng.choice(match[1].split("|")), phrase)

    def replace(match: re.Match[str]) -> str:
        value = slots[match[1]]
        return value if isinstance(value, str) else value()

    return _SLOT.sub(replace, chosen)


def sentences(parts: Sequence[str]) -> str:
    """The parts as sentences in a row: each begins with a capital and ends with a stop.

    >>> sentences(["it hangs", "Is it known?"])
    'It hangs. Is it known?'
    """
    return " ".join(f"{part[:1].upper()}{part[1:]}{'' if part.endswith(_ENDED) else '.'}" for part in parts)


def shorthand(text: str, abbreviations: Mapping[str, str]) -> str:
    """`text` as a service desk agent types it: known words cut short.

    >>> shorthand("User cannot print", {"user": "usr", "cannot": "cant"})
    'usr cant print'
    """
    return re.sub(r"[A-Za-z]+", lambda match: abbreviations.get(match[0].lower(), match[0]), text)


def misspell(text: str, rng: Random, slips: int) -> str:
    """`text` with up to `slips` typing errors, in plain lower-case words only.

    Host names, addresses, codes and numbers stay as they are, since people paste those.
    """
    for _ in range(slips):
        words = list(_PLAIN_WORD.finditer(text))
        if not words:
            break
        word = rng.choice(words)
        text = text[: word.start()] + _slip(word[0], rng) + text[word.end() :]
    return text


def _slip(word: str, rng: Random) -> str:
    """Two letters swapped, one lost, one doubled, or one replaced by its neighbour on the keyboard."""
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    return word[:at] + _NEIGHBOUR.get(word[at], word[at]) + word[at + 1 :]


_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOUR = {a: b for row in _ROWS for a, b in zip(row, row[1:] + row[-2], strict=True)}
