"""`promax promote`: what the gate asks for, to the letter, and the champion opened again as MLflow opens it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from promax import encoder as encoders
from promax import export
from promax.cli import main
from promax.config import Config, DataConfig, EvalConfig, LoraConfig, ModelConfig, TierConfig, TiersConfig, to_yaml
from promax.metrics import spearman
from promax.promote import flow
from promax.saved import saved_model
from promax.scores import ScoreTable
from promax.tracking import (
    BASELINE_RUN,
    DatasetRecord,
    RunInfo,
    Store,
    get_run,
    open_store,
    runs_of,
    start_run,
    ui_command,
)
from promax.weights import model_id, weights_sha256
from tests.renamed import write_renamed

TEXTS = ["the ledger does not open", "VPN drops every few minutes", "blank pages " * 40]
TIERS = TiersConfig(minimum=TierConfig(spearman=0.3))


@pytest.fixture
def store(project: Path, fresh_database: Path) -> Store:
    (project / "mlruns").mkdir()
    shutil.copy(fresh_database, project / "mlruns" / "mlflow.db")
    return open_store()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelConfig, Path, NDArray[np.float32]]:
    """An encoder's config, its saved adapter, whose B is drawn and not trained, and its embeddings of TEXTS."""
    root = tmp_path_factory.mktemp("saved")
    model = ModelConfig(lora=LoraConfig())
    encoder = encoders.load(model, "cpu", seed=0)
    torch.manual_seed(0)
    for name, parameter in encoder.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.02)
    card = export.card(
        title="tiny",
        base=model_id(model),
        base_sha256=weights_sha256(model),
        run_id="0",
        metrics={},
        confidence=0.95,
        data={},
        hyperparameters={},
        mode="adapter",
    )
    export.save(encoder, root / "model", "adapter", card)
    return model, root / "model", encoders.embed(encoder, TEXTS, 8)


def scored(quality: float, n: int = 300, seed: int = 0) -> ScoreTable:
    """Scores that follow 0/1 labels the more, the higher the quality; the noise is the same for every quality."""
    label = (np.arange(n) % 2).astype(np.float64)
    score = np.tanh(quality * label + np.random.default_rng(seed).normal(size=n))
    rows = np.arange(n)
    ids = [str(row) for row in rows]
    return ScoreTable(rows, ids, [f"{each}b" for each in ids], np.column_stack([rows, rows]), label, score)


class Recorder:
    """Writes hand-made runs with a saved encoder."""

    def __init__(self, store: Store, model: ModelConfig, folder: Path) -> None:
        self.store, self.model, self.folder = store, model, folder
        self.baseline = self.run(scored(0.2), kind="baseline")

    def run(
        self,
        table: ScoreTable,
        *,
        kind: str = "tuned",
        tier: str = "minimum",
        diagnosis: str | None = "passed",
        digest: str | None = "f00d",
        save: str = "adapter",
        tiers: TiersConfig = TIERS,
    ) -> str:
        cfg = Config(
            model=self.model,
            data=DataConfig(positive_from=None),
            eval=EvalConfig(bootstrap=200),
            tiers=tiers,
            save=save,  # type: ignore[arg-type]
        )
        tags = {"promax.kind": kind, "promax.tier": tier}
        tags |= {"promax.adversarial": diagnosis} if diagnosis else {}
        tags |= {BASELINE_RUN: self.baseline} if kind == "tuned" else {}
        with start_run(self.store, "promax", "tiny", {}, tags) as run:
            run.log_text(to_yaml(cfg), "config.yaml")
            run.log_scores("test", table)
            if digest is not None:
                run.log_datasets([DatasetRecord("pairs", digest, "test", "local", "pairs.jsonl", {})])
            run.log_metrics({"test/spearman": spearman(table.score, table.label)})
            if kind == "tuned" and save != "none":
                run.log_artifact(self.folder, "model")
        return run.run_id


@pytest.fixture
def recorder(store: Store, saved: tuple[ModelConfig, Path, NDArray[np.float32]]) -> Recorder:
    return Recorder(store, saved[0], saved[1])


def outcome(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["promote", *words])
    printed = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, printed.out + printed.err


def champion(store: Store) -> tuple[str, str] | None:
    found = store.client.search_registered_models()
    if not found:
        return None
    version = store.client.get_model_version_by_alias("promax", "champion")
    return str(version.version), str(version.run_id)


