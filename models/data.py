"""Data sets as tensors, split once into training, validation and test part.

The test part is sealed: ``load_split`` hashes it and lets it go, and only ``sealed_test`` reads it, anew.
"""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
import torch
from torch import Tensor

from models import pixel_store
from models.balance import chosen_rows, class_weights
from models.datasets import ImageSpec
from models.image_config import ImageCnnConfig
from models.job import BadData, Watcher, telling
from models.loaded import known_set, partition_of, rendered_at, side_of
from models.partition import fold_rows
from models.render import Pixels, render
from models.sources import ImageFiles, Images, find, read

__all__ = ["Images", "Part", "Scaling", "SealedTest", "Split", "check_unchanged", "load_split", "sealed_test"]

log = structlog.get_logger(__name__)


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
class Part:
    """``rows`` int64 [n] are row numbers into Split.pixels, of which one may come again; ``labels`` int64 [n]."""

    rows: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class Split:
    """What training may see.

    ``pixels`` uint8 [N, C, H, W] are all images of training and validation, shared by the trials of a process and not
    to be written to; where not ``resident`` they are a memory map of a file. ``scaling`` is of the training part before
    ``train_fraction`` and ``balance``. ``sha256`` is over the content of all three parts, the sealed one included, and
    which image is in which: a function of the files, ``split_seed`` and ``val_fraction`` alone. ``class_weights`` are
    float32 [classes]. ``corrupt`` names the files that could not be decoded and are left out.
    """

    pixels: Tensor
    resident: bool
    train: Part
    val: Part
    scaling: Scaling
    image: ImageSpec
    class_names: tuple[str, ...]
    sha256: str
    class_weights: Tensor | None
    corrupt: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SealedTest:
    """The test part, and ``sha256`` of the split that it belongs to."""

    images: Images
    sha256: str


def load_split(
    config: ImageCnnConfig,
    data_root: Path,
    *,
    cache_root: Path | None = None,
    watcher: Watcher | None = None,
    fold: int | None = None,
    join_validation: bool = False,
) -> Split:
    """Training and validation part.

    ``fold`` counts from 1 to ``config.folds``: of training and validation part together, that fold is the validation
    part. With ``join_validation`` the validation images are trained on as well; scaling and validation part stay.
    Decoded photographs are kept below ``cache_root``.
    Raises BadData if the files are missing, torn or too few, or too many unreadable; InvalidConfig where the entries
    do not fit what the files hold.
    """
    known = known_set(config, data_root, cache_root, watcher)
    side = side_of(config, known)
    rendered = rendered_at(known, side, cache_root, watcher)
    corrupt = _tolerated(known.images, rendered.unreadable, config, known.root)
    labels, order = known.images.labels, _readable(known.parts.order, rendered.unreadable)
    in_val = known.parts.in_val if fold is None else fold_rows(config, labels, fold, known.class_names)
    train, val = order[~in_val[order]], order[in_val[order]]
    if not (len(train) and len(val)):
        raise BadData(
            f"{known.root}: no readable image is left of the {'validation' if len(train) else 'training'} part"
        )
    learned = order if join_validation else train
    rows = chosen_rows(config, learned, labels[learned], known.class_names)
    return Split(
        pixels=rendered.pixels,
        resident=rendered.resident,
        train=Part(rows, labels[rows]),
        val=Part(val, labels[val]),
        scaling=_scaling(rendered.moments[train], side),
        image=ImageSpec(known.channels, side, len(known.class_names)),
        class_names=known.class_names,
        sha256=known.sha256,
        class_weights=class_weights(config, labels[rows], known.class_names),
        corrupt=corrupt,
    )


def sealed_test(
    config: ImageCnnConfig, data_root: Path, *, cache_root: Path | None = None, watcher: Watcher | None = None
) -> SealedTest:
    """The test part, read anew and kept nowhere: for scoring a finished network, once. Raises like load_split."""
    split = load_split(config, data_root, cache_root=cache_root, watcher=watcher)
    found = find(config, data_root)
    source = read(config, found)
    test = partition_of(config, source).test(source)
    side = split.image.side
    into = _scratch((len(test.labels), split.image.channels, side, side), cache_root)
    unreadable = render(test, into, telling(watcher, len(into)))
    _tolerated(test, unreadable, config, data_root / (config.data_path or config.dataset))
    pixels, labels = torch.from_numpy(into), test.labels
    if unreadable:
        kept = _readable(torch.arange(len(labels)), unreadable)
        pixels, labels = pixels[kept], labels[kept]
    return SealedTest(Images(pixels, labels), split.sha256)


def _tolerated(
    images: Images | ImageFiles, unreadable: tuple[int, ...], config: ImageCnnConfig, root: Path
) -> tuple[str, ...]:
    """The names of the unreadable files. Raises BadData if they are more than the configuration allows."""
    if isinstance(images, Images) or not unreadable:
        return ()
    names = tuple(sorted(images.paths[row] for row in unreadable))
    if len(names) > config.max_corrupt * len(images.paths):
        raise BadData(
            f"{root}: {len(names)} of {len(images.paths)} image files cannot be read, max_corrupt allows a share of "
            f"{config.max_corrupt}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
        )
    log.warning("unreadable_images", root=str(root), count=len(names), of=len(images.paths), first=names[:5])
    return names


def _readable(rows: Tensor, unreadable: tuple[int, ...]) -> Tensor:
    return rows[~torch.isin(rows, torch.tensor(unreadable, dtype=torch.int64))]


def _scaling(moments: Tensor, side: int) -> Scaling:
    # From whole numbers: exact, hence the same for any number of threads.
    total, squares = (sums.double() / (len(moments) * side**2) for sums in moments.sum(0).unbind(1))
    std = (squares - total**2).clamp(min=0).sqrt().clamp(min=1.0)  # a channel of one value only is not blown up
    return Scaling(total.float().view(1, -1, 1, 1), std.float().view(1, -1, 1, 1))


def _scratch(shape: tuple[int, ...], cache_root: Path | None) -> Pixels:
    """An array that lives as long as it is held, in a file without a name where it is too large for the memory."""
    if cache_root is None or math.prod(shape) <= pixel_store.RESIDENT_BYTES:
        return np.zeros(shape, np.uint8)
    with tempfile.TemporaryFile(dir=cache_root) as file:
        return np.memmap(file, np.uint8, mode="w+", shape=shape)


def check_unchanged(split_sha256: str, expected: str | None, config: ImageCnnConfig, data_root: Path) -> None:
    """Raises BadData if the study's trials have another split than the one that the data gives here and today."""
    if expected is not None and split_sha256 != expected:
        here = config.dataset == "digits"
        where = "digits of scikit-learn" if here else str(data_root / (config.data_path or config.dataset))
        raise BadData(
            f"{where} is not what this study is trained on, or has changed: "
            f"its split was {expected[:12]}… and is {split_sha256[:12]}…"
        )
