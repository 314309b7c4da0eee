"""`promax VERB`: the command line.

Exit codes: 0 done; 1 the answer is no; 2 the request is wrong; 3 promax itself failed; 130 interrupted (Ctrl-C),
143 terminated (SIGTERM).
Errors are one or two lines on stderr; PROMAX_DEBUG=1 shows the traceback behind them.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from promax import __version__
from promax.config import Config, ConfigError, build, conf_dir, is_known, project_root, unknown_key

if TYPE_CHECKING:
    from omegaconf import DictConfig

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


def main(argv: Sequence[str] | None = None) -> None:
    """The console entry point: runs one verb and exits with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.exit(_guarded(lambda: _dispatch(arguments)))


def _guarded(action: Callable[[], int]) -> int:
    """Run `action`; turn what goes wrong into one or two lines and an exit code."""
    try:
        return action()
    except KeyboardInterrupt:
        print("promax: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("PROMAX_DEBUG"):
            traceback.print_exc()
        text, code = _explain(error)
        print(f"promax: {text}", file=sys.stderr)
        return code


def _explain(error: Exception) -> tuple[str, int]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, ConfigError):
        return str(error), 2
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _explain_composition(error), 2
    last = traceback.extract_tb(error.__traceback__)[-1]
    first_line = (str(error).splitlines() or [""])[0]
    if isinstance(error, RuntimeError) and Path(__file__).parent in Path(last.filename).parents:
        return first_line, 3
    # Messages of other libraries may quote what they failed on, and that may be a ticket.
    where = f"{Path(last.filename).name}:{last.lineno}"
    return f"failed with {type(error).__name__} at {where}; PROMAX_DEBUG=1 shows more", 3


def _explain_composition(error: Exception) -> str:
    """What Hydra refused, in a line or two: an unknown key, an unknown choice in a group, a malformed override."""
    from hydra.errors import OverrideParseException

    if isinstance(error, OverrideParseException):
        return f"{error.override}: not an override; write KEY=VALUE, like optim.lr=1e-4 or 'optim.phase_split=[1,2]'"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if line.startswith("Ambiguous value for argument '"):
            return f"{line.split(chr(39))[1]}: several values; with -m there is a run for each"
        if line.startswith("Could not override '"):
            return _explain_key(line.split("'")[1])
        if "Could not find '" in line and lines[number + 1 : number + 2]:
            missing = line[line.index("Could not find '") :].split("'")[1]
            group, _, choice = missing.rpartition("/")
            choices = ", ".join(each for each in lines[number + 2 :] if " " not in each)
            return f"{group}={choice}: no such config. Available: {choices}"
    return "\n".join(lines[:2])


def _explain_key(key: str) -> str:
    """Why a key can't be overridden. Hydra names it up to where it failed; the override as typed names all of it."""
    typed = (word.partition("=")[0].lstrip("+~") for word in sys.argv[1:])
    key = next((word for word in typed if word == key or word.startswith(f"{key}.")), key)
    if is_known(key):
        group = key.rpartition(".")[0]
        return f"{key}: {group} is null here; choose a config that has it, like model=minilm_lora"
    return unknown_key(key)


