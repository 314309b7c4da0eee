"""The studies that are recorded in this checkout: what a reader restores is judged as their pages say."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
RECORDS = sorted(
    path.parent for folder in ("confirm_fix", "recommended") for path in EXPERIMENTS.glob(f"{folder}/*/study.zip")
)

PAGES = sorted(path.parent for path in EXPERIMENTS.glob("*/*/study_without_pairs.zip"))

# A study of twenty runs is restored and judged in some seconds.
pytestmark = pytest.mark.slow


def cells(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.reader(opened))


def test_there_are_records() -> None:
    assert {folder.name for folder in RECORDS} >= {"embedded_phased", "mixed", "phase1"}
    assert {folder.name for folder in PAGES} == {"askubuntu"}


@pytest.mark.parametrize("record", RECORDS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_recorded_study_gives_the_claims_of_its_page(
    record: Path, project: Path, tmp_path: Path, outcome: Callable[..., tuple[int, str, str]]
) -> None:
    """To 1e-9: the last digits are the processor's. The page's own numbers are those of its tables."""
    code, _, err = outcome("restore", str(record / "study.zip"))
    assert code == 0, err
    (study,) = re.findall(r"^promax confirm (\S+)$", (record / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    code, _, err = outcome("confirm", study, "--out", str(tmp_path / "out"))
    assert code == 0, err
    for name in ("claims.csv", "effects.csv", "results.csv"):
        found, recorded = cells(tmp_path / "out" / name), cells(record / name)
        assert len(found) == len(recorded) and found[0] == recorded[0]
        for one, other in zip(found, recorded, strict=True):
            for value, expected in zip(one, other, strict=True):
                try:
                    number = float(expected)
                except ValueError:
                    assert value == expected
                else:
                    assert float(value) == pytest.approx(number, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("page", PAGES, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_record_without_its_pairs_is_its_pages(page: Path) -> None:
    """It can be judged by those alone who have the pairs; here its runs are compared with the page's table."""
    with zipfile.ZipFile(page / "study_without_pairs.zip") as record:
        runs = {run["run_id"]: run for run in json.loads(record.read("study.json"))["runs"]}
    header, *rows = cells(page / "results.csv")
    assert len(rows) == 21
    for row in rows:
        told = dict(zip(header, row, strict=True))
        run = runs[told["run_id"]]
        measured = {name: value for name, value, *_ in run["metrics"]}
        assert (run["status"], run["tags"]["promax.git_commit"]) == ("FINISHED", told["commit"])
        for column in ("test_spearman", "test_roc_auc", "transfer_spearman"):
            assert measured[column.replace("_", "/", 1)] == float(told[column])
