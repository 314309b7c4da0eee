"""How long the MLflow UI takes on a store: the list of runs, and the comparison of 2 and of 25. See README.md.

    python experiments/ui/measure.py ROOT STUDY [--tries 5] [--chromium /usr/bin/chromium]

Needs `pip install playwright` and a Chromium. A page is there when its rows, or its table and its plot, are visible.
Each try is a new page of one browser, which has the UI's scripts from an earlier one. Beside the seconds on the clock
stand those that server and browser computed, which other programs of the machine lengthen far less.
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
from typing import Any

import psutil
from browser import chromium, study_id, ui
from playwright.sync_api import BrowserContext

from promax.tracking import compare_link, study_link

LIMIT = 2.0
ROWS = [".ag-center-cols-container .ag-row"]
COMPARED = ["table", ".js-plotly-plot .main-svg"]


class Table:
    """Prints a row for each thing timed: medians of the seconds on the clock and of those computed."""

    def __init__(self, server: int, tries: int) -> None:
        self._server, self._tries = psutil.Process(server), tries
        print("| what | s | least s | server computed s | browser computed s | under 2 s |")
        print("| --- | --- | --- | --- | --- | --- |")

    def time(self, what: str, once: Callable[[], AbstractContextManager[object]]) -> None:
        """`once` is entered when all is there; what leaving it takes is not counted. The first time is none of them."""
        with once():
            pass
        seconds, served, shown = [], [], []
        for _ in range(self._tries):
            server, browser, began = *self._computed(), time.perf_counter()
            with once():
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


def answer(address: str, path: str, body: dict[str, Any]) -> AbstractContextManager[object]:
    return nullcontext(post(address, path, body))


@contextmanager
def page(context: BrowserContext, address: str, signs: Sequence[str]) -> Iterator[None]:
    """A page, once all that makes it is visible."""
    opened = context.new_page()
    opened.goto(address)
    for sign in signs:
        opened.locator(sign).first.wait_for(timeout=60_000)
    yield
    opened.close()


def measure(address: str, server: int, study: str, tries: int, browser: str) -> None:
    """All rows of the table."""
    newest = {"experiment_ids": [study], "max_results": 100, "order_by": ["attributes.start_time DESC"]}
    chosen = {**newest, "order_by": ["metrics.`dev/spearman` DESC"]}
    ids = [run["info"]["run_id"] for run in post(address, "runs/search", chosen)["runs"]]
    table = Table(server, tries)
    table.time("REST: the newest 100 runs", partial(answer, address, "runs/search", newest))
    table.time("REST: the best 100 on dev", partial(answer, address, "runs/search", chosen))
    with chromium(browser) as context:
        plain = f"{address}/#/experiments/{study}/runs"
        table.time("page: list of runs, as MLflow opens it", partial(page, context, plain, ROWS))
        table.time("page: list of runs, prepared view", partial(page, context, study_link(address, study), ROWS))
        for count in (2, 25):
            compared = f"{address}/{compare_link(study, ids[:count])}"
            table.time(f"page: {count} runs compared", partial(page, context, compared, COMPARED))


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
