# PYTHON_ARGCOMPLETE_OK: activate-global-python-argcomplete looks for this line.
"""`promax VERB`: the command line.

Exit codes: 0 done; 1 the answer is no; 2 the request is wrong; 3 promax itself failed; 130 interrupted (Ctrl-C),
143 terminated (SIGTERM), 141 nobody reads the output any more.
Errors are one or two lines on stderr; PROMAX_DEBUG=1 shows the traceback behind them.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import promax
from promax.cli.completion import COMPLETING, answer
from promax.cli.parser import make_parser

# Whoever presses TAB waits for what is imported here, so that the schema, with pydantic, is left to the verbs.


def main(argv: Sequence[str] | None = None) -> None:
    """The console entry point: runs one verb and exits with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.exit(_guarded(lambda: _dispatch(arguments, alone=argv is None)))


def _guarded(action: Callable[[], int]) -> int:
    """Run `action`; turn what goes wrong into one or two lines and an exit code."""
    try:
        return action()
    except KeyboardInterrupt:
        print("promax: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Who read the output has seen enough, as `head` has: nothing is wrong, and closing stdout must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if os.environ.get("PROMAX_DEBUG"):
            traceback.print_exc()
        text, code = _explain(error)
        print(f"promax: {text}", file=sys.stderr)
        return code


def _explain(error: Exception) -> tuple[str, int]:
    from promax.config import ConfigError
    from promax.trial import SweepError

    if isinstance(error, ConfigError):
        return str(error), 2
    if isinstance(error, SweepError):
        return str(error), 3
    last = traceback.extract_tb(error.__traceback__)[-1]
    first_line = (str(error).splitlines() or [""])[0]
    if isinstance(error, RuntimeError) and Path(promax.__file__).parent in Path(last.filename).parents:
        return first_line, 3
    # Messages of other libraries may quote what they failed on, and that may be a ticket.
    where = f"{Path(last.filename).name}:{last.lineno}"
    return f"failed with {type(error).__name__} at {where}; PROMAX_DEBUG=1 shows more", 3


def _dispatch(arguments: list[str], *, alone: bool) -> int:
    parser = make_parser()
    if COMPLETING in os.environ:
        answer(parser)
    if arguments[:1] == ["train"]:
        # Everything behind `train` is Hydra's own command line.
        if {"-h", "--help"} & set(arguments[1:]):
            parser.parse_args(["train", "--help"])
        from promax.cli.train import train

        return train(arguments[1:], may_begin_anew=alone)
    options = parser.parse_args(arguments)
    handler: Callable[[argparse.Namespace], int] = options.handler
    return handler(options)
