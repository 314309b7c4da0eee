from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from promax.config import ColumnsConfig, ConfigError, DataConfig
from promax.data.readers import Reading, read_file, read_hub

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
CANARY = "zebrafish-7Q"

# Breaks lines, holds quotes, separators and characters of two, three and four bytes.
AWKWARD = f'{CANARY}, said "no"\nthen; größer 打印机 🖨'
ROWS: list[dict[str, Any]] = [
    {"text1": AWKWARD, "text2": "printer", "label": 1.0, "phase": 1, "category": "print"},
    {"text1": "vpn down", "text2": f"{CANARY} tunnel", "label": 0.0, "phase": 3, "category": "vpn"},
    {"text1": "a\u2028b", "text2": "c", "label": 0.5, "phase": 2, "category": "other"},
]
PHASE_NOTE = "no phase column (looked for phase, phases, phase_indicators, phase_indicator); pairs have no phase"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), target)
    return target.getvalue()


def as_columnar(rows: list[dict[str, Any]]) -> bytes:
    names = {
        "text1": "texts1",
        "text2": "texts2",
        "label": "labels",
        "phase": "phase_indicators",
        "category": "categories1",
    }
    columns = {names[name]: [row[name] for row in rows] for name in rows[0]}
    return json.dumps({**columns, "metadata": {"model": CANARY, "pairs": [1]}, "version": 2}).encode()


FORMATS = {
    "pairs.jsonl": as_jsonl,
    "pairs.csv": as_csv,
    "pairs.parquet": as_parquet,
    "columns.json": as_columnar,
    "rows.json": lambda rows: json.dumps(rows).encode(),
    "PAIRS.CSV": as_csv,
}


def read(name: str, data: bytes, columns: ColumnsConfig | None = None) -> Reading:
    Path(name).write_bytes(data)
    return read_file(name, columns or ColumnsConfig())


def refusal(name: str, data: bytes | None, columns: ColumnsConfig | None = None) -> str:
    """What a user is told; a ticket's text must never be in it."""
    if data is not None:
        Path(name).write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_file(name, columns or ColumnsConfig())
    assert CANARY not in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_the_same_pairs(name: str) -> None:
    data = FORMATS[name](ROWS)
    reading = read(name, data)
    assert reading.pairs.text1 == [row["text1"] for row in ROWS]
    assert reading.pairs.text2 == [row["text2"] for row in ROWS]
    assert reading.pairs.labels.tolist() == [1.0, 0.0, 0.5]
    assert reading.pairs.phases is not None
    assert reading.pairs.phases.tolist() == [1, 3, 2]
    assert reading.pairs.category1 == ["print", "vpn", "other"]
    assert reading.origin == f"{name} sha256:{hashlib.sha256(data).hexdigest()}"
    assert reading.source == name


def test_the_key_that_one_writer_of_curricula_used_is_read_too() -> None:
    columnar = json.loads(as_columnar(ROWS))
    columnar["phases"] = columnar.pop("phase_indicators")
    phases = read("train.json", json.dumps(columnar).encode()).pairs.phases
    assert phases is not None
    assert phases.tolist() == [1, 3, 2]


def test_columnar_pairs_without_phases_are_said_to_have_none() -> None:
    columnar = json.loads(as_columnar(ROWS))
    del columnar["phase_indicators"]
    reading = read("train.json", json.dumps(columnar).encode())
    assert reading.pairs.phases is None
    assert reading.notes[1] == f"train.json: {PHASE_NOTE}"


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.csv", "columns.json", "rows.json"])
def test_a_byte_order_mark_is_no_part_of_the_content(name: str) -> None:
    plain = FORMATS[name](ROWS)
    assert read(name, b"\xef\xbb\xbf" + plain).pairs.fingerprint() == read(name, plain).pairs.fingerprint()


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.csv"])
def test_lines_may_end_as_on_windows(name: str) -> None:
    rows = [{**row, "text1": row["text1"].replace("\n", " ")} for row in ROWS]
    unix = FORMATS[name](rows).replace(b"\r\n", b"\n")
    windows = unix.replace(b"\n", b"\r\n")
    assert read(name, windows).pairs.fingerprint() == read(name, unix).pairs.fingerprint()


