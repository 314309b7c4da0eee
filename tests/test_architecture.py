"""The rule of the house: which room may import which, and which libraries enter where."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "promax"
PLUGIN = PACKAGE.parent / "hydra_plugins" / "promax_sweeper"

# room -> the promax rooms it may import. `data` stands for promax/data/*, `train` for promax/train/*.
ROOMS = {
    "paths": set(),
    "config": {"paths"},
    "metrics": set(),
    "lexical": set(),
    "scores": set(),
    "figures": set(),
    "trial": set(),
    "clock": set(),
    "process": set(),
    "files": {"config"},
    "tiers": {"config"},
    "weights": {"config"},
    "provenance": {"config"},
    "portable": {"config", "provenance"},
    "data": {"config", "files"},
    "packed": set(),
    "base": {"config", "weights"},
    "encoder": {"config", "weights", "base", "packed"},
    "export": {"config", "weights", "encoder"},
    "train": {"config", "data", "packed"},
    "tracking": {"config", "files", "process", "scores", "trial"},
    "evaluate": {"config", "metrics", "data"},
    "adversarial": {"config", "data", "metrics", "lexical", "evaluate"},
    "compare": {"config", "data", "metrics", "scores", "tiers", "tracking"},
    "description": {"config", "data", "tracking", "train"},
    "slices": {"evaluate", "figures", "tracking"},
    "confirm": {
        *("config", "data", "weights", "metrics", "scores", "figures", "files", "tracking", "compare"),
        # What it read in a study's pairs, and from where on that counts.
        "audit",
    },
    "journal": {
        *("config", "data", "metrics", "train", "evaluate", "adversarial", "figures", "scores", "tiers"),
        *("provenance", "compare", "tracking", "weights", "description", "slices"),
    },
    "run": {
        *("config", "data", "weights", "encoder", "export", "train", "evaluate", "adversarial", "audit"),
        *("provenance", "portable", "journal", "description", "tracking", "trial", "clock", "packed"),
    },
    "vectors": {"config", "weights", "encoder", "portable"},
    "audit": {
        *("config", "data", "metrics", "lexical", "weights", "encoder", "vectors", "figures", "provenance"),
        *("files", "tracking", "portable"),
    },
    "reproduce": {
        *("adversarial", "config", "data", "files", "journal", "provenance", "run", "scores", "tracking"),
        *("trial", "weights"),
    },
    "build": {"config", "data", "lexical", "weights"},
    "saved": {"config", "tracking"},
    "promote": {"config", "weights", "encoder", "export", "metrics", "compare", "saved", "tracking"},
    "search": {"config", "data", "weights", "encoder", "export", "saved", "vectors", "tracking"},
    "doctor": {"config", "paths", "weights", "encoder", "packed", "provenance", "tracking", "plugin"},
    "cli": {
        *("config", "paths", "files", "data", "run", "compare", "tracking", "trial", "build", "vectors", "audit"),
        *("confirm", "reproduce", "promote", "search", "doctor", "portable"),
    },
    # hydra_plugins/promax_sweeper
    "plugin": {"config", "data", "evaluate", "files", "process", "tracking", "trial"},
}

# library -> the rooms that may import it.
LIBRARIES = {
    "mlflow": {"tracking"},
    "peft": {"encoder", "packed"},
    "optuna": {"plugin"},
    "omegaconf": {"config", "cli", "plugin"},
    "hydra": {"cli", "plugin", "doctor"},
    "argcomplete": {"cli"},
    "torch": {"base", "encoder", "export", "packed", "train", "reproduce", "doctor"},
    "sentence_transformers": {"base", "encoder", "export", "packed", "train", "run", "promote"},
    "datasets": {"data", "train"},
    "matplotlib": {"figures", "tracking", "audit", "confirm", "plugin"},
    "rich": {"compare", "build", "audit", "confirm", "reproduce", "search"},
    "markdown_it": {"confirm"},
    "faiss": {"data"},
    "inscriptis": {"data"},
    "python_calamine": {"data"},
}


def imports_of(path: Path) -> set[str]:
    """Dotted names of everything a module imports, wherever in it, type-checking blocks included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def room_of(path: Path) -> str:
    return "plugin" if PLUGIN in path.parents else path.relative_to(PACKAGE).with_suffix("").parts[0]


SOURCES = [
    *sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"),
    *sorted(PLUGIN.rglob("*.py")),
]


def test_every_source_file_belongs_to_a_room() -> None:
    assert {room_of(path) for path in SOURCES} == set(ROOMS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_imports_only_the_rooms_and_libraries_it_may(path: Path) -> None:
    room = room_of(path)
    names = imports_of(path)
    rooms = {name.split(".")[1] for name in names if name.startswith("promax.")} - {"__version__"}
    rooms |= {"plugin" for name in names if name.startswith("hydra_plugins.")}
    assert rooms <= ROOMS[room] | {room}
    libraries = {name.split(".")[0] for name in names} & set(LIBRARIES)
    assert {library for library in libraries if room not in LIBRARIES[library]} == set()


def test_files_stay_readable() -> None:
    too_long = {
        str(path.relative_to(PACKAGE.parent)): n for path in SOURCES if (n := len(path.read_text().splitlines())) > 330
    }
    assert too_long == {}


def test_functions_stay_short() -> None:
    """At most 40 lines of code, the docstring not counted."""
    too_long = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1
                if lines > 40:
                    too_long[f"{path.relative_to(PACKAGE.parent)}:{node.name}"] = lines
    assert too_long == {}


@pytest.mark.parametrize(
    "module",
    [
        "promax.config",
        "promax.cli",
        "promax.doctor.flow",
        "promax.metrics",
        "promax.data.splits",
        "promax.data.exports",
    ],
)
def test_a_light_module_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers', 'mlflow', 'datasets'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"


def test_plugins_live_in_a_namespace_package() -> None:
    """An __init__.py there would hide every other installed Hydra plugin."""
    assert not (PACKAGE.parent / "hydra_plugins" / "__init__.py").exists()
