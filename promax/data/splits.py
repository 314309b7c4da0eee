"""A data config -> train, dev and test, with no ticket on two sides."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promax.config import ColumnsConfig, ConfigError, DataConfig
from promax.data.pairs import Pairs, positives, text_key
from promax.data.readers import read_file, read_hub
from promax.data.trimming import MIDDLE, trimmed

Side = Literal["train", "dev", "test", "adversarial", "transfer"]
SIDES = ("train", "dev", "test")
# What a run is judged by besides test; both may come with any source.
BESIDE = ("adversarial", "transfer")
# Which side must keep clear of which. Those that only judge may share tickets.
APART = (
    *(("dev", "test"), ("train", "test"), ("train", "dev")),
    *((side, beside) for beside in BESIDE for side in ("dev", "train")),
)


@dataclass(frozen=True)
class Splits:
    """The sides of a run.

    Attributes:
        train: None only when nothing is trained and no train side was given.
        dev: None only when nothing is trained and no dev side was given.
        test: what the run is judged by.
        adversarial: the pairs of `data.adversarial`, or the embedded corpus' own; None: the adversarial
            diagnostic takes its pairs from test.
        transfer: the pairs of `data.transfer`, of another domain; None where there are none.
        notes: what a user must be told, one line each, without ticket text.
        origins: side -> what identifies its source: "pairs.jsonl sha256:...", "tickets seed=0 count=3000".
    """

    train: Pairs | None
    dev: Pairs | None
    test: Pairs
    notes: list[str]
    origins: dict[str, str]
    adversarial: Pairs | None = None
    transfer: Pairs | None = None

    def sides(self) -> list[tuple[Side, Pairs]]:
        """The sides that are there, with their names."""
        named: list[tuple[Side, Pairs | None]] = [
            ("train", self.train),
            ("dev", self.dev),
            ("test", self.test),
            ("adversarial", self.adversarial),
            ("transfer", self.transfer),
        ]
        return [(side, pairs) for side, pairs in named if pairs is not None]


@dataclass
class _Draft:
    """The sides as far as they are known."""

    pairs: dict[str, Pairs]
    origins: dict[str, str]
    sources: dict[str, str]  # side -> what an error calls it
    notes: list[str] = field(default_factory=list)


def load(cfg: DataConfig, *, training: bool) -> Splits:
    """Read, check and divide the pairs that `cfg` asks for.

    Sides that are given are taken as they are, in their order. Sides that are missing are cut from
    a given one by groups of shared texts: from the only one of train and test that is there, or,
    where dev alone is missing, from `cfg.dev_from`. Without training a test side is enough; where
    it must be cut from train, or dev from it, it is the one that training would have. `cfg.seed`
    and the data alone decide every draw.

    Raises:
        ConfigError: a source that can't be read or breaks a rule; a side without pairs or with one
            class only, for dev and test by `cfg.positive_from` too; tickets on two sides while
            `cfg.on_leak` is refuse; adversarial pairs without categories.
    """
    draft = _read(cfg)
    for side in BESIDE:
        _add_beside(draft, side, getattr(cfg, side), cfg.columns)
    state = ""
    if cfg.binary:
        assert cfg.positive_from is not None, "the schema lets binary through with a threshold only"
        draft.pairs = {side: _binary(pairs, cfg.positive_from) for side, pairs in draft.pairs.items()}
        state = f", labels from data.positive_from={cfg.positive_from:g} made 1 and others 0"
    _refuse_unusable(draft, cfg, training, state)
    _separate(draft, cfg)
    _refuse_unusable(draft, cfg, training, ", without the pairs that share tickets with another side")
    _cut_missing(draft, cfg, training)
    _refuse_unusable(draft, cfg, training, "")
    if "train" in draft.pairs:
        draft.pairs["train"], notes = trimmed(draft.pairs["train"], cfg)
        draft.notes.extend(notes)
    _refuse_unusable(draft, cfg, training, f", cut down to data.train_limit={cfg.train_limit}")
    assert not _leaks(draft.pairs), "a ticket is on two sides"
    draft.notes.extend(_shared_ids(draft.pairs))
    return Splits(
        train=draft.pairs.get("train"),
        dev=draft.pairs.get("dev"),
        test=draft.pairs["test"],
        notes=draft.notes,
        origins={side: draft.origins[side] for side in (*SIDES, *BESIDE) if side in draft.pairs},
        adversarial=draft.pairs.get("adversarial"),
        transfer=draft.pairs.get("transfer"),
    )


def _read(cfg: DataConfig) -> _Draft:
    if cfg.source == "tickets":
        return _read_tickets(cfg)
    if cfg.source == "hub":
        readings = read_hub(cfg)
    else:
        written = {side: getattr(cfg, side) for side in SIDES}
        readings = {side: read_file(path, cfg.columns) for side, path in written.items() if path is not None}
    return _Draft(
        pairs={side: reading.pairs for side, reading in readings.items()},
        origins={side: reading.origin for side, reading in readings.items()},
        sources={side: reading.source for side, reading in readings.items()},
        notes=list(dict.fromkeys(note for reading in readings.values() for note in reading.notes)),
    )


def _read_tickets(cfg: DataConfig) -> _Draft:
    from promax.data import corpus

    wanted = cfg.tickets
    tickets = corpus.generate(wanted.count, wanted.seed)
    counts = (wanted.train_pairs, wanted.dev_pairs, wanted.test_pairs)
    pairs = dict(zip(SIDES, corpus.draw_pairs(tickets, *counts, seed=wanted.seed), strict=True))
    hard = corpus.draw_adversarial(tickets, *counts, seed=wanted.seed)
    if len(hard) and len(set(hard.labels.tolist())) > 1:
        pairs["adversarial"] = hard
    origin = f"tickets seed={wanted.seed} count={wanted.count}"
    return _Draft(
        pairs=pairs,
        origins={side: f"{origin} {side}={len(drawn)}" for side, drawn in pairs.items()},
        sources={side: f"tickets {side}" for side in pairs},
    )


def _add_beside(draft: _Draft, side: str, path: str | None, columns: ColumnsConfig) -> None:
    if path is None:
        return
    reading = read_file(path, columns)
    if side == "adversarial" and (reading.pairs.category1 is None or reading.pairs.category2 is None):
        raise ConfigError(f"data.adversarial={path}: no categories; must have the columns category1 and category2")
    draft.pairs[side] = reading.pairs
    draft.origins[side] = reading.origin
    draft.sources[side] = reading.source
    draft.notes.extend(note for note in reading.notes if note not in draft.notes)


def _binary(pairs: Pairs, positive_from: float) -> Pairs:
    return replace(pairs, labels=(pairs.labels >= positive_from).astype(np.float64))


def _refuse_unusable(draft: _Draft, cfg: DataConfig, training: bool, state: str) -> None:
    for side, pairs in draft.pairs.items():
        # A train side that nothing is trained on may be anything, unless test is cut from it.
        if side == "train" and not training and "test" in draft.pairs:
            continue
        if not len(pairs):
            raise ConfigError(f"{draft.sources[side]}{state}: no pairs are left for {side}")
        # Positives alone can be trained on, with in-batch negatives: that is for the loss to judge.
        if side == "train" and training and (pairs.labels == 1.0).all():
            continue
        if (pairs.labels == pairs.labels[0]).all():
            raise ConfigError(
                f"{draft.sources[side]}{state}: one class only: all {len(pairs)} labels are {pairs.labels[0]:g};"
                f" {side} needs at least two different labels"
            )
        # Graded labels are trained on as they are: the threshold is for the metrics of dev and test.
        if side != "train" and cfg.positive_from is not None and (found := _one_sided(pairs.labels, cfg.positive_from)):
            raise ConfigError(
                f"{draft.sources[side]}{state}: one class only: {found};"
                f" {side} needs labels that do and labels that don't"
            )


def _one_sided(labels: NDArray[np.float64], positive_from: float) -> str | None:
    """How the threshold leaves one class only; None: both are there."""
    # Nine digits tell any float32 below a threshold from the threshold, where six would print both as 1.
    lowest, highest = f"{labels.min():.9g}", f"{labels.max():.9g}"
    if labels.max() < positive_from:
        return f"no label reaches data.positive_from={positive_from:g} (highest {highest})"
    if labels.min() >= positive_from:
        return f"every label reaches data.positive_from={positive_from:g} (lowest {lowest})"
    return None


@dataclass(frozen=True)
class _Leak:
    """Tickets that two sides share: how many, and which pairs of `side` hold one, (n,)."""

    side: str
    other: str
    tickets: int
    held: NDArray[np.bool_]


def _leaks(pairs: dict[str, Pairs]) -> list[_Leak]:
    keys = {side: [text_key(text) for text in each.text1 + each.text2] for side, each in pairs.items()}
    leaks = []
    for side, other in APART:
        shared = set(keys.get(side, ())) & set(keys.get(other, ()))
        if shared:
            first, second = np.array([key in shared for key in keys[side]]).reshape(2, -1)
            leaks.append(_Leak(side, other, len(shared), first | second))
    return leaks


def _shared_ids(pairs: dict[str, Pairs]) -> list[str]:
    """A note for each two sides that share ticket ids, though no text: no error, since ids may be row numbers.

    An id made from a text is shared only together with its text, so every shared id is the source's own.
    """
    ids = {side: {*each.id1, *each.id2} for side, each in pairs.items()}
    return [
        f"{side} and {other} share {len(shared)} ticket ids whose texts differ;"
        f" if they are the same tickets, the {other} has been seen"
        for side, other in APART
        if (shared := ids.get(side, set()) & ids.get(other, set()))
    ]


def _separate(draft: _Draft, cfg: DataConfig) -> None:
    """Refuse tickets on two sides, or drop their pairs."""
    leaks = _leaks(draft.pairs)
    if leaks and cfg.on_leak == "refuse":
        sources = draft.sources
        found = "; ".join(
            f"{sources[leak.side]} ({leak.side}) and {sources[leak.other]} ({leak.other}) share {leak.tickets} tickets,"
            f" in {leak.held.sum()} of {len(leak.held)} {leak.side} pairs"
            for leak in leaks
        )
        raise ConfigError(
            f"{found}\nNo ticket may be on two sides: with data.on_leak=drop such pairs are dropped from train"
            " (from dev, where test has the ticket)"
        )
    _drop_shared(draft, "data.on_leak=drop")


def _drop_shared(draft: _Draft, why: str) -> None:
    """Drop the pairs that hold a ticket of another side, from the side that `APART` names first."""
    for side in ("dev", "train"):
        # Anew for train: dev may have lost the tickets that it shared with train.
        held = [leak.held for leak in _leaks(draft.pairs) if leak.side == side]
        if held:
            dropped = np.logical_or.reduce(held)
            draft.pairs[side] = draft.pairs[side].take(np.flatnonzero(~dropped))
            others = [each for each in ("dev", "test", *BESIDE) if (side, each) in APART and each in draft.pairs]
            draft.notes.append(
                f"{draft.sources[side]}: {dropped.sum()} of {len(dropped)} {side} pairs dropped ({why}):"
                f" their tickets are in {' or '.join(others)} too"
            )


def _cut_missing(draft: _Draft, cfg: DataConfig, training: bool) -> None:
    missing = [side for side in SIDES if side not in draft.pairs]
    if not missing:
        return
    donor = cfg.dev_from if missing == ["dev"] else "train" if "test" in missing else "test"
    # What isn't trained needs no dev, but where training would cut one from test, less of test is left to judge by.
    if not training and "test" not in missing and (missing, donor) != (["dev"], "test"):
        return
    rest = "train" if "train" in missing else donor
    cut = [side for side in SIDES if side != rest and (side in missing or side == donor)]
    shares = {side: cfg.dev_share if side == "dev" else cfg.test_share for side in cut}
    _cut(draft, cfg, donor, {rest: 1 - sum(shares.values()), **shares})


def _cut(draft: _Draft, cfg: DataConfig, donor: str, shares: dict[str, float]) -> None:
    from promax.data.dealing import deal  # scipy's graphs take longer to import than all of this module

    whole, source, origin = draft.pairs[donor], draft.sources[donor], draft.origins[donor]
    positive = positives(whole.labels, cfg.positive_from)
    if positive is None:
        positive = whole.labels >= MIDDLE
    rows = deal(whole.tickets(), positive, shares, cfg.seed)
    sides = {side: rows[side] for side in SIDES if side in rows}
    counts = ", ".join(f"{side} {len(of)} pairs ({positive[of].sum()} positive)" for side, of in sides.items())
    cut = f"{source}: cut by shared texts into {counts}"
    if any(len(np.unique(whole.labels[of])) < 2 for of in sides.values()):
        keys = ", ".join(f"data.{side}_share={shares[side]:g}" for side in ("dev", "test") if side in shares)
        raise ConfigError(
            f"{cut} of {len(whole)}; each needs two different labels\n"
            f"Give more pairs, a file for each side, or another {keys} or data.seed={cfg.seed}"
        )
    lost = len(whole) - sum(len(of) for of in sides.values())
    if lost:
        cut += f"; {lost} of {len(whole) - positive.sum()} negative pairs dropped, their tickets being on two sides"
    draft.notes.append(cut)
    for side, of in sides.items():
        draft.pairs[side] = whole.take(of)
        draft.sources[side] = f"{source} ({side} part)"
        draft.origins[side] = f"{origin} {side} part, share={shares[side]:g} seed={cfg.seed}"
    if any(side in draft.pairs for side in BESIDE):
        # These may share tickets with test, but not with what was now cut from it.
        _drop_shared(draft, "after the cut")
