"""The verbs and their options, with an example each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from promax import __version__
from promax.cli import completion, texts
from promax.cli import verbs as run
from promax.paths import conf_dir


class _Raw(argparse.RawDescriptionHelpFormatter):
    """Descriptions as they are written, and room for the longest verb, which argparse doesn't count in."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 15


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
        epilog=texts.EXAMPLES,
        formatter_class=_Raw,
    )
    parser.add_argument("--version", action="version", version=f"promax {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=_Interleaved)
    _add_train(verbs)
    _add_compare(verbs)
    _add_confirm(verbs)
    _add_reproduce(verbs)
    _add_promote(verbs)
    _add_search(verbs)
    _add_archive(verbs)
    _add_restore(verbs)
    _add_sync(verbs)
    _add_ui(verbs)
    data = _add_data(verbs)
    _add_build(data)
    _add_audit(data)
    _add_corpus(data)
    _add_doctor(verbs)
    return parser


def _add_train(verbs: _Verbs) -> None:
    description = texts.TRAIN_HELP.format(folder=conf_dir(), groups=_groups())
    train = verbs.add_parser("train", help="train and evaluate a run", description=description, formatter_class=_Raw)
    # Hydra takes these, not argparse: here they are listed, and completed by the shell.
    train.add_argument("-m", "--multirun", action="store_true", help="a run for each value of a list, or a search")
    train.add_argument("--cfg", choices=["job", "hydra", "all"], help="print the composed config, run nothing")
    train.add_argument("--config-dir", metavar="DIR", help="a folder of configs besides conf/ (default: none)")
    _add_overrides(train, "Config")


def _groups() -> str:
    """A line for each config group: its name, and what can be chosen."""
    return "\n".join(f"  {name}: {' '.join(choices)}" for name, choices in completion.config_groups().items())


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
    _add_uri(compare)
    compare.set_defaults(handler=run.compare)


def _add_reproduce(verbs: _Verbs) -> None:
    reproduce = verbs.add_parser(
        "reproduce",
        help="run a logged run again from its record",
        description=texts.REPRODUCE_HELP,
        formatter_class=_Raw,
    )
    reproduce.add_argument("run", metavar="RUN", help="run id, or its first characters")
    reproduce.add_argument("overrides", nargs="*", metavar="KEY=PATH", help="files that lie elsewhere now")
    reproduce.add_argument("--env", action="store_true", help="install the run's packages into a fresh environment")
    reproduce.add_argument("--dry-run", action="store_true", help="check and tell, train nothing")
    _add_uri(reproduce)
    reproduce.set_defaults(handler=run.reproduce)


def _add_promote(verbs: _Verbs) -> None:
    promote = verbs.add_parser(
        "promote",
        help="make a run's encoder the champion, if it has earned it",
        description=texts.PROMOTE_HELP,
        formatter_class=_Raw,
    )
    promote.add_argument("run", metavar="RUN", help="run id, or its first characters")
    promote.add_argument("--name", help="registered model (default: the run's study)")
    promote.add_argument("--dry-run", action="store_true", help="say what the gate finds, write nothing")
    _add_uri(promote)
    promote.set_defaults(handler=run.promote)


def _add_confirm(verbs: _Verbs) -> None:
    confirm = verbs.add_parser(
        "confirm", help="the verdict on a study, claim by claim", description=texts.CONFIRM_HELP, formatter_class=_Raw
    )
    confirm.add_argument("study", metavar="STUDY", help="the study, as its runs were filed with study=NAME")
    confirm.add_argument("--out", type=Path, metavar="DIR", help="folder to write (default: experiments/STUDY)")
    confirm.add_argument(
        "--rule", metavar="NAME", help="judge by conf/rule/NAME.yaml: this explores (default: as logged)"
    )
    _add_uri(confirm)
    confirm.set_defaults(handler=run.confirm)


def _add_search(verbs: _Verbs) -> None:
    search = verbs.add_parser(
        "search",
        help="the nearest tickets by a trained encoder beside its baseline's",
        description=texts.SEARCH_HELP,
        formatter_class=_Raw,
    )
    _completed(search.add_argument("query", metavar="QUERY", help="the id of a ticket in FILE, or any text in quotes"))
    _completed(search.add_argument("--run", required=True, metavar="RUN_ID", help="run id, or its first characters"))
    search.add_argument("--tickets", type=Path, required=True, metavar="FILE", help="ticket export or pair file")
    search.add_argument("--top", type=int, default=5, metavar="N", help="tickets to show (default: %(default)s)")
    _add_uri(search)
    told = "how an export is read: export.* in Hydra's grammar"
    words = search.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=told)
    _completed(words, partial(completion.overrides, schema="BuildConfig", within="export."))
    search.set_defaults(handler=run.search)


def _add_archive(verbs: _Verbs) -> None:
    archive = verbs.add_parser(
        "archive", help="a study's record as one file", description=texts.ARCHIVE_HELP, formatter_class=_Raw
    )
    archive.add_argument("study", metavar="STUDY", help="the study, as its runs were filed with study=NAME")
    archive.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: STUDY.zip)")
    archive.add_argument("--without-pairs", action="store_true", help="no ids, labels or texts of pairs (default: all)")
    _add_uri(archive)
    archive.set_defaults(handler=run.archive)


def _add_restore(verbs: _Verbs) -> None:
    restore = verbs.add_parser(
        "restore", help="take an archived study into the record", description=texts.RESTORE_HELP, formatter_class=_Raw
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="what `promax archive` wrote")
    restore.add_argument("overrides", nargs="*", metavar="KEY=PATH", help="files of pairs that lie elsewhere now")
    restore.add_argument("--study", metavar="NAME", help="its name here (default: the one that it had)")
    _add_uri(restore)
    restore.set_defaults(handler=run.restore)


def _add_sync(verbs: _Verbs) -> None:
    sync = verbs.add_parser(
        "sync", help="send what runs could not tell their server", description=texts.SYNC_HELP, formatter_class=_Raw
    )
    sync.add_argument(
        "--uri", help="a server's address, with its credentials (default: $MLFLOW_TRACKING_URI, then tracking.uri)"
    )
    sync.set_defaults(handler=run.sync)


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
    _add_uri(ui)
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
        description=texts.BUILD_HELP,
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
        description=texts.AUDIT_HELP,
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
    _add_uri(doctor)
    doctor.set_defaults(handler=run.doctor)


def _add_uri(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--uri", help="tracking store (default: the embedded one)")


def _add_overrides(verb: argparse.ArgumentParser, schema: str) -> None:
    told = "config overrides in Hydra's grammar"
    words = verb.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=told)
    _completed(words, partial(completion.overrides, schema=schema))


def _completed(action: argparse.Action, completer: Callable[..., list[str]] = completion.nothing) -> None:
    """Have the shell complete an argument by `completer`, which argcomplete looks for at this name."""
    action.completer = completer  # type: ignore[attr-defined]
