"""Small jobs and small image files in the true formats."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.job import TrainJob

Job = Callable[..., TrainJob]


def colour_images(per_class: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, 32, 32, 3] with class k brighter the larger k is, and int64 labels, classes interleaved."""
    labels = np.tile(np.arange(10), per_class)
    noise = np.random.default_rng(seed).integers(0, 30, (len(labels), 32, 32, 3))
    return (noise + 20 * labels[:, None, None, None]).astype(np.uint8), labels


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job with its configuration as keywords; those that are fields of TrainJob go there."""

    def make(trainer: str = "image-cnn", **entries: Any) -> TrainJob:
        values = {"seed": 3, "from_step": 0, "max_resource": 2, "resume": None, "data_root": tmp_path, "threads": 1}
        names = {*values, "final", "split_sha256", "cache_root", "inherits"} & {*values, *entries}
        fields = {name: entries.pop(name, values.get(name)) for name in names}
        return TrainJob(trainer=trainer, config=entries, **fields)

    return make


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    """``cifar10.npz`` in the data root: 12 training and 11 test images per class."""
    (images, labels), (test_images, test_labels) = colour_images(12), colour_images(11, seed=1)
    path = tmp_path / "cifar10.npz"
    np.savez(path, images=images, labels=labels, test_images=test_images, test_labels=test_labels)
    return path


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``cifar10/cifar-10-batches-py`` as published but small, with the MD5 sums that torchvision checks to match."""
    from models._torchvision import import_datasets

    cifar10 = import_datasets().CIFAR10
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def write(name: str, content: dict[str, Any]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(seed: int) -> dict[str, Any]:
        images, labels = colour_images(11, seed)
        return {"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1), "labels": labels.tolist()}

    names = [str(k) for k in range(10)]
    monkeypatch.setattr(cifar10, "train_list", [write(f"data_batch_{k}", batch(k)) for k in range(1, 6)])
    monkeypatch.setattr(cifar10, "test_list", [write("test_batch", batch(6))])
    meta = write("batches.meta", {"label_names": names})
    monkeypatch.setattr(cifar10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    return folder


def grey_images(per_class: int, side: int = 28, *, classes: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, side, side] with class k brighter the larger k is, and int64 labels, classes interleaved."""
    labels = np.tile(np.arange(classes), per_class)
    noise = np.random.default_rng(seed).integers(0, 30, (len(labels), side, side))
    return (noise + 200 // classes * labels[:, None, None]).astype(np.uint8), labels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """``photos`` in the data root: 20 PNG of 24x16 px in each of cat (dark), dog and emu (bright)."""
    folder = tmp_path / "photos"
    draw = np.random.default_rng(0)
    for brightness, name in enumerate(("cat", "dog", "emu")):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = draw.integers(80 * brightness, 80 * brightness + 40, (16, 24, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")
    return folder
