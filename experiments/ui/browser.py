"""A UI that runs meanwhile, and a headless Chromium on it: what `measure.py` and `screenshot.py` share."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, sync_playwright

STARTS_WITHIN = 120.0


@contextmanager
def ui(root: Path) -> Iterator[tuple[str, int]]:
    """The address and the process id of `promax ui` on the store under the project root `root`."""
    os.environ["PROMAX_ROOT"] = str(root.resolve())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "promax.cli", "ui", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + STARTS_WITHIN
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None and time.monotonic() < until, "the UI does not answer"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def chromium(path: str, width: int = 1600, height: int = 900) -> Iterator[BrowserContext]:
    """A browser that nobody has used."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser.new_context(viewport={"width": width, "height": height})
        browser.close()


def study_id(name: str) -> str:
    """The number that MLflow gave a study; PROMAX_ROOT says where."""
    from mlflow import MlflowClient

    from promax.tracking import open_store

    found = MlflowClient(open_store().uri).get_experiment_by_name(name)
    assert found is not None, f"no study {name} in {os.environ['PROMAX_ROOT']}"
    return str(found.experiment_id)


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address)
    except OSError:
        return False
    return True
