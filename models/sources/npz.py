"""Sets as npz files: one file, or one for training and one for testing.

One file holds ``images``, ``labels`` and may hold ``test_images``, ``test_labels`` and ``class_names``. Of two,
``train.npz`` and ``test.npz`` (or ``NAME_train.npz`` and ``NAME_test.npz``) in a folder, each holds ``images`` and
``labels``; instead of ``images`` it may hold JPEG files that share their first bytes, as ``head``, ``body`` and
``offsets``: file i is head + body[offsets[i]:offsets[i + 1]].
"""

import io
import zlib
from itertools import pairwise
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from PIL import Image

from models.datasets import DATASETS, ImageSpec
from models.job import BadData
from models.sources.base import Array, Found, Source, checked

# What zipfile and numpy raise on altered bytes: RuntimeError where a flag says encrypted or an unknown compression,
# MemoryError and the parse errors where an array's header asks for an absurd shape or is no literal.
TORN_NPZ = (OSError, EOFError, ValueError, SyntaxError, MemoryError, RuntimeError, TokenError, BadZipFile, zlib.error)
PACKED = ("head", "body", "offsets")
NAMES = ("class_names", "classes")
ARRAYS = ("images", "labels", "test_images", "test_labels", *PACKED, *NAMES)


def find(path: Path, dataset: str) -> tuple[Path, ...]:
    """The npz file or the two of them that ``path`` (without or with ``.npz``, or a folder) stands for; else nothing.

    Raises OSError.
    """
    for single in (path, path / f"{dataset}.npz", path.parent / f"{path.name}.npz"):
        if single.suffix == ".npz" and single.is_file():
            return (single,)
    for prefix in ("", f"{dataset}_", f"{path.name}_"):
        pair = path / f"{prefix}train.npz", path / f"{prefix}test.npz"
        if all(each.is_file() for each in pair):
            return pair
    return ()


def candidates(path: Path, dataset: str) -> list[Path]:
    """What ``find`` looks for, for a message."""
    if path.suffix == ".npz":
        return [path]
    return [path / f"{dataset}.npz", path.parent / f"{path.name}.npz", path / f"{path.name}_train.npz"]


def read(found: Found, dataset: str) -> Source:
    """Raises BadData naming the file and the array."""
    known, names = DATASETS[dataset].image, DATASETS[dataset].class_names
    first, *others = found.files
    arrays = _arrays(first)
    if others:
        if arrays.keys() & {"test_images", "test_labels"}:
            raise BadData(f"{first} has a test part of its own, and {others[0]} lies beside it: want one of them")
        test_arrays = _arrays(others[0])
        _need(first, arrays)
        _need(others[0], test_arrays)
        test_path, test_prefix = others[0], ""
    else:
        _need(first, arrays)
        if ("test_images" in arrays) != ("test_labels" in arrays):
            raise BadData(f"{first} has one of test_images and test_labels, want both or none")
        test_arrays = {name[5:]: array for name, array in arrays.items() if name.startswith("test_")}
        test_path, test_prefix = first, "test_"
    if known is None:
        names = _class_names(first, arrays)
    elif not names:
        names = tuple(str(label) for label in range(known.classes))
    images = checked(first, "", arrays["images"], arrays["labels"], known, len(names))
    image = ImageSpec(images.pixels.shape[1], images.pixels.shape[2], len(names))
    test = (
        checked(test_path, test_prefix, test_arrays["images"], test_arrays["labels"], image, len(names))
        if test_arrays
        else None
    )
    return Source(images, test, names, image.channels, image.side)


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file, NpzFile(file, allow_pickle=False) as archive:
            # A member that is no array comes as bytes: as an array of those it is refused by its type later.
            arrays = {name: np.asarray(archive[name]) for name in ARRAYS if name in archive.files}
            if "images" not in arrays and all(name in arrays for name in PACKED):
                arrays["images"] = _unpacked(*(arrays[name] for name in PACKED))
    except TORN_NPZ as error:
        raise BadData(f"{path} cannot be read as npz: {error}") from error
    return arrays


def _need(path: Path, arrays: dict[str, Array]) -> None:
    missing = {"images", "labels"} - set(arrays)
    if missing:
        raise BadData(f"{path} has no array {', '.join(sorted(missing))}")


def _unpacked(head: Array, body: Array, offsets: Array) -> Array:
    """uint8 [N, H, W, 3]. Raises ValueError or OSError if a JPEG is torn or of another size than the first."""
    decoded = []
    for start, end in pairwise(offsets):
        with Image.open(io.BytesIO(head.tobytes() + body[start:end].tobytes())) as image:
            decoded.append(np.asarray(image.convert("RGB")))
    return np.stack(decoded)


def _class_names(path: Path, arrays: dict[str, Array]) -> tuple[str, ...]:
    given = next((arrays[name] for name in NAMES if name in arrays), None)
    if given is not None:
        names = tuple(str(name) for name in given.tolist()) if given.ndim == 1 and given.dtype.kind == "U" else ()
        if len(names) < 2 or len(set(names)) < len(names):
            raise BadData(
                f"{path}: class_names is {given.dtype} {list(given.shape)}, want two or more different strings [K]"
            )
        return names
    labels = arrays["labels"]
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not len(labels) or labels.max() < 1:
        raise BadData(
            f"{path}: labels is {labels.dtype} {list(labels.shape)}, want whole numbers of two classes or more"
        )
    return tuple(str(label) for label in range(int(min(labels.max(), len(labels))) + 1))
