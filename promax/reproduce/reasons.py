"""What differs between how two runs were made, the likeliest cause of another result first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Tag -> how it is called. Code and packages change what is computed; the rest, in which order sums are taken.
_CAUSES = {
    "promax.git_commit": "commit",
    "promax.git_dirty": "uncommitted change",
    "promax.model_files_sha256": "encoder files",
    "promax.version.torch": "torch",
    "promax.version.transformers": "transformers",
    "promax.version.sentence-transformers": "sentence-transformers",
    "promax.version.tokenizers": "tokenizers",
    "promax.version.peft": "peft",
    "promax.version.numpy": "numpy",
    "promax.version.scipy": "scipy",
    "promax.version.accelerate": "accelerate",
    "promax.version.datasets": "datasets",
    "promax.version.promax": "promax",
    "promax.device": "device",
    "promax.engine": "engine",
    "promax.precision": "precision",
    "promax.device_name": "device's model",
    "promax.cpu_features": "processor's features",
    "promax.threads": "threads",
    "promax.environment": "variables of numeric libraries",
    "promax.cpu": "processor",
    "promax.python": "Python",
    "promax.platform": "operating system",
}
UNEXPLAINED = (
    "nothing that was recorded differs: a file of the record was changed afterwards, or something in the run is drawn"
    " without its seed"
)


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A line for each cause whose tag differs, the likeliest first; what one of the two didn't record is left out.

    >>> differences({"promax.threads": "2", "promax.version.torch": "2.12.0"}, {"promax.threads": "1"})
    ['threads: 2 then, 1 now']
    """
    data = {
        key: f"pairs of {key.removeprefix('promax.data.')}" for key in sorted(then) if key.startswith("promax.data.")
    }
    return [
        f"{name}: {_short(then[key])} then, {_short(now[key])} now"
        for key, name in {**data, **_CAUSES}.items()
        if key in then and key in now and then[key] != now[key]
    ]


def other_packages(then: Sequence[str], now: Sequence[str]) -> list[str]:
    """A line for the packages with another version that no tag names, of `name==version` lines; empty where none has.

    Packages that one of the two lacks are left out: they come with other machines and are seldom a cause.

    >>> other_packages(["numpy==2.1", "safetensors==0.6.1", "wheel==1"], ["numpy==2.2", "safetensors==0.6.2"])
    ['other packages: safetensors 0.6.1 then, 0.6.2 now']
    """
    had, has = (dict(line.split("==", 1) for line in lines if "==" in line) for lines in (then, now))
    named = {key.removeprefix("promax.version.") for key in _CAUSES}
    changed = [
        f"{name} {had[name]} then, {has[name]} now"
        for name in sorted(had.keys() & has.keys() - named)
        if had[name] != has[name]
    ]
    return [f"other packages: {'; '.join(changed)}"] if changed else []


def _short(value: str) -> str:
    is_hash = len(value) >= 40 and all(digit in "0123456789abcdef" for digit in value)
    return f"{value[:12]}…" if is_hash else value or "none"
