"""The verbs and their options, with an example each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from promax import __version__
from promax.cli import completion
from promax.cli import verbs as run
from promax.paths import conf_dir


class _Raw(argparse.RawDescriptionHelpFormatter):
    """Descriptions as they are written, and room for the longest verb, which argparse doesn't count in."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 15


_EXAMPLES = """\
examples:
  promax train experiment=demo                                      a baseline and a fine-tuned run
  promax compare --study demo                                       how much better, and how sure that is
  promax confirm confirm_fix                                        the verdict on a study, claim by claim
  promax reproduce 3f2a91bc                                         a logged run again, compared to the bit
  promax search "VPN drops" --run 3f2a91bc --tickets incident.csv   the difference on tickets of your own
  promax ui                                                         the record in the browser
  promax data build incident.csv --out pairs                        an export becomes pairs
  promax data audit pairs/train.parquet --test pairs/test.parquet   what is wrong with them
  promax data corpus --out incident.csv                             tickets, generated, where none are at hand
  promax doctor                                                     what is wrong with this installation

`promax VERB --help` says more of each. TAB completes verbs, options and overrides in the shell:
eval "$(register-python-argcomplete promax)" in bash and zsh, register-python-argcomplete --shell fish promax | source
"""
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

Groups, from {folder}:
{groups}
Every key: promax/config/schema.py. Hydra's other options: promax train --hydra-help.
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

_SEARCH_HELP = """\
Ranks the tickets of a file by their similarity to one of them, or to any text, by the encoder of a run and by its
baseline, side by side. Marked are the tickets that moved, and those that the file says are duplicates of the query:
by its links in an export, by label 1 in a pair file. Texts are shown here and written nowhere.

  promax search "VPN drops every few minutes" --run 3f2a91bc --tickets incident.csv
  promax search INC0010042 --run 3f2a91bc --tickets incident.xlsx --top 10
  promax search 4711 --run 3f2a91bc --tickets bugs.csv export.columns.short=Summary
  promax search "printer is blank" --run 3f2a91bc --tickets pairs/test.parquet
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

_CONFIRM_HELP = """\
Judges the claims of the rule that a study's runs were logged with, from the scores in the record: no model is loaded.
Prints each claim as CONFIRMED, REFUTED or UNDECIDED, writes README.md, tables and figures, and records the same as one
HTML file under the study's own run. Text below the marker at the end of README.md is kept when it is written again.

  promax confirm confirm_fix                      after promax train experiment=confirm_fix
  promax confirm confirm_fix --out verdict
  promax confirm mine --rule confirm_fix          by a rule chosen afterwards, and the report says so

A rule: conf/rule/confirm_fix.yaml. Exit code 0 whatever the verdict is.
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
        epilog=_EXAMPLES,
        formatter_class=_Raw,
    )
    parser.add_argument("--version", action="version", version=f"promax {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=_Interleaved)
    _add_train(verbs)
    _add_compare(verbs)
    _add_confirm(verbs)
    _add_reproduce(verbs)
    _add_search(verbs)
    _add_ui(verbs)
    data = _add_data(verbs)
    _add_build(data)
    _add_audit(data)
    _add_corpus(data)
    _add_doctor(verbs)
    return parser


def _add_train(verbs: _Verbs) -> None:
    description = _TRAIN_HELP.format(folder=conf_dir(), groups=_groups(conf_dir()))
    train = verbs.add_parser("train", help="train and evaluate a run", description=description, formatter_class=_Raw)
    # Hydra takes these, not argparse: here they are listed, and completed by the shell.
    train.add_argument("-m", "--multirun", action="store_true", help="a run for each value of a list, or a search")
    train.add_argument("--cfg", choices=["job", "hydra", "all"], help="print the composed config, run nothing")
    train.add_argument("--config-dir", metavar="DIR", help="a folder of configs besides conf/ (default: none)")
    _add_overrides(train, "Config")


def _groups(conf: Path) -> str:
    """A line for each config group: its name, and what can be chosen."""
    groups = sorted(path for path in conf.glob("*") if path.is_dir())
    return "\n".join(
        f"  {group.name}: {' '.join(sorted(each.stem for each in group.glob('*.yaml')))}" for group in groups
    )


def _add_compare(verbs: _Verbs) -> None:
    compare = verbs.add_parser(
        "compare",
        help="runs against their baselines",
        description="Paired differences, intervals and tiers of logged runs against their baselines.",
        epilog="example: promax compare --study demo\n         promax compare 3f2a91bc 77d0e4aa",
        formatter_class=_Raw,
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
        formatter_class=_Raw,
    )
    reproduce.add_argument("run", metavar="RUN", help="run id, or its first characters")
    reproduce.add_argument("overrides", nargs="*", metavar="KEY=PATH", help="files that lie elsewhere now")
    reproduce.add_argument("--env", action="store_true", help="install the run's packages into a fresh environment")
    reproduce.add_argument("--dry-run", action="store_true", help="check and tell, train nothing")
    reproduce.add_argument("--uri", help="tracking store (default: the embedded one)")
    reproduce.set_defaults(handler=run.reproduce)


def _add_confirm(verbs: _Verbs) -> None:
    confirm = verbs.add_parser(
        "confirm", help="the verdict on a study, claim by claim", description=_CONFIRM_HELP, formatter_class=_Raw
    )
    confirm.add_argument("study", metavar="STUDY", help="the study, as its runs were filed with study=NAME")
    confirm.add_argument("--out", type=Path, metavar="DIR", help="folder to write (default: experiments/STUDY)")
    confirm.add_argument(
        "--rule", metavar="NAME", help="judge by conf/rule/NAME.yaml: this explores (default: as logged)"
    )
    confirm.add_argument("--uri", help="tracking store (default: the embedded one)")
    confirm.set_defaults(handler=run.confirm)


def _add_search(verbs: _Verbs) -> None:
    search = verbs.add_parser(
        "search",
        help="the nearest tickets by a trained encoder beside its baseline's",
        description=_SEARCH_HELP,
        formatter_class=_Raw,
    )
    _completed(search.add_argument("query", metavar="QUERY", help="the id of a ticket in FILE, or any text in quotes"))
    _completed(search.add_argument("--run", required=True, metavar="RUN_ID", help="run id, or its first characters"))
    search.add_argument("--tickets", type=Path, required=True, metavar="FILE", help="ticket export or pair file")
    search.add_argument("--top", type=int, default=5, metavar="N", help="tickets to show (default: %(default)s)")
    search.add_argument("--uri", help="tracking store (default: the embedded one)")
    told = "how an export is read: export.* in Hydra's grammar"
    words = search.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=told)
    _completed(words, partial(completion.overrides, schema="BuildConfig", within="export."))
    search.set_defaults(handler=run.search)


