"""What each verb but `train` does with its options."""

from __future__ import annotations

import argparse

from promax.config import ConfigError


def compare(options: argparse.Namespace) -> int:
    from promax.compare import compare

    compare(options.runs, options.study, options.uri)
    return 0


def ui(options: argparse.Namespace) -> int:
    from promax.tracking import open_store, serve_ui

    return serve_ui(open_store(options.uri), options.host, options.port)


def corpus(options: argparse.Namespace) -> int:
    from promax.data import corpus

    if options.count < 1:
        raise ConfigError(f"--count {options.count}: must be at least 1")
    if options.out.exists():
        raise ConfigError(f"--out {options.out}: exists already; name a new file")
    corpus.write_csv(corpus.generate(options.count, options.seed), options.out)
    print(f"{options.out}: {options.count} generated tickets, seed {options.seed}")
    return 0
