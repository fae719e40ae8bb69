"""One training loop in a process of its own: ``python -m benchmarks.loops SIDE FOLDER THREADS BATCH``, a line of JSON.

- ``DataLoader``: the loop of PyTorch's tutorials, in fp32.
- ``tensor``: the whole set as one tensor on the device, with the precision, memory format and optimizer kernels that
  ours has, and nothing else: no seeds, no metrics, no learning rates.
- ``ladder``: ``models.train.train``.

The first epoch warms up; what is told is the images/s of the fastest of the following ones, without validation.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from models.architectures.registry import build
from models.catalog import parse_config
from models.datasets import ImageSpec
from models.device import device
from models.image_config import ImageCnnConfig
from models.job import TrainJob
from models.precision import autocast, chosen
from models.train import train

SIDES = ("DataLoader", "tensor", "ladder")
EPOCHS = 4


def main() -> int:
    side, folder, threads, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    entries = {"dataset": "npz", "data_path": "images.npz", "optimizer": "adam", "batch_size": batch}
    rates = {"DataLoader": _loader, "tensor": _tensor, "ladder": _ladder}[side](folder, threads, entries)
    place = torch.cuda.get_device_name() if device().type == "cuda" else torch.backends.cpu.get_cpu_capability()
    config = _parsed(entries)
    told = {"torch": torch.__version__, "device": place, "precision": chosen(config, threads)}
    print(json.dumps({"images_per_s": max(rates[1:]), "device": told}))
    return 0


def _parsed(entries: dict[str, Any]) -> ImageCnnConfig:
    config = parse_config("image-cnn", entries)
    assert isinstance(config, ImageCnnConfig)
    return config


def _read(folder: Path) -> tuple[Tensor, Tensor]:
    with np.load(folder / "images.npz") as arrays:
        images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"]).long()
    # Ours holds a test part out too.
    kept = round(len(labels) * 0.85 * 0.8)
    return images[:kept].unsqueeze(1), labels[:kept]


def _network(entries: dict[str, Any]) -> nn.Module:
    return build(_parsed(entries), ImageSpec(channels=1, side=28, classes=10)).to(device())


class _Images(Dataset[tuple[Tensor, int]]):
    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return (self.images[index].float() / 255 - 0.2860) / 0.3530, int(self.labels[index])


def _loader(folder: Path, threads: int, entries: dict[str, Any]) -> list[float]:
    network = _network(entries)
    loader = DataLoader(_Images(*_read(folder)), batch_size=entries["batch_size"], shuffle=True, drop_last=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def epoch() -> int:
        network.train()
        seen, loss_sum = 0, 0.0
        for images, labels in loader:
            images, labels = images.to(device()), labels.to(device())
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss.item()
            seen += len(labels)
        return seen

    return _timed(epoch)


def _tensor(folder: Path, threads: int, entries: dict[str, Any]) -> list[float]:
    batch, precision = entries["batch_size"], chosen(_parsed(entries), threads)
    network = _network(entries).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = (one.to(device()) for one in _read(folder))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    mean, std = torch.tensor(72.9, device=device()), torch.tensor(90.0, device=device())

    def epoch() -> int:
        network.train()
        order = torch.randperm(len(labels), device=device())
        rows = order[: len(order) // batch * batch].view(-1, batch)
        for chosen_rows in rows:
            inputs = (images[chosen_rows].float() - mean) / std
            with autocast(precision):
                logits = network(inputs).float()
            loss = F.cross_entropy(logits, labels[chosen_rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if device().type == "cuda":
            torch.cuda.synchronize()
        return rows.numel()

    return _timed(epoch)


def _timed(epoch: Callable[[], int]) -> list[float]:
    rates = []
    for _ in range(EPOCHS):
        started = perf_counter()
        seen = epoch()
        rates.append(seen / (perf_counter() - started))
    return rates


def _ladder(folder: Path, threads: int, entries: dict[str, Any]) -> list[float]:
    job = TrainJob(
        "image-cnn", entries, seed=0, from_step=0, max_resource=EPOCHS, resume=None, data_root=folder, threads=threads
    )
    return [result.metrics["images_per_s"] for result in train(job)]


if __name__ == "__main__":
    sys.exit(main())
