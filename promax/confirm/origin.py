"""How a study was made, from its record: the command, the data, the code and the machine; no path of the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath

from promax import weights
from promax.config import Config, from_yaml
from promax.confirm.study import Member, Study, besides
from promax.tracking import DatasetRecord, Store, read_datasets, read_text

# What the runs of a study differ in, and what says where a run was made.
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


def read_origin(store: Store, study: Study) -> Origin:
    """What the record says of how the study was made."""
    variants: dict[str, Member] = {}
    for cell in study.members:
        variants.setdefault(", ".join(besides(cell[0].setting)), cell[0])
    said: list[str] = []
    data: dict[str, list[Row]] = {}
    lines: dict[str, list[Row]] = {}
    for name, member in variants.items():
        run_id = member.run.run_id
        said += commands(read_text(store, run_id, "overrides.txt").split("\n"), study, member.setting.also)
        data[name] = [(each.context, _side(member, each)) for each in read_datasets(store, run_id)]
        lines[name] = _settings(from_yaml(read_text(store, run_id, "config.yaml")))
    return Origin(said, _told_apart(data), [*_told_apart(lines), *_circumstances(study)])


def _told_apart(rows: Mapping[str, Sequence[Row]]) -> list[Row]:
    """The rows of all variants: once where they say the same, and by the variant's name where they don't."""
    texts: dict[str, dict[str, str]] = {}
    for variant, its in rows.items():
        for name, text in its:
            texts.setdefault(name, {})[variant] = text
    told: list[Row] = []
    for name, of in texts.items():
        if len(set(of.values())) == 1:
            told.append((name, next(iter(of.values()))))
        else:
            told += [(f"{name}, {variant}", text) for variant, text in of.items()]
    return told


def _side(member: Member, data: DatasetRecord) -> str:
    # MLflow's digest is cut short; the tag is whole.
    fingerprint = member.run.tags.get(f"promax.data.{data.context}", data.digest)
    return f"{data.profile['pairs']} pairs: {data.source}; fingerprint {fingerprint}"


def commands(words: list[str], study: Study, also: Mapping[str, str] | None = None) -> list[str]:
    """The overrides of a run, and for rate, epochs and seed the values of all runs that have `also` in common with it.

    Where the settings are no grid there is a command for each set of epochs. Of a file in an absolute folder the name
    is kept alone, in a folder called after its side where two files have one name.
    """
    common = _without_folders([word for word in words if word and not _key(word).startswith((*_VARIED, *_ELSEWHERE))])
    alike = [setting for setting in study.settings if setting.also == (also or {})]
    rates: dict[tuple[int, ...], list[float]] = {}
    for lr in sorted({setting.lr for setting in alike}):
        rates.setdefault(tuple(each.epochs for each in alike if each.lr == lr), []).append(lr)
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


def _circumstances(study: Study) -> list[Row]:
    runs = [member.run for cell in study.members for member in cell]
    versions = [f"{name} {_each(f'promax.version.{name}', study)}" for name in STACK]
    precision = " and ".join(dict.fromkeys(run.params.get("precision", study.config.precision) for run in runs))
    days = sorted({run.start_time.date().isoformat() for run in runs})
    return [
        ("code", f"promax {_each('promax.version.promax', study)}, commit {_each('promax.git_commit', study)}"),
        ("libraries", ", ".join(versions)),
        ("machine", f"{_each('promax.device_name', study)}, {_each('promax.threads', study)} threads"),
        ("engine", f"{_each('promax.engine', study)}, precision {precision}; judged in float32"),
        ("runs of", days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"),
    ]


def _each(tag: str, study: Study) -> str:
    """A tag of the study's runs; every value with its count where they differ."""
    counts = Counter(member.run.tags.get(tag, "unknown") for cell in study.members for member in cell)
    if len(counts) == 1:
        return next(iter(counts))
    return " and ".join(f"{value} ({count} runs)" for value, count in counts.items())
