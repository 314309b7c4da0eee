"""The MLflow UI on a study, as pictures from a headless Chromium. See README.md.

    python experiments/ui/screenshot.py ROOT STUDY OUT [--chromium /usr/bin/chromium]

Writes runs.png (the prepared view), run.png (a run's page), compare.png (baseline and fine-tuned), charts.png and
artifact.png into the folder OUT. Needs `pip install playwright` and a Chromium.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from browser import chromium, ui
from playwright.sync_api import Page

from promax.tracking import BASELINE_RUN, RunInfo, compare_link, open_store, run_link, runs_of, study_link

# What MLflow draws moves for some milliseconds.
SETTLED = 4000
WIDTH, HEIGHT = 1500, 800
# Below it, a run's page says on which machine it was.
HEIGHTS = {"run.png": 585}
JUDGED = "test/roc_auc"
CHARTS = "^(delta|dev|test)/(spearman|roc_auc)$"


def photograph(page: Page, address: str, run: RunInfo, out: Path) -> None:
    """The five pictures, of a run of a study and of what is around it."""
    study, start = run.experiment_id, f"{address}/"
    own, prepared = start + run_link(run.experiment_id, run.run_id), study_link(address, study)
    for name, where in {
        "runs.png": prepared,
        "run.png": own,
        "compare.png": start + compare_link(study, [run.tags[BASELINE_RUN], run.run_id]),
        "charts.png": f"{prepared}&compareRunsMode=CHART",
        "artifact.png": own.replace("?", "/artifacts/figures/category_test.png?"),
    }.items():
        page.goto(where)
        page.wait_for_timeout(SETTLED)
        assistant = page.get_by_role("button", name="Close")
        if assistant.count():  # a new browser is shown it first
            assistant.first.click()
            page.wait_for_timeout(SETTLED // 4)
        if name == "charts.png":
            page.get_by_placeholder("Search metric charts").fill(CHARTS)
            page.wait_for_timeout(SETTLED)
        if name == "compare.png":
            for folded in ("Visualizations", "Parameters"):
                page.get_by_text(folded, exact=True).last.click()
            page.get_by_text("Run details", exact=True).last.evaluate("heading => heading.scrollIntoView()")
            _scroll_to(page, JUDGED)
        # Where the files of this machine lie is of no interest elsewhere.
        for path in page.get_by_text("Path: file:").all():
            path.evaluate("line => line.style.visibility = 'hidden'")
        page.screenshot(path=out / name, clip={"x": 0, "y": 0, "width": WIDTH, "height": HEIGHTS.get(name, HEIGHT)})


def _scroll_to(page: Page, name: str) -> None:
    """Scroll the table of metrics, which holds only the rows that are seen, until `name` is among the upper ones."""
    table = page.locator(".ReactVirtualized__Grid").last
    place = None
    while place is None or place["y"] > HEIGHT * 3 / 4:
        table.evaluate("table => table.scrollBy(0, 45)")
        page.wait_for_timeout(SETTLED // 40)
        row = page.get_by_text(name, exact=True)
        place = row.bounding_box() if row.count() else None
    # MLflow draws the names where the values were one movement before.
    table.evaluate("table => table.scrollBy(0, 1)")
    page.wait_for_timeout(SETTLED // 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("study")
    parser.add_argument("out", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with ui(options.root) as (address, _), chromium(options.chromium, WIDTH, HEIGHT) as context:
        tuned = [run for run in runs_of(open_store(), options.study) if BASELINE_RUN in run.tags]
        best = max(tuned, key=lambda run: run.metrics["dev/spearman"])
        photograph(context.new_page(), address, best, options.out)


if __name__ == "__main__":
    main()
