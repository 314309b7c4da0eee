"""What a run was made with, on real git repositories."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from promax import provenance
from promax.config import Config, OptimConfig
from promax.provenance import Provenance, collect, config_hash

CANARY = "Printer of Ms Miller prints only pages with her salary"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One commit: a module, a config and a pair file."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "repository"
    (folder / "conf").mkdir(parents=True)
    (folder / "code.py").write_text("RATE = 5e-5\n")
    (folder / "conf" / "config.yaml").write_text("seed: 0\n")
    (folder / "pairs.jsonl").write_text('{"text1": "a"}\n')
    (folder / ".gitignore").write_text("mlruns/\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_a_clean_repository(repository: Path) -> None:
    (repository / "mlruns").mkdir()
    (repository / "mlruns" / "ignored.txt").write_text("x")
    found = collect(repository, "cpu")
    assert found.git_commit == git(repository, "rev-parse", "HEAD")
    assert (found.git_dirty, found.diff, found.changed, found.untracked) == (False, "", (), ())


def test_a_changed_repository_is_dirty_and_its_diff_applies(repository: Path, tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    git(tmp_path, "clone", "--quiet", str(repository), str(clean))
    (repository / "code.py").write_text("RATE = 2e-5\n")
    (repository / "conf" / "config.yaml").write_text("seed: 1\n")
    git(repository, "add", "conf")
    (repository / "new file.py").write_text("x = 1\n")
    git(repository, "config", "diff.noprefix", "true")
    git(repository, "config", "color.ui", "always")
    found = collect(repository, "cpu")
    assert found.git_dirty
    assert found.changed == ("code.py", "conf/config.yaml")
    assert found.untracked == ("new file.py",)
    (tmp_path / "git.diff").write_text(found.diff)
    git(clean, "apply", str(tmp_path / "git.diff"))
    assert (clean / "code.py").read_text() == "RATE = 2e-5\n"
    assert (clean / "conf" / "config.yaml").read_text() == "seed: 1\n"


def test_changed_data_is_named_but_never_shown(repository: Path) -> None:
    (repository / "pairs.jsonl").write_text(f'{{"text1": "{CANARY}"}}\n')
    (repository / "export.csv").write_text(CANARY)
    found = collect(repository, "cpu")
    assert found.git_dirty
    assert found.changed == ("pairs.jsonl",)
    assert found.untracked == ("export.csv",)
    assert CANARY not in repr(found)


def test_a_module_of_promax_that_git_does_not_follow_is_in_the_diff(repository: Path, tmp_path: Path) -> None:
    """Without it, the code of a run that imports the module can't be built again."""
    clean = tmp_path / "clean"
    git(tmp_path, "clone", "--quiet", str(repository), str(clean))
    (repository / "promax" / "data").mkdir(parents=True)
    (repository / "promax" / "data" / "my loss.py").write_text("RATE = 1\n")
    (repository / "promax" / "tickets.jsonl").write_text(CANARY)
    (repository / "scratch.py").write_text(CANARY)
    (repository / "code.py").write_text("RATE = 2e-5\n")
    found = collect(repository, "cpu")
    assert CANARY not in found.diff
    (tmp_path / "git.diff").write_text(found.diff)
    git(clean, "apply", str(tmp_path / "git.diff"))
    assert (clean / "promax" / "data" / "my loss.py").read_text() == "RATE = 1\n"
    assert (clean / "code.py").read_text() == "RATE = 2e-5\n"
    assert git(clean, "status", "--short", "-uall").split("\n") == ["M code.py", '?? "promax/data/my loss.py"']


def test_an_untracked_file_alone_leaves_the_commit_clean(repository: Path) -> None:
    (repository / "notes.txt").write_text("x")
    found = collect(repository, "cpu")
    assert (found.git_dirty, found.untracked) == (False, ("notes.txt",))
    assert found.tags()["promax.git_untracked"] == 1


