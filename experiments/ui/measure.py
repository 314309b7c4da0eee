"""How long the MLflow UI takes on a store: the list of runs, and the comparison of 2 and of 25. See README.md.

    python experiments/ui/measure.py ROOT STUDY [--tries 5] [--chromium /usr/bin/chromium]

Needs `pip install playwright` and a Chromium. A page is there when its rows, or its table and its plot, are visible.
Each try is a new page of one browser, which has the UI's scripts from the first. Beside the seconds on the clock stand
those of the server's processor, which other programs of the machine do not lengthen.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import urllib.request
from collections.abc import Callable, Sequence
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
    """Prints a row for each thing timed: median, least, and the server's own seconds."""

    def __init__(self, server: int, tries: int) -> None:
        self._server, self._tries = psutil.Process(server), tries
        print("| what | median s | least s | server's processor s | under 2 s |\n| --- | --- | --- | --- | --- |")

    def time(self, what: str, once: Callable[[], object]) -> None:
        once()
        seconds, worked = [], []
        for _ in range(self._tries):
            before, began = self._spent(), time.perf_counter()
            once()
            seconds.append(time.perf_counter() - began)
            worked.append(self._spent() - before)
        middle, least = statistics.median(seconds), min(seconds)
        verdict = "yes" if middle < LIMIT else "no"
        print(f"| {what} | {middle:.2f} | {least:.2f} | {statistics.median(worked):.2f} | {verdict} |", flush=True)

    def _spent(self) -> float:
        tree = [self._server, *self._server.children(recursive=True)]
        return sum(each.cpu_times().user + each.cpu_times().system for each in tree)


def post(address: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{address}/ajax-api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def show(context: BrowserContext, address: str, signs: Sequence[str]) -> None:
    """Open a page and wait until all that makes it is visible."""
    page = context.new_page()
    page.goto(address)
    for sign in signs:
        page.locator(sign).first.wait_for(timeout=60_000)
    page.close()


def measure(address: str, server: int, study: str, tries: int, browser: str) -> None:
    """All rows of the table."""
    newest = {"experiment_ids": [study], "max_results": 100, "order_by": ["attributes.start_time DESC"]}
    chosen = {**newest, "order_by": ["metrics.`dev/spearman` DESC"]}
    ids = [run["info"]["run_id"] for run in post(address, "runs/search", chosen)["runs"]]
    table = Table(server, tries)
    table.time("REST: the newest 100 runs", partial(post, address, "runs/search", newest))
    table.time("REST: the best 100 on dev", partial(post, address, "runs/search", chosen))
    with chromium(browser) as context:
        plain = f"{address}/#/experiments/{study}/runs"
        table.time("page: list of runs, as MLflow opens it", partial(show, context, plain, ROWS))
        table.time("page: list of runs, prepared view", partial(show, context, study_link(address, study), ROWS))
        for count in (2, 25):
            compared = f"{address}/{compare_link(study, ids[:count])}"
            table.time(f"page: {count} runs compared", partial(show, context, compared, COMPARED))


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
