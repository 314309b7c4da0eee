"""The encoder that a run trained and saved, opened from its record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from promax.config import Config, ConfigError, from_yaml
from promax.tracking import AUDIT, KIND_TAG, REASON_TAG, SWEEP, VERDICT, RunInfo, Store, fetch_folder, read_text


def config_of(store: Store, run: RunInfo) -> Config:
    """The config of a run that saved its encoder.

    Raises:
        ConfigError: it saved none, and what to do instead.
    """
    short, kind = run.short_id, run.tags.get(KIND_TAG)
    if kind != "tuned":
        known = {"baseline": "a baseline", SWEEP: "a sweep", AUDIT: "an audit of pairs", VERDICT: "a verdict"}
        what = known.get(str(kind), "none of promax")
        raise ConfigError(
            f"run {short}: is {what}, which trains no encoder; name a fine-tuned run, as"
            f" `promax compare --study {run.study}` lists them"
        )
    if run.status != "FINISHED":
        why = f" ({run.tags[REASON_TAG]})" if run.tags.get(REASON_TAG) else ""
        raise ConfigError(f"run {short}: is {run.status}{why}; only a FINISHED run has a saved encoder")
    cfg = from_yaml(read_text(store, run.run_id, "config.yaml"))
    if cfg.saves == "none":
        better = "adapter" if cfg.model.lora is not None else "merged"
        raise ConfigError(f"run {short}: saved no encoder (save={cfg.save}); train it again with save={better}")
    return cfg


@contextmanager
def saved_model(store: Store, run: RunInfo) -> Iterator[Path]:
    """The folder with the run's saved encoder, for the length of a `with` block.

    Raises:
        ConfigError: it isn't in the record, or can't be read.
    """
    with TemporaryDirectory(prefix="promax-") as scratch:
        folder = fetch_folder(store, run.run_id, "model", Path(scratch))
        if folder is None:
            raise ConfigError(f"run {run.short_id}: its saved encoder is gone from the record; train it again")
        yield folder