def test_line_breaks_inside_a_cell_are_kept_as_they_are() -> None:
    rows = [{"text1": "a\r\nb", "text2": "c\rd", "label": 1}, {"text1": "e\nf", "text2": "g", "label": 0}]
    assert read("pairs.csv", as_csv(rows)).pairs.text1 == ["a\r\nb", "e\nf"]
    # By hand: the header is line 1, the first record lines 2 to 4, since a bare return ends a line too.
    rows[1]["label"] = 7
    assert refusal("pairs.csv", as_csv(rows)).startswith("pairs.csv: line 5: label is 7.0;")


def test_a_path_may_be_absolute_and_its_origin_is_the_bare_name(folder: Path) -> None:
    (folder / "deep").mkdir()
    path = str(folder / "deep" / "pairs.jsonl")
    assert read(path, as_jsonl(ROWS)).origin.startswith("pairs.jsonl sha256:")


def test_a_missing_file(folder: Path) -> None:
    assert refusal("nope.jsonl", None) == f"nope.jsonl: no such file in {folder}"
    assert refusal(str(folder / "nope.jsonl"), None) == f"{folder / 'nope.jsonl'}: no such file"


@pytest.mark.parametrize("name", ["pairs", "pairs.jsonl"])
def test_a_folder(name: str) -> None:
    Path(name).mkdir()
    assert refusal(name, None) == f"{name}: a folder, not a file; for a dataset folder use data=hub data.path=..."


def test_a_file_that_the_system_refuses_to_read() -> None:
    name = "x" * 300 + ".jsonl"
    assert refusal(name, None) == f"{name}: can't be read: {os.strerror(errno.ENAMETOOLONG)}"


@pytest.mark.parametrize(("name", "seen"), [("pairs.xlsx", ".xlsx"), ("pairs", "missing"), ("a.jsonl.gz", ".gz")])
def test_an_unknown_suffix(name: str, seen: str) -> None:
    assert refusal(name, as_jsonl(ROWS)) == f"{name}: suffix {seen}; must be .jsonl, .csv, .parquet or .json"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pairs.jsonl", b""),
        ("pairs.jsonl", b"\n \n"),
        ("pairs.csv", b""),
        ("pairs.csv", b"text1,text2,label\n"),
        ("pairs.json", b"[]"),
        ("pairs.json", b'{"texts1": [], "texts2": [], "labels": []}'),
        ("pairs.parquet", as_parquet(ROWS[:1])),
    ],
)
def test_no_rows(name: str, data: bytes) -> None:
    if name == "pairs.parquet":
        import pyarrow.parquet as pq

        target = io.BytesIO()
        pq.write_table(pq.read_table(io.BytesIO(data)).slice(1), target)
        data = target.getvalue()
    assert refusal(name, data) == f"{name}: no rows; a source of pairs needs at least one"


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.csv", "rows.json"])
def test_not_utf_8(name: str) -> None:
    # By hand: "ü" in Latin-1 is one byte, fc, which begins no UTF-8 sequence.
    data = FORMATS[name]([{"text1": CANARY, "text2": "MARK", "label": 1}])
    offset = data.index(b"MARK")
    line = {"pairs.jsonl": 1, "pairs.csv": 2, "rows.json": 1}[name]
    assert refusal(name, data.replace(b"MARK", b"\xfcber")) == (
        f"{name}: line {line}: not UTF-8 at byte offset {offset}; save it as UTF-8"
    )


def test_the_offset_counts_a_byte_order_mark_as_the_file_does() -> None:
    assert refusal("pairs.jsonl", b'\xef\xbb\xbf\n{"\xff').startswith(
        "pairs.jsonl: line 2: not UTF-8 at byte offset 6;"
    )


def test_utf_16_is_refused_at_its_first_byte() -> None:
    assert refusal("pairs.csv", as_csv(ROWS).decode().encode("utf-16")).startswith(
        "pairs.csv: line 1: not UTF-8 at byte offset 0;"
    )


def test_parquet_text_that_is_not_utf_8() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # By hand: two texts of two bytes each, "ab" and an invalid one, behind their offsets 0, 2, 4.
    texts = pa.StringArray.from_buffers(
        2, pa.py_buffer(bytes([0, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0])), pa.py_buffer(b"ab\xff\xfe")
    )
    target = io.BytesIO()
    pq.write_table(pa.table({"text1": texts, "text2": [CANARY] * 2, "label": [0, 1]}), target)
    assert refusal("pairs.parquet", target.getvalue()) == "pairs.parquet: row 2: text1 is not UTF-8"


