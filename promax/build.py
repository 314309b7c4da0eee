"""`promax data build`: from a ticket export to pairs in phases, the whole of it from top to bottom."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from promax import weights
from promax.config import BuildConfig, ConfigError
from promax.data import curriculum
from promax.data.curriculum import SIDES, Mined, Truth
from promax.data.exports import Export, Tickets, read_export, read_links
from promax.lexical import tfidf_similarity

VectorsOf = Callable[[Sequence[str]], NDArray[np.float32]]

JUDGING = (
    "in dev, test and adversarial, phase says how hard a pair is for the un-tuned encoder: the first phase whose bounds"
    " it meets, the last where it meets none"
)
# Of output that goes to a file or a pipe, in characters.
WIDTH = 130
# The libraries whose version can change what is built.
STACK = ("promax", "numpy", "scipy", "scikit-learn", "faiss-cpu", "torch", "transformers", "sentence-transformers")


def build(source: Path, links: Path | None, out: Path, cfg: BuildConfig, vectors_of: VectorsOf) -> dict[str, Any]:
    """Build the pairs of an export into the folder `out`, print what they are, and return the manifest.

    `vectors_of` gives the unit vectors of texts by the un-tuned encoder of `cfg.model`. Nothing is left in
    `out` unless everything is: it is written beside it and gets its name at the end. The same
    export, config and encoder give the same bytes.

    Raises:
        ConfigError: `out` holds something; the export can't be read, or says of no two tickets that they
            are one problem; a phase or side can't be filled.
    """
    _refuse_occupied(out)
    encoder = {"id": weights.model_id(cfg.model), "files_sha256": weights.files_sha256(cfg.model)}
    export = read_export(source, cfg.export)
    truth = _ground_truth(export.tickets, read_links(links, cfg.export) if links else [], cfg, source)
    _show_reading(export, truth)
    tickets, sides, told = _pairs(export.tickets, truth, cfg, vectors_of)
    told += curriculum.inverted(sides["train"], cfg.phases)
    manifest = {
        "source": export.origin,
        "links": f"{links.name} sha256:{weights.file_sha256(links)}" if links else None,
        "mapping": export.mapping,
        "guessed": sorted(export.guessed),
        "truth": "category" if truth.weak else "linked",
        "tickets": {"in_export": len(export.tickets), "in_candidates": len(tickets)},
        "seed": cfg.seed,
        "encoder": {**encoder, "max_seq_length": cfg.model.max_seq_length},
        **{group: asdict(getattr(cfg, group)) for group in ("export", "mining", "phases", "splits")},
        "pairs": {side: curriculum.describe(pairs) for side, pairs in sides.items()},
        "notes": [*export.notes, *truth.notes, *told],
        "versions": {name: metadata.version(name) for name in STACK},
    }
    _write(out, tickets, sides, manifest)
    _show_result(sides, told, out)
    return manifest


def _refuse_occupied(out: Path) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        raise ConfigError(f"--out {out}: exists and is not an empty folder; name a new one")


def _ground_truth(tickets: Tickets, links: list[tuple[str, str]], cfg: BuildConfig, source: Path) -> Truth:
    """What the config asks for; with `auto`, categories only where nothing is linked."""
    wanted = cfg.mining.truth
    if wanted != "category":
        truth = curriculum.linked_truth(tickets, links)
        if (truth.group >= 0).any():
            return truth
        if wanted == "linked":
            raise ConfigError(
                f"{source.name}: no two tickets share a problem record, a parent or a duplicate link\n"
                "name the columns with export.columns.problem, parent or duplicates, or give a file with --links"
            )
    if not any(tickets.category):
        raise ConfigError(
            f"{source.name}: no problem records, parents, duplicate links or categories: nothing says which"
            " tickets are one problem\nname the columns with export.columns.problem, parent, duplicates or category,"
            " or give a file with --links"
        )
    return curriculum.category_truth(tickets)


def _pairs(
    tickets: Tickets, truth: Truth, cfg: BuildConfig, vectors_of: VectorsOf
) -> tuple[Tickets, dict[str, Mined], list[str]]:
    """The tickets that candidates are made of, each side's pairs in random order, and notes."""
    rng = np.random.default_rng(cfg.seed)
    rows, notes = curriculum.one_a_text(tickets, truth)
    tickets, truth = tickets.take(rows), truth.take(rows)
    side = curriculum.sides_of(tickets, truth, cfg.splits, cfg.mining, rng)
    found, origin, told = curriculum.positive_rows(tickets, truth, side, cfg.mining, rng)
    if not len(found):
        raise ConfigError("ground truth gives no pair of tickets with different texts; nothing was written")
    # Only these are embedded: other tickets are in no pair.
    used, numbered = np.unique(found, return_inverse=True)
    tickets, group, side = tickets.take(used), truth.group[used], side[used]
    vectors = vectors_of(tickets.text)
    positive = curriculum.measured(numbered.reshape(-1, 2), True, origin, vectors)
    of_side = {name: positive.take(np.flatnonzero(side[positive.rows[:, 0]] == at)) for at, name in enumerate(SIDES)}

    def candidates(name: str) -> Mined:
        rest = curriculum.negatives(of_side[name], tickets, group, vectors, cfg.mining, rng, side=name)
        return curriculum.joined([of_side[name], rest])

    sides = {
        "train": curriculum.draw(candidates("train"), cfg.phases, rng),
        "dev": curriculum.mixture(candidates("dev"), cfg.splits.dev_pairs, "dev", rng),
        "test": curriculum.mixture(candidates("test"), cfg.splits.test_pairs, "test", rng),
        "adversarial": curriculum.hard_pairs(
            of_side["adversarial"], tickets, group, vectors, tfidf_similarity, cfg.splits.adversarial_pairs, rng
        ),
    }
    for name in SIDES[1:]:
        sides[name] = curriculum.earliest(sides[name], cfg.phases)
    shuffled = {name: pairs.take(rng.permutation(len(pairs))) for name, pairs in sides.items()}
    return tickets, shuffled, [*notes, *told, JUDGING, *_scarce(shuffled)]