def test_a_long_diff_is_cut_and_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "code.py").write_text("x = 1\n" * 1000)
    whole = collect(repository, "cpu").diff
    monkeypatch.setattr(provenance, "LONGEST_DIFF", 500)
    assert collect(repository, "cpu").diff == f"{whole[:500]}\n[cut here: 500 of {len(whole)} characters]\n"


def test_a_long_list_of_files_is_cut_and_says_so(repository: Path) -> None:
    for number in range(203):
        (repository / f"{number:03}.txt").touch()
    found = collect(repository, "cpu").untracked
    assert (len(found), found[199], found[200]) == (201, "199.txt", "[and 3 more]")


@pytest.mark.parametrize("state", ["no repository", "no commit", "no git", "git hangs"])
def test_where_git_says_nothing_the_record_says_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if state == "no commit":
        git(tmp_path, "init", "--quiet")
    if state == "no git":
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    if state == "git hangs":
        monkeypatch.setattr(provenance, "GIT_SECONDS", 0.2)
        (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / "git").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = collect(tmp_path, "cpu")
    assert (found.git_commit, found.git_dirty, found.diff, found.changed) == ("none", False, "", ())
    installed = collect(None, "cpu")
    assert (installed.git_commit, installed.git_dirty, installed.untracked) == ("none", False, ())


def test_a_git_hook_does_not_lead_to_its_own_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    git(other, "commit", "--quiet", "--allow-empty", "--message", "other")
    commit = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert collect(repository, "cpu").git_commit == commit


def test_versions_are_those_that_are_imported(repository: Path) -> None:
    import numpy

    found = collect(repository, "cpu")
    assert found.versions["numpy"] == numpy.__version__
    assert found.versions["torch"] == importlib.metadata.version("torch")
    assert f"numpy=={numpy.__version__}" in found.requirements
    assert list(found.requirements) == sorted(found.requirements, key=lambda line: line.partition("==")[0].lower())
    assert found.python == ".".join(map(str, sys.version_info[:3]))


def test_a_missing_library_is_stated(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "STACK", ("numpy", "no-such-library"))
    assert collect(repository, "cpu").versions["no-such-library"] == "none"


def test_threads_are_those_that_torch_uses(repository: Path) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        found = collect(repository, "cpu")
    finally:
        torch.set_num_threads(before)
    assert found.threads == before + 1
    assert (found.device, found.device_name) == ("cpu", found.cpu)
    assert found.cpu


def test_what_decides_the_rounding_is_there(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in provenance.NUMERIC:
        monkeypatch.delenv(name, raising=False)
    assert collect(repository, "cpu").environment == ""
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert collect(repository, "cpu").environment == "OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/cpuinfo")
def test_the_features_are_those_of_the_processor(repository: Path) -> None:
    import torch

    # torch chooses among kernels by the same abilities.
    capability = torch.backends.cpu.get_cpu_capability()
    features = collect(repository, "cpu").cpu_features.split()
    assert {"AVX512": "avx512f" in features, "AVX2": "avx2" in features}.get(capability, True)


def test_every_fact_that_is_no_list_becomes_a_tag(repository: Path) -> None:
    found = collect(repository, "cpu")
    tags = found.tags()
    texts_and_lists = {"diff", "changed", "untracked", "requirements", "versions"}
    single = {field.name for field in dataclasses.fields(Provenance)} - texts_and_lists
    assert {name: tags[f"promax.{name}"] for name in single} == {name: getattr(found, name) for name in single}
    assert tags["promax.version.numpy"] == found.versions["numpy"]


def test_the_hash_of_a_config_changes_with_any_value_and_with_nothing_else() -> None:
    assert config_hash(Config()) == config_hash(Config())
    assert config_hash(Config()) != config_hash(Config(seed=1))
    assert config_hash(Config()) != config_hash(Config(optim=OptimConfig(lr=5.000000000000001e-05)))
    # Stable over processes, and so over the random order of Python's hashes.
    code = "from promax.provenance import *; from promax.config import Config; print(config_hash(Config()))"
    repository = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repository)
    assert done.stdout.strip() == config_hash(Config())
