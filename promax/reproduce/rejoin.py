"""A study that was archived without its pairs: put together with them again as it is restored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from promax.config import ConfigError, from_yaml, project_root
from promax.data.pairs import Pairs
from promax.data.splits import load
from promax.reproduce.places import located
from promax.reproduce.record import DATA_TAG
from promax.scores import ScoreTable
from promax.tracking import ArchivedRun, Restored, Store, read_manifest, restore


def restored(store: Store, path: Path, study: str | None, places: Sequence[str]) -> Restored:
    """Take an archived study into a record; where its pairs stayed at home, with those that lie here.

    `places` are KEY=PATH for files that lie elsewhere than they did when the study was made.

    Raises:
        ConfigError: as `promax.tracking.restore`; files that are missing or have other bytes.
        TrackingError: as `promax.tracking.restore`.
    """
    if read_manifest(path).is_bare:
        return restore(store, path, study, _Rejoin(path, places).complete)
    if places:
        raise ConfigError(f"{places[0]}: {path} has the ids and labels of its pairs, so none is read; leave it out")
    return restore(store, path, study)


class _Rejoin:
    """The pairs that an archive's runs were judged on, read once for all runs that have them in common."""

    def __init__(self, path: Path, places: Sequence[str]) -> None:
        self._command, self._places = f"promax restore {path}", places
        self._read: dict[str, dict[str, Pairs]] = {}

    def complete(self, run: ArchivedRun, folder: Path) -> None:
        """Write a run's tables of scores in `folder` anew, with the ids and labels of their pairs."""
        sides = self._sides(run, folder)
        # The diagnostic takes its pairs from test where it is given none.
        sides.setdefault("adversarial", sides["test"])
        for path in run.bare:
            pairs, file = sides.get(PurePosixPath(path).stem), folder / path
            try:
                if pairs is None:
                    raise ValueError("the run's config has no such pairs")
                bare = file.read_text(encoding="utf-8")
                table = ScoreTable.joined(bare, pairs.id1, pairs.id2, pairs.labels, pairs.phases)
            except ValueError as error:
                raise ConfigError(f"run {run.run_id[:8]}: {path} is damaged: {error}") from None
            file.write_text(table.to_csv(), encoding="utf-8")

    def _sides(self, run: ArchivedRun, folder: Path) -> dict[str, Pairs]:
        """The pairs of each side, which are those that the run was judged on."""
        try:
            config: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            raise ConfigError(f"run {run.run_id[:8]}: no config.yaml that names its pairs; is it damaged?") from None
        sources: dict[str, str] = {each.context: each.source for each in run.datasets}
        key = json.dumps([config["data"], sources], sort_keys=True)
        if key not in self._read:
            there = located(config, sources, self._places, (Path.cwd(), project_root()), self._command)
            cfg = from_yaml(json.dumps(there, ensure_ascii=False))
            self._read[key] = dict(load(cfg.data, training=cfg.optim.epochs > 0).sides())
        sides = dict(self._read[key])
        for side, pairs in sides.items():
            if (then := run.tags.get(f"{DATA_TAG}{side}", "none")) != (now := pairs.fingerprint()):
                raise ConfigError(
                    f"{side}: other pairs than run {run.run_id[:8]} had: fingerprint {then[:12]}… then, {now[:12]}… now"
                )
        return sides
