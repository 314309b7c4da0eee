"""The verb: read the pairs, examine them, tell, write and record what was found."""

from __future__ import annotations

from pathlib import Path

from promax.audit.finding import Report, SideName
from promax.config import Config, checkout, flatten
from promax.data.pairs import Pairs
from promax.data.readers import read_file, read_hub
from promax.data.splits import load


def audit(cfg: Config, out: Path | None = None) -> Report:
    """Audit train and test of `cfg.data`, print the report, write it to `out`, record it as a run of kind `audit`.

    `out` is a folder, made where there is none; report.md, report.json and the pictures in it are replaced. What
    training would refuse, such as one class only or tickets on both sides, is a finding here.

    Raises:
        ConfigError: pairs that can't be read, a model or device that isn't there, an `out` that can't be written to.
    """
    pairs, origins = read(cfg)
    # Reading needs no torch: a bad file is refused before the seconds that its import takes.
    from promax.audit.examine import examine
    from promax.audit.pictures import pictures
    from promax.audit.record import log, write
    from promax.audit.report import show
    from promax.encoder import resolve_device
    from promax.files import make_folder
    from promax.provenance import collect
    from promax.tracking import AUDIT, KIND_TAG, open_store, start_run

    if out is not None:
        make_folder(out, f"--out {out}")
    device, store = resolve_device(cfg.device), open_store(cfg.tracking.uri)
    report, sides = examine(cfg, pairs, origins, device)
    show(report)
    title, drawn = f"audit of {cfg.data.name}", pictures(report, sides, cfg.data.name)
    if out is not None:
        write(report, drawn, out, title)
        print(f"Written to {out}")
    fingerprints = {f"promax.data.{side}": of["fingerprint"] for side, of in report.subject.items()}
    tags = {KIND_TAG: AUDIT, **collect(checkout(), device).tags(), **fingerprints}
    with start_run(store, cfg.study, title, flatten(cfg), tags) as record:
        log(record, report, report.figures(), title)
        for file, figure in drawn.items():
            record.log_figure(figure, f"audit/{file}")
    print(f"Recorded in {store.label}, study {cfg.study}")
    return report


def read(cfg: Config) -> tuple[dict[SideName, Pairs], dict[str, str]]:
    """Train and test as `cfg.data` has them, and where each came from; nothing is cut or dropped, no label refused.

    The embedded corpus is divided as for a run.
    """
    names: tuple[SideName, ...] = ("train", "test")
    if cfg.data.source == "tickets":
        splits = load(cfg.data, training=True)
        assert splits.train is not None
        return {"train": splits.train, "test": splits.test}, {name: splits.origins[name] for name in names}
    if cfg.data.source == "hub":
        readings = read_hub(cfg.data)
    else:
        files = {"train": cfg.data.train, "test": cfg.data.test}
        readings = {name: read_file(file, cfg.data.columns) for name, file in files.items() if file is not None}
    given = [name for name in names if name in readings]
    return {name: readings[name].pairs for name in given}, {name: readings[name].origin for name in given}
