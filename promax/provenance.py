"""What a run was made with: code, libraries, machine. Collecting it never fails a run."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from promax.config import Config, flatten

NONE = "none"

# The libraries whose version can change a result.
STACK = (
    "promax",
    "torch",
    "transformers",
    "sentence-transformers",
    "tokenizers",
    "peft",
    "accelerate",
    "datasets",
    "numpy",
    "scipy",
    "hydra-core",
    "optuna",
    "mlflow",
)

# Only these are shown in the diff: a changed data file would put ticket texts into the record.
CODE = ("*.py", "*.yaml", "*.yml", "*.toml", "*.cfg", "Makefile", "constraints.txt")

# Set inside a git hook, these would lead git to another repository than the one of the root.
ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")

# Without these, the code of a run can't be built again; git follows them or not.
PACKAGE = ("promax/*.py", "promax/*.yaml")

# What libraries read from the environment that changes how, and with which rounding, they compute.
NUMERIC = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA"),
    *("ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "CUDA_VISIBLE_DEVICES"),
)
# The processor's abilities that libraries choose their kernels by.
FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "sve", "bf16")

LONGEST_DIFF = 1_000_000
MOST_NAMES = 200
GIT_SECONDS = 10


@dataclass(frozen=True)
class Provenance:
    """Where a run came from.

    `git_commit` is "none" outside a git repository or where git does not answer. `git_dirty` says that tracked
    files differ from that commit: `changed` names them, `diff` shows the change of those that are code or config.
    `untracked` names files that git neither follows nor ignores; where they are modules of promax, `diff` has them
    as new files. `versions` are those of the libraries that a result depends on, `requirements` (`name==version`)
    all that is installed. `threads` is how many one operation may use, `environment` (`NAME=value`, with spaces
    between, quoted as for a shell) what of `NUMERIC` is set, `cpu_features` what of `FEATURES` the processor has.
    """

    git_commit: str
    git_dirty: bool
    diff: str
    changed: tuple[str, ...]
    untracked: tuple[str, ...]
    versions: dict[str, str]
    requirements: tuple[str, ...]
    python: str
    platform: str
    host: str
    device: str
    device_name: str
    cpu: str
    cpu_features: str
    threads: int
    environment: str

    def tags(self) -> dict[str, str | int | bool]:
        """As tags of a run, one key each: all but the texts and lists."""
        return {
            "promax.git_commit": self.git_commit,
            "promax.git_dirty": self.git_dirty,
            "promax.git_untracked": len(self.untracked),
            "promax.python": self.python,
            "promax.platform": self.platform,
            "promax.host": self.host,
            "promax.device": self.device,
            "promax.device_name": self.device_name,
            "promax.cpu": self.cpu,
            "promax.cpu_features": self.cpu_features,
            "promax.threads": self.threads,
            "promax.environment": self.environment,
            **{f"promax.version.{name}": version for name, version in self.versions.items()},
        }


def collect(root: Path | None, device: str) -> Provenance:
    """What is known about the code of the checkout `root`, the installed libraries and this machine.

    Where promax is installed without a checkout, `root` is None and its version is all that is known of its code.
    `device` is a torch device such as "cuda:0"; its name and the number of threads come from torch where the
    process has loaded it.
    """
    changed = _names(_git(root, "diff", "--name-only", "-z", "--relative", "HEAD"))
    untracked = _names(_git(root, "ls-files", "--others", "--exclude-standard", "-z"))
    return Provenance(
        git_commit=(_git(root, "rev-parse", "HEAD") or NONE).strip(),
        git_dirty=bool(changed),
        diff=_diff(root),
        changed=changed,
        untracked=untracked,
        versions={name: _version(name) for name in STACK},
        requirements=_requirements(),
        python=platform.python_version(),
        platform=platform.platform(),
        host=platform.node(),
        device=device,
        device_name=_device_name(device),
        cpu=_cpu(),
        cpu_features=cpu_features(),
        threads=_threads(),
        environment=" ".join(f"{name}={shlex.quote(os.environ[name])}" for name in NUMERIC if os.environ.get(name)),
    )


def config_hash(cfg: Config) -> str:
    """SHA-256 (hex) of a config as canonical JSON: one level of dotted keys, sorted, every digit of a float."""
    canonical = json.dumps(flatten(cfg), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def git_environment() -> dict[str, str]:
    """The environment for a git command that is about the folder it is given."""
    environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    # Without the optional locks, looking never gets in the way of the user's own git command.
    return {**environment, "GIT_OPTIONAL_LOCKS": "0"}


def _git(root: Path | None, *arguments: str, fine: tuple[int, ...] = (0,)) -> str | None:
    """What git prints, None where it fails: no checkout, no repository, no commit yet, no git, too slow."""
    if root is None:
        return None
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, env=git_environment())
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", errors="replace") if done.returncode in fine else None


def _diff(root: Path | None) -> str:
    """The change of code and config since the last commit, modules of promax that git doesn't follow included."""
    # Written out, so that `git apply` takes it whatever the user's own settings are.
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
    parts = [_git(root, "diff", *plain, "--relative", "HEAD", "--", *CODE)]
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *PACKAGE) or ""
    for name in filter(None, new.split("\0")):
        # Its exit status 1 says that the two differ.
        parts.append(_git(root, "diff", *plain, "--no-index", "--", "/dev/null", name, fine=(0, 1)))
    text = "".join(part or "" for part in parts)
    if len(text) <= LONGEST_DIFF:
        return text
    return f"{text[:LONGEST_DIFF]}\n[cut here: {LONGEST_DIFF} of {len(text)} characters]\n"


def _names(listing: str | None) -> tuple[str, ...]:
    names = [name for name in (listing or "").split("\0") if name]
    more = [f"[and {len(names) - MOST_NAMES} more]"] if len(names) > MOST_NAMES else []
    return (*names[:MOST_NAMES], *more)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return NONE


def _requirements() -> tuple[str, ...]:
    # Of two with one name, the first on the path is the one that is imported.
    found: dict[str, str] = {}
    for each in metadata.distributions():
        name = str(each.metadata["Name"])
        found.setdefault(name.lower().replace("_", "-"), f"{name}=={each.version}")
    return tuple(sorted(found.values(), key=lambda line: line.partition("==")[0].lower()))


def _threads() -> int:
    # Not imported here: a run has loaded it long since, and nothing else should wait for it.
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else os.cpu_count() or 1


def _device_name(device: str) -> str:
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None:
        return str(torch.cuda.get_device_name(device))
    return _cpu() if device == "cpu" else device


def _cpu() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_features() -> str:
    """What of `FEATURES` this processor has, with spaces between."""
    # x86 and ARM have a name each for the line.
    had = f"{_cpuinfo('flags')} {_cpuinfo('Features')}".split()
    return " ".join(name for name in FEATURES if name in had)


@cache
def _cpuinfo(key: str) -> str:
    """What Linux says of the first processor; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")