@pytest.mark.parametrize("data", [b"", b"PAR1", as_jsonl(ROWS), as_parquet(ROWS)[:-20]])
def test_parquet_that_is_damaged(data: bytes) -> None:
    assert refusal("pairs.parquet", data) == (
        "pairs.parquet: not a readable Parquet file; it may be cut short or damaged"
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (f'{{"text1": "{CANARY}" "text2"}}', "not JSON: Expecting ',' delimiter at column 26"),
        (f'{{"text1": "{CANARY}', "not JSON: Unterminated string starting at column 11"),
        (f'["{CANARY}"]', "not a JSON object; each row must be one"),
        (f'"{CANARY}"', "not a JSON object; each row must be one"),
        ("1" * 5000, "not JSON that can be read: a number too long or nested too deep"),
        ("[" * 200_000, "not JSON that can be read: a number too long or nested too deep"),
    ],
)
def test_a_line_that_is_no_json_object(line: str, complaint: str) -> None:
    """Blank lines count, since an editor counts them."""
    data = as_jsonl(ROWS[:1]) + b"\n" + line.encode() + b"\n"
    assert refusal("pairs.jsonl", data) == f"pairs.jsonl: line 3: {complaint}"


def test_json_that_is_malformed_or_of_another_shape() -> None:
    rule = "must be an object of lists, one a column, or a list of objects, one a row"
    assert refusal("pairs.json", f'{{"texts1":\n ["{CANARY}" 3]}}'.encode()) == (
        "pairs.json: not JSON: Expecting ',' delimiter at line 2, column 18"
    )
    for content in ("{}", "7", f'"{CANARY}"', f'{{"text1": "{CANARY}"}}', "null", '{"text1": {"0": "a"}}'):
        assert refusal("pairs.json", content.encode()) == f"pairs.json: {rule}"
    assert refusal("pairs.json", f'[{{"text1": "{CANARY}"}}, 3]'.encode()) == (
        "pairs.json: row 2: not a JSON object; each row must be one"
    )


def test_columnar_lists_of_different_lengths() -> None:
    columnar = json.loads(as_columnar(ROWS))
    columnar["labels"].pop()
    assert refusal("train.json", json.dumps(columnar).encode()) == (
        "train.json: columns of different lengths: texts1 3, texts2 3, labels 2, phase_indicators 3, categories1 3;"
        " row i of each must be pair i"
    )


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("pairs.jsonl", "line 3"),
        ("pairs.csv", "line 5"),
        ("pairs.parquet", "row 3"),
        ("rows.json", "row 3"),
        ("columns.json", "row 3"),
    ],
)
def test_a_bad_row_is_named_as_an_editor_shows_it(name: str, place: str) -> None:
    """The first text holds a line break: row 3 of the CSV file begins on line 5."""
    column = "labels" if name == "columns.json" else "label"
    seen = "3.0" if name == "pairs.csv" else "3"
    rows = [{**row, "label": 1} for row in ROWS]
    rows[2]["label"] = 3
    assert refusal(name, FORMATS[name](rows)) == f"{name}: {place}: {column} is {seen}; must be a number from 0 to 1"


def test_a_row_without_one_of_the_columns() -> None:
    rows = [ROWS[0], {name: value for name, value in ROWS[1].items() if name != "text2"}]
    assert refusal("pairs.jsonl", as_jsonl(rows)) == "pairs.jsonl: line 2: text2 is missing; must be a text"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (f'"{CANARY}\nb",c,1\nd,e\n', "line 4: 2 cells; the header has 3"),
        (f"{CANARY},b,1,extra\n", "line 2: 4 cells; the header has 3"),
        (
            f'a,b,1\n"{CANARY},d,0\ne,f,1\n',
            "line 3: unexpected end of data; must be comma-separated, quotes doubled in cells",
        ),
        (f'"{CANARY}" more,b,1\n', "line 2: ',' expected after '\"'; must be comma-separated, quotes doubled in cells"),
    ],
)
def test_csv_that_is_malformed(body: str, complaint: str) -> None:
    assert refusal("pairs.csv", b"text1,text2,label\n" + body.encode()) == f"pairs.csv: {complaint}"


