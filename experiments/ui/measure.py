"""How long the MLflow UI takes on a store: the list of runs, and the comparison of 2 and of 25. See README.md.

    python experiments/ui/measure.py ROOT STUDY [--tries 5] [--chromium /usr/bin/chromium]

Needs `pip install playwright` and a Chromium. A page is there when its rows, or its table and its plot, are visible.
Each try is a new page of one browser, which has the UI's scripts from an earlier one: loaded from the address, or, as
who is at work in the UI comes to it, opened from the UI's start page. Beside the seconds on the clock stand those that
server and browser computed, which other programs of the machine lengthen far less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil
from browser import chromium, study_id, ui
from playwright.sync_api import BrowserContext, Page

from promax.tracking import compare_link, study_link

T = TypeVar("T")

LIMIT = 2.0
ROWS = [".ag-center-cols-container .ag-row"]
START = ["a[href*='/experiments/']"]
COMPARED = ["table", ".js-plotly-plot .main-svg"]


class Table:
    """Prints a row for each thing timed: medians of the seconds on the clock and of those computed."""

    def __init__(self, server: int, tries: int) -> None:
        self._server, self._tries = psutil.Process(server), tries
        print("| what | s | least s | server computed s | browser computed s | under 2 s |")
        print("| --- | --- | --- | --- | --- | --- |")

    def time(self, what: str, once: Callable[[T], None], ready: Callable[[], AbstractContextManager[T]]) -> None:
        """`once` returns when all is there; what `ready` takes is not counted. The first time is none of them."""
        with ready() as at:
            once(at)
        seconds, served, shown = [], [], []
        for _ in range(self._tries):
            with ready() as at:
                server, browser, began = *self._computed(), time.perf_counter()
                once(at)
                seconds.append(time.perf_counter() - began)
                after = self._computed()
                served.append(after[0] - server)
                shown.append(after[1] - browser)
        median = statistics.median
        figures = f"{median(seconds):.2f} | {min(seconds):.2f} | {median(served):.2f} | {median(shown):.2f}"
        print(f"| {what} | {figures} | {'yes' if median(seconds) < LIMIT else 'no'} |", flush=True)

    def _computed(self) -> tuple[float, float]:
        """The processor's seconds of the server, and of all else that this process started: the browser."""
        server = {self._server, *self._server.children(recursive=True)}
        return _seconds(server), _seconds(set(psutil.Process().children(recursive=True)) - server)


def _seconds(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:4])  # its own, and those of its children that have ended
    return total


def post(address: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{address}/ajax-api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@contextmanager
def empty(context: BrowserContext) -> Iterator[Page]:
    """A page of the browser's with nothing in it."""
    page = context.new_page()
    yield page
    page.close()


@contextmanager
def started(context: BrowserContext, address: str) -> Iterator[Page]:
    """The UI's start page, once it lists the studies."""
    with empty(context) as page:
        loaded(START, page, address)
        yield page


def loaded(signs: Sequence[str], page: Page, address: str) -> None:
    page.goto(address)
    seen(page, signs)


def opened(signs: Sequence[str], page: Page, address: str) -> None:
    """As a link within the UI does it: the UI's router hears of the new address, nothing is loaded again."""
    page.evaluate("address => { location.href = address }", address)
    seen(page, signs)


def seen(page: Page, signs: Sequence[str]) -> None:
    for sign in signs:
        page.locator(sign).first.wait_for(timeout=60_000)


def measure(address: str, server: int, study: str, tries: int, browser: str) -> None:
    """All rows of the table."""
    newest = {"experiment_ids": [study], "max_results": 100, "order_by": ["attributes.start_time DESC"]}
    chosen = {**newest, "order_by": ["metrics.`dev/spearman` DESC"]}
    ids = [run["info"]["run_id"] for run in post(address, "runs/search", chosen)["runs"]]
    table = Table(server, tries)
    for what, asked in (("the newest 100 runs", newest), ("the best 100 on dev", chosen)):
        table.time(f"REST: {what}", lambda _, asked=asked: post(address, "runs/search", asked), nullcontext)
    places = {
        "list of runs, as MLflow opens it": (f"{address}/#/experiments/{study}/runs", ROWS),
        "list of runs, prepared view": (study_link(address, study), ROWS),
        **{f"{n} runs compared": (f"{address}/{compare_link(study, ids[:n])}", COMPARED) for n in (2, 25)},
    }
    with chromium(browser) as context:
        for what, (place, signs) in places.items():
            go = partial(opened, signs, address=place)
            table.time(f"opened in the UI: {what}", go, partial(started, context, address))
        for what, (place, signs) in places.items():
            table.time(f"loaded: {what}", partial(loaded, signs, address=place), partial(empty, context))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("study")
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    with ui(options.root) as (address, server):
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        measure(address, server, study_id(options.study), options.tries, options.chromium)


if __name__ == "__main__":
    main()
