"""A study that was archived without its pairs: put together with them again as it is restored.

What an archive says is somebody else's word: of its config only the data group is used, checked like a user's own;
files outside the folder where one is, and data sets of the hub, are read where the user names them and not before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from promax.adversarial import stripped
from promax.config import Config, ConfigError, from_yaml, project_root
from promax.data.groups import resampling_units
from promax.data.pairs import Pairs, positives
from promax.data.splits import BESIDE, SIDES, load
from promax.reproduce.places import located, places
from promax.reproduce.record import DATA_TAG
from promax.scores import ScoreTable, read_bare
from promax.tracking import ArchivedRun, Complete, Manifest, Restored, Store, restore

# Bytes of a config: far above what one has.
MOST_CONFIG = 1_000_000


def restored(store: Store, path: Path, study: str | None, words: Sequence[str]) -> Restored:
    """Take an archived study into a record; where its pairs stayed at home, with those that lie here.

    `words` are KEY=PATH for files that lie elsewhere than they did when the study was made.

    Raises:
        ConfigError: as `promax.tracking.restore`; files that are missing or have other bytes.
        TrackingError: as `promax.tracking.restore`.
    """

    def rejoin(manifest: Manifest) -> Complete:
        for key, there in places(words).items():
            if not manifest.is_bare:
                raise ConfigError(
                    f"{key}={there[0]}: {path} has the ids and labels of its pairs, so none is read; leave it out"
                )
            if all(run.params.get(key, "null") == "null" for run in manifest.runs):
                raise ConfigError(
                    f"{key}={there[0]}: no run of study {manifest.study} had {key}, so it can't lie elsewhere"
                )
        return _Rejoin(path, words).complete

    return restore(store, path, study, rejoin)


@dataclass(frozen=True)
class _Judged:
    """The pairs that runs were judged on, by side, and from which label on they count as positive."""

    sides: dict[str, Pairs]
    positive_from: float | None

    def table(self, side: str, bare: str) -> ScoreTable:
        """The scores of `bare` with all that the pairs of their side say.

        Raises:
            ValueError: it is damaged, or there are no such pairs.
        """
        # The diagnostic takes its pairs from test where it is given none.
        pairs = self.sides.get("test" if side == "adversarial" and side not in self.sides else side)
        if pairs is None:
            raise ValueError("the run's config has no such pairs")
        rows, scores = read_bare(bare)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(pairs):
            raise ValueError(f"scores: pairs from {rows.min()} to {rows.max()}: must be from 0 to {len(pairs) - 1}")
        judged = pairs.take(rows)
        return ScoreTable(rows, judged.id1, judged.id2, self._units(side, judged), judged.labels, scores, judged.phases)

    def _units(self, side: str, judged: Pairs) -> NDArray[np.int64]:
        # Where texts are judged without their context, two of them may be one ticket.
        tickets = (stripped(judged) if side == "adversarial" else judged).tickets()
        return resampling_units(tickets, positives(judged.labels, self.positive_from))


class _Rejoin:
    """Puts the pairs back into the runs of an archive; those that runs in a row have in common are read once."""

    def __init__(self, path: Path, words: Sequence[str]) -> None:
        self._command, self._words = f"promax restore {path}", words
        self._key, self._judged = "", _Judged({}, None)

    def complete(self, run: ArchivedRun, folder: Path) -> None:
        """Write a run's tables of scores in `folder` anew, with the ids, units and labels of their pairs."""
        name = f"run {run.run_id[:8]}"
        sources: dict[str, str] = {each.context: each.source for each in run.datasets}
        data = _data_of(folder / "config.yaml", name)
        key = json.dumps([data, sources], sort_keys=True)
        if key != self._key:
            self._key, self._judged = key, self._read(data, sources)
        for side, pairs in self._judged.sides.items():
            if (then := run.tags.get(f"{DATA_TAG}{side}", "none")) != (now := pairs.fingerprint()):
                raise ConfigError(
                    f"{side}: other pairs than {name} had: fingerprint {then[:12]}… then, {now[:12]}… now"
                )
        for path in run.bare:
            file = folder / path
            try:
                table = self._judged.table(PurePosixPath(path).stem, file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ConfigError(f"{name}: {path} is damaged: {error}") from None
            file.write_text(table.to_csv(), encoding="utf-8")

    def _read(self, data: dict[str, Any], sources: dict[str, str]) -> _Judged:
        # Of files that not all runs had, each is for those that had one.
        words = [word for word in self._words if data.get(word.partition("=")[0].removeprefix("data.")) is not None]
        self._refuse_strange(data, {word.partition("=")[0] for word in words})
        config = {"data": data, "model": {}}
        there = located(config, sources, words, (Path.cwd(), project_root()), self._command)
        cfg = _config(there["data"])
        # A baseline has the sides of the run that it was made for.
        splits = load(cfg.data, training={"train", "dev"} <= sources.keys())
        return _Judged(dict(splits.sides()), cfg.data.positive_from)

    def _refuse_strange(self, data: dict[str, Any], said: set[str]) -> None:
        for name in (*SIDES, *BESIDE):
            written = PurePath(data.get(name) or "")
            leaves = written.is_absolute() or ".." in written.parts or str(written).startswith("~")
            if leaves and f"data.{name}" not in said:
                raise ConfigError(
                    f"data.{name}={written}: is outside of this folder\n"
                    f"say where it lies: {self._command} data.{name}=FILE"
                )
        if data.get("source") == "hub" and "data.path" not in said:
            raise ConfigError(
                f"data.path={data.get('path')}: is a data set of the hub\n"
                f"if it is to be fetched, say so: {self._command} data.path={data.get('path')}"
            )


class _NoAlias(yaml.SafeLoader):
    """YAML without references: a few lines of them can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def _data_of(file: Path, name: str) -> dict[str, Any]:
    """The data group of a config, which is one by today's rules."""
    try:
        if file.stat().st_size > MOST_CONFIG:
            raise ValueError(f"larger than {MOST_CONFIG:,} bytes")
        data = yaml.load(file.read_text(encoding="utf-8"), _NoAlias)["data"]
        _config(data)
    except ConfigError as error:
        raise ConfigError(f"{name}: config.yaml: {error}") from None
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        raise ConfigError(f"{name}: no config.yaml that says where its pairs are; is it damaged?") from None
    assert isinstance(data, dict), "the schema takes nothing else"
    return data


def _config(data: Any) -> Config:
    return from_yaml(json.dumps({"data": data}, ensure_ascii=False))
