"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017) in the published IDX files, plain or gzipped."""

import gzip
import shutil
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from models._torchvision import import_datasets
from models.datasets import DATASETS
from models.job import BadData
from models.sources.base import Array, Found, Images, Source, checked

FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}  # as torchvision names them
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_TORN = (OSError, EOFError, zlib.error, AssertionError, ValueError, KeyError, TypeError, RuntimeError)


def find(path: Path, dataset: str) -> tuple[Path, ...]:
    """The four files, in ``path``, its ``raw`` or torchvision's ``MNIST/raw``; else nothing. Raises OSError."""
    for folder in (path, path / "raw", path / FOLDERS[dataset] / "raw"):
        found = [folder / f"{name}{suffix}" for name in FILES for suffix in ("", ".gz")]
        found = [file for file in found if file.is_file()]
        chosen = {file.name.removesuffix(".gz"): file for file in reversed(found)}  # the plain one where there are both
        if len(chosen) == len(FILES):
            return tuple(chosen[name] for name in FILES)
    return ()


def read(found: Found, dataset: str) -> Source:
    """Raises BadData naming the file that is torn or holds something else."""
    info = DATASETS[dataset]
    assert info.image is not None
    parts: list[Images] = []
    for (images, labels), prefix in zip((found.files[:2], found.files[2:]), ("", "test_"), strict=True):
        arrays = _tensor(images), _tensor(labels)
        parts.append(checked(images, prefix, *arrays, info.image, info.image.classes))
    return Source(parts[0], parts[1], info.class_names, info.image.channels, info.image.side)


def _tensor(path: Path) -> Array:
    parse = import_datasets().mnist.read_sn3_pascalvincent_tensor
    try:
        if path.suffix != ".gz":
            tensor = parse(str(path))
        else:
            with TemporaryDirectory() as folder, gzip.open(path) as packed:
                plain = Path(folder) / path.stem
                with plain.open("wb") as file:
                    shutil.copyfileobj(packed, file)
                tensor = parse(str(plain))
    except _TORN as error:
        raise BadData(f"{path} is no sound IDX file: {type(error).__name__} {error}") from error
    assert isinstance(tensor, torch.Tensor)
    array: Array = tensor.numpy()
    return array
