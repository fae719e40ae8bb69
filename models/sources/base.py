"""What every format is read into, and the checks that all of them share. Nothing is believed before it is checked."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor, from_numpy

from models.datasets import ImageSpec
from models.job import BadData

MIN_PER_CLASS = 10  # with fewer, a class could be missing from the validation or the test part

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Images:
    """``pixels`` uint8 [N, C, H, W], ``labels`` int64 [N] in 0 to classes - 1."""

    pixels: Tensor
    labels: Tensor

    def take(self, rows: Tensor) -> "Images":
        return Images(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Photographs that are decoded when they are needed: ``paths`` below ``root``, ``labels`` int64 [N]."""

    root: Path
    paths: tuple[str, ...]
    labels: Tensor

    def take(self, rows: Tensor) -> "ImageFiles":
        return ImageFiles(self.root, tuple(self.paths[row] for row in rows.tolist()), self.labels[rows])


@dataclass(frozen=True, slots=True)
class Source:
    """All of a data set as it was found.

    ``test`` is None where the set comes without a test part of its own. ``own_val`` bool [N] marks the images that it
    gives as its validation part, None where it gives none. ``side`` is None where the images are of many sizes.
    """

    images: Images | ImageFiles
    test: Images | ImageFiles | None
    class_names: tuple[str, ...]
    channels: int
    side: int | None
    own_val: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Where a set lies: ``path`` is the file or folder, ``files`` are all that it is read from."""

    path: Path
    files: tuple[Path, ...]

    def stamp(self) -> str:
        """A hash of the files' names, sizes and times: another one means that the set must be read anew.

        Raises BadData if one of them has gone.
        """
        digest = hashlib.sha256(str(self.path).encode(errors="surrogateescape"))
        for file in self.files:
            try:
                status = file.stat()
            except OSError as error:
                raise BadData(f"{file} cannot be read: {error}") from error
            digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()


def confined(root: Path, paths: Iterable[Path]) -> tuple[Path, ...]:
    """``paths`` with links followed. Raises BadData if one leads out of the data root."""
    resolved, top = [], root.resolve()
    for path in paths:
        resolved.append(path.resolve())
        if not resolved[-1].is_relative_to(top):
            raise BadData(f"{path} leads out of the data root {root}")
    return tuple(resolved)


def checked(path: Path, prefix: str, images: Array, labels: Array, image: ImageSpec | None, classes: int) -> Images:
    """Arrays as a file gave them: uint8 [N, H, W] or [N, H, W, C] and whole numbers [N]; ``prefix`` is of their names.

    ``image`` is what they must be, None where any square will do. Raises BadData naming path and array.
    """
    if images.ndim == 3:
        images = images[..., None]
    side, channels = (images.shape[2], images.shape[3]) if images.ndim == 4 else (0, 0)
    wanted_side, wanted_channels = (image.side, image.channels) if image is not None else (side, channels)
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[1:] != (wanted_side, wanted_side, wanted_channels)
        or not (side and 1 <= channels <= 16)
    ):
        wanted = f"[N, {wanted_side}, {wanted_side}, {wanted_channels}]" if image else "[N, S, S] or [N, S, S, C]"
        raise BadData(f"{path}: {prefix}images is {images.dtype} {list(images.shape)}, want uint8 {wanted}")
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise BadData(
            f"{path}: {prefix}labels is {labels.dtype} {list(labels.shape)}, want whole numbers [{len(images)}]"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise BadData(f"{path}: {prefix}labels must lie in 0 to {classes - 1}, got {labels.min()} to {labels.max()}")
    check_counts(f"{path}: class {{}} has {{}} of the {prefix}images", labels, classes)
    pixels = from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return Images(pixels, from_numpy(labels.astype(np.int64)))


def check_counts(message: str, labels: Array, classes: int, at_least: int = MIN_PER_CLASS) -> None:
    """Raises BadData if a class has fewer images; ``message`` is formatted with its number and its count."""
    counts = np.bincount(labels.astype(np.int64), minlength=classes)
    if counts.min() < at_least:
        raise BadData(f"{message.format(counts.argmin(), counts.min())}, want at least {at_least}")
