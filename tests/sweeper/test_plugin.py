"""The plugin as Hydra finds it, from anywhere, and a sweep of the real thing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import optuna
import pytest

from promax.cli import main
from promax.config import EvalConfig
from promax.evaluate import metric_names
from promax.tracking import open_store, runs_of

# Worker processes, kills and servers: `make fast` leaves these out.
pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
PLUGIN = REPOSITORY / "hydra_plugins" / "promax_sweeper"
FIND = """
import sys
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
found = [each for each in Plugins.instance().discover(Sweeper) if each.__name__ == "PromaxOptuna"]
print(len(found), sorted({"optuna", "torch", "mlflow", "sqlalchemy", "pydantic"} & set(sys.modules)))
"""


def installed(how: str, at: Path) -> Path:
    """The Python of an environment that sees this one's packages, with promax installed as a user would."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(at)], check=True)
    python = at / "bin" / "python"
    (at / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages" / "base.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith("site-packages"))
    )
    flags = {"editable": ["--no-deps", "--no-build-isolation", "-e"], "wheel": ["--no-deps", "--no-build-isolation"]}
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *flags[how], "."], cwd=at.parent / "promax", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.parametrize("how", ["editable", "wheel"])
def test_hydra_finds_the_plugin_from_an_unrelated_folder_and_loads_nothing_heavy_for_it(
    how: str, tmp_path: Path
) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not in a git checkout, from which to copy what would be packaged")
    for name in listed.stdout.split():
        source = REPOSITORY / name
        if source.is_file() and not name.startswith(("tests/", "experiments/")):
            (tmp_path / "promax" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "promax" / name).write_bytes(source.read_bytes())
    python = installed(how, tmp_path / "environment")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(python), "-c", FIND], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.stdout == "1 []\n", done.stderr


def test_the_plugin_takes_no_other_plugin_away() -> None:
    assert not (PLUGIN.parent / "__init__.py").exists()


def promax(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_study_of_rate_and_epochs_on_the_real_encoder(project: Path, project_with_pairs: list[str]) -> None:
    """experiment=lr_epochs but for its size: two starting points, one baseline, dev metrics in the curve."""
    small = [
        "hydra.sweeper.n_trials=3",
        "precision=fp32",  # else epochs are ranked in bf16 where that is fast, and the kept one is judged in float32
        "hydra.sweeper.params={optim.lr:'tag(log,interval(1e-6,1e-3))',optim.epochs:'range(1,3)'}",
    ]
    points = "hydra.sweeper.enqueue=[{optim.lr:2e-5,optim.epochs:1},{optim.lr:5e-5,optim.epochs:2}]"
    assert promax("train", "experiment=lr_epochs", *project_with_pairs, *small, points) == 0
    study = optuna.load_study(study_name="lr_epochs", storage=f"sqlite:///{project / 'mlruns' / 'optuna.db'}")
    assert [trial.params for trial in study.trials[:2]] == [
        {"optim.lr": 2e-5, "optim.epochs": 1},
        {"optim.lr": 5e-5, "optim.epochs": 2},
    ]
    runs = {run.tags.get("promax.trial", run.tags["promax.kind"]): run for run in runs_of(open_store(), "lr_epochs")}
    assert set(runs) == {"baseline", "0", "1", "2"}
    measured = {f"dev/{name}" for name in metric_names(EvalConfig(bootstrap=100), graded=False)}
    for trial in study.trials:
        run = runs[str(trial.number)]
        assert run.status == "FINISHED"
        # What may be an objective is what a run has, and what a run has may be one, but for where it cuts.
        assert {name for name in run.metrics if re.fullmatch(r"dev/\w+(?<!_low)(?<!_high)", name)} == {
            *measured,
            "dev/threshold",
        }
        assert run.metrics["train/peak_learning_rate"] == pytest.approx(trial.params["optim.lr"])
        assert run.metrics["train/epochs_run"] == trial.params["optim.epochs"]
        assert len(trial.intermediate_values) == trial.params["optim.epochs"]
        # The kept epoch's encoder is what the trial is worth.
        assert trial.value == run.metrics["dev/spearman"]
        assert trial.value == pytest.approx(max(trial.intermediate_values.values()), abs=1e-6)
    assert (project / "mlruns" / "sweeps").is_dir()


@pytest.mark.parametrize("engine", ["packed", "reference"])
def test_a_trial_of_the_real_encoder_is_pruned(engine: str, project: Path, project_with_pairs: list[str]) -> None:
    """The first hardly moves the encoder; the second's rate breaks it in its first epoch, which is its last."""
    search = ["hydra/sweeper=promax_optuna", "optim.lr=1e-9,0.1", "hydra.sweeper.sampler=grid", "study=pruned"]
    rule = ["hydra.sweeper.pruner=median", "hydra.sweeper.pruner_options={n_startup_trials:1}"]
    model = [f"engine={engine}", "precision=fp32", "model=minilm_lora", "optim.epochs=3", "optim.warmup_ratio=0"]
    assert promax("train", "-m", *project_with_pairs, *model, *search, *rule) == 0
    study = optuna.load_study(study_name="pruned", storage=f"sqlite:///{project / 'mlruns' / 'optuna.db'}")
    whole, pruned = study.trials
    assert (whole.state.name, pruned.state.name) == ("COMPLETE", "PRUNED")
    assert (len(whole.intermediate_values), len(pruned.intermediate_values)) == (3, 1)
    (run,) = [run for run in runs_of(open_store(), "pruned") if run.tags.get("promax.trial") == "1"]
    value = pruned.intermediate_values[1]
    assert (run.status, run.tags["promax.reason"]) == (
        "KILLED",
        f"pruned after epoch 1: dev/spearman {value:.4f} (median)",
    )
    assert run.metrics["dev/spearman"] == value < whole.intermediate_values[1]
    # Nothing of it was kept or judged.
    assert not [name for name in run.metrics if name.startswith("test/")]


def test_hydras_basic_sweeper_still_multiplies(project: Path, project_with_pairs: list[str]) -> None:
    assert promax("train", "-m", *project_with_pairs, "study=grid", "optim.epochs=1", "optim.lr=1e-5,2e-5") == 0
    rates = {run.params["optim.lr"] for run in runs_of(open_store(), "grid") if run.tags["promax.kind"] == "tuned"}
    assert rates == {"1e-05", "2e-05"}


def test_optuna_dashboard_opens_on_the_storage(sweeps) -> None:
    pytest.importorskip("optuna_dashboard")
    words = ("optim.lr=interval(0.1,0.2)", "hydra.sweeper.study_name=shown", "hydra.sweeper.n_trials=1")
    assert sweeps.run(*words)[0] == 0
    port = "18907"
    server = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from optuna_dashboard._cli import main; main()",
            sweeps.storage,
            "--host",
            "127.0.0.1",
            "--port",
            port,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            time.sleep(0.2)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies") as answer:
                    found = json.load(answer)["study_summaries"]
                    break
            except OSError:
                continue
        assert [study["study_name"] for study in found] == ["shown"]
    finally:
        server.kill()
        server.wait()
