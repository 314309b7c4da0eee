"""What the rows themselves show: their order, pairs that come twice, the balance of labels, cut texts."""

from __future__ import annotations

import math

import numpy as np

from promax.audit.finding import Finding, Severity
from promax.audit.side import FEWEST, Side
from promax.data.pairs import is_binary

# How many standard deviations fewer runs than chance gives: once in 30,000 sets in random order.
RUNS = -4.0
# Shares of pairs, or of texts, from which a remark becomes a warning.
REPEATED_WARNING, RARE_CLASS, CUT_WARNING = 0.01, 0.05, 0.10


def order(side: Side) -> list[Finding]:
    """Whether equal labels stand together: the runs test of Wald & Wolfowitz (1940) on the rows as they come.

    Of graded labels, those above the median are one kind and the others the other.
    """
    check, labels = "order of the rows", side.pairs.labels
    high = side.positive if side.positive is not None else labels > np.median(labels)
    ones, zeros = int(high.sum()), int((~high).sum())
    if min(ones, zeros) < FEWEST:
        text = f"{ones} high and {zeros} low labels; {FEWEST} of each are needed"
        return [Finding(check, side.name, "unchecked", text)]
    runs = int((high[1:] != high[:-1]).sum()) + 1
    total = ones + zeros
    expected = 2 * ones * zeros / total + 1
    spread = math.sqrt((expected - 1) * (expected - 2) / (total - 1))
    z = (runs - expected) / spread
    text = f"{runs} runs of equal labels where random order gives {expected:.0f} (z {z:+.1f})"
    figures = {"runs": float(runs), "runs_z": z}
    if z > RUNS:
        return [Finding(check, side.name, "clean", text, figures=figures)]
    advice = "shuffle the file: whoever reads its first rows, or trains in its order, sees one class"
    if runs == 2:
        first = "positives" if high[0] else "negatives"
        return [Finding(check, side.name, "warning", f"all {first} come first: {text}", advice, figures)]
    severity: Severity = "warning" if runs < expected / 2 else "note"
    return [Finding(check, side.name, severity, f"equal labels stand together: {text}", advice, figures)]


def repeated(side: Side) -> list[Finding]:
    """Pairs that come more than once, in either order; with different labels; and pairs of a ticket with itself."""
    check = "repeated pairs"
    tickets = np.sort(side.tickets, axis=1)
    which, counts = np.unique(tickets, axis=0, return_inverse=True, return_counts=True)[1:]
    which = which.ravel()
    lowest, highest = np.full(len(counts), np.inf), np.full(len(counts), -np.inf)
    np.minimum.at(lowest, which, side.pairs.labels)
    np.maximum.at(highest, which, side.pairs.labels)
    again = int((counts - 1).sum())
    torn = int(((highest > lowest)[which]).sum())
    selves = int((tickets[:, 0] == tickets[:, 1]).sum())
    figures = {"repeated_pairs": float(again), "contradictory_pairs": float(torn), "self_pairs": float(selves)}
    total = len(side.pairs)
    text = f"{again} of {total} pairs come again, {torn} have contradictory labels, {selves} are a text with itself"
    if not again and not selves:
        return [Finding(check, side.name, "clean", text, figures=figures)]
    bad = max(again, torn, selves) > REPEATED_WARNING * total
    advice = "keep each pair once, settle its label, and drop pairs of one text: there is nothing to learn from them"
    return [Finding(check, side.name, "warning" if bad else "note", text, advice, figures)]


def balance(side: Side) -> list[Finding]:
    """How many pairs are of which label."""
    check, labels = "balance of labels", side.pairs.labels
    values = np.unique(labels)
    if side.positive is None or not is_binary(labels):
        listing = ", ".join(f"{(labels == value).sum()} x {value:g}" for value in values[:6])
        more = f" and {len(values) - 6} more values" if len(values) > 6 else ""
        text = f"graded labels, mean {labels.mean():.3f}: {listing}{more}"
    else:
        text = f"{side.positive.sum()} of {len(labels)} pairs are positive, {side.positive.mean():.1%}"
    figures = {"mean_label": float(labels.mean())}
    if len(values) == 1:
        advice = "a test needs both classes; a train of positives alone fits losses with in-batch negatives only"
        severity: Severity = "error" if side.name == "test" else "warning"
        text = f"one label only: all {len(labels)} are {values[0]:g}"
        return [Finding(check, side.name, severity, text, advice, figures)]
    if side.positive is not None and min(side.positive.mean(), 1 - side.positive.mean()) < RARE_CLASS:
        advice = "read PR-AUC beside ROC-AUC: the rarer class decides how sure any figure is"
        return [Finding(check, side.name, "note", text, advice, figures)]
    return [Finding(check, side.name, "clean", text, figures=figures)]


def truncation(side: Side) -> list[Finding]:
    """Texts of the sample that the encoder reads only the beginning of."""
    check, share = "cut texts", float(side.sample.cut.mean())
    text = f"{share:.1%} of the texts are longer than the {side.sample.longest} tokens that are read"
    figures = {"truncated_share": share}
    if share <= CUT_WARNING:
        return [Finding(check, side.name, "clean", text, figures=figures)]
    advice = "put what matters first (the context last), or raise model.max_seq_length"
    return [Finding(check, side.name, "warning", text, advice, figures)]
