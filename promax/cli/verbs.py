"""What each verb but `train` does with its options."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from promax.config import BuildConfig, ConfigError


def compare(options: argparse.Namespace) -> int:
    from promax.compare import compare

    compare(options.runs, options.study, options.uri)
    return 0


def reproduce(options: argparse.Namespace) -> int:
    from promax.reproduce import reproduce

    try:
        same = reproduce(options.run, options.overrides, options.uri, fresh=options.env, dry_run=options.dry_run)
    except KeyboardInterrupt:
        print("the worktree is removed; a run in progress is marked KILLED", file=sys.stderr)
        raise
    return 0 if same else 1


def ui(options: argparse.Namespace) -> int:
    from promax.tracking import open_store, serve_ui

    return serve_ui(open_store(options.uri), options.host, options.port)


def build(options: argparse.Namespace) -> int:
    from promax.cli.compose import composed

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
    from promax.data import corpus

    if options.count < 1:
        raise ConfigError(f"--count {options.count}: must be at least 1")
    if options.out.exists():
        raise ConfigError(f"--out {options.out}: exists already; name a new file")
    corpus.write_csv(corpus.generate(options.count, options.seed), options.out)
    print(f"{options.out}: {options.count} generated tickets, seed {options.seed}")
    return 0
