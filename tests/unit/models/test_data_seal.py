"""The test part is out of a trial's reach, and has no say in it."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.checkpoint import load
from models.data import load_split, sealed_test
from models.train import train

from .conftest import Job, grey_images
from .test_data import config

ENTRIES: dict[str, Any] = {"dataset": "npz", "filters1": 2, "filters2": 2, "dense_units": 8}
HOLDERS = (Tensor, np.ndarray, bytes)
LEARNED = ("val_acc", "val_loss", "train_loss", "train_acc")


def write(path: Path, *, test_seed: int) -> np.ndarray:
    """An npz of 3 classes of 8x8 px; returns its test images."""
    (images, labels), (test_images, test_labels) = (
        grey_images(12, 8, classes=3),
        grey_images(10, 8, classes=3, seed=test_seed),
    )
    np.savez(path, images=images, labels=labels, test_images=test_images, test_labels=test_labels)
    return test_images


def in_memory(images: np.ndarray) -> bool:
    """Whether a tensor, an array or bytes that anything refers to holds one of ``images``, whole numbers or floats."""
    gc.collect()
    tracked = gc.get_objects()
    # By type and not by isinstance, which asks the object: some of torch's answer with a deprecation warning.
    # The collector does not track arrays and bytes themselves, but all that can refer to them.
    held = {id(item): item for item in [*tracked, *gc.get_referents(*tracked)] if issubclass(type(item), HOLDERS)}
    # A few will do: whatever holds the part, or a batch of it in the order of the file, holds one of these.
    needles = [image.astype(kind).tobytes() for image in images[::5] for kind in (np.uint8, np.int64, np.float32)]
    for item in held.values():
        if item is images or (isinstance(item, np.ndarray) and (item.dtype == object or item.base is images)):
            continue
        if isinstance(item, Tensor):
            if item.layout is not torch.strided or item.untyped_storage().device.type == "meta":
                continue  # has a shape and no content, or not content that could be a part of a data set
            content = torch.empty(0, dtype=torch.uint8).set_(item.untyped_storage()).numpy().tobytes()
        else:
            content = item if isinstance(item, bytes) else np.ndarray.tobytes(item)
        if any(needle in content for needle in needles):
            return True
    return False


def test_no_test_image_is_in_memory_once_a_split_is_loaded(tmp_path: Path) -> None:
    hidden = write(tmp_path / "npz.npz", test_seed=105)
    split = load_split(config(dataset="npz"), tmp_path)
    assert in_memory(split.pixels.numpy()[:2, 0].copy())  # the search finds what is there
    assert not in_memory(hidden)
    sealed = sealed_test(config(dataset="npz"), tmp_path)
    assert in_memory(hidden)
    assert len(sealed.images.labels) == 30
    del sealed
    assert not in_memory(hidden)


def test_no_held_out_image_is_in_memory_once_a_split_is_loaded(tmp_path: Path) -> None:
    images, labels = grey_images(20, 8, classes=3, seed=107)
    np.savez(tmp_path / "npz.npz", images=images, labels=labels)
    hidden = sealed_test(config(dataset="npz"), tmp_path).images.pixels.numpy()[:, 0].copy()
    assert len(hidden) == 9
    load_split(config(dataset="npz"), tmp_path)
    del images
    assert not in_memory(hidden)


def test_no_test_image_is_in_memory_while_a_trial_trains(job: Job, tmp_path: Path) -> None:
    hidden = write(tmp_path / "npz.npz", test_seed=105)
    for _ in train(job(**ENTRIES, max_resource=2)):
        assert not in_memory(hidden)
    assert not in_memory(hidden)


def test_two_sets_that_differ_in_the_test_part_alone_give_the_same_trial(job: Job, tmp_path: Path) -> None:
    trials = []
    for seed in (105, 106):
        write(tmp_path / f"{seed}.npz", test_seed=seed)
        split = load_split(config(dataset="npz", data_path=f"{seed}.npz"), tmp_path)
        saved = []
        for result in train(job(**ENTRIES, data_path=f"{seed}.npz", max_resource=2)):
            saved.append({name: result.metrics[name] for name in LEARNED})
            result.save(tmp_path / f"{seed}.safetensors")
        trials.append((split.sha256, saved, load(tmp_path / f"{seed}.safetensors").tensors))
    (sha256, metrics, weights), (other_sha256, other_metrics, other_weights) = trials
    assert sha256 != other_sha256
    assert metrics == other_metrics
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(tensor, other_weights[name]) for name, tensor in weights.items())
