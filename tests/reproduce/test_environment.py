"""A fresh environment from a record's requirements, with packages of a folder in place of an index."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from promax.config import ConfigError
from promax.reproduce.environment import fresh_environment

pytestmark = pytest.mark.slow
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two versions of one small package, the only place where pip looks."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    # It asks for another package, which a record would have named too.
    for name, version, asks in (("lonely", "1.0", "friend"), ("lonely", "2.0", "friend"), ("friend", "7.0", None)):
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", f"version = '{version}'\n")
            info = f"{name}-{version}.dist-info"
            requires = f"Requires-Dist: {asks}\n" if asks else ""
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_it_has_the_recorded_versions_and_nothing_of_this_one(
    wheels: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    python = fresh_environment(["lonely==1.0", "promax==0.1.0"], f"{HERE}.0", tmp_path / "environment")
    code = "import importlib.util as u, lonely; print(lonely.version, u.find_spec('promax'), u.find_spec('numpy'))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "1.0 None None\n"
    assert f"environment: 1 packages for Python {HERE}.0 into" in capfd.readouterr().err


def test_a_build_that_no_index_has_is_another_of_that_version(
    wheels: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As torch 2.13.0+cpu, recorded where its maker's own index is asked; what another build asks for comes along."""
    python = fresh_environment(["lonely==1.0+cpu"], HERE, tmp_path / "environment")
    code = "import lonely, friend; print(lonely.version, friend.version)"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "1.0 7.0\n"
    said = capfd.readouterr().err
    assert "environment: not to be had here: Could not find a version that satisfies" in said
    assert "environment: lonely==1.0+cpu without the local part, and with what it asks for" in said


def test_what_pip_cannot_install_is_told_in_its_own_words(wheels: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        fresh_environment(["lonely==3.0"], HERE, tmp_path / "environment")
    assert str(raised.value) == (
        "--env: pip can't install what the run had: Could not find a version that satisfies the requirement"
        " lonely==3.0 (from versions: 1.0, 2.0)"
    )


def test_another_python_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError) as raised:
        fresh_environment([], "3.7.2", tmp_path / "environment")
    assert str(raised.value) == ("--env: the run had Python 3.7.2, and there is no python3.7 here; install it first")


@pytest.mark.parametrize(("version", "shown"), [(None, "none"), ("", "none"), ("3", "3")])
def test_a_record_that_names_no_python_gets_none_of_the_many(version: str | None, shown: str, tmp_path: Path) -> None:
    """A `python` or `python3` is on every machine, and any version of it."""
    with pytest.raises(ConfigError) as raised:
        fresh_environment([], version, tmp_path / "environment")
    assert str(raised.value) == (
        f"--env: promax.python={shown}: the record must say which Python the run had, like 3.12.1;"
        " reproduce it without --env"
    )
    assert not (tmp_path / "environment").exists()
