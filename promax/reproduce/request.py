"""Starting the program that trains, in the code and with the packages of the recorded run."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promax.config import ConfigError, project_root
from promax.provenance import NUMERIC
from promax.reproduce import child
from promax.reproduce.record import REPRODUCES, Recorded
from promax.tracking import BASELINE_KEY, BASELINE_RUN, KIND_TAG, REPRODUCTION, Store, take_over

# Seconds in which an interrupted child closes its run.
CLOSES_WITHIN = 60


@dataclass(frozen=True)
class Request:
    """What a child is asked for. `code` is the folder of the run's code, None: the installed promax."""

    recorded: Recorded
    config: dict[str, Any]
    code: Path | None
    scratch: Path

    def check(self, python: Path) -> dict[str, list[Any]]:
        """Side -> fingerprint, number of pairs and source, as the run's own code reads them; nothing is trained.

        Raises:
            ConfigError: pairs or encoder files that can't be read or aren't those of the run.
        """
        sides: dict[str, list[Any]] = self._ask(python, train=False)["sides"]
        return sides

    def train(self, python: Path) -> str:
        """Train, and return the id of the new run, which stands under its original in the record.

        Raises:
            ConfigError: as `check`; a device or memory that isn't there.
            RuntimeError: the run failed.
        """
        try:
            answer = self._ask(python, train=True)
        finally:
            if self.code is not None:
                # What a server that is away was not told lies in the worktree, and would go with it.
                take_over(self.code)
        if "run_id" not in answer:
            raise RuntimeError(f"the reproduction failed before its run began ({answer.get('failed', 'killed')})")
        return str(answer["run_id"])

    def _ask(self, python: Path, *, train: bool) -> dict[str, Any]:
        files = {name: self.scratch / f"{name}.json" for name in ("request", "answer")}
        files["answer"].unlink(missing_ok=True)
        files["request"].write_text(json.dumps(self._words(str(files["answer"]), train)), encoding="utf-8")
        process = subprocess.Popen(
            [str(python), str(child.__file__), str(files["request"])],
            cwd=self.code or self.scratch,
            env=self._environment(),
            # Of its own, so that Ctrl-C reaches it once, through us.
            start_new_session=True,
        )
        code = _waited(process)
        answer: dict[str, Any] = json.loads(files["answer"].read_text()) if files["answer"].exists() else {}
        if "refused" in answer:
            raise ConfigError(f"run {self.recorded.run.short_id}: {answer['refused']}")
        if code and not train:
            raise RuntimeError(f"the run's own code can't read its pairs ({answer.get('failed', f'status {code}')})")
        return answer

    def _words(self, answer: str, train: bool) -> dict[str, Any]:
        recorded = self.recorded
        tags = {KIND_TAG: REPRODUCTION, REPRODUCES: recorded.run.run_id}
        # Never found as a baseline; measured against the one that the run was measured against.
        tags |= {key: "" for key in (BASELINE_KEY,) if key in recorded.run.tags}
        tags |= {key: recorded.run.tags[key] for key in (BASELINE_RUN,) if key in recorded.run.tags}
        threads = recorded.tag("threads")
        return {
            "answer": answer,
            "train": train,
            "code": str(self.code) if self.code else None,
            # JSON is YAML in which no text can be taken for a number.
            "config": json.dumps(self.config, ensure_ascii=False),
            "tags": tags,
            "parent": recorded.run.run_id,
            "stop_after": recorded.stop_after,
            "threads": int(threads) if threads else None,
            "fingerprints": recorded.fingerprints,
            "model_files": recorded.tag("model_files_sha256"),
        }

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        if (variables := self.recorded.tag("environment")) is not None:
            environment = {name: value for name, value in environment.items() if name not in NUMERIC}
            then = dict(word.split("=", 1) for word in shlex.split(variables))
            environment |= {name: value for name, value in then.items() if name in NUMERIC}
            environment |= _threads(then, self.recorded.tag("threads"))
        if self.code is None:
            return {**environment, "PROMAX_ROOT": str(project_root())}
        # The record is named by its address, so that the worktree may be the root of everything else.
        return {**environment, "PROMAX_ROOT": str(self.code), "PYTHONPATH": str(self.code)}


def _threads(then: Mapping[str, str], recorded: str | None) -> dict[str, str]:
    """The number of threads for all libraries, where the run had what its machine gave and this one gives another.

    The record has torch's. NumPy and scikit-learn took as many, but where a core counts as two processors: which is
    why nothing is said where torch would take the recorded number anyway.
    """
    import torch

    if recorded is None or any(name.endswith("_NUM_THREADS") for name in then):
        return {}
    return {} if int(recorded) == torch.get_num_threads() else {"OMP_NUM_THREADS": recorded}


def pinned(config: dict[str, Any], recorded: Recorded, store: Store) -> dict[str, Any]:
    """The config with what was left to the machine set to what it came to then, and recorded in `store`.

    A processor is always there, a GPU may not be: then the run takes what there is, and the comparison says so.
    """
    pinned = {**config, "tracking": {**config["tracking"], "uri": store.uri}}
    if recorded.tag("device") == "cpu":
        pinned["device"] = "cpu"
    if (precision := recorded.tag("precision")) is not None:
        pinned["precision"] = precision
    return pinned


def _waited(process: subprocess.Popen[bytes]) -> int:
    """The status of a child; interrupted, we let it close its run first."""
    try:
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(CLOSES_WITHIN)
        finally:
            process.kill()
            process.wait()
        raise
