"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in the published folders of Python batches, read by torchvision."""

from pathlib import Path

import numpy as np

from models._torchvision import import_datasets
from models.datasets import DATASETS
from models.job import BadData
from models.sources.base import Found, Images, Source, checked

FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
_CLASSES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}


def find(path: Path, dataset: str) -> tuple[Path, ...]:
    """The files of the published folder, at ``path`` or in it; else nothing. Raises OSError."""
    folder = path if path.name == FOLDERS[dataset] else path / FOLDERS[dataset]
    return tuple(sorted(folder.iterdir())) if folder.is_dir() else ()


def read(found: Found, dataset: str) -> Source:
    """Raises BadData if the files are not the published ones."""
    image = DATASETS[dataset].image
    assert image is not None
    published = getattr(import_datasets(), _CLASSES[dataset])
    parts: dict[str, Images] = {}
    # torchvision unpickles the batches, but only after their MD5 sums have matched those of the published files.
    for prefix, train in (("", True), ("test_", False)):
        try:
            part = published(found.path.parent, train=train, download=False)
        except (OSError, EOFError, RuntimeError) as error:
            raise BadData(f"{found.path} does not hold the published files of {dataset}: {error}") from error
        parts[prefix] = checked(found.path, prefix, part.data, np.asarray(part.targets), image, image.classes)
    return Source(parts[""], parts["test_"], tuple(part.classes), image.channels, image.side)
