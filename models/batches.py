"""Which images an epoch takes in which order, and how they come to the device."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from models import pixel_store
from models.data import Images, Part, Split
from models.device import device


def epoch_order(count: int, batch_size: int, seed: int) -> Tensor:
    """The epoch's data order, a function of the seed: positions int64 [batches, batch].

    The images that do not fill a batch sit this epoch out; if there are fewer than one batch, they are the batch.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    size = min(batch_size, count)
    return order[: count // size * size].view(-1, size)


@dataclass(frozen=True, slots=True)
class Pictures:
    """One part of a data set, ready to be trained on: ``pixels`` uint8 [N, C, H, W], of which ``rows`` are the part.

    ``rows`` and ``labels`` lie on the device. So do resident pixels; others stay where they are (a memory map that no
    memory would hold) and are read one batch ahead by a thread, so that the disk works while the network does.
    """

    pixels: Tensor
    rows: Tensor
    labels: Tensor
    resident: bool

    def __len__(self) -> int:
        return len(self.labels)

    def shuffled(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of an epoch, batch by batch."""
        return self._batches(epoch_order(len(self), batch_size, seed).to(self.rows.device).unbind())

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, the last batch as large as it happens to be."""
        return self._batches(torch.arange(len(self), device=self.rows.device).split(batch_size))  # type: ignore[no-untyped-call]

    def _batches(self, positions: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, Tensor]]:
        if self.resident:
            for batch in positions:
                yield self.pixels.index_select(0, self.rows[batch]), self.labels[batch]
            return
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader") as reader:
            rows = [self.rows[batch].cpu() for batch in positions]
            ahead = reader.submit(self.pixels.index_select, 0, rows[0])
            for index, batch in enumerate(positions):
                images = ahead.result()
                if index + 1 < len(rows):
                    ahead = reader.submit(self.pixels.index_select, 0, rows[index + 1])
                yield images.to(self.rows.device), self.labels[batch]


def pictures(split: Split) -> tuple[Pictures, Pictures]:
    """The training and the validation part on the device; resident pixels are moved there once, for both."""
    pixels = split.pixels.to(device()) if split.resident else split.pixels

    def of(part: Part) -> Pictures:
        return Pictures(pixels, part.rows.to(device()), part.labels.to(device()), split.resident)

    return of(split.train), of(split.val)


def all_of(images: Images) -> Pictures:
    """Images that are no part of a split: on the device, or where they lie if they are too many for it."""
    resident = images.pixels.numel() <= pixel_store.RESIDENT_BYTES
    pixels = images.pixels.to(device()) if resident else images.pixels
    rows = torch.arange(len(images.labels), device=device())
    return Pictures(pixels, rows, images.labels.to(device()), resident)
