import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoint import CorruptCheckpoint, Identity, load, load_for, manifest_path, save

IDENTITY = Identity(trainer="synthetic", config={"x": 0.1}, seed=5, step=3)
TENSORS = {
    "model.w": torch.arange(6.0).view(2, 3),
    "model.count": torch.tensor(7),
    "optimizer.0.empty": torch.zeros(0, 4),
    "generator": torch.arange(9, dtype=torch.uint8),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "step-3.safetensors"


def same(left: Tensor, right: Tensor) -> bool:
    return left.dtype == right.dtype and torch.equal(left, right)


def test_what_is_saved_is_loaded(path: Path) -> None:
    saved = save(path, IDENTITY, TENSORS)
    checkpoint = load(path)
    assert checkpoint.tensors.keys() == TENSORS.keys()
    assert all(same(tensor, checkpoint.tensors[name]) for name, tensor in TENSORS.items())
    assert checkpoint.manifest.identity == IDENTITY
    assert (saved.path, saved.step, saved.sha256) == (path, 3, checkpoint.manifest.sha256)
    assert saved.size_bytes == path.stat().st_size == checkpoint.manifest.size_bytes
    assert checkpoint.part("model").keys() == {"w", "count"}


def test_a_checkpoint_is_two_files_and_nothing_else(path: Path) -> None:
    save(path, IDENTITY, TENSORS)
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.json"}
    assert json.loads(manifest_path(path).read_text())["format"] == 1


def test_tensors_that_are_views_of_others_are_saved_whole(path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    save(path, IDENTITY, {"column": whole[:, 1], "turned": whole.T})
    tensors = load(path).tensors
    assert same(tensors["column"], whole[:, 1])
    assert same(tensors["turned"], whole.T)


@pytest.mark.parametrize("which", [lambda path: path, manifest_path], ids=["tensors", "manifest"])
def test_no_truncation_is_ever_loaded(path: Path, which: "type[Path]") -> None:
    save(path, IDENTITY, TENSORS)
    torn = which(path)
    content = torn.read_bytes()
    for kept in range(len(content)):
        torn.write_bytes(content[:kept])
        with pytest.raises(CorruptCheckpoint, match=str(path)):
            load(path)


def test_no_flipped_bit_in_the_tensors_is_ever_loaded(path: Path) -> None:
    save(path, IDENTITY, TENSORS)
    content = path.read_bytes()
    draw = np.random.default_rng(0)
    for where in range(len(content)):
        torn = bytearray(content)
        torn[where] ^= 1 << int(draw.integers(8))
        path.write_bytes(torn)
        with pytest.raises(CorruptCheckpoint, match=str(path)):
            load(path)


def test_a_flipped_bit_in_the_manifest_is_refused_or_changes_nothing_that_matters(path: Path) -> None:
    save(path, IDENTITY, TENSORS)
    content = manifest_path(path).read_bytes()
    draw = np.random.default_rng(0)
    refused = 0
    for where in range(len(content)):
        torn = bytearray(content)
        torn[where] ^= 1 << int(draw.integers(8))
        manifest_path(path).write_bytes(torn)
        try:
            assert load(path).manifest.identity == IDENTITY
        except CorruptCheckpoint:
            refused += 1
    assert refused > len(content) / 2


@pytest.mark.parametrize("gone", [lambda path: path, manifest_path], ids=["tensors", "manifest"])
def test_half_a_checkpoint_is_refused(path: Path, gone: "type[Path]") -> None:
    save(path, IDENTITY, TENSORS)
    gone(path).unlink()
    with pytest.raises(CorruptCheckpoint, match="cannot be read"):
        load(path)


def test_a_manifest_beside_other_tensors_is_refused(path: Path) -> None:
    save(path, IDENTITY, TENSORS)
    other = path.with_name("step-4.safetensors")
    save(other, IDENTITY, {"model.w": torch.zeros(2, 3)})
    path.write_bytes(other.read_bytes())
    with pytest.raises(CorruptCheckpoint, match="SHA-256"):
        load(path)


def test_a_format_of_the_future_is_refused(path: Path) -> None:
    save(path, IDENTITY, TENSORS)
    manifest = json.loads(manifest_path(path).read_text())
    manifest_path(path).write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(CorruptCheckpoint, match="not one of format 1"):
        load(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"step": 4}, "is of step 3, the job resumes step 4"),
        ({"seed": 6}, "is of seed 5, the job resumes seed 6"),
        ({"config": {"x": 0.2}}, "is of x 0.1, the job resumes x 0.2"),
        ({"trainer": "image-cnn", "config": {}}, "is of trainer synthetic"),
    ],
)
def test_the_checkpoint_of_another_job_is_refused(path: Path, changed: dict[str, object], message: str) -> None:
    save(path, IDENTITY, TENSORS)
    with pytest.raises(CorruptCheckpoint, match=message):
        load_for(path, IDENTITY.model_copy(update=changed))


def test_an_entry_left_out_equals_its_default(path: Path) -> None:
    save(path, IDENTITY, TENSORS)
    assert load_for(path, IDENTITY.model_copy(update={"config": {"x": 0.1, "y": 0.5}})).manifest.identity == IDENTITY


def test_a_full_disk_leaves_the_last_checkpoint_and_no_temp_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, IDENTITY, TENSORS)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(path, IDENTITY, {"model.w": torch.zeros(2, 3)})
    assert same(load(path).tensors["model.w"], TENSORS["model.w"])
    assert len(list(path.parent.iterdir())) == 2


def test_the_bytes_are_on_disk_before_they_have_their_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        steps.append("fsync " + re.sub(r"\.\w+\.tmp$", ".tmp", name))
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> Path:
        steps.append(f"rename {target.name}")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    save(path, IDENTITY, TENSORS)
    tensors, manifest, folder = path.name, manifest_path(path).name, path.parent.name
    assert steps == [
        f"fsync {tensors}.tmp",
        f"rename {tensors}",
        f"fsync {folder}",
        f"fsync {manifest}.tmp",
        f"rename {manifest}",
        f"fsync {folder}",
    ]


def test_nothing_in_the_package_can_unpickle() -> None:
    package = Path(__file__).parents[3] / "models"
    for module in package.glob("*.py"):
        code = module.read_text()
        assert not re.search(r"import pickle|(?<!safetensors\.)torch\.load\(|allow_pickle=True", code), module
