"""How a study was made, from its record: the command, the data, the code and the machine; no path of the machine."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath

from promax import weights
from promax.config import Config, SettingConfig, from_yaml
from promax.confirm.study import Member, Study, by_variant
from promax.tracking import DatasetRecord, Store, read_datasets, read_text

# What any study's runs differ in, and what says where a run was made.
_VARIED = ("optim.lr", "optim.epochs", "seed")
_ELSEWHERE = ("device", "tracking")
STACK = ("torch", "transformers", "sentence-transformers", "peft")

Row = tuple[str, str]


@dataclass(frozen=True)
class Origin:
    """What it takes to make a study again.

    `commands` together make its runs, `data` (name, text) are its sides, `lines` (name, text) the rest: encoder,
    training, code, machine and date.
    """

    commands: list[str]
    data: list[Row]
    lines: list[Row]


@dataclass(frozen=True)
class Variant:
    """The runs that have in common what settings differ in besides learning rate and epochs.

    `words` are the overrides of one of them.
    """

    also: dict[str, str]
    words: list[str]


def read_origin(store: Store, study: Study) -> Origin:
    """What the record says of how the study was made."""
    variants: list[Variant] = []
    data: dict[str, list[Row]] = {}
    lines: dict[str, list[Row]] = {}
    for name, members in by_variant(study).items():
        first, run_id = members[0], members[0].run.run_id
        variants.append(Variant(first.setting.also, read_text(store, run_id, "overrides.txt").split("\n")))
        data[name] = [(each.context, _side(first, each)) for each in read_datasets(store, run_id)]
        config = from_yaml(read_text(store, run_id, "config.yaml"))
        lines[name] = [*_settings(config), *_circumstances(members, config)]
    return Origin(commands(variants, study), _told_apart(data), _told_apart(lines))


def _told_apart(rows: Mapping[str, Sequence[Row]]) -> list[Row]:
    """The rows of all variants: once where they say the same, and by the variant's name where they don't."""
    texts: dict[str, dict[str, str]] = {}
    for variant, its in rows.items():
        for name, text in its:
            texts.setdefault(name, {})[variant] = text
    told: list[Row] = []
    for name, of in texts.items():
        if len(of) == len(rows) and len(set(of.values())) == 1:
            told.append((name, next(iter(of.values()))))
        else:
            told += [(f"{name}, {variant}", text) for variant, text in of.items()]
    return told


def _side(member: Member, data: DatasetRecord) -> str:
    # MLflow's digest is cut short; the tag is whole.
    fingerprint = member.run.tags.get(f"promax.data.{data.context}", data.digest)
    return f"{data.profile['pairs']} pairs: {data.source}; fingerprint {fingerprint}"


def commands(variants: Sequence[Variant], study: Study) -> list[str]:
    """What makes the study's runs: the overrides of one run, with the values of all in place of what they differ in.

    One command where the settings are a grid; else one for each set of epochs, and for each variant. Of a file in an
    absolute folder the name is kept alone; where two files have one name, in a folder called after what they are.
    """
    words = _without_folders([Variant(each.also, _common(each.words)) for each in variants])
    grids = [_grids([setting for setting in study.settings if setting.also == each.also]) for each in variants]
    joined = _joined(words) if len(words) > 1 else None
    if joined is not None and all(grid == grids[0] for grid in grids):
        words, grids = [joined], grids[:1]
    seeds = f"seed={','.join(map(str, study.seeds))}"
    return [
        " ".join(["promax train -m", *common, *grid, seeds])
        for common, of in zip(words, grids, strict=True)
        for grid in of
    ]


def _common(words: Sequence[str]) -> list[str]:
    return [word for word in words if word and not _key(word).startswith((*_VARIED, *_ELSEWHERE))]


def _grids(settings: Sequence[SettingConfig]) -> list[tuple[str, str]]:
    """Overrides that together make these learning rates and epochs."""
    rates: dict[tuple[int, ...], list[float]] = {}
    for lr in sorted({setting.lr for setting in settings}):
        rates.setdefault(tuple(each.epochs for each in settings if each.lr == lr), []).append(lr)
    # Every digit, as a rate that a sampler drew needs them.
    return [
        (f"optim.lr={','.join(map(repr, of))}", f"optim.epochs={','.join(map(str, epochs))}")
        for epochs, of in rates.items()
    ]


def _joined(variants: Sequence[Sequence[str]]) -> list[str] | None:
    """The overrides of all variants as those of one grid, KEY=ONE,OTHER; None where they are none."""
    values = [{_key(word): word for word in words} for words in variants]
    if any(each.keys() != values[0].keys() for each in values):
        return None
    said = [list(dict.fromkeys(each[key] for each in values)) for key in values[0]]
    if math.prod(map(len, said)) != len(variants):
        return None
    return [",".join([of[0], *(word.partition("=")[2] for word in of[1:])]) for of in said]


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")


def _without_folders(variants: Sequence[Variant]) -> list[list[str]]:
    paths = {word: path for each in variants for word in each.words if (path := _elsewhere(word)) is not None}
    names = Counter(path.name for path in set(paths.values()))

    def said(word: str, also: Mapping[str, str]) -> str:
        if word not in paths:
            return word
        key, name = word.partition("=")[0], paths[word].name
        pairs = [also["data.name"]] if "data.name" in also else []
        folders = [*pairs, key.rpartition(".")[2]] if names[name] > 1 else []
        return f"{key}={'/'.join([*folders, name])}"

    return [[said(word, each.also) for word in each.words] for each in variants]


def _elsewhere(word: str) -> PurePath | None:
    """The path that an override sets, if it says where on a machine a file lies."""
    text = word.partition("=")[2].strip("'\"")
    if PurePosixPath(text).is_absolute() or text.startswith(("~", "..")):
        return PurePosixPath(text)
    return PureWindowsPath(text) if PureWindowsPath(text).is_absolute() else None


def _settings(config: Config) -> list[Row]:
    model, optim = config.model, config.optim
    lora = model.lora
    adapted = "every weight trained"
    if lora is not None:
        where = ", ".join(lora.target_modules) if lora.target_modules else lora.targets.replace("_", " ")
        adapted = f"LoRA r {lora.r}, alpha {lora.alpha}, dropout {lora.dropout:g} on {where}"
    verified = f"model.safetensors sha256 {model.sha256}" if model.sha256 else "weights not pinned by a hash"
    length = f", {model.max_seq_length} tokens at most" if model.max_seq_length else ""
    kept = f"{optim.keep} epoch kept{f' by dev {optim.select_by}' if optim.keep == 'best' else ''}"
    phases = "" if optim.curriculum == "none" else f", {optim.curriculum} curriculum"
    return [
        ("encoder", f"{weights.model_id(model)}, {verified}; {adapted}{length}"),
        (
            "training",
            f"{optim.loss} loss, batch {optim.batch_size}, {optim.schedule} schedule with "
            f"{100 * optim.warmup_ratio:g} % warm-up, weight decay {optim.weight_decay:g}{phases}; {kept}",
        ),
    ]


def _circumstances(members: Sequence[Member], config: Config) -> list[Row]:
    def each(tag: str) -> str:
        """A tag of these runs; every value with its count where they differ."""
        counts = Counter(member.run.tags.get(tag, "unknown") for member in members)
        if len(counts) == 1:
            return next(iter(counts))
        return " and ".join(f"{value} ({count} runs)" for value, count in counts.items())

    versions = [f"{name} {each(f'promax.version.{name}')}" for name in STACK]
    days = sorted({member.run.start_time.date().isoformat() for member in members})
    return [
        ("code", f"promax {each('promax.version.promax')}, commit {each('promax.git_commit')}"),
        ("libraries", ", ".join(versions)),
        ("machine", f"{each('promax.device_name')}, {each('promax.threads')} threads"),
        ("engine", f"{each('promax.engine')}, precision {config.precision}; judged in float32"),
        ("runs of", days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"),
    ]
