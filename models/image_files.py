"""Image sets from where they lie: scikit-learn's digits, CIFAR-10 as torchvision stores it, and npz files.

Everything read here is checked before it is believed: what is missing, torn or of the wrong shape is a BadData that
names the path.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile
from torch import Tensor, from_numpy

from models.datasets import ImageSpec
from models.job import BadData

TORCHVISION_FOLDER = "cifar-10-batches-py"
NPZ_ARRAYS = ("images", "labels", "test_images", "test_labels")
# What zipfile and numpy raise on altered bytes: RuntimeError where a flag says encrypted or an unknown compression,
# MemoryError and the parse errors where an array's header asks for an absurd shape or is no literal.
TORN_NPZ = (OSError, EOFError, ValueError, SyntaxError, MemoryError, RuntimeError, TokenError, BadZipFile, zlib.error)
MIN_PER_CLASS = 10  # with fewer, a class could be missing from the validation or the test part

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Images:
    """``pixels`` uint8 [N, C, H, W], ``labels`` int64 [N] in 0 to classes - 1."""

    pixels: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class Source:
    """All images of a data set; ``test`` is None where the set comes without a test part of its own."""

    images: Images
    test: Images | None


def read_digits() -> Source:
    """1,797 handwritten digits of 8x8 px (Alpaydin & Kaynak 1998, UCI), as they come with scikit-learn."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 17 grey levels, 0 to 16. Scaled to the whole range of a byte, so that all sets are alike from here on.
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return Source(Images(from_numpy(pixels).unsqueeze(1), from_numpy(bunch.target.astype(np.int64))), test=None)


def locate_cifar10(root: Path, relative: str) -> Path:
    """The npz file or torchvision folder that ``relative`` stands for. Raises BadData, also if it leads out of root.

    ``relative`` is an npz file, or a directory that holds ``cifar-10-batches-py/`` or ``cifar10.npz``, or lies beside
    its npz: ``cifar10`` finds ``cifar10.npz``.
    """
    below = Path(relative)
    options = [below / TORCHVISION_FOLDER, below / "cifar10.npz", Path(f"{below}.npz")]
    if below.suffix == ".npz":
        options = [below]
    try:
        for option in options:
            if (root / option).exists():
                return _confined(root / option, root)
    except OSError as error:
        raise BadData(f"{root / below} cannot be looked into: {error}") from error
    raise BadData(f"no CIFAR-10 at {root / below}: looked for {', '.join(str(root / option) for option in options)}")


def _confined(path: Path, root: Path) -> Path:
    found = path.resolve()
    for each in (found, *(found.iterdir() if found.is_dir() else ())):
        if not each.resolve().is_relative_to(root.resolve()):
            raise BadData(f"{path} leads out of the data root {root}")
    return found


def read_cifar10(path: Path, image: ImageSpec) -> Source:
    """CIFAR-10 (Krizhevsky 2009) from an npz file or torchvision's folder. Raises BadData naming the path."""
    return _read_npz(path, image) if path.suffix == ".npz" else _read_batches(path, image)


def _read_npz(path: Path, image: ImageSpec) -> Source:
    """``images`` uint8 [N, 32, 32, 3] and ``labels`` [N]; ``test_images`` and ``test_labels`` may be there too."""
    try:
        with path.open("rb") as file, NpzFile(file, allow_pickle=False) as archive:
            # A member that is no array comes as bytes: as an array of those it is refused by its type below.
            arrays = {name: np.asarray(archive[name]) for name in NPZ_ARRAYS if name in archive.files}
    except TORN_NPZ as error:
        raise BadData(f"{path} cannot be read as npz: {error}") from error
    missing = {"images", "labels"} - set(arrays)
    if missing:
        raise BadData(f"{path} has no array {', '.join(sorted(missing))}")
    if ("test_images" in arrays) != ("test_labels" in arrays):
        raise BadData(f"{path} has one of test_images and test_labels, want both or none")
    test = _checked(path, "test_", arrays, image) if "test_images" in arrays else None
    return Source(_checked(path, "", arrays, image), test)


def _read_batches(path: Path, image: ImageSpec) -> Source:
    from models._torchvision import import_datasets

    # torchvision unpickles the batches, but only after their MD5 sums have matched those of the published files.
    parts = {}
    for prefix, train in (("", True), ("test_", False)):
        try:
            part = import_datasets().CIFAR10(path.parent, train=train, download=False)
        except (OSError, EOFError, RuntimeError) as error:
            raise BadData(f"{path} does not hold the published CIFAR-10 files: {error}") from error
        arrays = {f"{prefix}images": part.data, f"{prefix}labels": np.asarray(part.targets)}
        parts[prefix] = _checked(path, prefix, arrays, image)
    return Source(parts[""], parts["test_"])


def _checked(path: Path, prefix: str, arrays: dict[str, Array], image: ImageSpec) -> Images:
    images, labels = arrays[f"{prefix}images"], arrays[f"{prefix}labels"]
    shape = (image.side, image.side, image.channels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        wanted = f"uint8 [N, {', '.join(map(str, shape))}]"
        raise BadData(f"{path}: {prefix}images is {images.dtype} {list(images.shape)}, want {wanted}")
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise BadData(
            f"{path}: {prefix}labels is {labels.dtype} {list(labels.shape)}, want whole numbers [{len(images)}]"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < image.classes):
        raise BadData(
            f"{path}: {prefix}labels must lie in 0 to {image.classes - 1}, got {labels.min()} to {labels.max()}"
        )
    counts = np.bincount(labels.astype(np.int64), minlength=image.classes)
    if counts.min() < MIN_PER_CLASS:
        raise BadData(
            f"{path}: class {counts.argmin()} has {counts.min()} of the {prefix}images, want at least {MIN_PER_CLASS}"
        )
    pixels = from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return Images(pixels, from_numpy(labels.astype(np.int64)))
