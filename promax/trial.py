"""The trial of a sweep that a run is: what the run tells the sweeper, and what it is told.

A sweeper runs its trials inside `running`; a run asks for `current()`, which is None where it is no
part of a sweep. Neither side sees more of the other than this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

# Tags of a run's record: the sweep, and the number of its trial.
SWEEP_TAG = "promax.sweep"
TRIAL_TAG = "promax.trial"


class Trial(Protocol):
    """What a run may know of its trial.

    `tags` go into the run's record, from which a sweeper that was killed finds the run again; where they name a
    baseline, the run is measured against that one. `parent` is the id of the sweep's own run, None where it has none.
    """

    @property
    def tags(self) -> Mapping[str, str]: ...

    @property
    def parent(self) -> str | None: ...

    def opened(self, run_id: str) -> None:
        """Tell under which id the run is recorded."""

    def report(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Tell the metrics after an epoch (from 1), by the names under which they are logged; NaN has no value.

        Raises:
            Pruned: the trial is not worth its remaining epochs.
        """

    def trained(self, seconds: float) -> None:
        """Tell the seconds of the run's steps and embeddings, which no two trials share; the rest is a trial's cost."""


class Pruned(Exception):  # noqa: N818 (a result, not an error)
    """The sweeper ends a run early, as its text says."""


class SweepError(RuntimeError):
    """A sweep ended before its total, for the reason in its text."""


_CURRENT: ContextVar[Trial | None] = ContextVar("trial", default=None)


def current() -> Trial | None:
    """The trial that this run is, None outside a sweep."""
    return _CURRENT.get()


@contextmanager
def running(trial: Trial) -> Iterator[None]:
    """Inside, `trial` is the current one."""
    token = _CURRENT.set(trial)
    try:
        yield
    finally:
        _CURRENT.reset(token)
