"""Where pairs come from: files by suffix, and Hugging Face datasets by hub id or local folder."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promax.config import ColumnsConfig, ConfigError, DataConfig
from promax.data.columns import Table, to_pairs
from promax.data.pairs import Pairs
from promax.files import regular


@dataclass(frozen=True)
class Reading:
    """One source of pairs, read and checked.

    Attributes:
        source: the file, or dataset and split, as the user wrote it.
        notes: what a user must be told, one line each.
        origin: what identifies the content later: file name and sha256, or dataset, split and fingerprint.
    """

    source: str
    pairs: Pairs
    notes: list[str]
    origin: str


def read_file(written: str, columns: ColumnsConfig) -> Reading:
    """The pairs of a file: .jsonl, .csv and .parquet hold rows, .json an object of lists or a list of objects.

    Text files are UTF-8, with or without a byte order mark. Blank lines count as lines and hold no
    row. A relative path starts from the working directory.

    Raises:
        ConfigError: a file that can't be read, or whose content breaks a rule, with its line
            (.jsonl, .csv) or its row, counted from 1 (.json, .parquet).
    """
    path = Path(written)
    parse = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet, ".json": _json}.get(path.suffix.lower())
    try:
        if parse is None and not path.is_dir():
            raise ConfigError(f"{written}: suffix {path.suffix or 'missing'}; must be .jsonl, .csv, .parquet or .json")
        data = regular(path).read_bytes()
    except FileNotFoundError:
        start = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise ConfigError(f"{written}: no such file{start}") from None
    except IsADirectoryError:
        raise ConfigError(f"{written}: a folder, not a file; for a dataset folder use data=hub data.path=...") from None
    except OSError as error:
        raise ConfigError(f"{written}: can't be read: {error.strerror}") from None
    assert parse is not None  # a folder was refused above
    pairs, notes = to_pairs(parse(written, data), columns)
    return Reading(written, pairs, notes, f"{path.name} sha256:{hashlib.sha256(data).hexdigest()}")


def read_hub(cfg: DataConfig) -> dict[str, Reading]:
    """Side -> the pairs of the dataset split that `cfg` names for it.

    `cfg.path` is a hub id, a local folder of data files, or a folder written by `save_to_disk` (one
    that holds a single dataset has one split, named as the dataset is, else `train`). Code in a
    dataset is never run.

    Raises:
        ConfigError: a dataset that can't be reached or read, an unknown split, content that breaks a rule.
    """
    splits = _dataset(cfg)
    readings = {}
    for side in ("train", "dev", "test"):
        split = getattr(cfg, side)
        if split is None:
            continue
        if split not in splits:
            raise ConfigError(f"data.{side}={split}: {cfg.path} has no such split; it has {', '.join(splits)}")
        readings[side] = _read_split(cfg, split, splits[split])
    return readings


def _jsonl(source: str, data: bytes) -> Table:
    rows, lines = [], []
    for number, line in enumerate(_lines(source, data), start=1):
        if not line.strip():
            continue
        rows.append(_parsed_json(line.rstrip("\r\n"), f"{source}: line {number}"))
        lines.append(number)
    return _row_table(source, rows, [f"line {number}" for number in lines])


def _json(source: str, data: bytes) -> Table:
    content = _parsed_json(_decoded(source, data), source)
    if isinstance(content, list):
        return _row_table(source, content, [f"row {number}" for number in range(1, len(content) + 1)])
    fields = content.items() if isinstance(content, dict) else ()
    columns = {name: values for name, values in fields if isinstance(values, list)}
    if not columns:
        raise ConfigError(f"{source}: must be an object of lists, one a column, or a list of objects, one a row")
    return Table(source, list(columns), columns.__getitem__, _row_place)


def _csv(source: str, data: bytes) -> Table:
    reader = csv.reader(_lines(source, data), strict=True)
    records: list[list[str]] = []
    places: list[str] = []
    while True:
        place = f"line {reader.line_num + 1}"  # where the record begins: a quoted cell may hold line breaks
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise ConfigError(f"{source}: {place}: {error}; must be comma-separated, quotes doubled in cells") from None
        if record is None:
            break
        if not record:
            continue
        if records and len(record) != len(records[0]):
            raise ConfigError(f"{source}: {place}: {len(record)} cells; the header has {len(records[0])}")
        records.append(record)
        places.append(place)
    names = records[0] if records else []
    columns = dict(zip(names, zip(*records[1:], strict=True), strict=False))
    return Table(source, names, lambda name: columns.get(name, ()), lambda row: places[row + 1], untyped=True)


def _parquet(source: str, data: bytes) -> Table:
    import pyarrow as pa  # takes a tenth of a second, needed for this format alone
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError):
        raise ConfigError(f"{source}: not a readable Parquet file; it may be cut short or damaged") from None

    def column(name: str) -> list[Any]:
        values = []
        for row, scalar in enumerate(table.column(name)):
            try:
                values.append(scalar.as_py())
            except UnicodeDecodeError:
                raise ConfigError(f"{source}: {_row_place(row)}: {name} is not UTF-8") from None
        return values

    return Table(source, table.column_names, column, _row_place)


def _row_place(row: int) -> str:
    return f"row {row + 1}"


def _row_table(source: str, rows: Sequence[Any], places: list[str]) -> Table:
    for row, place in zip(rows, places, strict=True):
        if not isinstance(row, dict):
            raise ConfigError(f"{source}: {place}: not a JSON object; each row must be one")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Table(source, names, lambda name: [row.get(name) for row in rows], places.__getitem__)


def _lines(source: str, data: bytes) -> io.StringIO:
    # Lines as a text editor counts them; str.splitlines would also break at U+2028 and form feeds.
    return io.StringIO(_decoded(source, data), newline="")


def _decoded(source: str, data: bytes) -> str:
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{source}: line {line}: not UTF-8 at byte offset {error.start}; save it as UTF-8") from None


def _parsed_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""
        what = error.msg.removesuffix(" at")
        raise ConfigError(f"{where}: not JSON: {what} at {line}column {error.colno}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{where}: not JSON that can be read: a number too long or nested too deep") from None


def _dataset(cfg: DataConfig) -> Mapping[str, Any]:
    """Split name -> the dataset's split."""
    import datasets  # takes more than half a second, needed for this source alone

    path = str(cfg.path)
    folder = Path(path)
    try:
        # Without split=, which would only name the missing split: all splits are prepared either way.
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            loaded = datasets.load_from_disk(path)
        else:
            loaded = datasets.load_dataset(path, cfg.subset, revision=cfg.revision)
    except Exception as error:
        # The library's own text is not passed on, since it may quote the row it failed at.
        raise ConfigError(_why_not_loaded(cfg, error)) from None
    if isinstance(loaded, datasets.Dataset):
        return {str(loaded.split or "train"): loaded}
    return dict(loaded)


