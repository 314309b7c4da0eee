"""The command line: exit codes, texts, speed of a refusal."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import promax
from promax.config import ConfigError, refuse_code
from promax.paths import conf_dir


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            ["optim.epoch=3"],
            "promax: optim.epoch: unknown key, did you mean optim.epochs? Allowed in optim: lr, epochs",
        ),
        (
            ["+optim.epoch=3"],
            "promax: optim.epoch: unknown key, did you mean optim.epochs? Allowed in optim: lr, epochs",
        ),
        (["speed=3"], "promax: speed: unknown key, did you mean seed? Allowed at the top: study, seed"),
        (["model.lora.rank=3"], "promax: model.lora.rank: unknown key. Allowed in model.lora: r, alpha"),
        (
            ["model=minilm", "model.lora.r=8"],
            "promax: model.lora.r: model.lora is null here; choose a config that has it",
        ),
        (
            ["rule=loss", "rule.after.also.optim.loss=mnrl"],
            "promax: rule.after.also.optim.loss: must be written in a rule's file, like conf/rule/loss.yaml, or whole: "
            "'rule.after.also={...}'\n",
        ),
        (["rule.after.lr=1e-3"], "promax: rule.after.lr: rule.after is null here; choose a config that has it"),
        (["optim.lr=fast"], "promax: optim.lr=fast: must be a number\n"),
        (["optim.lr=0"], "promax: optim.lr=0: must be above 0.0\n"),
        (["data=sheets"], "promax: data=sheets: no such config. Available: columnar, hub, pairs, tickets\n"),
        (
            ["experiment=x"],
            "promax: experiment=x: no such config. Available: after_fix, baseline, before_fix, confirm_fix, demo, "
            "loss, lr_epochs, recipe, recommended\n",
        ),
        (["optim.lr=[1"], "promax: optim.lr=[1: not an override; write KEY=VALUE, like"),
        (["optim=null"], "promax: optim=null: can't be composed: "),
        (["optim.lr=1e-4,1e-3"], "promax: optim.lr=1e-4,1e-3: several values; with -m there is a run for each\n"),
        (["data=pairs"], "promax: data.train=null, data.test=null: set at least one of them\n"),
    ],
)
def test_a_wrong_request_is_refused_in_a_line_or_two(
    project: Path, outcome: Callable[..., tuple[int, str, str]], overrides: list[str], text: str
) -> None:
    code, out, err = outcome("train", *overrides)
    assert code == 2
    assert err.startswith(text)
    assert len(err.splitlines()) <= 2
    assert out == ""


def test_a_wrong_key_in_a_users_yaml_is_refused(project: Path, outcome: Callable[..., tuple[int, str, str]]) -> None:
    folder = project / "own" / "optim"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("lr: 1e-4\nepoch: 3\n")
    code, _, err = outcome("train", "--config-dir", str(project / "own"), "optim=mine")
    assert code == 2
    assert err.startswith("promax: optim.epoch: unknown key, did you mean optim.epochs?")


# Prints the exit code of `promax` with the words it is given, and whether it has loaded torch and MLflow.
LOADED = """
import sys
from promax.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    print(ended.code, "torch" in sys.modules, "mlflow" in sys.modules)
"""


def test_a_server_that_is_away_is_refused_before_torch_is_loaded(project: Path) -> None:
    words = ("train", "tracking.uri=http://127.0.0.1:9")
    done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 False True"
    assert done.stderr == "promax: tracking.uri=http://127.0.0.1:9: no server answers there\n"


def test_a_refusal_takes_under_two_seconds_and_imports_no_torch(project: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ("train", "optim.lr=fast")
    done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.strip() == "2 False False"
    # Of the processor: on the clock it takes longer where other programs have it too.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0


def test_the_composed_config_can_be_printed(project: Path, outcome: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = outcome("train", "--cfg", "job", "optim=before_fix")
    assert code == 0
    assert "lr: 2.0e-05" in out


def test_an_unknown_verb_is_refused(outcome: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = outcome("trian")
    assert code == 2
    assert "train" in err


def test_help_lists_what_conf_holds(project: Path, outcome: Callable[..., tuple[int, str, str]]) -> None:
    """A checkout's own conf/, whatever is added to it."""
    (project / "conf").unlink()
    for name in ("config", "model/mine", "model/other", "optim/slow"):
        (project / "conf" / f"{name}.yaml").parent.mkdir(parents=True, exist_ok=True)
        (project / "conf" / f"{name}.yaml").touch()
    code, out, _ = outcome("train", "--help")
    assert code == 0
    assert f"Groups, from {project / 'conf'}:\n  model: mine other\n  optim: slow\n" in out


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    """As `promax doctor | head -1` is: the verb writes into a pipe whose other end is closed."""
    code = (
        "import sys; from promax import cli\n"
        "cli._dispatch = lambda words, alone: print('a line', flush=True) or 0\n"
        "sys.stdin.readline(); cli.main(['doctor'])"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write("go\n")
        process.stdin.close()
        assert (process.wait(timeout=60), process.stderr.read()) == (141, "")


def test_a_root_without_configs_takes_those_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMAX_ROOT", str(tmp_path))
    assert conf_dir() == Path(promax.__file__).parents[1] / "conf"
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").touch()
    assert conf_dir() == tmp_path / "conf"


CALLED = "promax_called"
# What Hydra, a launcher or logging would call, import or write, from where it may stand.
CODE = {
    "callbacks: {x: {_target_: pathlib.Path.touch, self: {_target_: pathlib.Path, _args_: [CALLED]}}}": (
        "hydra.callbacks.x._target_=pathlib.Path.touch: no code that a config names is run"
    ),
    "callbacks: ${later}": "hydra.callbacks=${later}: must be written out here",
    "job_logging: {version: 1, handlers: {x: {(): pathlib.Path.touch, self: CALLED}}}": (
        "hydra.job_logging.handlers.x.()=pathlib.Path.touch: no code that a config names is run"
    ),
    "hydra_logging: {version: 1, handlers: {x: {(): pathlib.Path.touch, self: CALLED}}}": (
        "hydra.hydra_logging.handlers.x.()=pathlib.Path.touch: no code that a config names is run"
    ),
    "job_logging: {version: 1, root: {handlers: [x]}, handlers: {x: {class: logging.FileHandler, filename: CALLED}}}": (
        "hydra.job_logging.handlers.x.class=logging.FileHandler: must be logging.StreamHandler or logging.NullHandler; "
        "runs are logged in MLflow"
    ),
    "job_logging: {version: 1, handlers: {x: {class: logging.StreamHandler, stream: 'ext://antigravity'}}}": (
        "hydra.job_logging.handlers.x.stream=ext://antigravity: must be ext://sys.stdout or ext://sys.stderr"
    ),
    "sweeper: {params: {x: {_target_: pathlib.Path, _args_: [CALLED]}}}": (
        "hydra.sweeper.params.x._target_=pathlib.Path: no code that a config names is run"
    ),
    "sweeper: {params: {hydra.callbacks.x._target_: 'pathlib.Path,pathlib.Path'}}": (
        "hydra.sweeper.params.hydra.callbacks.x._target_=pathlib.Path,pathlib.Path: "
        "Hydra's own settings are no part of a search"
    ),
    "sweeper: {params: '${later}'}": "hydra.sweeper.params=${later}: must be written out here",
    "run: {dir: CALLED}": (
        "hydra.run.dir=CALLED: must be .; a run is recorded in MLflow, and leaves no folder of Hydra's"
    ),
    "output_subdir: CALLED": (
        "hydra.output_subdir=CALLED: must be null; a run is recorded in MLflow, and leaves no folder of Hydra's"
    ),
    "sweep: {subdir: CALLED}": (
        "hydra.sweep.subdir=CALLED: must be .; a run is recorded in MLflow, and leaves no folder of Hydra's"
    ),
    "sweep: {dir: CALLED}": (
        "hydra.sweep.dir=CALLED: must be a folder in ${oc.env:PROMAX_ROOT}/mlruns; another is named on the command line"
    ),
    "sweep: {dir: '${oc.env:PROMAX_ROOT}/mlruns/../called'}": (
        "hydra.sweep.dir=${oc.env:PROMAX_ROOT}/mlruns/../called: must be a folder in ${oc.env:PROMAX_ROOT}/mlruns; "
        "another is named on the command line"
    ),
    "job: {env_set: {LD_PRELOAD: ./CALLED}}": (
        "hydra.job.env_set.LD_PRELOAD=./CALLED: only OMP_NUM_THREADS, MKL_NUM_THREADS, OPENBLAS_NUM_THREADS, "
        "TOKENIZERS_PARALLELISM, CUDA_VISIBLE_DEVICES, CUBLAS_WORKSPACE_CONFIG, PYTORCH_ALLOC_CONF, "
        "PYTORCH_CUDA_ALLOC_CONF can be set here; set others in the shell"
    ),
}


@pytest.mark.parametrize("multirun", [[], ["-m", "seed=0,1"]], ids=["run", "multirun"])
@pytest.mark.parametrize("settings", CODE)
def test_a_config_names_no_code(
    settings: str,
    multirun: list[str],
    project: Path,
    outcome: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = project / CALLED
    monkeypatch.chdir(project)
    (project / "own" / "experiment").mkdir(parents=True)
    text = f"# @package _global_\nlater: {{x: {{_target_: pathlib.Path}}}}\nhydra:\n  {settings}\n"
    (project / "own" / "experiment" / "evil.yaml").write_text(text.replace("CALLED", str(called)))
    code, out, err = outcome("train", "--config-dir", "own", "experiment=evil", *multirun)
    assert (code, out) == (2, "")
    assert err == f"promax: {CODE[settings].replace('CALLED', str(called))}\n"
    assert not called.exists() and not (project / "mlruns" / "mlflow.db").exists()


@pytest.mark.parametrize("said", ["typed", "@file", "primary"])
def test_configs_in_a_package_are_not_looked_for(
    said: str, project: Path, outcome: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra imports it while it composes, before there is a config that could be refused."""
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(project)
    (project / "evil_configs").mkdir()
    (project / "evil_configs" / "__init__.py").write_text(f"import os\nos.mkdir({str(project / CALLED)!r})\n")
    word = "hydra.searchpath=[pkg://evil_configs]"
    words = [word]
    if said == "@file":
        (project / "words.yaml").write_text(f"- {word}\n")
        words = ["@words.yaml"]
    if said == "primary":
        config = (project / "conf" / "config.yaml").read_text()
        (project / "conf").unlink()
        shutil.copytree(Path(promax.__file__).parents[1] / "conf", project / "conf")
        (project / "conf" / "config.yaml").write_text(
            config.replace("hydra:\n", "hydra:\n  searchpath: [pkg://evil_configs]\n", 1)
        )
        words = []
    code, out, err = outcome("train", "--cfg", "job", *words)
    rule = "must be folders; of a package, code would be run"
    assert (code, out, err) == (2, "", f"promax: hydra.searchpath: pkg://evil_configs: {rule}\n")
    assert not (project / CALLED).exists()
    # Folders may be anywhere.
    (project / "own").mkdir()
    if said == "typed":
        assert outcome("train", "--cfg", "job", f"hydra.searchpath=[file://{project}/own]")[0] == 0


def test_a_file_of_overrides_is_no_command_line(
    project: Path, outcome: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    elsewhere = project / CALLED
    (project / "words.yaml").write_text(f"- hydra.sweep.dir={elsewhere}\n")
    code, _, err = outcome("train", "-m", "seed=0,1", "@words.yaml")
    assert (code, err) == (
        2,
        f"promax: hydra.sweep.dir={elsewhere}: must be a folder in ${{oc.env:PROMAX_ROOT}}/mlruns; another is named on "
        "the command line\n",
    )
    assert not elsewhere.exists()


@pytest.mark.parametrize("key", ["submitit_folder", "temp_folder"])
def test_a_launcher_writes_into_the_record_alone(key: str) -> None:
    refuse_code({"launcher": {key: "${hydra.sweep.dir}/.submitit/%j"}})
    refuse_code({"launcher": {key: None}})
    refuse_code({"launcher": {key: "/shared"}}, [f"hydra.launcher.{key}=/shared", "seed=1"])
    with pytest.raises(ConfigError, match=rf"^hydra.launcher.{key}=/elsewhere: must be a folder in "):
        refuse_code({"launcher": {key: "/elsewhere"}})


@pytest.mark.parametrize(
    "words", [["--config-dir", "own", "data=evil"], ["@own/data/evil.yaml"]], ids=["conf", "@file"]
)
def test_a_tag_in_yaml_calls_nothing(
    words: list[str], project: Path, outcome: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such tags make PyYAML's full loader call what they name."""
    monkeypatch.chdir(project)
    (project / "own" / "data").mkdir(parents=True)
    tag = f'!!python/object/apply:os.mkdir ["{project}/called"]'
    (project / "own" / "data" / "evil.yaml").write_text(f"name: {tag}\n")
    code, _, err = outcome("train", *words)
    assert code in (2, 3)
    assert not (project / "called").exists()
    assert len(err.splitlines()) <= 2
