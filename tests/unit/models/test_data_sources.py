"""The formats in which image sets are published, small, and the real ones where they are at hand."""

import gzip
import hashlib
import io
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.data import load_split, sealed_test
from models.job import BadData, InvalidConfig
from models.sources.mnist import FILES

from .conftest import colour_images, grey_images
from .test_data import as_set, config

REAL = Path(__file__).parents[4] / "shared" / "data"


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, *, suffix: str = "") -> np.ndarray:
    """The four files of 12 training and 10 test images a class; returns the test images."""
    folder.mkdir(parents=True)
    test_images, test_labels = grey_images(10, seed=1)
    for name, array in zip(FILES, (*grey_images(12), test_images, test_labels), strict=True):
        content = gzip.compress(idx(array)) if suffix else idx(array)
        (folder / f"{name}{suffix}").write_bytes(content)
    return test_images


@pytest.mark.parametrize(
    ("dataset", "folder", "suffix"),
    [
        ("mnist", "mnist/MNIST/raw", ""),
        ("mnist", "mnist", ".gz"),
        ("fashion_mnist", "fashion_mnist/FashionMNIST/raw", ""),
        ("fashion_mnist", "fashion_mnist/raw", ".gz"),
    ],
)
def test_idx_files_are_read_plain_and_packed(tmp_path: Path, dataset: str, folder: str, suffix: str) -> None:
    test_images = write_idx(tmp_path / folder, suffix=suffix)
    split = load_split(config(dataset=dataset), tmp_path)
    sealed = sealed_test(config(dataset=dataset), tmp_path)
    assert (len(split.train.rows), len(split.val.rows), len(sealed.images.labels)) == (100, 20, 100)
    assert as_set(sealed.images.pixels) == as_set(torch.from_numpy(test_images)[:, None])
    assert as_set(split.pixels) == as_set(torch.from_numpy(grey_images(12)[0])[:, None])
    assert (
        ((split.pixels.double().mean(dim=(1, 2, 3)) - 14.5) / 20).round().long()[split.val.rows].equal(split.val.labels)
    )
    assert split.class_names[9] == ("9" if dataset == "mnist" else "Ankle boot")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_torn_idx_file_is_named_by_its_path(tmp_path: Path, file: str, suffix: str) -> None:
    write_idx(tmp_path / "mnist", suffix=suffix)
    path = tmp_path / "mnist" / f"{file}{suffix}"
    content = path.read_bytes()
    for kept in (0, 3, 6, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(BadData, match=file):
            load_split(config(dataset="mnist"), tmp_path)


def test_a_missing_idx_file_is_told_with_the_places_looked_at(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist")
    (tmp_path / "mnist" / FILES[1]).unlink()
    with pytest.raises(BadData, match=r"no mnist at .*MNIST/raw/train-images-idx3-ubyte, .*mnist\.npz"):
        load_split(config(dataset="mnist"), tmp_path)


def test_cifar100_is_read_through_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models._torchvision import import_datasets

    folder = tmp_path / "cifar100" / "cifar-100-python"
    folder.mkdir(parents=True)

    def write(name: str, content: dict[str, Any]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(per_class: int, seed: int) -> dict[str, Any]:
        images, labels = grey_images(per_class, 32, classes=100, seed=seed)
        return {"data": np.repeat(images[:, None], 3, 1).reshape(len(images), -1), "fine_labels": labels.tolist()}

    cifar100 = import_datasets().CIFAR100
    monkeypatch.setattr(cifar100, "train_list", [write("train", batch(10, 0))])
    monkeypatch.setattr(cifar100, "test_list", [write("test", batch(10, 1))])
    meta = write("meta", {"fine_label_names": [f"kind {k}" for k in range(100)]})
    monkeypatch.setattr(cifar100, "meta", {"filename": meta[0], "key": "fine_label_names", "md5": meta[1]})
    split = load_split(config(dataset="cifar100"), tmp_path)
    assert (len(split.train.rows), len(split.val.rows), split.image.classes) == (800, 200, 100)
    assert split.class_names[99] == "kind 99"


def test_a_set_has_one_hash_in_every_format(batches: Path, tmp_path: Path) -> None:
    published = load_split(config(dataset="cifar10"), tmp_path).sha256
    train = [colour_images(11, seed) for seed in range(1, 6)]
    (test_images, test_labels) = colour_images(11, 6)
    arrays = {"images": np.concatenate([part[0] for part in train]), "labels": np.concatenate([p[1] for p in train])}
    np.savez(tmp_path / "one.npz", **arrays, test_images=test_images, test_labels=test_labels)
    assert load_split(config(dataset="cifar10", data_path="one.npz"), tmp_path).sha256 == published


@pytest.mark.parametrize("name", ["npz_", "own_", ""])
def test_training_and_test_part_may_be_two_npz_files(tmp_path: Path, name: str) -> None:
    (tmp_path / "own").mkdir()
    (images, labels), (test_images, test_labels) = grey_images(12, 9, classes=3), grey_images(10, 9, classes=3, seed=1)
    names = np.array(["ant", "bee", "cow"])
    np.savez(tmp_path / "own" / f"{name}train.npz", images=images, labels=labels.astype(np.uint8), classes=names)
    np.savez(tmp_path / "own" / f"{name}test.npz", images=test_images, labels=test_labels)
    split = load_split(config(dataset="npz", data_path="own"), tmp_path)
    assert (split.image.channels, split.image.side, split.class_names) == (1, 9, ("ant", "bee", "cow"))
    assert len(sealed_test(config(dataset="npz", data_path="own"), tmp_path).images.labels) == 30


def test_an_npz_may_hold_jpeg_files_that_share_their_first_bytes(tmp_path: Path) -> None:
    images, labels = colour_images(12)
    files = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=95)
        files.append(file.getvalue())
    body = np.frombuffer(b"".join(file[100:] for file in files), np.uint8)
    offsets = np.cumsum([0, *(len(file) - 100 for file in files)])
    head = np.frombuffer(files[0][:100], np.uint8)
    assert all(file[:100] == files[0][:100] for file in files)
    packed = {"head": head, "body": body, "offsets": offsets, "labels": labels}
    np.savez(tmp_path / "npz.npz", **packed)
    split = load_split(config(dataset="npz"), tmp_path)
    brightness = split.pixels[split.train.rows].double().mean(dim=(1, 2, 3))
    assert ((brightness - 14.5) / 20).round().long().equal(split.train.labels)
    np.savez(tmp_path / "npz.npz", **packed | {"body": body[: len(body) // 2]})
    with pytest.raises(BadData, match=r"npz.npz cannot be read as npz"):
        load_split(config(dataset="npz"), tmp_path)


IMAGES, LABELS = grey_images(12, 9, classes=3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES[:, :8]}, r"images is uint8 \[36, 8, 9, 1\], want uint8 \[N, S, S\] or \[N, S, S, C\]"),
        ({"images": IMAGES[:, :0, :0]}, "want uint8"),
        ({"images": IMAGES / 255}, "images is float64"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "want whole numbers of two classes or more"),
        ({"labels": LABELS * 0}, "want whole numbers of two classes or more"),
        ({"labels": LABELS - 1}, "got -1 to 1"),
        ({"labels": np.where(LABELS == 2, 10**12, LABELS)}, "got 0 to 1000000000000"),
        ({"labels": np.where(LABELS == 2, 3, LABELS)}, "class 2 has 0 of the images, want at least 10"),
        ({"class_names": np.array(["x"])}, r"class_names is <U1 \[1\], want two or more different strings"),
        ({"class_names": np.array(["x", "y", "y"])}, "different strings"),
        ({"class_names": np.array(["x", "y"])}, "must lie in 0 to 1, got 0 to 2"),
        ({"test_images": IMAGES[:, :5, :5], "test_labels": LABELS}, r"test_images .* want uint8 \[N, 9, 9, 1\]"),
    ],
)
def test_an_npz_of_any_set_is_checked(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "npz.npz", **{"images": IMAGES, "labels": LABELS, **arrays})
    with pytest.raises(BadData, match=message) as caught:
        load_split(config(dataset="npz"), tmp_path)
    assert str(tmp_path / "npz.npz") in str(caught.value)


def test_images_too_small_for_the_network_are_refused_by_field(tmp_path: Path) -> None:
    np.savez(tmp_path / "npz.npz", images=IMAGES[:, :5, :5], labels=LABELS)
    with pytest.raises(InvalidConfig, match=r"needs images of 6 px, .*npz has 5 px") as caught:
        load_split(config(dataset="npz"), tmp_path)
    assert caught.value.field == "architecture"
    with pytest.raises(InvalidConfig, match="needs images of 6 px, image_size is 4") as caught:
        load_split(config(dataset="npz", image_size=4), tmp_path)
    assert caught.value.field == "image_size"


@pytest.mark.parametrize(
    ("dataset", "parts", "mean", "std"),
    [("fashion_mnist", (24_000, 6_000, 10_000), 0.2860, 0.3530), ("mnist", (48_000, 12_000, 10_000), 0.1307, 0.3081)],
)
def test_real_sets_are_read_as_they_lie(dataset: str, parts: tuple[int, ...], mean: float, std: float) -> None:
    if not (REAL / dataset).is_dir():
        pytest.skip(f"no {REAL / dataset}")
    split, sealed = load_split(config(dataset=dataset), REAL), sealed_test(config(dataset=dataset), REAL)
    assert (len(split.train.rows), len(split.val.rows), len(sealed.images.labels)) == parts
    assert float(split.scaling.mean) / 255 == pytest.approx(mean, abs=1e-3)
    assert float(split.scaling.std) / 255 == pytest.approx(std, abs=1e-3)
