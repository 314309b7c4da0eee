"""The verbs and their options, with an example each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from promax import __version__
from promax.cli import verbs as run

_RAW = argparse.RawDescriptionHelpFormatter
_TRAIN_HELP = """\
Composes conf/ and the overrides into one run, trains it and records it beside its un-tuned
baseline, which is computed first where the study has none yet.

  promax train                                          the embedded corpus, LoRA, 5e-5 and 12 epochs
  promax train experiment=demo                          the same, smaller: a few minutes on two cores
  promax train data=pairs data.train=a.jsonl data.test=b.jsonl
  promax train data=pairs data.test=b.jsonl optim.epochs=0         the baseline alone
  promax train -m optim.lr=2e-5,5e-5 optim.epochs=6,12             a grid of runs
  promax train --cfg job                                print the composed config, run nothing

Groups: data (tickets pairs columnar hub), model (minilm minilm_lora mpnet mpnet_lora),
optim (before_fix after_fix), experiment (baseline before_fix after_fix demo).
"""


_Verbs = Any  # argparse gives the type of what add_subparsers returns no public name


def make_parser() -> argparse.ArgumentParser:
    """The parser of every verb; `train`'s overrides are Hydra's to parse."""
    parser = argparse.ArgumentParser(
        prog="promax",
        description="Says, with evidence, whether a fine-tuning change made a ticket encoder better.",
        epilog="example: promax train experiment=demo && promax compare --study demo && promax ui",
        formatter_class=_RAW,
    )
    parser.add_argument("--version", action="version", version=f"promax {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _add_train(verbs)
    _add_compare(verbs)
    _add_ui(verbs)
    data = verbs.add_parser("data", help="make pair sets").add_subparsers(metavar="VERB", required=True)
    _add_corpus(data)
    return parser


def _add_train(verbs: _Verbs) -> None:
    train = verbs.add_parser("train", help="train and evaluate a run", description=_TRAIN_HELP, formatter_class=_RAW)
    train.add_argument("overrides", nargs="*", help="config overrides in Hydra's grammar")


def _add_compare(verbs: _Verbs) -> None:
    compare = verbs.add_parser(
        "compare",
        help="runs against their baselines",
        description="Paired differences, intervals and tiers of logged runs against their baselines.",
        epilog="example: promax compare --study demo\n         promax compare 3f2a91bc 77d0e4aa",
        formatter_class=_RAW,
    )
    compare.add_argument("runs", nargs="*", metavar="RUN", help="run ids, or their first characters")
    compare.add_argument("--study", help="all finished runs of this study (default: promax)")
    compare.add_argument("--uri", help="tracking store (default: the embedded one)")
    compare.set_defaults(handler=run.compare)


def _add_ui(verbs: _Verbs) -> None:
    ui = verbs.add_parser(
        "ui",
        help="open the MLflow UI on the right store",
        description="Starts the MLflow UI on the store of this project, from any folder; Ctrl-C ends it.",
        epilog="example: promax ui --port 5001",
        formatter_class=_RAW,
    )
    ui.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    ui.add_argument("--port", type=int, default=5000, help="port to listen on (default: %(default)s)")
    ui.add_argument("--uri", help="tracking store (default: the embedded one)")
    ui.set_defaults(handler=run.ui)


def _add_corpus(verbs: _Verbs) -> None:
    corpus = verbs.add_parser(
        "corpus",
        help="write the embedded corpus as a ticket export",
        description="Writes the generated incident tickets as a CSV with ServiceNow's field names.",
        epilog="example: promax data corpus --count 10000 --seed 1 --out incident.csv",
        formatter_class=_RAW,
    )
    corpus.add_argument("--count", type=int, default=3000, help="tickets to generate (default: %(default)s)")
    corpus.add_argument("--seed", type=int, default=0, help="seed of the generator (default: %(default)s)")
    corpus.add_argument("--out", type=Path, required=True, help="CSV file to write")
    corpus.set_defaults(handler=run.corpus)
