"""What a record must hold for its run to be run again, and what is said where it doesn't. No run is trained here."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from promax.cli import main
from promax.config import Config, DataConfig, to_yaml
from promax.tracking import Store, start_run

Log = Callable[..., str]
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def log(store: Store) -> Log:
    """Record a finished run of the embedded corpus with these tags and files, unless told otherwise."""

    def logged(tags: dict[str, str], config: Config = Config(), **files: str) -> str:  # noqa: B008
        time.sleep(0.002)
        with start_run(store, "study", "name", {}, {"promax.git_commit": "ab" * 20, **tags}) as run:
            run.log_text(to_yaml(config), "config.yaml")
            run.log_text("numpy==2.0.0\n", "requirements.txt")
            for name, text in files.items():
                run.log_text(text, name.replace("__", "."))
        return run.run_id

    return logged


def refusal(capsys: pytest.CaptureFixture[str], run_id: str, *words: str) -> str:
    """What stderr says, without the run's id; nothing is printed and the exit code is 2."""
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", run_id[:8], *words])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    return printed.err.replace(run_id[:8], "RUN")


KINDS = {
    "sweep": "promax: run RUN: is a sweep; name one of its trials, each of which is a run\n",
    "audit": "promax: run RUN: is an audit, with nothing trained; `promax data audit` makes it again\n",
    "verdict": "promax: run RUN: is a verdict, with nothing trained; `promax confirm study` makes it again\n",
}


@pytest.mark.parametrize(("kind", "text"), KINDS.items())
def test_what_is_no_single_run(kind: str, text: str, log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, log({"promax.kind": kind})) == text


STATUSES = {
    "RUNNING": "is RUNNING; must be FINISHED, or KILLED after its first epoch",
    "FAILED": "is FAILED; must be FINISHED, or KILLED after its first epoch",
    "KILLED": "is KILLED before its first epoch ended; there is nothing to compare with",
}


@pytest.mark.parametrize(("status", "text"), STATUSES.items())
def test_a_run_without_a_result(
    status: str, text: str, log: Log, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = log({})
    store.client.update_run(run_id, status=status)
    assert refusal(capsys, run_id) == f"promax: run RUN: {text}\n"


def test_only_places_can_be_said_anew(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = log({})
    assert refusal(capsys, run_id, "optim.lr=1e-4") == (
        "promax: optim.lr=1e-4: every setting of a run stays as it was; only where files lie can be said anew,"
        " by KEY=PATH with data.train, data.dev, data.test, data.adversarial, data.transfer, data.path, model.path\n"
    )
    assert refusal(capsys, run_id, "data.train=a.jsonl") == (
        "promax: data.train=a.jsonl: the run had no data.train, so it can't lie elsewhere\n"
    )


def test_all_missing_files_are_named(log: Log, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = log({}, Config(data=DataConfig(source="files", train="a.jsonl", test="/b.jsonl")))
    assert refusal(capsys, run_id) == (
        f"promax: data.train=a.jsonl, data.test=/b.jsonl: no such file in {project}\n"
        "say where it lies: promax reproduce RUN data.train=FILE\n"
    )


CODE = "commit abababab and what the record holds are not all that it was made with\n"


def test_code_that_only_its_author_has(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """A module that an earlier version recorded by its name alone; one that isn't promax's has no part in it."""
    status = "M promax/run.py\n? promax/new.py\n? scratch.py\n? conf/optim/mine.yaml\n"
    diff = "diff --git a/promax/run.py b/promax/run.py\n"
    run_id = log({"promax.git_dirty": "true"}, git_status__txt=status, git__diff=diff)
    assert refusal(capsys, run_id) == (
        "promax: run RUN: its code can't be rebuilt: promax/new.py was not in git, and only its name was recorded\n"
        + CODE
    )
    cut = log(
        {"promax.git_dirty": "true"}, git_status__txt=status[:16], git__diff=f"{diff}\n[cut here: 1 of 2 characters]\n"
    )
    assert refusal(capsys, cut) == (
        "promax: run RUN: its code can't be rebuilt: git.diff was cut, being too long\n" + CODE
    )


def test_a_commit_that_is_not_here(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("these tests don't run in a git checkout")
    assert refusal(capsys, log({})) == (
        f"promax: run RUN: its commit abababababab is not in {REPOSITORY}\n"
        f"fetch it from where the run was made: git fetch REMOTE {'ab' * 20}\n"
    )


def test_without_a_checkout(log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = log({"promax.git_commit": "none", "promax.version.promax": "0.0.9"})
    assert refusal(capsys, run_id) == (
        "promax: run RUN: its record names no commit: it was made by an installed promax 0.0.9\n"
        f"reproduce it where that is installed, not in the checkout {REPOSITORY}\n"
    )
    monkeypatch.setattr("promax.reproduce.flow.checkout", lambda: None)
    assert refusal(capsys, run_id) == (
        "promax: run RUN: was made by promax 0.0.9, installed is 0.1.0\npip install promax==0.0.9\n"
    )
    assert refusal(capsys, log({})) == (
        "promax: run RUN: was made by commit abababababab, and this promax is installed without a checkout\n"
        "reproduce it with the promax of a clone that has the commit\n"
    )


def test_what_would_be_an_option_of_git_or_pip_is_no_record(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, log({"promax.git_commit": "--output=x"})) == (
        "promax: run RUN: its record is damaged: promax.git_commit=--output=x\n"
    )
    run_id = log({}, requirements__txt="numpy==2.0.0\n--index-url=http://127.0.0.1\n")
    assert refusal(capsys, run_id) == (
        "promax: run RUN: its record is damaged: requirements.txt: --index-url=http://127.0.0.1\n"
    )


def test_a_record_calls_no_code(log: Log, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = log({}, config__yaml=f'!!python/object/apply:os.mkdir ["{project}/called"]\n')
    assert refusal(capsys, run_id) == "promax: run RUN: its config.yaml is damaged: must be keys with values\n"
    assert not (project / "called").exists()


def test_an_unknown_run(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "0123").startswith("promax: run RUN: no such run; list them with")
