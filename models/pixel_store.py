"""Decoded images on disk, made once and shared by every process that trains on them.

A store is a folder named by the hash of what it is made of. It is filled under another name and renamed when it is
whole: a torn store is never read, and of two machines that make the same one at once the first wins.
"""

import errno
import fcntl
import json
import math
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from torch import Tensor

from models.files import sync
from models.render import Pixels

Fill = Callable[[Pixels], tuple[int, ...]]

# Up to so much a set is held in memory, beyond it stays on disk as a memory map.
RESIDENT_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Rendered:
    """``pixels`` uint8 [N, C, H, W]; ``moments`` int64 [N, C, 2] are each image's sum and sum of squares.

    ``unreadable`` are the rows whose files could not be decoded: they are all zero.
    """

    pixels: Tensor
    resident: bool
    moments: Tensor
    unreadable: tuple[int, ...]

    @property
    def resident_bytes(self) -> int:
        return self.pixels.numel() if self.resident else 0


def in_memory(shape: tuple[int, ...], fill: Fill) -> Rendered:
    pixels = np.zeros(shape, np.uint8)
    unreadable = fill(pixels)
    tensor = torch.from_numpy(pixels)
    return Rendered(tensor, True, moments_of(tensor), unreadable)


def on_disk(root: Path, key: str, shape: tuple[int, ...], fill: Fill, *, waiting: Callable[[], None]) -> Rendered:
    """The store ``key`` below ``root``, made if it is not there.

    While another process of this machine makes it, ``waiting`` is called twice a second.
    Raises OSError (disk full, …), and ValueError for a store that something else has altered.
    """
    store = root / key
    root.mkdir(parents=True, exist_ok=True)
    if not store.is_dir():
        with (root / f"{key}.lock").open("w") as lock:
            while not store.is_dir() and not _taken(lock):
                waiting()
                time.sleep(0.5)
            if not store.is_dir():
                _make(store, shape, fill)
    size = math.prod(shape)
    # Copy-on-write, as torch wants memory that may be written to; nobody writes, so that all processes share it.
    pixels = np.load(store / "pixels.npy", mmap_mode=None if size <= RESIDENT_BYTES else "c")
    unreadable = tuple(json.loads((store / "about.json").read_text())["unreadable"])
    moments = torch.from_numpy(np.load(store / "moments.npy"))
    return Rendered(torch.from_numpy(pixels), size <= RESIDENT_BYTES, moments, unreadable)


def moments_of(pixels: Tensor) -> Tensor:
    """int64 [N, C, 2]: whole numbers, hence the same for any number of threads."""
    moments = torch.empty(*pixels.shape[:2], 2, dtype=torch.int64)
    step = max(1, 2**20 // pixels[:1].numel())  # few enough that their float64 stay in the CPU's cache
    for start in range(0, len(pixels), step):
        # Exact: the sum of squares of an image of 1024 px is below 2**37.
        part = pixels[start : start + step].flatten(2).double()
        moments[start : start + step, :, 0] = part.sum(2)
        moments[start : start + step, :, 1] = torch.linalg.vecdot(part, part)
    return moments


def _taken(lock: TextIO) -> bool:
    """Whether the lock is ours now; it ends with the process, however that ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make(store: Path, shape: tuple[int, ...], fill: Fill) -> None:
    prefix = f"{store.name}.{socket.gethostname()}."
    for left in store.parent.glob(f"{prefix}*.tmp"):
        shutil.rmtree(left)  # of a process that was killed: none that lives has the lock
    temp = Path(tempfile.mkdtemp(prefix=prefix, suffix=".tmp", dir=store.parent))
    try:
        pixels = np.lib.format.open_memmap(temp / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
        _reserve(temp / "pixels.npy")
        unreadable = fill(pixels)
        pixels.flush()
        np.save(temp / "moments.npy", moments_of(torch.from_numpy(pixels)).numpy())
        (temp / "about.json").write_text(json.dumps({"unreadable": unreadable}))
        for file in temp.iterdir():
            sync(file)
        try:
            temp.rename(store)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # A process of another machine, which the lock may not reach, was first: its store is as good.
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _reserve(path: Path) -> None:
    """Raises OSError on a full disk, which writing to a memory map would tell by killing the process."""
    if sys.platform != "linux":
        return
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
