"""How runs end before their time: signals, and what may be said about an exception."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal, NoReturn

from promax.tracking.address import mask
from promax.trial import Pruned

LONGEST_REASON = 200


class Terminated(SystemExit):
    """SIGTERM arrived while a run was open, or in a sweep's worker. Left alone, it ends the process with status 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def termination_raises() -> Iterator[None]:
    """SIGTERM raises `Terminated` inside, so that what is open is closed; the former handler comes back after.

    Outside the main thread, where Python allows no signal handlers, nothing changes.
    """
    if not _in_main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former or signal.SIG_DFL)


@contextmanager
def held_signals(*, unless: bool = False) -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the end of the block, so that a second one does not cut the closing short.

    Not so with `unless`, for closing that may take minutes.
    """
    if unless or not _in_main_thread():
        yield
        return
    arrived: list[int] = []
    watched = (signal.SIGINT, signal.SIGTERM)
    former = {each: signal.signal(each, lambda number, _frame: arrived.append(number)) for each in watched}
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler or signal.SIG_DFL)
    if arrived:
        signal.raise_signal(arrived[0])


def status_and_reason(error: BaseException) -> tuple[Literal["KILLED", "FAILED"], str]:
    """The status that a run ended by `error` is closed with, and one line saying why."""
    if isinstance(error, KeyboardInterrupt):
        return "KILLED", "interrupted (Ctrl-C)"
    if isinstance(error, Terminated):
        return "KILLED", "terminated (SIGTERM)"
    if isinstance(error, Pruned):
        return "KILLED", str(error)
    return "FAILED", _reason(error)


def _reason(error: BaseException) -> str:
    """Type, message and place of an exception; the message only where promax wrote it.

    Other libraries quote what they failed on, and that may be a ticket's text. A RuntimeError raised in a
    module of promax is taken for its own.
    """
    frames = [(frame.f_globals.get("__name__", "?"), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    places = [f"{module}:{line}" for module, line in frames]
    ours = [f"{module}:{line}" for module, line in frames[1:] if _is_ours(module)]
    raised_by_us = type(error) is RuntimeError and bool(frames) and _is_ours(frames[-1][0])
    name = type(error).__name__
    if _is_ours(type(error).__module__) or raised_by_us:
        lines = mask(str(error)).strip().splitlines()
        return f"{name}: {lines[0]}"[:LONGEST_REASON] if lines else name
    where = [*ours[-1:], *(places[-1:] if places[-1:] != ours[-1:] else [])]
    return f"{name} at {', in '.join(where)}" if where else name


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "promax" or module.startswith("hydra_plugins.promax_sweeper.")


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
