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
  promax train -m hydra/sweeper=promax_optuna 'optim.lr=tag(log,interval(1e-6,1e-3))' 'optim.epochs=range(2,17,2)'
                                                        a search: pruned, resumed by the same command
  promax train @mlruns/sweeps/.../best.yaml             the overrides in a file, as a search leaves them
  promax train --cfg job                                print the composed config, run nothing

Groups: data (tickets pairs columnar hub), model (minilm minilm_lora mpnet mpnet_lora),
optim (before_fix after_fix), experiment (baseline before_fix after_fix demo lr_epochs).
"""

_REPRODUCE_HELP = """\
Runs a logged run again from its record: its commit with its uncommitted change in a worktree of its own, its
resolved config, its pairs and encoder files, checked by their hashes before anything is trained. Then compares
every metric at every step, every loss and every pair's score. The new run stands under the old one in the
MLflow UI and is no part of its study's tables. Exit code 1 if something drifted, 2 if it can't be rebuilt.
It runs the code that the record holds: reproduce runs of people you trust.

  promax reproduce 3f2a91bc --dry-run                      what would be done, and whether everything is there
  promax reproduce 3f2a91bc                                with the packages installed here
  promax reproduce 3f2a91bc --env                          with the run's own, in an environment of their own
  promax reproduce 3f2a91bc data.train=/data/train.jsonl   where a file lies elsewhere now
"""

_BUILD_HELP = """\
Reads a ServiceNow, Jira or Bugzilla export, takes positive pairs from problem records, parents and
duplicate links, mines negative ones, and writes train, dev, test and adversarial pairs with a manifest.
What was encoded is kept: a build that was stopped goes on where it was.

  promax data build incident.csv --out pairs
  promax data build incident.csv --out pairs phases.pairs=null        as many pairs as there are
  promax data build bugs.csv --links duplicates.csv --out pairs export.columns.short=Summary
  promax data build incident.csv --out pairs phases.definition=banded mining.pairs_per_ticket=4

Every key: promax/config/curriculum.py and promax/config/exports.py. The first example writes pairs/train.parquet,
pairs/train.json, and so on for dev, test and adversarial, and pairs/manifest.json.
"""

_AUDIT_HELP = """\
Looks for what would mislead whoever trains on these pairs or judges by them: train easier than test, inverted
phases, labels that a simple rule gives, tickets on both sides, leaks, people. Prints what was found, worst first,
with a figure and what to do, and records it in the study. Exit code 1 if anything found is an error.

  promax data audit train.jsonl --test test.jsonl
  promax data audit pairs.jsonl --out audit data.positive_from=0.5
  promax data audit tickets                                         the embedded corpus, as a run would divide it
  promax data audit train --test validation data=hub data.path=sentence-transformers/stsb

A pair set of its own counts as test. Texts are never shown. Example of a result: experiments/data_audit/.
"""


_Verbs = Any  # argparse gives the type of what add_subparsers returns no public name


class _Interleaved(argparse.ArgumentParser):
    """Takes overrides on either side of an option; argparse's own `*` is done with once an option comes."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        parsed, extra = super().parse_known_args(args, namespace)
        if "overrides" not in parsed:
            return parsed, extra
        parsed.overrides = [*parsed.overrides, *(word for word in extra if not word.startswith("-"))]
        return parsed, [word for word in extra if word.startswith("-")]


def make_parser() -> argparse.ArgumentParser:
    """The parser of every verb; `train`'s overrides are Hydra's to parse."""
    parser = argparse.ArgumentParser(
        prog="promax",
        description="Says, with evidence, whether a fine-tuning change made a ticket encoder better.",
        epilog="example: promax train experiment=demo && promax compare --study demo && promax ui",
        formatter_class=_RAW,
    )
    parser.add_argument("--version", action="version", version=f"promax {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=_Interleaved)
    _add_train(verbs)
    _add_compare(verbs)
    _add_reproduce(verbs)
    _add_ui(verbs)
    data = verbs.add_parser("data", help="build pairs from an export, audit them, generate tickets").add_subparsers(
        metavar="VERB", required=True
    )
    _add_build(data)
    _add_audit(data)
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


def _add_reproduce(verbs: _Verbs) -> None:
    reproduce = verbs.add_parser(
        "reproduce",
        help="run a logged run again from its record",
        description=_REPRODUCE_HELP,
        formatter_class=_RAW,
    )
    reproduce.add_argument("run", metavar="RUN", help="run id, or its first characters")
    reproduce.add_argument("overrides", nargs="*", metavar="KEY=PATH", help="files that lie elsewhere now")
    reproduce.add_argument("--env", action="store_true", help="install the run's packages into a fresh environment")
    reproduce.add_argument("--dry-run", action="store_true", help="check and tell, train nothing")
    reproduce.add_argument("--uri", help="tracking store (default: the embedded one)")
    reproduce.set_defaults(handler=run.reproduce)


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


def _add_build(verbs: _Verbs) -> None:
    build = verbs.add_parser(
        "build",
        help="make pairs in phases from a ticket export",
        description=_BUILD_HELP,
        formatter_class=_RAW,
    )
    build.add_argument("export", type=Path, metavar="EXPORT", help="ticket export: .csv, .xlsx, .json or .jsonl")
    build.add_argument("--links", type=Path, metavar="FILE", help="duplicate links: a ticket and its duplicates a row")
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, new or empty")
    build.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="config overrides in Hydra's grammar")
    build.set_defaults(handler=run.build)


def _add_audit(verbs: _Verbs) -> None:
    audit = verbs.add_parser(
        "audit",
        help="say what is wrong with a pair set",
        description=_AUDIT_HELP,
        formatter_class=_RAW,
    )
    audit.add_argument("train", metavar="TRAIN", help="pairs to look through; `tickets` is the embedded corpus")
    audit.add_argument("--test", metavar="TEST", help="pairs that a model trained on TRAIN would be judged by")
    audit.add_argument("--out", type=Path, metavar="DIR", help="folder for report.md, report.json and the figures")
    audit.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="config overrides in Hydra's grammar")
    audit.set_defaults(handler=run.audit)


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
