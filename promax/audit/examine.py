"""All checks, one after the other, on one or two sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from promax import weights
from promax.audit import shape, shortcuts, similarity, splits, texts
from promax.audit.finding import Finding, Report, SideName
from promax.audit.measure import untuned_ruler
from promax.audit.side import Side, make_side
from promax.config import Config
from promax.data.pairs import Pairs


def examine(
    cfg: Config, pairs: Mapping[SideName, Pairs], origins: Mapping[str, str], device: str
) -> tuple[Report, list[Side]]:
    """The report on the pairs of train, test or both, with the encoder of `cfg.model` before any training.

    `origins` says where each side came from. The sides are returned for the figures.

    Raises:
        ConfigError: the encoder can't be found or opened.
    """
    ruler = untuned_ruler(cfg, device)
    given = {name: _without_phases(of) if name == "test" and "train" in pairs else of for name, of in pairs.items()}
    sides = {name: make_side(name, of, cfg.data.positive_from, ruler, cfg.data.seed) for name, of in given.items()}
    subject: dict[str, dict[str, str | int]] = {
        name: {
            "origin": origins[name],
            "pairs": len(side.pairs),
            "sampled": len(side.sample.rows),
            "fingerprint": pairs[name].fingerprint(),
        }
        for name, side in sides.items()
    }
    found = findings(sides.get("train"), sides.get("test"))
    return Report(found, subject, weights.model_id(cfg.model)), list(sides.values())


def _without_phases(judging: Pairs) -> Pairs:
    """Phases order what is trained on. Where pairs judge, they only sort them, as by how hard they look."""
    return replace(judging, phases=None)


def findings(train: Side | None, test: Side | None) -> list[Finding]:
    """What every check says of each side, and of both beside each other where both are given."""
    found: list[Finding] = []
    if train is not None and test is not None:
        found += similarity.easier_train(train, test)
        found += similarity.distributions(train, test)
        found += splits.shared_tickets(train, test)
        found += splits.near_duplicates(train, test)
    for side in (train, test):
        if side is None:
            continue
        found += similarity.similarity_rule(side)
        found += similarity.phases(side)
        found += similarity.edges(side)
        found += shortcuts.same_category(side)
        found += shortcuts.words(side)
        found += shortcuts.blind_rules(side)
        found += texts.leaks(side)
        found += texts.personal_data(side)
        found += shape.order(side)
        found += shape.repeated(side)
        found += shape.balance(side)
        found += shape.truncation(side)
    return found
