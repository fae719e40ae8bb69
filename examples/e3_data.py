"""Draws the data of experiment E3 from CIFAR-10: eleven classes as unequal as those of MIO-TCD, an equal test part.

    python examples/e3_data.py --data-root ~/.ladder/data

MIO-TCD (Luo et al. 2018) has eleven classes of 1,751 to 260,518 photographs, "background" the second most common.
Here automobiles are the most common class, the other nine of CIFAR-10 get fewer and fewer in equal ratios, and
background are corners of pictures that are used for nothing else, a quarter of each, enlarged. The test part has
equally many of each class, all from CIFAR-10's own test part. Needs what a worker needs (ladder-hpo[worker]); writes
an .npz file that dataset: npz reads.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.progress import track

from models.catalog import parse_config
from models.image_config import ImageCnnConfig
from models.job import BadData
from models.sources import Images, find, read

COMMON = "automobile"
BACKGROUND = "background"
BACKGROUND_SHARE = 160_000 / 260_518  # of the most common class, as in MIO-TCD
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

Pixels = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]


class TooFew(ValueError):
    """A class has fewer pictures than were asked for."""


def sizes(most: int, rarest: int) -> dict[str, int]:
    """Pictures per class of CIFAR-10, the most common first, each by the same ratio fewer than the one before."""
    order = [COMMON, *(name for name in NAMES if name != COMMON)]
    counts = np.geomspace(most, rarest, len(order)).round().astype(int)
    return dict(zip(order, counts.tolist(), strict=True))


def draw(
    pixels: Pixels, labels: Rows, counts: dict[str, int], *, background: int, rng: np.random.Generator, part: str
) -> tuple[Pixels, Rows]:
    """Pictures [N, 32, 32, 3] and labels [N], in random order; no picture serves twice. Raises TooFew."""
    kept: list[Rows] = []
    left: list[Rows] = []
    for name, count in counts.items():
        rows = rng.permutation(np.flatnonzero(labels == NAMES.index(name)))
        if count > len(rows):
            raise TooFew(f"{count} pictures of {name} are wanted, the {part} part has {len(rows)}")
        kept.append(rows[:count])
        left.append(rows[count:])
    spare = rng.permutation(np.concatenate(left))
    if background > len(spare):
        raise TooFew(f"{background} pictures are wanted for {BACKGROUND}, the {part} part has {len(spare)} left over")
    steps = track(spare[:background], f"{part}: {BACKGROUND}", console=Console(stderr=True))
    corners = [corner(pixels[row], int(rng.integers(4))) for row in steps]
    chosen = np.concatenate(kept)
    drawn = np.concatenate([pixels[chosen], np.stack(corners)])
    named = np.concatenate([labels[chosen], np.full(background, len(NAMES))])
    order = rng.permutation(len(named))
    return drawn[order], named[order].astype(np.int64)


def corner(picture: Pixels, which: int) -> Pixels:
    """A quarter of a picture [32, 32, 3], enlarged to its size; corners count row by row from the upper left."""
    half = picture.shape[0] // 2
    top, left = which // 2 * half, which % 2 * half
    quarter = Image.fromarray(picture[top : top + half, left : left + half])
    return np.asarray(quarter.resize(picture.shape[:2], Image.Resampling.BICUBIC))


def cifar10(data_root: Path, data_path: str) -> tuple[Images, Images]:
    """Training and test part, from any of the layouts that dataset: cifar10 takes. Raises BadData."""
    config = parse_config("image-cnn", {"dataset": "cifar10", "data_path": data_path})
    assert isinstance(config, ImageCnnConfig)
    source = read(config, find(config, data_root))
    if not isinstance(source.images, Images) or not isinstance(source.test, Images):
        raise BadData(f"{data_root / data_path} has no test part of its own")
    return source.images, source.test


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    root = Path(os.environ.get("LADDER_DATA_ROOT", "~/.ladder/data")).expanduser()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=root, help="where the data sets lie (%(default)s)")
    parser.add_argument("--data-path", default="cifar10", help="CIFAR-10 below it (%(default)s)")
    parser.add_argument("--out", type=Path, help="the file to write (e3-stand-in.npz in the data root)")
    parser.add_argument("--most", type=int, default=5000, help="pictures of the most common class (%(default)s)")
    parser.add_argument("--rarest", type=int, default=200, help="of the rarest; MIO-TCD's ratio gives 33 (%(default)s)")
    parser.add_argument("--test-per-class", type=int, default=500, help="test pictures of each (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (%(default)s)")
    chosen = parser.parse_args(given)
    if not 10 <= chosen.rarest <= chosen.most:
        parser.error(f"want 10 <= rarest <= most, got {chosen.rarest} and {chosen.most}")
    if chosen.test_per_class < 10:
        parser.error(f"--test-per-class: want 10 or more, got {chosen.test_per_class}")
    chosen.out = chosen.out or chosen.data_root / "e3-stand-in.npz"
    return chosen


def main(given: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after one line that says why nothing was written."""
    chosen, console = arguments(given), Console(stderr=True)
    rng = np.random.default_rng(chosen.seed)
    counts = sizes(chosen.most, chosen.rarest)
    equal = dict.fromkeys(counts, chosen.test_per_class)
    background = {"training": round(chosen.most * BACKGROUND_SHARE), "test": chosen.test_per_class}
    try:
        found = zip(("training", "test"), cifar10(chosen.data_root, chosen.data_path), (counts, equal), strict=True)
        drawn = [
            draw(
                part.pixels.numpy().transpose(0, 2, 3, 1),
                part.labels.numpy(),
                wanted,
                background=background[name],
                rng=rng,
                part=name,
            )
            for name, part, wanted in found
        ]
        write(chosen.out, drawn[0], drawn[1])
    except (BadData, TooFew, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    told = np.bincount(drawn[0][1])
    for name, count in zip((*NAMES, BACKGROUND), told.tolist(), strict=True):
        console.print(f"{count:6d} {name}", highlight=False)
    console.print(f"{told.sum()} pictures, {len(drawn[1][1])} for the test, in {chosen.out}", soft_wrap=True)
    return 0


def write(path: Path, train: tuple[Pixels, Rows], test: tuple[Pixels, Rows]) -> None:
    """All of the file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temp.open("wb") as file:
            np.savez(
                file,
                images=train[0],
                labels=train[1],
                test_images=test[0],
                test_labels=test[1],
                class_names=np.array([*NAMES, BACKGROUND]),
            )
        temp.replace(path)
    finally:
        temp.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
