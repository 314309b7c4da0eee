"""What is installed: each dependency pinned, and under a licence that is allowed."""

from __future__ import annotations

import re
import subprocess
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
PINNED = {
    canonicalize_name(line.partition("==")[0])
    for line in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if "==" in line
}
# Of the interpreter's environment, or the project itself.
OWN = {"pip", "setuptools", "wheel", "promax"}
# Permissive, or weak copyleft that ends at the library's own files: psycopg and its like are used as they are.
ALLOWED = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|LGPL-3|Zlib|CC0|CNRI|Unlicense|HPND|OSI Approved"
)
# Its metadata names none; its LICENSE file is the MIT licence.
NAMES_NONE = {"huey"}


def declared() -> set[str]:
    setup = ConfigParser()
    setup.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    texts = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    return {canonicalize_name(Requirement(line).name) for text in texts for line in text.split("\n") if line.strip()}


def needed() -> dict[str, metadata.Distribution]:
    """What promax and its tests install, and what that needs in turn; what else lies beside it is nobody's matter."""
    found: dict[str, metadata.Distribution] = {}
    waiting, seen = [(name, "") for name in declared()], set[tuple[str, str]]()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            found[name] = distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # wanted on another Python or system only
        for each in map(Requirement, distribution.requires or []):
            if each.marker is None or each.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(each.name), wanted) for wanted in ("", *each.extras)]
    assert len(found) > 100
    return {name: each for name, each in found.items() if name not in OWN}


def licence(distribution: metadata.Distribution) -> str:
    held = distribution.metadata
    classified = [each for each in held.get_all("Classifier") or [] if each.startswith("License ::")]
    # Some put the licence's whole text into the field.
    return " ".join([held.get("License-Expression") or "", *classified, (held.get("License") or "")[:80]]).strip()


def test_every_dependency_has_its_version() -> None:
    assert len(declared()) > 40
    assert sorted(declared() - PINNED) == []
    assert sorted(set(needed()) - PINNED) == []


def test_every_licence_is_allowed() -> None:
    said = {name: licence(each) for name, each in needed().items()}
    assert {name for name, text in said.items() if not text} <= NAMES_NONE
    assert {name: text for name, text in said.items() if text and not ALLOWED.search(text)} == {}
    strict = re.compile(r"(?<!L)GPL|AGPL|General Public License")
    lesser = re.compile(r"LGPL|Lesser")
    assert {name: text for name, text in said.items() if strict.search(text) and not lesser.search(text)} == {}


# What pip-audit 2.10 prints, on either stream, and its exit code; then what `.ci/audit` makes of it.
AUDITS = {
    "vulnerable": ("Found 1 known vulnerability in 1 package\nurllib3 1.26.0 CVE-2021-33503", 1, 1, "CVE-2021-33503"),
    "several": ("Found 3 known vulnerabilities in 2 packages\nName Version ID", 1, 1, "Found 3 known vulnerabilities"),
    "clean": ("No known vulnerabilities found", 0, 0, "audit: no known vulnerabilities\n"),
    "away": ("ERROR:pip_audit:Connection refused", 1, 0, "audit: not done, the service can't be reached: ERROR:pip_au"),
    "unknown": (
        "Name Skip Reason\ntorch Dependency not found on PyPI and could not be audited: torch (2.13.0)",
        *(0, 0, "audit: no known vulnerabilities, but 1 pinned packages could not be looked up: not audited\n"),
    ),
}


@pytest.mark.parametrize("kind", AUDITS)
def test_a_known_vulnerability_fails_the_audit_and_a_service_that_is_away_does_not(kind: str, tmp_path: Path) -> None:
    printed, code, expected, told = AUDITS[kind]
    stand_in = tmp_path / "pip-audit"
    stand_in.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}\nEND\nexit {code}\n")
    stand_in.chmod(0o755)
    done = subprocess.run([str(REPOSITORY / ".ci" / "audit"), str(stand_in)], capture_output=True, text=True)
    assert done.returncode == expected
    assert told in done.stdout and done.stderr == ""


def test_the_audit_is_part_of_what_has_to_hold() -> None:
    run = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert "set -e" in run and "make audit" in run.splitlines()
