"""The program that runs a recorded config in the code of its commit.

It is started by its path, with that code first on Python's path, so that `promax` here is the recorded one and
not the one that this file belongs to. It uses the names imported below and no others: they are what a later
promax relies on when it reproduces a run of this one, so they stay.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class _Reproduction:
    """The trial that the run takes itself for: it gets the tags, and ends where the original ended."""

    def __init__(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        self.tags: Mapping[str, str] = request["tags"]
        self.parent: str | None = request["parent"]
        self._stop_after, self._file, self._answer = request["stop_after"], request["answer"], answer

    def opened(self, run_id: str) -> None:
        self._answer["run_id"] = run_id
        # At once, since the process may be killed before it ends.
        _write(self._answer, self._file)

    def report(self, metrics: Mapping[str, float], epoch: int) -> None:
        from promax.trial import Pruned

        if epoch == self._stop_after:
            raise Pruned(f"ended after epoch {epoch}, as the run that it reproduces")

    def trained(self, seconds: float) -> None:
        pass


def main(file: str) -> int:
    """Do what the request in `file` asks for; 0 done, 2 refused, 3 failed, with more in the answer's file."""
    request: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    answer: dict[str, Any] = {}
    try:
        from promax.config import ConfigError

        try:
            _work(request, answer)
            code = 0
        except ConfigError as refused:
            answer["refused"] = str(refused)
            code = 2
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        # Messages of libraries may quote what they failed on, and that may be a ticket.
        answer["failed"] = type(error).__name__
        if os.environ.get("PROMAX_DEBUG"):
            traceback.print_exc()
        code = 3
    _write(answer, request["answer"])
    return code


def _work(request: dict[str, Any], answer: dict[str, Any]) -> None:
    """Read the pairs and look at the encoder's files; train if asked to and if they are as recorded."""
    import promax
    from promax.config import ConfigError, from_yaml
    from promax.data.splits import load

    here = Path(promax.__file__).resolve().parents[1]
    if request["code"] is not None and here != Path(request["code"]).resolve():
        raise ConfigError(f"promax is imported from {here}, not from the run's own code")
    cfg = from_yaml(request["config"])
    # A baseline that was made for a run has that run's sides.
    training = cfg.optim.epochs > 0 or {"train", "dev"} <= request["fingerprints"].keys()
    splits = load(cfg.data, training=training)
    seen = {side: pairs.fingerprint() for side, pairs in splits.sides()}
    answer["sides"] = {side: [seen[side], len(pairs), splits.origins[side]] for side, pairs in splits.sides()}
    for side in sorted({*seen, *request["fingerprints"]}):
        then, now = request["fingerprints"].get(side, "none"), seen.get(side, "none")
        if then != now:
            raise ConfigError(
                f"{side}: other pairs than the run had: fingerprint {then[:12]}… then, {now[:12]}… now\n"
                "nothing was trained"
            )
    from promax import weights

    if request["model_files"] is not None and (found := weights.files_sha256(cfg.model)) != request["model_files"]:
        raise ConfigError(
            f"model.path={cfg.model.path}: other files than the run had:"
            f" sha256 {request['model_files'][:12]}… then, {found[:12]}… now\nnothing was trained"
        )
    if request["train"]:
        _train(request, answer, cfg, splits)


def _train(request: dict[str, Any], answer: dict[str, Any], cfg: Any, splits: Any) -> None:
    import torch

    from promax.run import run
    from promax.trial import Pruned

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("promax").addHandler(handler)
    logging.getLogger("promax").setLevel(logging.INFO)
    if request["threads"] is not None:
        torch.set_num_threads(request["threads"])
    try:
        run(cfg, splits, [], _Reproduction(request, answer))
    except Pruned as ended:
        logging.getLogger("promax").info("%s", ended)


def _write(answer: dict[str, Any], file: str) -> None:
    Path(file).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    del sys.path[0]  # this file's own folder
    sys.exit(main(sys.argv[1]))
