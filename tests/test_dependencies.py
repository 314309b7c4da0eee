"""What is installed: each dependency pinned, and under a licence that is allowed."""

from __future__ import annotations

import re
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

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
