"""How a study was made, from its record: the command, the data, the code and the machine; no path of the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath

from promax import weights
from promax.confirm.study import Study
from promax.tracking import DatasetRecord, Store, read_datasets, read_text

# What the runs of a study differ in, and what says where a run was made.
_VARIED = ("optim.lr", "optim.epochs", "seed")
_ELSEWHERE = ("device", "tracking")
STACK = ("torch", "transformers", "sentence-transformers", "peft")


@dataclass(frozen=True)
class Origin:
    """What it takes to make a study again.

    `commands` together make its runs, `data` are its sides, `lines` (name, text) the rest: encoder, training, code,
    machine and date.
    """

    commands: list[str]
    data: list[DatasetRecord]
    lines: list[tuple[str, str]]


def read_origin(store: Store, study: Study) -> Origin:
    """What the record says of how the study was made."""
    first = study.members[0][0].run.run_id
    words = read_text(store, first, "overrides.txt").split("\n")
    return Origin(commands(words, study), read_datasets(store, first), [*_settings(study), *_circumstances(study)])


def commands(words: list[str], study: Study) -> list[str]:
    """The overrides of one run, and the values of the others in place of what the runs differ in.

    Where the settings are no grid there is a command for each set of epochs. Of a file in an absolute folder the name
    is kept alone, in a folder called after its side where two files have one name.
    """
    common = _without_folders([word for word in words if word and not _key(word).startswith((*_VARIED, *_ELSEWHERE))])
    rates: dict[tuple[int, ...], list[float]] = {}
    for lr in sorted({setting.lr for setting in study.settings}):
        rates.setdefault(tuple(each.epochs for each in study.settings if each.lr == lr), []).append(lr)
    seeds = ",".join(map(str, study.seeds))
    return [
        " ".join(
            [
                *("promax train -m", *common),
                # Every digit, as a rate that a sampler drew needs them.
                f"optim.lr={','.join(map(repr, of))}",
                f"optim.epochs={','.join(map(str, epochs))}",
                f"seed={seeds}",
            ]
        )
        for epochs, of in rates.items()
    ]


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")


def _without_folders(words: Sequence[str]) -> list[str]:
    paths = {word: path for word in words if (path := _elsewhere(word)) is not None}
    names = Counter(path.name for path in set(paths.values()))
    said = []
    for word in words:
        key, path = word.partition("=")[0], paths.get(word)
        if path is not None:
            folder = f"{key.rpartition('.')[2]}/" if names[path.name] > 1 else ""
            word = f"{key}={folder}{path.name}"
        said.append(word)
    return said


def _elsewhere(word: str) -> PurePath | None:
    """The path that an override sets, if it says where on a machine a file lies."""
    text = word.partition("=")[2].strip("'\"")
    if PurePosixPath(text).is_absolute() or text.startswith(("~", "..")):
        return PurePosixPath(text)
    return PureWindowsPath(text) if PureWindowsPath(text).is_absolute() else None


def _settings(study: Study) -> list[tuple[str, str]]:
    model, optim = study.config.model, study.config.optim
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


def _circumstances(study: Study) -> list[tuple[str, str]]:
    runs = [member.run for cell in study.members for member in cell]
    versions = [f"{name} {_each(f'promax.version.{name}', study)}" for name in STACK]
    days = sorted({run.start_time.date().isoformat() for run in runs})
    return [
        ("code", f"promax {_each('promax.version.promax', study)}, commit {_each('promax.git_commit', study)}"),
        ("libraries", ", ".join(versions)),
        ("machine", f"{_each('promax.device_name', study)}, {_each('promax.threads', study)} threads"),
        ("engine", f"{_each('promax.engine', study)}, precision {study.config.precision}; judged in float32"),
        ("runs of", days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"),
    ]


def _each(tag: str, study: Study) -> str:
    """A tag of the study's runs; every value with its count where they differ."""
    counts = Counter(member.run.tags.get(tag, "unknown") for cell in study.members for member in cell)
    if len(counts) == 1:
        return next(iter(counts))
    return " and ".join(f"{value} ({count} runs)" for value, count in counts.items())