def _why_not_loaded(cfg: DataConfig, error: Exception) -> str:
    is_folder = Path(str(cfg.path)).is_dir()
    if isinstance(error, FileNotFoundError) and is_folder:
        return f"data.path={cfg.path}: the folder holds neither data files nor a saved dataset"
    if isinstance(error, FileNotFoundError):
        return (
            f"data.path={cfg.path}: no such local folder, and no such dataset on the hub at revision"
            f" {cfg.revision or 'main'}; a private or gated one needs `hf auth login`"
        )
    if isinstance(error, OSError) and not is_folder:
        return (
            f"data.path={cfg.path}: no such local folder, and the hub can't be reached"
            f" ({type(error).__name__}); check the network, or set data.path to a local copy"
        )
    if isinstance(error, ValueError):
        subsets = _subsets(cfg)
        if cfg.subset not in subsets and (cfg.subset is not None or len(subsets) > 1) and subsets:
            return f"data.subset={cfg.subset or 'null'}: must be a subset of {cfg.path}: {', '.join(subsets)}"
    return f"data.path={cfg.path}: the datasets library can't read it ({type(error).__name__})"


def _subsets(cfg: DataConfig) -> list[str]:
    import datasets

    try:
        return list(datasets.get_dataset_config_names(cfg.path, revision=cfg.revision))
    except Exception:
        return []


def _read_split(cfg: DataConfig, split: str, dataset: Any) -> Reading:
    source = f"{cfg.path} split {split}"
    plain = dataset.with_format(None)  # a saved dataset may ask for tensors
    table = Table(source, list(plain.column_names), lambda name: list(plain[name]), _row_place)
    pairs, notes = to_pairs(table, cfg.columns)
    # The folder a dataset lies in says nothing of its content, and may name its owner.
    name = Path(str(cfg.path)).name if Path(str(cfg.path)).is_dir() else f"{cfg.path}@{cfg.revision or 'main'}"
    parts = [name, *([cfg.subset] if cfg.subset else []), split, f"fingerprint:{dataset._fingerprint}"]
    return Reading(source, pairs, notes, " ".join(parts))
