"""Real exports that the project may read but doesn't own; counts from their READMEs, or by awk and pandas."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from promax.config import ConfigError, ExportColumnsConfig, ExportConfig
from promax.data.corpus import generate, incident_text, write_csv
from promax.data.exports import Export, read_export, read_links

SHARED = Path(__file__).resolve().parents[3] / "../shared/data"


def shared(name: str) -> Path:
    if not (path := SHARED / name).is_file():
        pytest.skip(f"no shared data: {name}")
    return path


def read(path: Path, columns: dict[str, str] | None = None, **cfg: object) -> Export:
    return read_export(path, ExportConfig(columns=ExportColumnsConfig(**(columns or {})), **cfg))  # type: ignore[arg-type]


def test_the_packages_own_export_reads_back(tmp_path: Path) -> None:
    """Texts as `incident_text` makes them of the same columns, but for the wiki marks of some engineers."""
    tickets = generate(600, seed=3)
    write_csv(tickets, tmp_path / "incident.csv")
    export = read(tmp_path / "incident.csv")
    incidents = [each.incident for each in tickets]
    read_back = export.tickets
    assert read_back.id == [each.number for each in incidents]
    assert read_back.problem == [each.problem_id for each in incidents]
    assert read_back.parent == [each.parent_incident for each in incidents]
    assert [str(each) for each in read_back.opened] == [each.opened_at for each in incidents]
    marks = r"h2\. |\{noformat\} "
    assert sum(re.search(marks, incident_text(each)) is not None for each in incidents) > 5
    assert read_back.text == [re.sub(marks, "", incident_text(each)) for each in incidents]
    assert export.guessed == export.mapping.keys()
    assert {"work_notes", "close_code", "close_notes", "closed_by"}.isdisjoint(export.mapping.values())
    assert export.tickets.fingerprint() == read(tmp_path / "incident.csv").tickets.fingerprint()


@pytest.fixture(scope="module")
def hadoop() -> Export:
    return read(shared("corpus_gitbugs_hadoop/bugs.csv"))


def test_jira_issues(hadoop: Export) -> None:
    tickets = hadoop.tickets
    assert len(tickets) == 2503
    assert hadoop.mapping == {
        **{"id": "Issue id", "short": "Summary", "description": "Description"},
        **{"opened": "Created", "resolved": "Resolved"},
    }
    assert tickets.id[0] == "13404344"
    assert tickets.opened[0] == datetime(2021, 9, 30, 17, 20)
    assert None not in tickets.opened
    everything = "\n".join(tickets.text)
    # What of Jira's markup and numbers the source holds, by grep: 1,384 {code}, 548 HADOOP-n, 112 cells {noformat}.
    assert re.search(r"\{code|\{noformat|\[~|HADOOP-\d{3}|\{quote\}|\{color", everything) is None
    assert "UTF-8" in everything
    assert not any(own in text for own, text in zip(tickets.id, tickets.text, strict=True))


def test_links_of_jira_issues(hadoop: Export) -> None:
    """125 rows below the header, two of which hold two ids (grep -c ', ')."""
    path = shared("corpus_gitbugs_hadoop/duplicates.csv")
    links = read_links(path, ExportConfig())
    cells = [line.split(",", 1) for line in path.read_text().splitlines()[1:]]
    assert links == [(own, each) for own, others in cells for each in re.findall(r"\d+", others)]
    assert len(links) == 127
    assert {each for link in links for each in link} <= set(hadoop.tickets.id)


def test_html_questions() -> None:
    export = read(shared("corpus_askubuntu_export/questions_html.csv"))
    assert len(export.tickets) == 1189
    assert export.mapping == {"id": "id", "short": "title", "description": "body_html", "problem": "duplicate_group"}
    # 955 <code>, 3,866 <p> and 255 <a> in the source; a body may speak of a tag, but never end one.
    assert [
        text for text in export.tickets.text if re.search(r"</(p|a|li|pre|strong|em|ul)>|&(lt|gt|amp);", text)
    ] == []
    at = export.tickets.id.index("AU000005")
    assert export.tickets.text[at].startswith("Dash Home will not open. I am a first-time Linux user who has installed")


def test_endava_tickets() -> None:
    name = "corpus_endava_tickets/all_tickets_part.csv"
    with pytest.raises(ConfigError, match=r"no id column .* export\.number_rows=true"):
        read(shared(name))
    numbered, made_up = read(shared(name), number_rows=True), read(shared("corpus_endava_tickets/tickets.jsonl"))
    assert len(numbered.tickets) == len(made_up.tickets) == 5431
    assert (made_up.tickets.id[0], numbered.tickets.id[0]) == ("END000001", "line 2")
    assert made_up.tickets.category == numbered.tickets.category
    assert set(numbered.tickets.category) > {"4", "5", "6"}
    assert made_up.tickets.service == numbered.tickets.service
    # Codes of categories are values, not words: no context is made of them.
    assert not any("(Context" in text for text in numbered.tickets.text)


def test_the_uci_event_log() -> None:
    path = shared("servicenow_shape/uci_incident_event_log_sample.csv")
    with pytest.raises(ConfigError, match="no text column"):
        read(path)
    export = read(path, {"short": "u_symptom"})
    assert (
        "uci_incident_event_log_sample.csv: ids on several rows: 126; the last by sys_mod_count is kept,"
        in " ".join(export.notes)
    )
    assert "rows left out: 745" in " ".join(export.notes)  # 871 rows of 126 incidents
    # 31 incidents have no symptom in their last row: "?".
    assert len(export.tickets) == 95
    at = export.tickets.id.index("INC0000057") if "INC0000057" in export.tickets.id else 0
    assert export.tickets.opened[at] == datetime(2016, 2, 29, 6, 10)
    assert "?" not in {*export.tickets.problem, *export.tickets.category}
    with pytest.raises(ConfigError, match=r"export\.columns\.description=closed_code: by its name"):
        read(path, {"short": "u_symptom", "description": "closed_code"})
