"""Sending what runs left on disk, since their server was away to their end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from promax.config import ConfigError
from promax.tracking.address import mask
from promax.tracking.pending import Outbox, Pending, waiting_runs
from promax.tracking.record import sweep_dead_runs
from promax.tracking.store import Store, TrackingError, open_store
from promax.tracking.write import deliver


@dataclass(frozen=True)
class Sent:
    """How many writes of a run were sent, and why not the others; no reason where none is left."""

    pending: Pending
    sent: int
    refusal: str | None = None


def send_waiting(addresses: Sequence[str]) -> Iterator[Sent]:
    """Send all that waits, run by run; then close as FAILED the runs whose processes died.

    Servers are known by their masked addresses. One of `addresses` is taken for the server whose masked address it
    has; where none is, an address without credentials is taken as it stands.

    MLflow's own patience applies, of minutes, so that a server too slow for a run is not too slow for this.
    """
    known = {mask(address): address for address in reversed(addresses)}
    waiting = waiting_runs()
    for server in sorted({each.server for each in waiting}):
        runs = [each for each in waiting if each.server == server]
        if server not in known and "***" in server:
            where = server.replace("***", "user:password")
            reason = f"the address with its credentials is not known; give it: promax sync --uri {where}"
            yield from (Sent(each, 0, reason) for each in runs)
            continue
        try:
            store = open_store(known.get(server, server))
        except ConfigError as error:
            yield from (Sent(each, 0, str(error)) for each in runs)
            continue
        sent = []
        for each in runs:
            sent.append(_sent(store, each))
            yield sent[-1]
        if all(each.refusal is None for each in sent):
            sweep_dead_runs(store)


def _sent(store: Store, waiting: Pending) -> Sent:
    outbox, sent = Outbox(store, waiting.run_id), 0
    try:
        for _ in outbox.drain(deliver, wait=0):
            sent += 1
    except TrackingError as error:
        return Sent(waiting, sent, str(error))
    finally:
        outbox.release()
    return Sent(waiting, sent)
