"""Data sets from where they lie: which format is found under the data root, and its reader. One file per format."""

from pathlib import Path

from models.image_config import ImageCnnConfig
from models.job import BadData
from models.sources import cifar, digits, folder, mnist, npz
from models.sources.base import Found, ImageFiles, Images, Source, confined

__all__ = ["Found", "ImageFiles", "Images", "Source", "find", "read"]


def find(config: ImageCnnConfig, data_root: Path) -> Found | None:
    """Where the data set of ``config`` lies; None for digits, which lies nowhere.

    Raises BadData naming every place that was looked at, also if one leads out of the data root.
    """
    dataset = config.dataset
    if dataset == "digits":
        return None
    path = data_root / (config.data_path or dataset)
    try:
        if dataset == "image_folder":
            return folder.find(path, data_root)
        files = _files(path, dataset)
        if files:
            top = files[0] if len(files) == 1 else files[0].parent
            found = confined(data_root, (top, *files))
            return Found(found[0], found[1:])
    except OSError as error:
        raise BadData(f"{path} cannot be looked into: {error}") from error
    looked = ", ".join(str(place) for place in _places(path, dataset))
    raise BadData(f"no {dataset} at {path}: looked for {looked}")


def read(config: ImageCnnConfig, found: Found | None) -> Source:
    """All images of the set, or the list of their files. Raises BadData if they are missing, torn or of no use."""
    if found is None:
        return digits.read()
    if config.dataset == "image_folder":
        return folder.read(found)
    if found.files[0].suffix == ".npz":
        return npz.read(found, config.dataset)
    if config.dataset in mnist.FOLDERS:
        return mnist.read(found, config.dataset)
    return cifar.read(found, config.dataset)


def _files(path: Path, dataset: str) -> tuple[Path, ...]:
    files: tuple[Path, ...] = ()
    if path.suffix != ".npz":
        if dataset in cifar.FOLDERS:
            files = cifar.find(path, dataset)
        elif dataset in mnist.FOLDERS:
            files = mnist.find(path, dataset)
    return files or npz.find(path, dataset)


def _places(path: Path, dataset: str) -> list[Path]:
    places = npz.candidates(path, dataset)
    if path.suffix != ".npz":
        if dataset in cifar.FOLDERS:
            places.insert(0, path / cifar.FOLDERS[dataset])
        elif dataset in mnist.FOLDERS:
            places.insert(0, path / mnist.FOLDERS[dataset] / "raw" / mnist.FILES[0])
    return places
