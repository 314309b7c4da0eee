"""The verb: read a study, measure it, judge its claims, tell, write and record the verdict."""

from __future__ import annotations

import json
from pathlib import Path

from promax.audit.finding import Report
from promax.config import ConfigError, RuleConfig, project_root
from promax.confirm.findings import Findings, find
from promax.confirm.origin import read_origin
from promax.confirm.report import page
from promax.confirm.study import Study, by_variant, read
from promax.confirm.terminal import show
from promax.files import file_name, make_folder
from promax.tracking import Store, open_store, read_text


def confirm(name: str, uri: str | None, out: Path | None = None, rule: RuleConfig | None = None) -> Findings:
    """The verdict on study `name`, printed, written into the folder `out` and recorded under the study's own run.

    It is judged by the rule that was logged with its runs, or by `rule`. Without `out` the folder is
    experiments/NAME/ under the project root. What a person wrote below the marker of its README.md is kept.

    Raises:
        ConfigError: a study that can't be judged, or a folder that can't be written to.
    """
    store = open_store(uri)
    study = read(store, name, rule)
    # matplotlib takes its second, so what can be refused is refused before.
    from promax.confirm.folder import log, write, written_by_hand
    from promax.confirm.pictures import pictures
    from promax.figures import png

    folder = out if out is not None else project_root() / "experiments" / file_name(name)
    by_hand = written_by_hand(folder)
    findings = find(study, _audits(store, study))
    show(findings)
    drawn = pictures(findings)
    images = {file: png(figure) for file, (figure, _) in drawn.items()}
    text = page(findings, read_origin(store, study), {file: shown for file, (_, shown) in drawn.items()})
    make_folder(folder, f"--out {folder}")
    write(text, by_hand, findings, images, folder)
    run_id = log(text, findings, images, folder, store)
    print(f"Written to {folder}\nRecorded in {store.label}, run {run_id[:8]}, with the report as one file, report.html")
    return findings


def _audits(store: Store, study: Study) -> dict[str, Report | None]:
    """What the audit of the pairs of each variant said, as its first run logged it; None where it did not."""
    return {name: _audit(store, members[0].run.run_id) for name, members in by_variant(study).items()}


def _audit(store: Store, run_id: str) -> Report | None:
    try:
        return Report.from_json(json.loads(read_text(store, run_id, "audit/report.json")))
    except (ConfigError, ValueError, KeyError, TypeError):
        return None
