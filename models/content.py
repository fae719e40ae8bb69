"""The hash of all that a data set holds, its test part included, as it was found: no scaling has touched it."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from models.files import write_whole
from models.job import BadData, Watcher, telling
from models.sources.base import ImageFiles, Images, Source


def content_sha256(source: Source, stamp: str, cache_root: Path | None, watcher: Watcher | None) -> str:
    """Of pixels and labels; of image files, the paths and what the files hold, readable or not.

    The latter is kept below ``cache_root`` under ``stamp``, which stands for the files' names, sizes and times.
    Raises BadData naming a file that cannot be read, or the cache that cannot be written.
    """
    parts = [part for part in (source.images, source.test) if part is not None]
    kept = None if cache_root is None else cache_root / f"{stamp}.sha256"
    if isinstance(source.images, Images):
        return _of_pixels([part for part in parts if isinstance(part, Images)])
    if kept is not None and kept.is_file():
        return kept.read_text()
    sha256 = _of_files([part for part in parts if isinstance(part, ImageFiles)], watcher)
    if kept is not None:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_whole(kept, sha256.encode())
        except OSError as error:
            raise BadData(f"{cache_root} cannot be written: {error}") from error
    return sha256


def _of_pixels(parts: list[Images]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(str(list(part.pixels.shape)).encode())
        digest.update(part.pixels.numpy().data)
        digest.update(part.labels.numpy().data)
    return digest.hexdigest()


def _of_files(parts: list[ImageFiles], watcher: Watcher | None) -> str:
    digest = hashlib.sha256()
    files = sorted((path, part.root / path) for part in parts for path in part.paths)
    tell = telling(watcher, len(files))
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(_of_file, (file for _, file in files))
        for done, ((path, _), sha256) in enumerate(zip(files, hashes, strict=True), start=1):
            digest.update(f"{path}\0{sha256}\0".encode(errors="surrogateescape"))
            tell(done)
    return digest.hexdigest()


def _of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error}") from error