def test_the_champion_opens_as_the_runs_encoder(
    recorder: Recorder,
    saved: tuple[ModelConfig, Path, NDArray[np.float32]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = recorder.run(scored(2.0))
    code, said = outcome(capsys, run[:12])
    assert code == 0, said
    assert f"run {run[:8]} is promax@champion now, version 1" in said
    assert champion(recorder.store) == ("1", run)
    assert_opens(recorder.store.uri, saved[2])
    files = {path.suffix for path in (Path.cwd() / "mlruns" / "artifacts").rglob("*") if path.is_file()}
    assert ".safetensors" in files and not files & {".bin", ".pt", ".pkl"}
    # Named and pinned, so MLflow had nothing to infer by opening the model elsewhere.
    (requirements,) = Path("mlruns/artifacts").rglob("requirements.txt")
    names = [line.split("==")[0] for line in requirements.read_text().splitlines()]
    assert sorted(names) == ["mlflow", "numpy", "safetensors", "sentence-transformers", "torch", "transformers"]
    # Nothing that the model says of itself names a folder of this machine or a text that was trained on.
    said_of_itself = [path.read_text() for path in Path("mlruns/artifacts").rglob("MLmodel")]
    assert len(said_of_itself) == 1 and "promax-" not in said_of_itself[0]
    version = recorder.store.client.get_model_version("promax", "1")
    assert version.tags["promax.beat_run"] == recorder.baseline
    gain = spearman(scored(2.0).score, scored(2.0).label) - spearman(scored(0.2).score, scored(0.2).label)
    assert float(version.tags["promax.delta_spearman"]) == pytest.approx(gain, abs=1e-6)
    assert float(version.tags["promax.delta_spearman_low"]) > 0
    assert f"beats its own un-tuned baseline (run {recorder.baseline[:8]}): +{gain:.4f} Spearman" in version.description
    assert get_run(recorder.store, run).tags["promax.promotion"] == "promax: version 1, champion"
    # The run itself holds the adapter alone: what was registered lies beside it.
    assert_small(get_run(recorder.store, run))


def assert_small(run: RunInfo) -> None:
    """All that a run has recorded is below 5 MB: its adapter, and no whole model."""
    files = [path for path in Path(run.artifact_uri.removeprefix("file://")).rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert "adapter_model.safetensors" in names and "model.safetensors" not in names
    assert sum(path.stat().st_size for path in files) < 5e6


def assert_opens(uri: str, expected: NDArray[np.float32]) -> None:
    """By the flavour and as a pyfunc, to 1e-5: the adapter is folded in, which moves float32's last bits."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        encoder = mlflow.sentence_transformers.load_model("models:/promax@champion")
        assert not encoders.has_adapter(encoder)
        vectors = encoder.encode(TEXTS, normalize_embeddings=True)
        np.testing.assert_allclose(vectors, expected, atol=1e-5, rtol=0)
        loaded = mlflow.pyfunc.load_model("models:/promax@champion")
        np.testing.assert_allclose(loaded.predict(TEXTS), expected, atol=1e-5, rtol=0)
        assert loaded.metadata.signature.outputs.to_dict()[0]["tensor-spec"]["shape"] == (-1, 384)
        assert list(loaded.input_example) == export.PROBES[:2]
    finally:
        mlflow.set_tracking_uri(before)


def test_only_a_better_run_takes_the_alias(recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    first, worse, better = (recorder.run(scored(quality)) for quality in (1.0, 0.6, 2.0))
    assert outcome(capsys, first)[0] == 0
    code, said = outcome(capsys, worse)
    assert code == 1
    assert f"no   {worse[:8]} does not beat the champion, version 1 (run {first[:8]}): -" in said
    assert "; the whole interval must be above zero\n" in said
    assert said.endswith(f"run {worse[:8]} does not become promax@champion: version 1 stays\n")
    assert champion(recorder.store) == ("1", first)
    assert get_run(recorder.store, worse).tags["promax.promotion"].startswith("promax: refused: does not beat")
    assert outcome(capsys, better)[0] == 0
    assert champion(recorder.store) == ("2", better)
    again = outcome(capsys, better)
    assert again == (0, f"run {better[:8]} is promax@champion already, version 2; nothing to do\n")


def test_each_refusal_says_why(recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    # The baseline's own scores: every resample's difference is nought.
    alike = recorder.run(scored(0.2))
    low = recorder.run(scored(2.0), tier="none")
    untested = recorder.run(scored(2.0), diagnosis=None)
    failed = recorder.run(scored(2.0), diagnosis="failed")
    elsewhere = recorder.run(scored(2.0), digest="beef")
    nameless = recorder.run(scored(2.0), digest=None)
    shorter = recorder.run(scored(2.0, n=200))
    unbounded = recorder.run(scored(2.0), tier="none", tiers=TiersConfig())
    value = f"{spearman(scored(2.0).score, scored(2.0).label):.4f}"
    baseline = f"its own un-tuned baseline (run {recorder.baseline[:8]})"
    expected = {
        alike: f"does not beat {baseline}: +0.0000 Spearman, 95 % interval +0.0000 to +0.0000; "
        "the whole interval must be above zero",
        low: f"reached no tier: test Spearman {value}; minimum, the lowest, asks for Spearman 0.3",
        untested: "adversarial diagnostic not run; it must be passed",
        failed: "adversarial diagnostic failed; it must be passed",
        elsewhere: f"was tested on other pairs than {baseline}: beef and f00d; must be the same to be compared",
        nameless: f"was tested on other pairs than {baseline}: none recorded and f00d; must be the same to be compared",
        shorter: f"was scored on other pairs than {baseline}: 200 and 300 pairs, with other ids or labels; "
        "must be the same",
        unbounded: f"reached no tier: test Spearman {value}; its config bounds none (tiers.minimum.spearman)",
    }
    for run, text in expected.items():
        last = f"run {run[:8]} does not become promax@champion: there is none\n"
        assert outcome(capsys, run) == (1, f"no   {run[:8]} {text}\n{last}")
        assert get_run(recorder.store, run).tags["promax.promotion"] == f"promax: refused: {text}"
    assert champion(recorder.store) is None


def test_a_dry_run_shows_every_finding_and_writes_nothing(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recorder.run(scored(2.0), diagnosis="not run")
    code, said = outcome(capsys, run, "--dry-run")
    assert code == 1
    assert [line[:3].strip() for line in said.splitlines()] == ["yes", "yes", "no", "run"]
    assert said.endswith(f"run {run[:8]} would not become promax@champion; nothing was written\n")
    good = recorder.run(scored(2.0))
    code, said = outcome(capsys, good, "--dry-run")
    assert (code, said.splitlines()[-1]) == (0, f"run {good[:8]} would become promax@champion; nothing was written")
    assert champion(recorder.store) is None
    assert "promax.promotion" not in get_run(recorder.store, run).tags


def test_a_registration_that_breaks_off_leaves_no_version(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorder.run(scored(2.0))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_model_artifacts", full)
        assert outcome(capsys, run)[0] != 0
    assert champion(recorder.store) is None
    experiment = recorder.store.experiment_id("promax")
    (half,) = recorder.store.client.search_logged_models([experiment])
    assert half.status == "FAILED"
    assert outcome(capsys, run)[0] == 0
    assert champion(recorder.store) == ("1", run)


def test_an_alias_that_moved_meanwhile_stays(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = recorder.run(scored(1.0)), recorder.run(scored(2.0))
    assert outcome(capsys, first)[0] == 0
    real = flow.register

    def overtaken(*arguments: Any) -> str:
        version = real(*arguments)
        recorder.store.client.set_registered_model_alias("promax", "champion", version)
        return version

    monkeypatch.setattr(flow, "register", overtaken)
    code, said = outcome(capsys, second)
    assert code == 2
    assert said.endswith(
        f"promax: promax@champion: moved while run {second[:8]} was registered as version 2; promote it again\n"
    )
    assert "promax.promotion" not in get_run(recorder.store, second).tags


def test_what_cannot_be_promoted(recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    unsaved = recorder.run(scored(2.0), save="none")
    assert outcome(capsys, unsaved) == (
        2,
        f"promax: run {unsaved[:8]}: saved no encoder (save=none); train it again with save=adapter\n",
    )
    code, said = outcome(capsys, recorder.baseline)
    assert code == 2 and "is a baseline, which trains no encoder" in said
    code, said = outcome(capsys, "0" * 32)
    assert code == 2 and "no such run" in said
    run = recorder.run(scored(2.0))
    assert outcome(capsys, run, "--name", "a/b") == (
        2,
        "promax: --name 'a/b': must be a name without / and :, which MLflow keeps for addresses\n",
    )


def test_a_whole_encoder_is_promoted_as_an_adapter_is(
    store: Store,
    saved: tuple[ModelConfig, Path, NDArray[np.float32]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """save=merged: what was saved has its adapter folded in already."""
    model, adapter, embeddings = saved
    encoder = export.reopen(adapter, model, "adapter", "cpu")
    export.save(encoder, tmp_path / "merged" / "model", "merged", (adapter / "README.md").read_text())
    run = Recorder(store, model, tmp_path / "merged" / "model").run(scored(2.0), save="merged")
    code, said = outcome(capsys, run)
    assert code == 0, said
    assert_opens(store.uri, embeddings)


def test_a_registered_model_of_another_name_has_a_champion_of_its_own(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    good, better = recorder.run(scored(1.0)), recorder.run(scored(2.0))
    assert outcome(capsys, better)[0] == 0
    code, said = outcome(capsys, good, "--name", "tickets")
    assert code == 0 and f"run {good[:8]} is tickets@champion now, version 1" in said
    assert f"beats its own un-tuned baseline (run {recorder.baseline[:8]})" in said
    assert recorder.store.client.get_model_version_by_alias("tickets", "champion").run_id == good
    assert champion(recorder.store) == ("1", better)


def test_a_champion_that_is_gone(recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its run there is nothing to be compared with; without its version there is no champion to beat."""
    first, second = recorder.run(scored(1.0)), recorder.run(scored(2.0))
    assert outcome(capsys, first)[0] == 0
    recorder.store.client.delete_run(first)
    assert outcome(capsys, second) == (
        2,
        f"promax: run {first[:8]}, the champion, version 1: gone from the record, so there is nothing to beat\n"
        "restore it in the MLflow UI, or delete that version\n",
    )
    recorder.store.client.delete_model_version("promax", "1")
    code, said = outcome(capsys, second)
    assert code == 0 and "beats its own un-tuned baseline" in said
    assert champion(recorder.store) == ("2", second)
    third = recorder.run(scored(2.0))
    recorder.store.client.delete_run(recorder.baseline)
    assert outcome(capsys, third, "--name", "tickets") == (
        2,
        f"promax: run {recorder.baseline[:8]}, its own un-tuned baseline: gone from the record, so there is nothing to "
        "beat\nrestore it in the MLflow UI, or train it again\n",
    )


@pytest.mark.slow
def test_what_was_trained_is_promoted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From `promax train` on, with what it records by itself: scores, tier, diagnostic, encoder."""
    for seed, side in enumerate(("train", "dev", "test")):
        write_renamed(project / f"{side}.jsonl", seed)
    files = [f"data.{side}={project / side}.jsonl" for side in ("train", "dev", "test")]
    settings = ["optim.lr=1e-3", "optim.epochs=2", "model.max_seq_length=16", "device=cpu", "eval.bootstrap=200"]
    with pytest.raises(SystemExit) as ended:
        main(["train", "experiment=after_fix", "data=pairs", "study=promax", *files, *settings])
    assert ended.value.code == 0, capsys.readouterr().err
    store = open_store()
    (run,) = [each for each in runs_of(store, "promax") if each.tags["promax.kind"] == "tuned"]
    assert_small(run)
    code, said = outcome(capsys, run.run_id)
    assert code == 0, said
    assert champion(store) == ("1", run.run_id)
    with saved_model(store, run) as folder:
        tuned = export.reopen(folder, ModelConfig(lora=LoraConfig(), max_seq_length=16), "adapter", "cpu")
        assert_opens(store.uri, encoders.embed(tuned, TEXTS, 8))


@pytest.fixture
def server(store: Store) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv, environment = ui_command(store, "127.0.0.1", port)
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    uri = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{uri}/health").close()
                break
            except OSError:
                time.sleep(0.5)
        yield uri
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_through_a_server(
    server: str, saved: tuple[ModelConfig, Path, NDArray[np.float32]], capsys: pytest.CaptureFixture[str]
) -> None:
    remote = Recorder(open_store(server), saved[0], saved[1])
    run = remote.run(scored(2.0))
    code, said = outcome(capsys, run, "--uri", server)
    assert code == 0, said
    assert champion(remote.store) == ("1", run)
    assert_opens(server, saved[2])