def _add_ui(verbs: _Verbs) -> None:
    ui = verbs.add_parser(
        "ui",
        help="open the MLflow UI on the right store",
        description="Starts the MLflow UI on the store of this project, from any folder; Ctrl-C ends it.",
        epilog="example: promax ui --port 5001",
        formatter_class=_Raw,
    )
    ui.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    ui.add_argument("--port", type=int, default=5000, help="port to listen on (default: %(default)s)")
    ui.add_argument("--uri", help="tracking store (default: the embedded one)")
    ui.set_defaults(handler=run.ui)


def _add_data(verbs: _Verbs) -> _Verbs:
    data = verbs.add_parser(
        "data",
        help="build pairs from an export, audit them, generate tickets",
        description="From tickets to pairs that can be trusted.",
        epilog="example: promax data build incident.csv --out pairs",
        formatter_class=_Raw,
    )
    return data.add_subparsers(metavar="VERB", required=True, parser_class=_Interleaved)


def _add_build(verbs: _Verbs) -> None:
    build = verbs.add_parser(
        "build",
        help="make pairs in phases from a ticket export",
        description=_BUILD_HELP,
        formatter_class=_Raw,
    )
    build.add_argument("export", type=Path, metavar="EXPORT", help="ticket export: .csv, .xlsx, .json or .jsonl")
    build.add_argument(
        "--links", type=Path, metavar="FILE", help="duplicate links, a ticket and its duplicates a row (default: none)"
    )
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, new or empty")
    _add_overrides(build, "BuildConfig")
    build.set_defaults(handler=run.build)


def _add_audit(verbs: _Verbs) -> None:
    audit = verbs.add_parser(
        "audit",
        help="say what is wrong with a pair set",
        description=_AUDIT_HELP,
        formatter_class=_Raw,
    )
    audit.add_argument("train", metavar="TRAIN", help="pairs to look through; `tickets` is the embedded corpus")
    audit.add_argument(
        "--test", metavar="TEST", help="pairs that a model trained on TRAIN would be judged by (default: none)"
    )
    audit.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for report.md, report.json and the figures (default: none)"
    )
    _add_overrides(audit, "Config")
    audit.set_defaults(handler=run.audit)


def _add_corpus(verbs: _Verbs) -> None:
    corpus = verbs.add_parser(
        "corpus",
        help="write the embedded corpus as a ticket export",
        description="Writes the generated incident tickets as a CSV with ServiceNow's field names.",
        epilog="example: promax data corpus --count 10000 --seed 1 --out incident.csv",
        formatter_class=_Raw,
    )
    corpus.add_argument("--count", type=int, default=3000, help="tickets to generate (default: %(default)s)")
    corpus.add_argument("--seed", type=int, default=0, help="seed of the generator (default: %(default)s)")
    corpus.add_argument("--out", type=Path, required=True, metavar="FILE", help="CSV file to write")
    corpus.set_defaults(handler=run.corpus)


def _add_doctor(verbs: _Verbs) -> None:
    doctor = verbs.add_parser(
        "doctor",
        help="check this installation, and say what to do",
        description=(
            "Looks at versions, configs, the record, the disk, the encoders, the device and the sweeper.\n"
            "A line each: ok, warning or problem, and what to do. Nothing is created, changed or downloaded.\n"
            "Exit code 1 if there is a problem."
        ),
        epilog="example: promax doctor",
        formatter_class=_Raw,
    )
    doctor.add_argument("--uri", help="tracking store (default: the embedded one)")
    doctor.set_defaults(handler=run.doctor)


def _add_overrides(verb: argparse.ArgumentParser, schema: str) -> None:
    told = "config overrides in Hydra's grammar"
    words = verb.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=told)
    _completed(words, partial(completion.overrides, schema=schema))


def _completed(action: argparse.Action, completer: Callable[..., list[str]] = completion.nothing) -> None:
    """Have the shell complete an argument by `completer`, which argcomplete looks for at this name."""
    action.completer = completer  # type: ignore[attr-defined]
