"""Tickets -> pairs in phases: ground truth first, then what the un-tuned encoder thinks of it.

truth     which tickets are one problem, by what the export says
dealing   which problem goes to which side
mining    candidate pairs: positive ones, and three kinds of negative ones
phases    train's phases by similarity
judging   dev, test and the adversarial pairs
counts    how many pairs of what, and how far apart their classes are
mined     `Mined`, the pairs on their way
files     a side as Parquet and columnar JSON

Nothing here opens an encoder: vectors are handed in.
"""

from __future__ import annotations

from promax.data.curriculum.counts import count, describe
from promax.data.curriculum.dealing import SIDES, sides_of
from promax.data.curriculum.files import write
from promax.data.curriculum.judging import hard_pairs, mixture
from promax.data.curriculum.mined import Mined, joined, measured
from promax.data.curriculum.mining import negatives, positive_rows
from promax.data.curriculum.phases import draw, earliest, inverted
from promax.data.curriculum.truth import Truth, category_truth, linked_truth, one_a_text

__all__ = [
    "SIDES",
    "Mined",
    "Truth",
    "category_truth",
    "count",
    "describe",
    "draw",
    "earliest",
    "hard_pairs",
    "inverted",
    "joined",
    "linked_truth",
    "measured",
    "mixture",
    "negatives",
    "one_a_text",
    "positive_rows",
    "sides_of",
    "write",
]
