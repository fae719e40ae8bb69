"""The data sets that can be named, without torch: what is known of them before their files are read."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """The shape of the images that a network is given ``[channels, side, side]`` and their number of classes."""

    channels: int
    side: int
    classes: int


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """``image`` is None where only the files tell. ``val_fraction`` is of what is not test."""

    image: ImageSpec | None
    val_fraction: float
    usual_side: int | None = None  # to which images are scaled where the configuration names no size
    class_names: tuple[str, ...] = ()  # empty where the files tell, or nobody


_DIGITS = tuple(str(digit) for digit in range(10))
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DATASETS: Mapping[str, DatasetInfo] = {
    "digits": DatasetInfo(ImageSpec(channels=1, side=8, classes=10), val_fraction=0.18, class_names=_DIGITS),
    # The 48,000 / 12,000 of Molnár & Poleczki (experiment E4).
    "mnist": DatasetInfo(ImageSpec(channels=1, side=28, classes=10), val_fraction=0.2, class_names=_DIGITS),
    "fashion_mnist": DatasetInfo(ImageSpec(channels=1, side=28, classes=10), val_fraction=0.2, class_names=_FASHION),
    # The 45,000 / 5,000 of He et al. 2016, section 4.2.
    "cifar10": DatasetInfo(ImageSpec(channels=3, side=32, classes=10), val_fraction=0.1, class_names=_CIFAR10),
    # The 40,000 / 10,000 of Wojciuk et al. 2024, table 1 (experiment E1).
    "cifar100": DatasetInfo(ImageSpec(channels=3, side=32, classes=100), val_fraction=0.2),
    "image_folder": DatasetInfo(None, val_fraction=0.2, usual_side=224),
    "npz": DatasetInfo(None, val_fraction=0.2),
}
