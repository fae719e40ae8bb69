"""Images scaled to ``image_size``, once per set and size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import pixel_store
from models.batches import all_of
from models.data import Split, load_split, sealed_test

from .conftest import grey_images
from .test_data import config


def digits(side: int | None) -> Split:
    return load_split(config(image_size=side), Path())


def test_images_are_scaled_and_the_split_stays_what_it_was() -> None:
    own, larger = digits(None), digits(20)
    assert (own.image.side, own.pixels.shape[1:]) == (8, (1, 8, 8))
    assert (larger.image.side, larger.pixels.shape[1:]) == (20, (1, 20, 20))
    assert larger.pixels.dtype == torch.uint8
    assert (larger.sha256, larger.class_names) == (own.sha256, own.class_names)
    assert torch.equal(larger.train.rows, own.train.rows)
    assert sealed_test(config(image_size=20), Path()).images.pixels.shape == (269, 1, 20, 20)


def test_the_scaling_is_of_the_images_as_they_are_trained_on() -> None:
    split = digits(12)
    pixels = split.pixels[split.train.rows].double()
    assert torch.allclose(split.scaling.mean.double(), pixels.mean(dim=(0, 2, 3), keepdim=True))
    assert torch.allclose(split.scaling.std.double(), pixels.std(dim=(0, 2, 3), correction=0).view(1, 1, 1, 1))


@pytest.mark.parametrize("side", [7, 11, 28])
@pytest.mark.parametrize("channels", [1, 3])
def test_scaling_agrees_with_pillow(tmp_path: Path, side: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 14, 14, channels)).astype(np.uint8)
    np.savez(tmp_path / "npz.npz", images=images, labels=np.arange(40) % 2, test_images=images,
             test_labels=np.arange(40) % 2)  # fmt: skip
    split = load_split(config(dataset="npz", image_size=side), tmp_path)
    for image, scaled in zip(images, split.pixels, strict=True):
        for channel in range(channels):
            wanted = np.asarray(Image.fromarray(image[..., channel]).resize((side, side), Image.Resampling.BILINEAR))
            assert np.abs(wanted.astype(int) - scaled[channel].numpy()).max() <= 1


def test_a_size_is_scaled_to_once(tmp_path: Path) -> None:
    small, large = digits(9), digits(16)
    assert digits(9).pixels is small.pixels
    assert digits(16).pixels is large.pixels
    images, labels = grey_images(12)
    np.savez(tmp_path / "npz.npz", images=images, labels=labels)
    load_split(config(dataset="npz"), tmp_path)
    assert digits(9).pixels is not small.pixels  # another set has taken its place


def test_sizes_that_do_not_fit_together_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    small = digits(9)
    monkeypatch.setattr(pixel_store, "RESIDENT_BYTES", small.pixels.numel() + 100)
    digits(10)
    assert digits(9).pixels is not small.pixels


def test_a_scaled_set_too_large_for_memory_lies_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = grey_images(12)
    np.savez(tmp_path / "npz.npz", images=images, labels=labels)
    chosen = config(dataset="npz", image_size=30)
    wanted = load_split(chosen, tmp_path)
    monkeypatch.setattr(pixel_store, "RESIDENT_BYTES", 1000)
    (tmp_path / "npz.npz").touch()
    split = load_split(chosen, tmp_path, cache_root=tmp_path / "cache")
    assert (wanted.resident, split.resident) == (True, False)
    assert torch.equal(split.pixels, wanted.pixels)
    assert split.sha256 == wanted.sha256


def test_images_too_many_for_the_device_are_scored_from_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    images = sealed_test(config(), Path()).images
    together = all_of(images)
    monkeypatch.setattr(pixel_store, "RESIDENT_BYTES", images.pixels.numel() - 1)
    streamed = all_of(images)
    assert (together.resident, streamed.resident) == (True, False)
    for one, other in zip(together.in_order(100), streamed.in_order(100), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
