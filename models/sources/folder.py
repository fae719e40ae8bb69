"""A folder of photographs: CLASS/photo.jpg, or train/CLASS, val/CLASS and test/CLASS, of which train alone must be.

Classes are the sub-folders in the order of their names; deeper folders, and names that begin with a dot, are ignored.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from models.job import BadData
from models.sources.base import MIN_PER_CLASS, Found, ImageFiles, Source, confined

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
PARTS = ("train", "val", "test")


def find(path: Path, data_root: Path) -> Found:
    """Raises OSError, and BadData if there is no folder of classes or if a link in it leads out of the data root."""
    confined(data_root, [path])
    if not path.is_dir():
        raise BadData(f"no folder of images at {path}")
    folders = _folders(path, data_root)
    train = path / "train"
    if train in folders and _folders(train, data_root):
        strange = [folder.name for folder in folders if folder.name not in PARTS]
        if strange:
            raise BadData(f"{path} has train/ and also {', '.join(strange[:5])}, want only {', '.join(PARTS)}")
        folders = [each for folder in folders for each in _folders(folder, data_root)]
    files: list[Path] = []
    for folder in folders:
        images = _images(folder, data_root)
        if not images:
            raise BadData(f"{folder} holds no image: want {', '.join(sorted(SUFFIXES))}")
        files += images
    return Found(path, tuple(files))


def read(found: Found) -> Source:
    """The list of the files, sorted by path, and their classes. Raises BadData if they are too few."""
    top = found.path
    by_part: dict[str, list[Path]] = {}
    for file in found.files:
        path = file.relative_to(top)
        by_part.setdefault(path.parts[0] if len(path.parts) == 3 else "", []).append(path)
    parted = "train" in by_part
    learned = by_part["train" if parted else ""] if by_part else []
    names = tuple(sorted({path.parts[-2] for path in learned}))
    if len(names) < 2:
        raise BadData(f"{top} has {len(names)} folders of images, want one per class and two classes or more")
    parts = {part: _listed(top, part, paths, names) for part, paths in by_part.items()}
    images, own_val = parts["train" if parted else ""], None
    if "val" in parts:
        val = parts["val"]
        own_val = torch.arange(len(images.paths) + len(val.paths)) >= len(images.paths)
        images = ImageFiles(top, images.paths + val.paths, torch.cat([images.labels, val.labels]))
    return Source(images, parts.get("test"), names, channels=3, side=None, own_val=own_val)


def _listed(top: Path, part: str, paths: Iterable[Path], names: tuple[str, ...]) -> ImageFiles:
    paths = sorted(paths)
    unknown = {path.parts[-2] for path in paths} - set(names)
    if unknown:
        raise BadData(f"{top / part / min(unknown)} is of a class that train/ does not have")
    labels = torch.tensor([names.index(path.parts[-2]) for path in paths])
    wanted = 1 if part in ("val", "test") else MIN_PER_CLASS
    for name, count in zip(names, labels.bincount(minlength=len(names)).tolist(), strict=True):
        if count < wanted:
            raise BadData(f"{top / part / name} has {count} images, want at least {wanted}")
    return ImageFiles(top, tuple(str(path) for path in paths), labels)


def _folders(path: Path, data_root: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(path, data_root) if entry.is_dir()]


def _images(path: Path, data_root: Path) -> list[Path]:
    images = []
    for entry in _entries(path, data_root):
        if os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():
            images.append(Path(entry.path))
    return images


def _entries(path: Path, data_root: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        if entry.is_symlink():
            confined(data_root, [Path(entry.path)])
            if not os.path.exists(entry.path):
                raise BadData(f"{entry.path} is a link to nothing")
        yield entry
