"""The MLflow UI's comparison of the demo's two runs, as a picture, from a headless Chromium.

    python experiments/demo/screenshot.py OUT.png [--chromium /usr/bin/chromium]

Needs `pip install playwright` and a Chromium; `make demo` first. The UI it opens is `promax ui`.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from playwright.sync_api import Page, sync_playwright

from promax.tracking import open_store

CHARTS = "^(dev|test)/(spearman|roc_auc)$"
STARTS_WITHIN = 120.0


@contextmanager
def ui() -> Iterator[str]:
    """The address of a UI that runs meanwhile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "promax.cli", "ui", "--port", str(port)])
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(address)
            return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"the UI did not answer at {address}")


def photograph(page: Page, address: str, experiment: str, out: Path) -> None:
    """The chart view of a study's runs, narrowed down to the metrics that are compared."""
    page.goto(f"{address}/#/experiments/{experiment}/runs")
    # A new browser is shown the assistant first, and the pages of another trade.
    page.get_by_role("button", name="Close").click()
    page.get_by_text("Model training").first.click()
    page.goto(f"{address}/#/experiments/{experiment}/runs?compareRunsMode=CHART")
    page.get_by_placeholder("Search metric charts").fill(CHARTS)
    page.get_by_text("test/spearman").first.wait_for()
    page.wait_for_timeout(3000)  # the charts' own animation
    page.screenshot(path=out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--study", default="demo")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    study = MlflowClient(open_store().uri).get_experiment_by_name(options.study)
    assert study is not None, f"no study {options.study}: make demo first"
    with ui() as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1040})
        photograph(page, address, study.experiment_id, options.out)
        browser.close()


if __name__ == "__main__":
    main()
