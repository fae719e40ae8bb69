"""From images as they were found to uint8 [N, C, side, side]: scaled, or decoded from files, into a given array."""

import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from PIL import Image, ImageOps

from models.job import BadData
from models.sources.base import ImageFiles, Images

RENDERING = 1  # to be raised with any change here that gives other pixels: what is kept on disk is then made anew
CHUNK = 512  # images at a time: what is decoded or scaled as floats takes little memory beside the result
# What Pillow raises on altered bytes; a MemoryError is none of the file's.
UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, SyntaxError, LookupError, AttributeError, ArithmeticError),
    *(RuntimeError, AssertionError, struct.error, zlib.error, Image.DecompressionBombError),
)

Pixels = npt.NDArray[np.uint8]


def render(images: Images | ImageFiles, into: Pixels, tell: Callable[[int], None]) -> tuple[int, ...]:
    """Fill ``into`` uint8 [N, C, side, side]; the rows whose files are unreadable stay as they are and are returned."""
    if isinstance(images, ImageFiles):
        return _decode(images, into, tell)
    side = into.shape[-1]
    for start in range(0, len(into), CHUNK):
        part = images.pixels[start : start + CHUNK]
        if part.shape[-1] != side:
            # On bytes: eight times as fast as on floats, and never more than one grey level away from them.
            part = F.interpolate(part, size=(side, side), mode="bilinear", antialias=True)
        into[start : start + CHUNK] = part.numpy()
        tell(min(start + CHUNK, len(into)))
    return ()


def _decode(files: ImageFiles, into: Pixels, tell: Callable[[int], None]) -> tuple[int, ...]:
    unreadable: list[int] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(into), CHUNK):
            rows = range(start, min(start + CHUNK, len(into)))
            decoded = pool.map(lambda row: photo(files.root / files.paths[row], into.shape[-1]), rows)
            for row, pixels in zip(rows, decoded, strict=True):
                if pixels is None:
                    unreadable.append(row)
                else:
                    into[row] = pixels
                tell(row + 1)
    return tuple(unreadable)


def photo(path: Path, side: int) -> Pixels | None:
    """One image file as RGB uint8 [3, side, side], None if it is no readable image.

    Turned as its EXIF orientation says, the square in its middle scaled to ``side``; of an animation, the first frame;
    transparency is dropped. Raises BadData if the file cannot be read at all.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error}") from error
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.draft(None, (2 * side, 2 * side))  # large JPEG files are decoded at a half, quarter or eighth
            turned = _eight_bits(ImageOps.exif_transpose(image))
            square = ImageOps.fit(turned, (side, side), method=Image.Resampling.BILINEAR)
    except UNREADABLE:
        return None
    pixels: Pixels = np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))
    return pixels


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits per pixel: Pillow would cut everything above 255
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA")  # by way of it, since a palette with transparency has no direct one
    return image.convert("RGB")
