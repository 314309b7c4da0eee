"""How a study looks in the MLflow UI: its description, its prepared view, and the links that lead there.

The UI keeps columns and their order in each browser. What a project can give everyone is a saved view: a tag of the
experiment, which MLflow 3.17 lists under "Views" and opens from a link.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

# Markdown above a run or a study; and what a study is, which the UI would ask for.
DESCRIPTION_TAG = "mlflow.note.content"
TRADE = {"mlflow.experimentKind": "custom_model_development"}
# The UI's menu of training; its other one is of another trade.
TRAINING = "workflowType=machine_learning"

VIEW = "promax"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
VIEW_NAME = "against the baseline"

# In the order in which they stand, with their widths in pixels. By dev, since dev chooses and test judges.
ORDER = "metrics.`dev/spearman`"
CHOSEN = {
    "tags.`promax.verdict`": 125,
    "metrics.`delta/spearman`": 125,
    "metrics.`delta/spearman_low`": 150,
    "metrics.`delta/spearman_high`": 155,
    "metrics.`delta/roc_auc`": 115,
    "metrics.`test/spearman`": 120,
    "metrics.`test/roc_auc`": 110,
    ORDER: 120,
    "tags.`promax.tier`": 105,
    "params.`optim.lr`": 90,
    "params.`optim.epochs`": 110,
    "params.`seed`": 60,
    "attributes.`Dataset`": 220,
}
# These the UI shows whatever is chosen. A run's name says what it is, so it is whole.
NAME = {"attributes.`Run Name`": 310}
BESIDE = {"runDateAndNestInfo": 140, "duration": 100}


def dress(study: str, experiment_id: str) -> dict[str, str]:
    """The tags that make a study readable in the UI; the view, by which it is known to have them, is the last."""
    return {**TRADE, DESCRIPTION_TAG: _description(study, experiment_id), VIEW_TAG: _view()}


def study_link(address: str, experiment_id: str) -> str:
    """A study's runs in the prepared view, at the UI's address.

    >>> study_link("http://127.0.0.1:5000", "7")
    'http://127.0.0.1:5000/#/experiments/7/runs?viewStateShareKey=promax&workflowType=machine_learning'
    """
    return f"{address}/#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}&{TRAINING}"


def run_link(experiment_id: str, run_id: str) -> str:
    """A run's page, for Markdown on any page of the UI."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{TRAINING}"


def compare_link(experiment_id: str, run_ids: Sequence[str]) -> str:
    """The page that sets runs side by side, for Markdown on any page of the UI: brackets and quotes are escaped.

    >>> compare_link("7", ["a", "b"])
    '#/compare-runs?runs=%5B%22a%22%2C%22b%22%5D&experiments=%5B%227%22%5D&workflowType=machine_learning'
    """
    runs = "%2C".join(f"%22{each}%22" for each in run_ids)
    return f"#/compare-runs?runs=%5B{runs}%5D&experiments=%5B%22{experiment_id}%22%5D&{TRAINING}"


def _description(study: str, experiment_id: str) -> str:
    return (
        f"Study **{study}**: [its runs beside the baseline]({study_link('', experiment_id)[1:]}), the best on dev "
        f"first. The same in a terminal: `promax compare --study {study}`\n\n"
        "- `delta/...` is a run's metric on test less that of its un-tuned baseline, pair by pair; `..._low` and "
        "`..._high` are the ends of the interval.\n"
        "- `promax.verdict` says *better* or *worse* only where that interval is clear of zero: on this test set, for "
        "this seed.\n"
        "- Dev chooses, test judges: of many runs, the best on test is so in part by luck.\n"
    )


def _view() -> str:
    """The saved view as the UI itself writes it: a name, two dates in ms, and the state as JSON within."""
    widths = {**NAME, **CHOSEN, **BESIDE}
    state = {
        "selectedColumns": list(CHOSEN),
        "columnOrder": list(widths),
        "columnWidths": widths,
        "orderByKey": ORDER,
        "orderByAsc": False,
        "runsHiddenMode": "FIRST_20_RUNS",
    }
    now = int(time.time() * 1000)
    return json.dumps({"name": VIEW_NAME, "createdAt": now, "updatedAt": now, "state": json.dumps(state)})
