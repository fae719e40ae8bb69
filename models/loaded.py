"""The data set that was loaded last and its images at the sizes asked for, kept between the trials of one process."""

import hashlib
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from models import pixel_store
from models.content import content_sha256
from models.datasets import DATASETS
from models.image_config import ImageCnnConfig
from models.job import BadData, InvalidConfig, Watcher, telling
from models.partition import Partition, partition
from models.pixel_store import Rendered, moments_of
from models.render import RENDERING, render
from models.sources import ImageFiles, Images, Source, find, read


@dataclass(frozen=True, slots=True)
class Key:
    """What a loaded data set depends on; ``stamp`` changes with the files, so that replaced data is read again."""

    dataset: str
    stamp: str
    split_seed: int
    val_fraction: float | None


@dataclass(frozen=True, slots=True)
class Known:
    """A set without its test part: ``images`` are those of training and validation, at their own size."""

    key: Key
    root: Path
    images: Images | ImageFiles
    parts: Partition
    class_names: tuple[str, ...]
    channels: int
    side: int
    sha256: str


# The set that was loaded last, and its images at the sizes asked for. One set only: its trials come one after another.
_last: list[Known] = []
_sizes: dict[int, Rendered] = {}


def forget() -> None:
    """Let go of the set that was loaded last."""
    _last.clear()
    _sizes.clear()


def known_set(config: ImageCnnConfig, data_root: Path, cache_root: Path | None, watcher: Watcher | None) -> Known:
    """The set of ``config``, from memory if it was the last one and its files are the same. Raises BadData."""
    found = find(config, data_root)
    stamp = "digits" if found is None else found.stamp()
    key = Key(config.dataset, stamp, config.split_seed, config.val_fraction)
    if not _last or _last[0].key != key:
        # The last set goes first: two of them may not fit.
        forget()
        source = read(config, found)
        parts = partition_of(config, source)
        content = content_sha256(source, stamp, cache_root, watcher)
        side = source.side or DATASETS[config.dataset].usual_side
        assert side is not None
        root = data_root / (config.data_path or config.dataset)
        learned = parts.learned(source)
        _last.append(Known(key, root, learned, parts, source.class_names, source.channels, side, parts.sha256(content)))
    return _last[0]


def partition_of(config: ImageCnnConfig, source: Source) -> Partition:
    """Raises InvalidConfig (``val_fraction``) if the set has its own validation part."""
    if source.own_val is not None and config.val_fraction is not None:
        raise InvalidConfig("val_fraction", f"got {config.val_fraction}, but the set has a validation part of its own")
    fraction = config.val_fraction or DATASETS[config.dataset].val_fraction
    return partition(source, val_fraction=fraction, seed=config.split_seed)


def side_of(config: ImageCnnConfig, known: Known) -> int:
    """Side in px that images are scaled to. Raises InvalidConfig if the network cannot take images so small."""
    side = config.image_size or known.side
    if config.smallest_side > side:
        raise InvalidConfig(
            "image_size" if config.image_size else "architecture",
            f"{config.architecture} so configured needs images of {config.smallest_side} px, "
            + (f"image_size is {side}" if config.image_size else f"{known.root} has {side} px"),
        )
    return side


def rendered_at(known: Known, side: int, cache_root: Path | None, watcher: Watcher | None) -> Rendered:
    """The images scaled or decoded, from memory if that has been done. Raises BadData."""
    if side in _sizes:
        return _sizes[side]
    images, count = known.images, len(known.images.labels)
    shape = (count, known.channels, side, side)
    size_bytes = math.prod(shape)
    while _sizes and size_bytes + sum(each.resident_bytes for each in _sizes.values()) > pixel_store.RESIDENT_BYTES:
        del _sizes[next(iter(_sizes))]
    tell = telling(watcher, count)
    fill = partial(render, images, tell=tell)
    if isinstance(images, Images) and images.pixels.shape[-1] == side:
        rendered = Rendered(images.pixels, size_bytes <= pixel_store.RESIDENT_BYTES, moments_of(images.pixels), ())
    elif cache_root is not None and (isinstance(images, ImageFiles) or size_bytes > pixel_store.RESIDENT_BYTES):
        name = hashlib.sha256(f"{RENDERING}/{side}/{known.key.stamp}/".encode())
        name.update(known.parts.pool.numpy().data)
        try:
            rendered = pixel_store.on_disk(cache_root, name.hexdigest(), shape, fill, waiting=partial(tell, 0))
        except (OSError, ValueError) as error:
            raise BadData(f"{cache_root} cannot keep the decoded images of {known.root}: {error}") from error
    else:
        rendered = pixel_store.in_memory(shape, fill)
    _sizes[side] = rendered
    return rendered