def _dispatch(arguments: list[str]) -> int:
    parser = _parser()
    if arguments[:1] == ["train"]:
        # Everything behind `train` is Hydra's own command line.
        if {"-h", "--help"} & set(arguments[1:]):
            parser.parse_args(["train", "--help"])
        return _train(arguments[1:])
    options = parser.parse_args(arguments)
    handler: Callable[[argparse.Namespace], int] = options.handler
    return handler(options)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="promax",
        description="Says, with evidence, whether a fine-tuning change made a ticket encoder better.",
        epilog="example: promax train experiment=demo && promax compare --study demo && promax ui",
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=f"promax {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    train = verbs.add_parser("train", help="train and evaluate a run", description=_TRAIN_HELP, formatter_class=raw)
    train.add_argument("overrides", nargs="*", help="config overrides in Hydra's grammar")

    compare = verbs.add_parser(
        "compare",
        help="runs against their baselines",
        description="Paired differences, intervals and tiers of logged runs against their baselines.",
        epilog="example: promax compare --study demo\n         promax compare 3f2a91bc 77d0e4aa",
        formatter_class=raw,
    )
    compare.add_argument("runs", nargs="*", metavar="RUN", help="run ids, or their first characters")
    compare.add_argument("--study", help="all finished runs of this study (default: promax)")
    compare.add_argument("--uri", help="tracking store (default: the embedded one)")
    compare.set_defaults(handler=_compare)

    ui = verbs.add_parser(
        "ui",
        help="open the MLflow UI on the right store",
        description="Starts the MLflow UI on the store of this project, from any folder; Ctrl-C ends it.",
        epilog="example: promax ui --port 5001",
        formatter_class=raw,
    )
    ui.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    ui.add_argument("--port", type=int, default=5000, help="port to listen on (default: %(default)s)")
    ui.add_argument("--uri", help="tracking store (default: the embedded one)")
    ui.set_defaults(handler=_ui)

    data = verbs.add_parser("data", help="make pair sets").add_subparsers(metavar="VERB", required=True)
    corpus = data.add_parser(
        "corpus",
        help="write the embedded corpus as a ticket export",
        description="Writes the generated incident tickets as a CSV with ServiceNow's field names.",
        epilog="example: promax data corpus --count 10000 --seed 1 --out incident.csv",
        formatter_class=raw,
    )
    corpus.add_argument("--count", type=int, default=3000, help="tickets to generate (default: %(default)s)")
    corpus.add_argument("--seed", type=int, default=0, help="seed of the generator (default: %(default)s)")
    corpus.add_argument("--out", type=Path, required=True, help="CSV file to write")
    corpus.set_defaults(handler=_corpus)
    return parser


class _Refused(BaseException):
    """Carries an error out of Hydra's job, which prints a page about an `Exception` before it passes it on."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


def _train(overrides: list[str]) -> int:
    """Compose with Hydra, single run or multirun, and train each composed config."""
    import hydra
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    # Every key of the schema exists from the start, so that a typed override finds it and a mistyped one does not.
    ConfigStore.instance().store(name="schema", node=asdict(Config()))
    # conf/ and worker processes then mean the same folder, whatever the working directory.
    os.environ["PROMAX_ROOT"] = str(project_root())
    # Hydra's parser takes overrides on one side of a flag only; people type -m where they like.
    flags = [word for word in overrides if word in ("-m", "--multirun")]
    sys.argv = ["promax train", *flags, *(word for word in overrides if word not in flags)]
    # Hydra then raises what went wrong in composing instead of printing a page about it.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(_train_one)()
    except _Refused as refused:
        raise refused.cause from None
    except KeyboardInterrupt:
        print(
            "what was logged is kept, a run in progress is marked KILLED; the same command starts it anew",
            file=sys.stderr,
        )
        raise
    except (HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        # Hydra's composition meets some requests, like GROUP=null, with whatever its code happens to raise.
        raise ConfigError(
            f"{' '.join(overrides)}: can't be composed: {(str(error).splitlines() or [''])[0]}"
        ) from error
    return 0


def _show_progress() -> None:
    """Send what promax says of its work to stderr, away from the results on stdout."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("promax")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # Hydra has set the root logger to tell everything that libraries say.
    logging.getLogger().setLevel(logging.WARNING)


def _train_one(composed: DictConfig) -> float:
    """One composed run; returns its dev metric, which is what a sweeper optimises."""
    _show_progress()
    try:
        cfg = build(composed)
        from promax.data.splits import load

        # Reading the pairs needs no torch: a bad file is refused before the seconds that its import takes.
        splits = load(cfg.data, training=cfg.optim.epochs > 0)
        from hydra.core.hydra_config import HydraConfig

        from promax.compare import compare
        from promax.run import run

        result = run(cfg, splits, HydraConfig.get().overrides.task)
        compare([result.run_id], None, cfg.tracking.uri)
        return result.objective
    except Exception as error:
        raise _Refused(error) from error


def _compare(options: argparse.Namespace) -> int:
    from promax.compare import compare

    compare(options.runs, options.study, options.uri)
    return 0


def _ui(options: argparse.Namespace) -> int:
    from promax.tracking import open_store, serve_ui

    return serve_ui(open_store(options.uri), options.host, options.port)


def _corpus(options: argparse.Namespace) -> int:
    from promax.data import corpus

    if options.count < 1:
        raise ConfigError(f"--count {options.count}: must be at least 1")
    if options.out.exists():
        raise ConfigError(f"--out {options.out}: exists already; name a new file")
    corpus.write_csv(corpus.generate(options.count, options.seed), options.out)
    print(f"{options.out}: {options.count} generated tickets, seed {options.seed}")
    return 0


if __name__ == "__main__":
    main()
