"""The verb on studies in a store: what it prints, writes, records, and refuses."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import pytest

from promax.audit.finding import Finding, Report
from promax.config import ClaimConfig, Config
from promax.confirm.flow import confirm
from promax.confirm.folder import KEPT
from promax.tracking import BASELINE_KEY, Run, find_sweep, get_run, read_text, runs_of

FILES = {
    *("README.md", "results.csv", "claims.csv", "effects.csv"),
    *("claims.png", "learning_curves.png", "surface.png", "scores.png", "roc.png"),
}


def test_a_verdict_is_printed_written_recorded_and_comes_out_the_same_again(planted, made, project, outcome) -> None:
    rule = dataclasses.replace(made.rule, seeds=2)
    cells = made.grid(0.77, 0.76, 0.75, 0.74)
    runs = planted.study(cells, seeds=[0, 1], spread=0.002, transfer=cells, rule=rule)
    easier = Report([Finding("train easier than test", "both", "warning", "gap 0.19")], {}, "encoder")
    Run(planted.store, runs[0]).log_text(json.dumps(easier.to_json()), "audit/report.json")
    code, out, err = outcome("confirm", "fix")
    assert (code, err) == (0, "")
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("  beats the baseline")] == ["REFUTED"]
    assert "- known causes that the record supports: train easier than test" in out

    folder = project / "experiments" / "fix"
    assert {path.name for path in folder.iterdir()} == FILES
    page = (folder / "README.md").read_text()
    assert page.endswith(f"{KEPT}\n")
    command = "promax train -m data=pairs data.train=train.jsonl data.test=pairs/test.jsonl "
    assert f"```\n{command}optim.lr=2e-05,5e-05 optim.epochs=6,12 seed=0,1\npromax confirm fix\n```" in page
    assert f"| test | 400 pairs: test.jsonl sha256:56cd; fingerprint {'cd' * 32} |" in page
    assert "- train easier than test: **supported**." in page
    # No path or name of the machine, and nothing of a ticket: not even its number.
    written = [path.read_text() for path in folder.iterdir() if path.suffix != ".png"]
    for private in ("/home", str(project), "machine.example", "INC"):
        assert not any(private in text for text in written)
    found = list(csv.DictReader((folder / "results.csv").open()))
    assert [each["run_id"] for each in found[1:]] == runs

    parent = get_run(planted.store, find_sweep(planted.store, "fix") or "")
    assert parent.tags["promax.verdict.beats_the_baseline"] == "REFUTED"
    note = parent.tags["mlflow.note.content"]
    assert note.startswith(f"**{rule.question}**\n\n- ") and "\n- beats the baseline: **REFUTED**\n" in note
    assert sum(tag.startswith("promax.verdict.") for tag in parent.tags) == len(rule.claims)
    claims = {each["claim"]: each for each in csv.DictReader((folder / "claims.csv").open())}
    assert parent.metrics["verdict/both"] == pytest.approx(float(claims["both"]["effect"]), abs=1e-15)
    assert "data:image/png;base64," in read_text(planted.store, parent.run_id, "report.html")
    assert read_text(planted.store, parent.run_id, "verdict/results.csv") == (folder / "results.csv").read_text()

    (folder / "README.md").write_text(page.replace("# fix", "# spoilt") + "\n## What we think\n\nMore data.\n")
    assert outcome("confirm", "fix")[0] == 0
    assert (folder / "README.md").read_text() == f"{page}\n## What we think\n\nMore data.\n"
    assert get_run(planted.store, parent.run_id).tags["mlflow.note.content"] == note


def test_a_change_of_something_else_is_told_with_all_that_it_takes_to_make_it_again(planted, made, project, outcome):
    few, many = made.variants("data.train_limit", "1000", "3000")
    planted.study({few: 0.80, many: 0.86}, spread=0.002, rule=made.about(few, many))
    code, _, err = outcome("confirm", "fix")
    assert (code, err) == (0, "")
    folder = project / "experiments" / "fix"
    page = (folder / "README.md").read_text()
    command = "promax train -m data=pairs data.train=train.jsonl data.test=pairs/test.jsonl data.train_limit=1000,3000"
    assert f"```\n{command} optim.lr=5e-05 optim.epochs=12 seed=0,1,2,3,4\npromax confirm fix\n```" in page
    assert "any gain: the change of data.train_limit (1000 to 3000) gains: +" in page
    # What is the same for both is told once, and what isn't, of each.
    told = [
        line.split(" | ")[:2] for line in page.splitlines() if line.startswith(("| train, ", "| test |", "| code |"))
    ]
    sides = "pairs: train.jsonl sha256:34ab; fingerprint"
    assert told[0] == ["| train, data.train_limit=1000", f"1000 {sides} {'12' * 32} |"]
    assert told[1] == ["| train, data.train_limit=3000", f"3000 {sides} {'12' * 32} |"]
    assert [each[0] for each in told[2:]] == ["| test", "| code"]
    assert len(list(csv.DictReader((folder / "results.csv").open()))) == 11


def test_a_verdict_on_survivors_says_so_wherever_it_is_read(planted, made, project, outcome) -> None:
    about = dataclasses.replace(made.rule, before=None, claims=[ClaimConfig(name="beats", of="baseline")])
    planted.study({made.after: 0.86}, spread=0.002, rule=about)
    (baseline,) = (run.run_id for run in runs_of(planted.store, "fix") if BASELINE_KEY in run.tags)
    reason = "RuntimeError: the loss is nan at step 2 of 24"
    planted.unfinished(Config(study="fix", rule=about), made.after, 5, baseline, ("FAILED", reason))
    code, out, _ = outcome("confirm", "fix")
    assert (code, "CONFIRMED" in out) == (0, True)
    page = (project / "experiments" / "fix" / "README.md").read_text()
    whole = read_text(planted.store, find_sweep(planted.store, "fix") or "", "report.html")
    told = [
        "the verdict is on survivors: 1 of 6 runs ended without a result",
        f"no result of 5e-05, 12 epochs, seed 5: FAILED, {reason}",
    ]
    for line in told:
        assert (f"- {line}\n" in out, f"- {line}.\n" in page, f"<li>{line}.</li>" in whole) == (True, True, True)


def test_where_the_runs_are_no_sweeps_the_verdict_has_a_run_of_its_own(planted, made, project) -> None:
    about = dataclasses.replace(
        made.rule, before=None, seeds=2, claims=[ClaimConfig(name="beats: the / baseline", of="baseline")]
    )
    planted.study({made.after: 0.86}, seeds=[0, 1], spread=0.002, sweep=False, rule=about)
    before = {run.run_id for run in runs_of(planted.store, "fix")}
    found = confirm("fix", None, project / "out")
    assert [each.verdict for each in found.judgements] == ["CONFIRMED"]
    page = (project / "out" / "README.md").read_text()
    assert (
        " with 5e-05, 12 epochs. Tuned less un-tuned: +" in page and "before" not in page.partition("## The claims")[0]
    )
    assert not (project / "out" / "surface.png").exists() and (project / "out" / "roc.png").exists()
    assert {run.run_id for run in runs_of(planted.store, "fix")} == before
    assert find_sweep(planted.store, "fix") is None
    everything = planted.store.client.search_runs([planted.store.experiment_id("fix")])
    (own,) = (run for run in everything if run.info.run_id not in before)
    assert own.data.tags["promax.verdict.beats_the_baseline"] == "CONFIRMED"
    assert own.info.status == "FINISHED"


def test_a_wrong_request_is_refused_in_a_line_or_two(planted, made, project, outcome) -> None:
    code, out, err = outcome("confirm", "fix")
    assert (code, out) == (2, "")
    assert err.startswith("promax: study fix: not in the record; studies: none yet (store sqlite:///")
    code, _, err = outcome("confirm", "fix", "--rule", "mine")
    assert (code, err) == (2, "promax: rule=mine: no such config. Available: confirm_fix, loss, recommended\n")
    planted.study({made.before: 0.8}, seeds=[0, 1])
    code, _, err = outcome("confirm", "fix")
    assert (code, err) == (
        2,
        "promax: rule.claims: 'learning rate' is about 5e-05, 12 epochs, of which no run is finished "
        "(there are 2e-05, 6 epochs)\n",
    )
    (project / "notes").mkdir()
    (project / "notes" / "README.md").write_text("mine")
    code, _, err = outcome("confirm", "fix", "--out", "notes")
    assert code == 2
    assert err.startswith("promax: notes/README.md: was not written by promax confirm, and would be lost; ")
    assert (project / "notes" / "README.md").read_text() == "mine"


def test_a_study_that_was_restored_elsewhere_gets_the_same_verdict(
    planted, made, project, fresh_database, outcome, monkeypatch
) -> None:
    cells = made.grid(0.77, 0.76, 0.75, 0.74)
    planted.study(cells, seeds=range(5), spread=0.002, transfer=cells)
    assert outcome("confirm", "fix", "--out", str(project / "here"))[0] == 0
    assert outcome("archive", "fix", "--out", str(project / "fix.zip"))[0] == 0

    root = project / "elsewhere"
    (root / "mlruns").mkdir(parents=True)
    (root / "conf").symlink_to((project / "conf").resolve())
    shutil.copy(fresh_database, root / "mlruns" / "mlflow.db")
    monkeypatch.setenv("PROMAX_ROOT", str(root))
    assert outcome("restore", str(project / "fix.zip"))[0] == 0
    assert outcome("confirm", "fix", "--out", str(root / "there"))[0] == 0
    for name in ("results.csv", "claims.csv", "effects.csv", "README.md"):
        assert (root / "there" / name).read_bytes() == (project / "here" / name).read_bytes(), name
