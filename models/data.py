"""Data sets as tensors in memory, split once into training, validation and test part.

The test part is sealed: a Split does not hold it, and only ``sealed_test`` gives it out. Loaded sets stay in memory
between the trials of one process, since the trainer child is reused.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from models.datasets import DATASETS, ImageSpec
from models.image_config import ImageCnnConfig
from models.image_files import Images, Source, locate_cifar10, read_cifar10, read_digits
from models.job import BadData, InvalidConfig
from models.seeds import derive

# Where a set has no test part of its own, this much of it is held out.
TEST_FRACTION = 0.15


@dataclass(frozen=True, slots=True)
class Scaling:
    """Mean and standard deviation per channel of the training part, in pixel values: float32 [1, C, 1, 1] each."""

    mean: Tensor
    std: Tensor

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 [N, C, H, W] to float32 of mean 0 and deviation 1."""
        return (pixels.float() - self.mean) / self.std

    def to(self, device: torch.device) -> "Scaling":
        return Scaling(self.mean.to(device), self.std.to(device))


@dataclass(frozen=True, slots=True)
class Split:
    """What training may see. ``sha256`` is over the content of all three parts, the sealed one included."""

    train: Images
    val: Images
    scaling: Scaling
    image: ImageSpec
    sha256: str


@dataclass(frozen=True, slots=True)
class _Parts:
    train: Images
    val: Images
    test: Images
    scaling: Scaling
    sha256: str


def load_split(config: ImageCnnConfig, data_root: Path) -> Split:
    """Training and validation part, cached.

    Raises BadData if the files are missing or torn, InvalidConfig (``train_images``) if the training part is too small.
    """
    return _split(_key(config, data_root), config.train_images)


def sealed_test(config: ImageCnnConfig, data_root: Path) -> tuple[Images, Scaling, ImageSpec, str]:
    """The test part, the scaling of the training part and the split's sha256: for scoring a finished network, once."""
    key = _key(config, data_root)
    parts = _load(key)
    return parts.test, parts.scaling, _known(key), parts.sha256


@dataclass(frozen=True, slots=True)
class _Key:
    """What a loaded data set depends on; with the size and time of its files, so that replaced data is read again."""

    dataset: str
    path: Path | None
    files: tuple[tuple[str, int, int], ...]
    split_seed: int
    val_fraction: float


def _key(config: ImageCnnConfig, data_root: Path) -> _Key:
    fraction = config.val_fraction or DATASETS[config.dataset].val_fraction
    if config.dataset == "digits":
        return _Key("digits", None, (), config.split_seed, fraction)
    path = locate_cifar10(data_root, config.data_path or config.dataset)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stamps = tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return _Key(config.dataset, path, stamps, config.split_seed, fraction)


# One set at a time: decoded CIFAR-10 takes 180 MB, and the trials of a study share theirs.
@lru_cache(maxsize=1)
def _load(key: _Key) -> _Parts:
    source = read_digits() if key.path is None else read_cifar10(key.path, _known(key))
    return _partition(source, key.val_fraction, key.split_seed)


@lru_cache(maxsize=1)
def _split(key: _Key, train_images: int | None) -> Split:
    parts = _load(key)
    train = parts.train
    if train_images is not None:
        train = _balanced(train, train_images, _known(key).classes)
    return Split(train, parts.val, parts.scaling, _known(key), parts.sha256)


def _known(key: _Key) -> ImageSpec:
    image = DATASETS[key.dataset].image
    assert image is not None
    return image


def _partition(source: Source, val_fraction: float, seed: int) -> _Parts:
    images, test = source.images, source.test
    if test is None:
        images, test = _hold_out(images, TEST_FRACTION, derive(seed, "test part"))
    train, val = _hold_out(images, val_fraction, derive(seed, "validation part"))
    return _Parts(train, val, test, _scaling(train.pixels), _sha256(train, val, test))


def _hold_out(images: Images, fraction: float, seed: int) -> tuple[Images, Images]:
    """(the rest, the held-out part), stratified: of every class the same fraction is held out, and at least one image.

    The rest is in random order, so that the first k images of a class are a random draw of it.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images.labels), generator=generator)
    held = torch.zeros(len(order), dtype=torch.bool)
    for label in images.labels.unique():  # type: ignore[no-untyped-call]
        rows = (images.labels[order] == label).nonzero().squeeze(1)
        held[rows[: max(1, round(len(rows) * fraction))]] = True
    rest, out = order[~held], order[held]
    return Images(images.pixels[rest], images.labels[rest]), Images(images.pixels[out], images.labels[out])


def _balanced(part: Images, count: int, classes: int) -> Images:
    """The first ``count`` images, equally many of each class; where it does not divide, the first give one more."""
    if count > len(part.labels):
        raise InvalidConfig("train_images", f"got {count}, the training part has {len(part.labels)}")
    rows = []
    for label in range(classes):
        wanted = count // classes + (label < count % classes)
        of_class = (part.labels == label).nonzero().squeeze(1)
        if wanted > len(of_class):
            raise InvalidConfig(
                "train_images",
                f"got {count}, which takes {wanted} of class {label}, the training part has {len(of_class)}",
            )
        rows.append(of_class[:wanted])
    chosen = torch.cat(rows).sort().values
    return Images(part.pixels[chosen], part.labels[chosen])


def _scaling(pixels: Tensor) -> Scaling:
    # From counts of the 256 values: exact whole numbers, hence the same for any number of threads.
    values = torch.arange(256, dtype=torch.float64)
    means, deviations = [], []
    for channel in pixels.unbind(1):
        counts = channel.flatten().bincount(minlength=256).double()
        mean = (counts * values).sum() / counts.sum()
        means.append(mean)
        deviations.append(((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt())
    std = torch.stack(deviations).clamp(min=1.0)  # a channel of one value only is not blown up
    return Scaling(torch.stack(means).float().view(1, -1, 1, 1), std.float().view(1, -1, 1, 1))


def _sha256(*parts: Images) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(str(list(part.pixels.shape)).encode())
        digest.update(part.pixels.numpy().data)
        digest.update(part.labels.numpy().data)
    return digest.hexdigest()


def check_unchanged(split_sha256: str, expected: str | None, config: ImageCnnConfig, data_root: Path) -> None:
    """Raises BadData if a checkpoint was trained on another split than the one that the data gives today."""
    if expected is not None and split_sha256 != expected:
        where = (
            "digits of scikit-learn"
            if config.dataset == "digits"
            else str(data_root / (config.data_path or config.dataset))
        )
        raise BadData(
            f"{where} has changed: its split was {expected[:12]}… in the checkpoint and is {split_sha256[:12]}…"
        )
