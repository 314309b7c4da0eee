"""What each verb but `train` does with its options."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promax.config import ModelConfig


def compare(options: argparse.Namespace) -> int:
    from promax.compare import compare

    compare(options.runs, options.study, options.uri)
    return 0


def confirm(options: argparse.Namespace) -> int:
    rule = None
    if options.rule is not None:
        from promax.cli.compose import composed
        from promax.config import Config

        rule = composed("config", Config, [f"rule={options.rule}"]).rule
    from promax.confirm.flow import confirm

    confirm(options.study, options.uri, options.out, rule)
    return 0


def reproduce(options: argparse.Namespace) -> int:
    from promax.reproduce import reproduce

    try:
        same = reproduce(options.run, options.overrides, options.uri, fresh=options.env, dry_run=options.dry_run)
    except KeyboardInterrupt:
        print("the worktree is removed; a run in progress is marked KILLED", file=sys.stderr)
        raise
    return 0 if same else 1


def sync(options: argparse.Namespace) -> int:
    from promax.cli.compose import composed
    from promax.config import Config
    from promax.tracking import send_waiting, waiting_runs

    addresses = [options.uri, os.environ.get("MLFLOW_TRACKING_URI"), composed("config", Config, []).tracking.uri]
    waiting = waiting_runs()
    runs = f"{len(waiting)} run{'s' * (len(waiting) > 1)}"
    print(f"{sum(each.writes for each in waiting)} writes of {runs} wait" if waiting else "nothing waits")
    done = True
    for each in send_waiting([address for address in addresses if address]):
        done = done and each.refusal is None
        told = f"run {each.pending.run_id[:8]}: {each.sent} of {each.pending.writes} sent to {each.pending.server}"
        print(told + (f"; {each.refusal}" if each.refusal else ""), flush=True)
    return 0 if done else 1


def archive(options: argparse.Namespace) -> int:
    from promax.files import file_name
    from promax.tracking import archive, open_store

    out = options.out or Path(f"{file_name(options.study)}.zip")
    runs = archive(open_store(options.uri), options.study, out, pairs=not options.without_pairs).runs
    print(f"{out}: {len(runs)} runs of study {options.study}, {out.stat().st_size:,} bytes")
    needed = ", where its pairs are too" if options.without_pairs else ""
    print(f"in another checkout{needed}: promax restore {out.name}")
    return 0


def restore(options: argparse.Namespace) -> int:
    from promax.reproduce import restored
    from promax.tracking import open_store

    try:
        found = restored(open_store(options.uri), options.file, options.study, options.overrides)
    except KeyboardInterrupt:
        print("nothing of it is in the record; the same command begins again", file=sys.stderr)
        raise
    print(f"study {found.study}: {len(found.ids)} runs restored")
    print(f"next: promax compare --study {found.study}\n      promax confirm {found.study} --out report")
    return 0


def promote(options: argparse.Namespace) -> int:
    from promax.promote import promote

    return 0 if promote(options.run, options.name, options.uri, dry_run=options.dry_run) else 1


def ui(options: argparse.Namespace) -> int:
    from promax.tracking import open_store, serve_ui

    return serve_ui(open_store(options.uri), options.host, options.port)


def build(options: argparse.Namespace) -> int:
    from promax.cli.compose import composed
    from promax.config import BuildConfig

    cfg = composed("build", BuildConfig, options.overrides)
    from promax.build import build
    from promax.vectors import untuned_vectors

    vectors_of = partial(untuned_vectors, model=cfg.model, device=cfg.device, batch_size=cfg.batch_size)
    try:
        build(options.export, options.links, options.out, cfg, vectors_of)
    except KeyboardInterrupt:
        print("what was encoded is kept; the same command goes on from there", file=sys.stderr)
        raise
    return 0


def audit(options: argparse.Namespace) -> int:
    from promax.cli.compose import composed
    from promax.config import Config

    cfg = composed("config", Config, _audited(options))
    from promax.audit.flow import audit

    return 1 if audit(cfg, options.out).of("error") else 0


def _audited(options: argparse.Namespace) -> list[str]:
    """The overrides that name the pairs, before the user's own."""
    if options.train == "tickets" and options.test is None:
        return ["data=tickets", *options.overrides]
    source = [] if any(word.startswith("data=") for word in options.overrides) else ["data=pairs"]
    # Alone, it is what something would be judged by.
    sides = {"test": options.train} if options.test is None else {"train": options.train, "test": options.test}
    quoted = {side: "'" + path.replace("'", "\\'") + "'" for side, path in sides.items()}
    return [*source, *(f"data.{side}={path}" for side, path in quoted.items()), *options.overrides]


def corpus(options: argparse.Namespace) -> int:
    from promax.config import ConfigError
    from promax.data import corpus

    if options.count < 1:
        raise ConfigError(f"--count {options.count}: must be at least 1")
    if options.out.exists():
        raise ConfigError(f"--out {options.out}: exists already; name a new file")
    corpus.write_csv(corpus.generate(options.count, options.seed), options.out)
    print(f"{options.out}: {options.count} generated tickets, seed {options.seed}")
    return 0


def search(options: argparse.Namespace) -> int:
    from promax.cli.compose import composed
    from promax.config import BuildConfig, ConfigError

    if not options.query.strip():
        raise ConfigError("QUERY is empty; give the id of a ticket in the file, or a text in quotes")
    if options.top < 1:
        raise ConfigError(f"--top {options.top}: must be at least 1")
    if not options.tickets.is_file():
        raise ConfigError(f"--tickets {options.tickets}: no such file")
    # What stands here may be the rest of a query without quotes, so it is not repeated.
    if not all(word.startswith("export.") for word in options.overrides):
        raise ConfigError("more words than QUERY that are no export.* settings; put a text of several words in quotes")
    export = composed("build", BuildConfig, options.overrides).export
    from promax.search.flow import search

    search(options.query, options.run, options.tickets, options.top, options.uri, export)
    return 0


def doctor(options: argparse.Namespace) -> int:
    from promax.doctor.flow import doctor

    return 1 if any(each.status == "problem" for each in doctor(options.uri, _models)) else 0


def _models() -> dict[str, ModelConfig]:
    """The encoders of conf/model/, by name."""
    from promax.cli.completion import config_groups
    from promax.cli.compose import composed
    from promax.config import Config

    return {name: composed("config", Config, [f"model={name}"]).model for name in config_groups().get("model", [])}
