import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.catalog import parse_config
from models.data import Part, Split, check_unchanged, load_split, sealed_test
from models.image_config import ImageCnnConfig
from models.job import BadData, InvalidConfig
from models.sources import digits
from models.sources.base import Images

from .conftest import colour_images


def config(**entries: object) -> ImageCnnConfig:
    parsed = parse_config("image-cnn", entries)
    assert isinstance(parsed, ImageCnnConfig)
    return parsed


def cifar(**entries: object) -> ImageCnnConfig:
    return config(dataset="cifar10", **entries)


def pixels_of(split: Split, part: Part) -> Tensor:
    return split.pixels[part.rows]


def as_set(pixels: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in pixels}


def test_digits_fill_the_range_of_a_byte() -> None:
    pixels = digits.read().images.pixels
    assert (pixels.dtype, list(pixels.shape)) == (torch.uint8, [1797, 1, 8, 8])
    assert (int(pixels.min()), int(pixels.max())) == (0, 255)


def test_the_parts_of_a_split_are_stratified_and_make_up_the_whole(tmp_path: Path) -> None:
    split = load_split(config(), tmp_path)
    test = sealed_test(config(), tmp_path).images
    assert len(split.train.labels) + len(split.val.labels) + len(test.labels) == 1797
    whole = digits.read().images
    assert as_set(pixels_of(split, split.train)) | as_set(pixels_of(split, split.val)) | as_set(test.pixels) == as_set(
        whole.pixels
    )
    for part in (split.train, split.val, test):
        share = len(part.labels) / 1797
        counts = part.labels.bincount(minlength=10)
        assert (counts - whole.labels.bincount() * share).abs().max() < 2


def test_images_keep_their_labels_through_the_split(npz: Path, tmp_path: Path) -> None:
    split = load_split(cifar(), tmp_path)
    train, val = (Images(pixels_of(split, part), part.labels) for part in (split.train, split.val))
    for part in (train, val, sealed_test(cifar(), tmp_path).images):
        brightness = part.pixels.double().mean(dim=(1, 2, 3))
        assert ((brightness - 14.5) / 20).round().long().tolist() == part.labels.tolist()


def test_a_split_is_a_function_of_its_seed(tmp_path: Path) -> None:
    first = load_split(config(split_seed=1), tmp_path)
    other = load_split(config(split_seed=2), tmp_path)
    again = load_split(config(split_seed=1), tmp_path)
    assert first.sha256 == again.sha256 != other.sha256
    assert torch.equal(pixels_of(first, first.val), pixels_of(again, again.val))
    assert not torch.equal(pixels_of(first, first.val), pixels_of(other, other.val))