def _scarce(sides: dict[str, Mined]) -> list[str]:
    few = len(sides["adversarial"]) // 2
    if few >= 50:
        return []
    why = "they need problems whose tickets were filed under different categories"
    return [f"{few} adversarial pairs of either kind, too few for the diagnostic, which asks for 50: {why}"]


def _write(out: Path, tickets: Tickets, sides: dict[str, Mined], manifest: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        about = {key: manifest[key] for key in ("source", "seed", "encoder", "phases")}
        for name, pairs in sides.items():
            curriculum.write(pairs, tickets, folder, name, {**about, "side": name})
        files = {path.name: weights.file_sha256(path) for path in sorted(folder.iterdir())}
        text = json.dumps({**manifest, "files": files}, indent=2, ensure_ascii=False)
        (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
        folder.replace(out)


def _show_reading(export: Export, truth: Truth) -> None:
    """What is known before the long part begins: so that a wrong guess is seen in time."""
    columns = ", ".join(
        f"{role} from {header}{' (guessed)' if role in export.guessed else ''}"
        for role, header in export.mapping.items()
    )
    console = _console()
    for line in (f"{export.origin.split()[0]}: columns: {columns}", *export.notes, *truth.notes):
        console.print(line, soft_wrap=True)


def _show_result(sides: dict[str, Mined], notes: list[str], out: Path) -> None:
    table = Table(box=box.HORIZONTALS, title="pairs by side, phase, class and origin")
    for name in ("side", "phase", "class", "pairs", "origin"):
        table.add_column(name, justify="right" if name == "pairs" else "left")
    for side, pairs in sides.items():
        for phase, classes in curriculum.count(pairs).items():
            for label, of in classes.items():
                origins = ", ".join(f"{name} {count}" for name, count in of.items())
                table.add_row(side, phase, label, str(sum(of.values())), origins)
    console = _console()
    for note in notes:
        console.print(note, soft_wrap=True)
    console.print(table)
    files = " ".join(f"data.{side}={out / side}.parquet" for side, pairs in sides.items() if len(pairs))
    console.print(f"next: promax data audit {out / 'train.parquet'} --test {out / 'test.parquet'}", soft_wrap=True)
    console.print(f"      promax train data=pairs {files} optim.curriculum=phased", soft_wrap=True)


def _console() -> Console:
    width = None if sys.stdout.isatty() else WIDTH
    return Console(highlight=False, markup=False, width=width)