def test_csv_without_a_header_shows_none_of_its_first_row() -> None:
    assert refusal("pairs.csv", f"{CANARY},b,1\nc,d,0\n".encode()).endswith(
        "\nline 1 holds a number, so it seems to be a row: a CSV file begins with a line of column names"
    )


# The published counts: ../shared/data/README.md.
@pytest.mark.parametrize(
    ("name", "rows", "positives"),
    [
        ("askubuntu_titles_clean/train", 19_855, 6_802),
        ("askubuntu_titles_clean/dev", 2_008, 714),
        ("askubuntu_titles_clean/test", 2_981, 1_046),
        ("askubuntu_title_body/train", 1_178, None),
        ("askubuntu_title_body/dev", 210, None),
        ("askubuntu_title_body/test", 305, None),
        ("bug_duplicates_hadoop/test", 310, 68),
        ("endava_weak_pairs/test", 934, 325),
        ("intent_pairs_small/test", 1_200, 600),
        ("stackexchange_sts_graded/test", 838, None),
        ("stsb_en/train", 5_749, None),
        ("stsb_en/dev", 1_500, None),
        ("stsb_en/test", 1_379, None),
    ],
)
def test_real_files_read_with_their_published_counts(name: str, rows: int, positives: int | None) -> None:
    path = SHARED / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip("../shared/data is not there")
    pairs = read_file(str(path), ColumnsConfig()).pairs
    assert len(pairs) == rows
    assert positives in (None, int((pairs.labels == 1).sum()))


def test_a_real_export_with_cells_of_many_lines_reads_whole() -> None:
    """Against pandas' parser, and the 2,503 tickets that ../shared/data/README.md counts."""
    path = SHARED / "corpus_gitbugs_hadoop/bugs.csv"
    if not path.is_file():
        pytest.skip("../shared/data is not there")
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert len(frame) == 2_503
    columns = ColumnsConfig(text1="Summary", text2="Issue id", label="Label", category1="Description")
    reading = read("bugs.csv", frame.assign(Label="0").to_csv(index=False).encode(), columns)
    assert reading.pairs.text1 == frame["Summary"].tolist()
    assert reading.pairs.category1 == [cell.strip() for cell in frame["Description"]]


def hub(path: str, **settings: Any) -> DataConfig:
    return DataConfig(name="hub", source="hub", path=path, **settings)


def hub_refusal(cfg: DataConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        read_hub(cfg)
    assert CANARY not in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


@pytest.fixture
def dataset_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library copies what it reads to a cache: not the developer's own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    datasets.disable_progress_bars()


@pytest.mark.usefixtures("dataset_cache")
def test_a_local_folder_of_data_files() -> None:
    Path("mine").mkdir()
    Path("mine/train.jsonl").write_bytes(as_jsonl(ROWS))
    Path("mine/test.jsonl").write_bytes(as_jsonl(ROWS[:2]))
    readings = read_hub(hub("mine", train="train", test="test"))
    assert list(readings) == ["train", "test"]
    assert readings["train"].pairs.fingerprint() == read("pairs.jsonl", as_jsonl(ROWS)).pairs.fingerprint()
    assert len(readings["test"].pairs) == 2
    assert readings["test"].source == "mine split test"
    name, split, fingerprint = readings["test"].origin.split()
    assert (name, split) == ("mine", "test")
    assert fingerprint.startswith("fingerprint:")


@pytest.mark.usefixtures("dataset_cache")
def test_a_saved_dataset_even_one_that_asks_for_tensors(folder: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"fit": rows.with_format("numpy"), "judge": rows.select([0, 1])}).save_to_disk("saved")
    readings = read_hub(hub(str(folder / "saved"), train="fit", test="judge"))
    assert readings["train"].pairs.fingerprint() == read("pairs.jsonl", as_jsonl(ROWS)).pairs.fingerprint()
    assert len(readings["test"].pairs) == 2
    assert str(folder) not in readings["test"].origin


@pytest.mark.usefixtures("dataset_cache")
def test_a_saved_dataset_of_one_split() -> None:
    import datasets

    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk("unnamed")
    datasets.DatasetDict({"test": rows}).save_to_disk("both")
    assert len(read_hub(hub("unnamed", train="train"))["train"].pairs) == 3
    assert len(read_hub(hub("both/test", test="train"))["test"].pairs) == 3


