"""Sending what runs left on disk, since their server was away to their end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from promax.config import ConfigError
from promax.tracking.pending import SERVER, Outbox, deliver, pending_folder
from promax.tracking.record import sweep_dead_runs
from promax.tracking.store import Store, TrackingError, mask, open_store


@dataclass(frozen=True)
class Pending:
    """What waits of one run, and for which server, by its masked address."""

    run_id: str
    server: str
    writes: int


@dataclass(frozen=True)
class Sent:
    """How many writes of a run were sent, and why not the others; no reason where none is left."""

    pending: Pending
    sent: int
    refusal: str | None = None


def waiting_runs() -> list[Pending]:
    """The runs of which something waits, by id."""
    found = []
    for folder in sorted(pending_folder().glob("*/")):
        # Killed before the first write was whole, or after the last was sent: a run has left nothing.
        if (folder / SERVER).is_file():
            server = (folder / SERVER).read_text(encoding="utf-8")
            found.append(Pending(folder.name, server, len(list(folder.glob("*.json")))))
    return found


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
        for each in runs:
            yield _sent(store, each)
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
