"""Where a verdict goes: into the study's folder, and into the record under the study's own run."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

from promax.config import ConfigError, claim_key
from promax.confirm import tables
from promax.confirm.findings import Findings
from promax.files import replace
from promax.tracking import DESCRIPTION_TAG, KIND_TAG, VERDICT, Run, Store, get_run, start_run

README, HTML = "README.md", "report.html"
# Between the verdict and what else a run's description says.
RULE = "\n\n---\n\n"
KEPT = "<!-- written by hand below: kept when the report is written again -->"

_STYLE = """\
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: 0.875rem; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
img { max-width: 100%; margin: 1rem 0; }
pre { background: #f5f5f5; padding: 0.8rem; overflow-x: auto; }
"""


def written_by_hand(folder: Path) -> str:
    """What stands below the marker in the folder's README.md, with the marker; the marker alone where there is none.

    Raises:
        ConfigError: a README.md without the marker, which no verdict wrote.
    """
    try:
        text = (folder / README).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return f"{KEPT}\n"
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{folder / README}: can't be read as text") from None
    if KEPT not in text:
        raise ConfigError(
            f"{folder / README}: was not written by promax confirm, and would be lost; name another folder with --out,"
            f"\nor end it with the line {KEPT}, below which your text is kept"
        )
    return text[text.index(KEPT) :]


def write(page: str, by_hand: str, findings: Findings, images: Mapping[str, bytes], out: Path) -> None:
    """README.md, the tables and the pictures in the folder `out`, each whole or not at all.

    Raises:
        ConfigError: a file can't be written.
    """
    files = {README: f"{page}\n{by_hand}".encode()}
    files |= {file: text.encode() for file, text in _tables(findings).items()}
    files |= images
    for file, content in files.items():
        replace(out / file, content)


def log(page: str, findings: Findings, images: Mapping[str, bytes], out: Path, store: Store) -> str:
    """Record the verdict under the study's own run and return that run's id.

    The page goes there as one HTML file, the tables and pictures from the folder `out`, and each claim as a tag and
    metrics.
    """
    with _own_run(store, findings) as run:
        run.log_text(html(page, findings.study.name, images), HTML)
        for file in (*_tables(findings), *images):
            run.log_artifact(out / file, "verdict")
        tags = {f"promax.verdict.{claim_key(each.claim.name)}": each.verdict for each in findings.judgements}
        former = get_run(store, run.run_id).tags.get(DESCRIPTION_TAG, "")
        run.set_tags({**tags, DESCRIPTION_TAG: _above(former, findings)})
        metrics: dict[str, float] = {}
        for each in findings.judgements:
            name, interval = f"verdict/{claim_key(each.claim.name)}", each.measured.interval
            metrics |= {name: each.measured.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        run.log_metrics(metrics)
        return run.run_id


def _above(former: str, findings: Findings) -> str:
    """The verdict as a run's description, above what the sweep says there and in place of an earlier verdict."""
    claims = [f"- {each.claim.name}: **{each.verdict}**" for each in findings.judgements]
    asked = [f"**{findings.study.rule.question}**", "", *claims, "", f"The whole report: {HTML}, among the artifacts"]
    return "\n".join(asked) + RULE + former.rpartition(RULE)[2]


def html(page: str, title: str, images: Mapping[str, bytes]) -> str:
    """The page as one HTML file that needs nothing beside it: the pictures are in it."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(page)
    for file, image in images.items():
        inside = base64.b64encode(image).decode()
        body = body.replace(f'src="{file}"', f'src="data:image/png;base64,{inside}"')
    # The tables' links lead beside the page, and in the record they lie elsewhere.
    body = re.sub(r'<a href="(\w+\.csv)">', r'<a href="verdict/\1">', body)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>\n{_STYLE}</style>'
    return f"<!doctype html>\n<html lang=en><head>{head}</head>\n<body>\n{body}</body></html>\n"


@contextmanager
def _own_run(store: Store, findings: Findings) -> Iterator[Run]:
    """The sweep's run; where the runs are no sweep's, one made for the verdict."""
    study = findings.study
    if study.parent is not None:
        yield Run(store, study.parent)
        return
    with start_run(store, study.name, f"verdict on {study.name}", {}, {KIND_TAG: VERDICT}) as run:
        yield run


def _tables(findings: Findings) -> dict[str, str]:
    return {
        "results.csv": tables.results(findings),
        "claims.csv": tables.claims(findings),
        "effects.csv": tables.effects(findings),
    }