@pytest.mark.usefixtures("dataset_cache")
def test_a_split_that_is_not_there_and_a_bad_row() -> None:
    Path("mine").mkdir()
    Path("mine/train.jsonl").write_bytes(as_jsonl(ROWS))
    Path("mine/test.jsonl").write_bytes(as_jsonl([ROWS[0], {**ROWS[1], "label": 4.2}]))
    assert hub_refusal(hub("mine", train="train", dev="validation")) == (
        "data.dev=validation: mine has no such split; it has train, test"
    )
    assert hub_refusal(hub("mine", test="test")) == (
        "mine split test: row 2: label is 4.2; must be a number from 0 to 1"
    )


@pytest.mark.usefixtures("dataset_cache")
def test_a_folder_that_holds_no_dataset_or_a_broken_one() -> None:
    Path("empty").mkdir()
    assert hub_refusal(hub("empty", test="test")) == (
        "data.path=empty: the folder holds neither data files nor a saved dataset"
    )
    Path("broken").mkdir()
    Path("broken/train.jsonl").write_text(f'{{"text1": "{CANARY}"}}\n{{"text1": 5 {CANARY}', encoding="utf-8")
    assert hub_refusal(hub("broken", train="train")).startswith(
        "data.path=broken: the datasets library can't read it ("
    )


@pytest.mark.usefixtures("dataset_cache")
def test_a_subset_that_is_not_there() -> None:
    Path("mine").mkdir()
    Path("mine/train.jsonl").write_bytes(as_jsonl(ROWS))
    assert hub_refusal(hub("mine", train="train", subset="english")) == (
        "data.subset=english: must be a subset of mine: default"
    )


@pytest.mark.usefixtures("dataset_cache")
def test_a_subset_that_must_be_chosen() -> None:
    Path("mine").mkdir()
    card = "---\nconfigs:\n- config_name: {}\n  data_files: a.jsonl\n- config_name: {}\n  data_files: b.jsonl\n---\n"
    Path("mine/README.md").write_text(card.format("english", "german"), encoding="utf-8")
    Path("mine/a.jsonl").write_bytes(as_jsonl(ROWS))
    Path("mine/b.jsonl").write_bytes(as_jsonl(ROWS[:2]))
    assert hub_refusal(hub("mine", train="train")) == ("data.subset=null: must be a subset of mine: english, german")
    assert len(read_hub(hub("mine", train="train", subset="german"))["train"].pairs) == 2
    assert read_hub(hub("mine", train="train", subset="german"))["train"].origin.startswith("mine german train ")


def test_a_hub_id_is_loaded_at_its_revision_and_nothing_else_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the boundary: what the library is called with, since the hub itself is out of a test's reach."""
    import datasets

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def load_dataset(*args: Any, **kwargs: Any) -> datasets.DatasetDict:
        calls.append((args, kwargs))
        rows = datasets.Dataset.from_list([{"sentence1": "a", "sentence2": "b", "score": 0.5}])
        return datasets.DatasetDict({"train": rows, "validation": rows})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    readings = read_hub(hub("owner/pairs", subset="en", revision="abc123", train="train", dev="validation"))
    assert calls == [(("owner/pairs", "en"), {"revision": "abc123"})]
    assert readings["dev"].pairs.labels.tolist() == [0.5]
    assert readings["dev"].origin.startswith("owner/pairs@abc123 en validation fingerprint:")
    readings = read_hub(hub("owner/pairs", test="train"))
    assert readings["test"].origin.startswith("owner/pairs@main train fingerprint:")


def test_a_hub_that_cannot_be_reached() -> None:
    """The real library, offline as every test is."""
    assert hub_refusal(hub("owner/pairs", test="test")) == (
        "data.path=owner/pairs: no such local folder, and the hub can't be reached (ConnectionError);"
        " check the network, or set data.path to a local copy"
    )


def test_a_dataset_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load_dataset(*args: Any, **kwargs: Any) -> datasets.DatasetDict:
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'owner/pairs' doesn't exist on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert hub_refusal(hub("owner/pairs", revision="v2", test="test")) == (
        "data.path=owner/pairs: no such local folder, and no such dataset on the hub at revision v2;"
        " a private or gated one needs `hf auth login`"
    )


def test_a_local_folder_that_is_not_there() -> None:
    """The real library: a path of this shape can be no hub id."""
    assert hub_refusal(hub("./data/of/mine", test="test")).startswith(
        "data.path=./data/of/mine: no such local folder, "
    )