def test_the_training_part_alone_decides_the_scaling(npz: Path, tmp_path: Path) -> None:
    split = load_split(cifar(), tmp_path)
    pixels = pixels_of(split, split.train).double()
    assert torch.allclose(split.scaling.mean.double(), pixels.mean(dim=(0, 2, 3), keepdim=True))
    scaled = split.scaling(pixels_of(split, split.train)).double()
    assert torch.allclose(scaled.mean(dim=(0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(scaled.std(dim=(0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64), atol=1e-5)


def test_fewer_training_images_are_balanced_and_nested(tmp_path: Path) -> None:
    few, more = (load_split(config(train_images=count), tmp_path) for count in (103, 200))
    assert few.train.labels.bincount().tolist() == [11, 11, 11, 10, 10, 10, 10, 10, 10, 10]
    assert as_set(pixels_of(few, few.train)) < as_set(pixels_of(more, more.train))
    assert (few.sha256, len(few.val.labels)) == (more.sha256, len(more.val.labels))


@pytest.mark.parametrize(("count", "message"), [(5000, "got 5000, the training part has 12"), (1250, "of class")])
def test_more_training_images_than_there_are_is_refused(tmp_path: Path, count: int, message: str) -> None:
    with pytest.raises(InvalidConfig, match=message) as caught:
        load_split(config(train_images=count), tmp_path)
    assert caught.value.field == "train_images"


def test_a_loaded_set_is_kept_until_its_file_changes(npz: Path, tmp_path: Path) -> None:
    split = load_split(cifar(), tmp_path)
    assert load_split(cifar(), tmp_path).pixels is split.pixels
    images, labels = colour_images(15, seed=9)
    np.savez(npz, images=images, labels=labels)
    assert load_split(cifar(), tmp_path).sha256 != split.sha256


def test_an_npz_test_part_is_sealed_as_it_is(npz: Path, tmp_path: Path) -> None:
    sealed = sealed_test(cifar(), tmp_path)
    split = load_split(cifar(), tmp_path)
    assert as_set(sealed.images.pixels) == as_set(torch.from_numpy(colour_images(11, seed=1)[0]).permute(0, 3, 1, 2))
    assert sealed.sha256 == split.sha256
    assert (len(split.train.labels), len(split.val.labels)) == (110, 10)


def test_an_npz_without_a_test_part_has_one_held_out(tmp_path: Path) -> None:
    images, labels = colour_images(20)
    np.savez_compressed(tmp_path / "own.npz", images=images, labels=labels.astype(np.uint8))
    own = cifar(data_path="own.npz")
    split, test = load_split(own, tmp_path), sealed_test(own, tmp_path).images
    assert [len(part.labels) for part in (split.train, split.val, test)] == [150, 20, 30]
    assert not as_set(test.pixels) & (as_set(pixels_of(split, split.train)) | as_set(pixels_of(split, split.val)))


@pytest.mark.parametrize(("fraction", "trained", "validated"), [(0.001, 110, 10), (0.999, 10, 110)])
def test_no_class_is_missing_from_a_part(
    npz: Path, tmp_path: Path, fraction: float, trained: int, validated: int
) -> None:
    split = load_split(cifar(val_fraction=fraction), tmp_path)
    assert split.train.labels.bincount().tolist() == [trained // 10] * 10
    assert split.val.labels.bincount().tolist() == [validated // 10] * 10


def test_an_npz_may_lie_in_a_folder(npz: Path, tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    npz.rename(tmp_path / "sets" / "cifar10.npz")
    assert len(load_split(cifar(data_path="sets"), tmp_path).train.labels) == 110


def test_the_published_batches_are_read_through_torchvision(batches: Path, tmp_path: Path) -> None:
    split, test = load_split(cifar(), tmp_path), sealed_test(cifar(), tmp_path).images
    assert [len(part.labels) for part in (split.train, split.val, test)] == [490, 60, 110]
    assert as_set(test.pixels) == as_set(torch.from_numpy(colour_images(11, seed=6)[0]).permute(0, 3, 1, 2))


def test_torn_batches_are_refused_before_they_are_unpickled(batches: Path, tmp_path: Path) -> None:
    torn = batches / "data_batch_3"
    torn.write_bytes(torn.read_bytes()[:-1])
    with pytest.raises(BadData, match=str(batches)):
        load_split(cifar(), tmp_path)


def test_a_missing_set_is_named_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=f"no cifar10 at {tmp_path}/absent: looked for .*absent.npz"):
        load_split(cifar(data_path="absent"), tmp_path)


def test_a_path_that_no_file_system_takes_is_bad_data(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="cannot be looked into"):
        load_split(cifar(data_path="x" * 400), tmp_path)


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99, -1])
def test_a_torn_npz_is_named_by_its_path(npz: Path, tmp_path: Path, kept: float) -> None:
    content = npz.read_bytes()
    npz.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(BadData, match=str(npz)):
        load_split(cifar(), tmp_path)


def test_a_flipped_bit_in_an_npz_is_found(npz: Path, tmp_path: Path) -> None:
    content = bytearray(npz.read_bytes())
    content[len(content) // 2] ^= 1
    npz.write_bytes(content)
    with pytest.raises(BadData, match=str(npz)):
        load_split(cifar(), tmp_path)


def test_a_flipped_bit_anywhere_in_an_npz_does_no_worse_than_bad_data(npz: Path, tmp_path: Path) -> None:
    images, labels = colour_images(10)
    np.savez(npz, images=images, labels=labels)
    sound, content = load_split(cifar(), tmp_path).sha256, npz.read_bytes()
    draw = np.random.default_rng(0)
    # The headers of the file and of its arrays are the first and last bytes: half of the flips go there.
    ends = [*range(160), *range(len(content) - 300, len(content))]
    for where in [*draw.choice(ends, 60, replace=False), *draw.integers(0, len(content), 20)]:
        torn = bytearray(content)
        torn[where] ^= 1 << int(draw.integers(8))
        npz.write_bytes(torn)
        os.utime(npz, ns=(int(where), int(where)))  # a new time: the cache must not answer
        try:
            assert load_split(cifar(), tmp_path).sha256 == sound
        except BadData as error:
            assert str(npz) in str(error)  # noqa: PT017


def test_a_file_that_is_no_zip_is_refused(npz: Path, tmp_path: Path) -> None:
    np.save(npz.with_suffix(".npy"), np.zeros(3))
    npz.with_suffix(".npy").rename(npz)
    with pytest.raises(BadData, match="cannot be read as npz"):
        load_split(cifar(), tmp_path)


def arrays(**changed: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
    images, labels = colour_images(12)
    return {"images": images, "labels": labels, **changed}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": arrays()["images"]}, "has no array labels"),
        (arrays(images=np.zeros((120, 32, 32), np.uint8)), r"want uint8 \[N, 32, 32, 3\]"),
        (arrays(images=np.zeros((120, 32, 32, 3))), r"images is float64 \[120, 32, 32, 3\]"),
        (arrays(images=np.array([{}])), "pickle"),
        (arrays(labels=np.zeros(120)), "labels is float64"),
        (arrays(labels=np.arange(119) % 10), r"want whole numbers \[120\]"),
        (arrays(labels=np.arange(120) % 11), "must lie in 0 to 9, got 0 to 10"),
        (arrays(labels=np.arange(120) % 10 - 1), "got -1 to 8"),
        (arrays(labels=np.arange(120) % 9), "class 9 has 0 of the images"),
        (arrays(images=np.zeros((0, 32, 32, 3), np.uint8), labels=np.zeros(0, np.int64)), "class 0 has 0"),
        (arrays(test_labels=np.arange(120) % 10), "one of test_images and test_labels"),
    ],
)
def test_an_npz_of_the_wrong_content_is_refused(
    tmp_path: Path, content: dict[str, NDArray[np.generic]], message: str
) -> None:
    np.savez(tmp_path / "cifar10.npz", **content)  # type: ignore[arg-type]
    with pytest.raises(BadData, match=message) as caught:
        load_split(cifar(), tmp_path)
    assert str(tmp_path / "cifar10.npz") in str(caught.value)


@pytest.mark.parametrize("link", ["cifar10.npz", "cifar10", "cifar10/cifar-10-batches-py/data_batch_1"])
def test_a_link_that_leads_out_of_the_data_root_is_not_followed(
    npz: Path, batches: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, link: str
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "moved"
    if link == "cifar10.npz":
        (tmp_path / "cifar10").rename(tmp_path / "aside")
    (tmp_path / link).rename(outside)
    (tmp_path / link).symlink_to(outside)
    with pytest.raises(BadData, match="leads out of the data root"):
        load_split(cifar(), tmp_path)


def test_data_that_changed_since_the_checkpoint_is_refused(tmp_path: Path) -> None:
    check_unchanged("ab", "ab", cifar(), tmp_path)
    with pytest.raises(BadData, match=f"{tmp_path}/cifar10 is not what this study is trained on, or has changed"):
        check_unchanged("ab", "cd", cifar(), tmp_path)
