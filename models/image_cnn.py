"""Training of one image network, epoch by epoch; bit-exact on a CPU however often it is interrupted and resumed."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

# cuBLAS is deterministic only with a workspace of fixed size, and reads this when CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from models.architectures import resnet_small, two_conv
from models.architectures.registry import build
from models.checkpoint import Checkpoint, CorruptCheckpoint, Identity, load_for, save
from models.data import Images, Scaling, check_unchanged, load_split
from models.datasets import ImageSpec
from models.image_config import ImageCnnConfig
from models.job import Diverged, EpochResult, SavedFile, Setup, TrainJob, Watcher
from models.optim import build_optimizer, lr_at, set_lr
from models.seeds import derive

ARCHITECTURE_MODULES = (resnet_small, two_conv)  # imported so that they register themselves
SCORING_BATCH = 256


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def exact(seed: int, threads: int) -> Iterator[None]:
    """Deterministic kernels, ``threads`` CPU threads, torch's global generator seeded, and put back afterwards."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # On by default in deterministic mode: it fills every uninitialised tensor with NaN before use, at a cost in time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def train_image_cnn(job: TrainJob, config: ImageCnnConfig, watcher: Watcher | None) -> Iterator[EpochResult]:
    """See models.train.train."""
    split = load_split(config, job.data_root, cache_root=job.cache_root, watcher=watcher)
    with exact(derive(job.seed, "initial weights"), job.threads):
        network = build(config, split.image).to(device())
    optimizer = build_optimizer(config, network.parameters())
    if job.resume is not None:
        identity = _identity(job, config, job.from_step, split.sha256)
        checkpoint = load_for(job.resume, identity, inherits=job.inherits)
        check_unchanged(split.sha256, checkpoint.manifest.identity.split_sha256, config, job.data_root)
        _restore(checkpoint, network, optimizer)
    scaling = split.scaling.to(device())
    train, val = (on_device(Images(split.pixels[part.rows], part.labels)) for part in (split.train, split.val))

    if watcher is not None and job.from_step < job.max_resource:
        watcher.started(Setup(split.sha256))
    for epoch in range(job.from_step + 1, job.max_resource + 1):
        started = time.perf_counter()
        lr = lr_at(config, (epoch - 0.5) / job.max_resource)
        set_lr(optimizer, lr)
        rows = epoch_rows(len(train.labels), config.batch_size, derive(job.seed, "data order", epoch))
        with exact(derive(job.seed, "dropout", epoch), job.threads):
            train_loss, train_acc = _train_epoch(network, optimizer, train, scaling, rows.to(device()))
            trained_s = time.perf_counter() - started
            val_loss, val_acc = score(network, val, scaling)
        metrics = {
            "val_acc": val_acc,
            "val_loss": val_loss,
            "train_loss": train_loss,
            "train_acc": train_acc,
            "lr": lr,
            "images_per_s": rows.numel() / trained_s,
        }
        if not torch.tensor([train_loss, val_loss]).isfinite().all():
            raise Diverged(epoch, metrics)
        write = partial(_write, _identity(job, config, epoch, split.sha256), network, optimizer)
        yield EpochResult(epoch, metrics, time.perf_counter() - started, write)


def epoch_rows(count: int, batch_size: int, seed: int) -> Tensor:
    """The epoch's data order, a function of the seed: row numbers int64 [batches, batch].

    The images that do not fill a batch sit this epoch out; if there are fewer than one batch, they are the batch.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    size = min(batch_size, count)
    return order[: count // size * size].view(-1, size)


def score(network: nn.Module, part: Images, scaling: Scaling) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of ``network`` on ``part``; all three lie on one device."""
    network.eval()
    totals = torch.zeros(2, dtype=torch.float64, device=part.labels.device)
    with torch.inference_mode():
        for start in range(0, len(part.labels), SCORING_BATCH):
            labels = part.labels[start : start + SCORING_BATCH]
            logits = network(scaling(part.pixels[start : start + SCORING_BATCH]))
            _add(totals, F.cross_entropy(logits, labels, reduction="sum"), logits, labels)
    return _means(totals, len(part.labels))


def network_of(checkpoint: Checkpoint, config: ImageCnnConfig, image: ImageSpec) -> nn.Module:
    """The trained network of a checkpoint, on the device."""
    network = build(config, image).to(device())
    _load_weights(checkpoint, network)
    return network


def _train_epoch(
    network: nn.Module, optimizer: optim.Optimizer, part: Images, scaling: Scaling, rows: Tensor
) -> tuple[float, float]:
    network.train()
    totals = torch.zeros(2, dtype=torch.float64, device=rows.device)
    for batch in rows:
        labels = part.labels[batch]
        logits = network(scaling(part.pixels[batch]))
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        _add(totals, loss.detach() * len(batch), logits, labels)
    return _means(totals, rows.numel())


def _add(totals: Tensor, loss_sum: Tensor, logits: Tensor, labels: Tensor) -> None:
    # Kept on the device: reading a number per step would make a GPU wait for every step.
    totals[0] += loss_sum
    totals[1] += (logits.argmax(1) == labels).sum()


def _means(totals: Tensor, count: int) -> tuple[float, float]:
    loss, correct = totals.tolist()
    return loss / count, correct / count


def on_device(images: Images) -> Images:
    return Images(images.pixels.to(device()), images.labels.to(device()))


def _identity(job: TrainJob, config: ImageCnnConfig, step: int, split_sha256: str) -> Identity:
    return Identity(
        trainer=job.trainer, config=config.model_dump(), seed=job.seed, step=step, split_sha256=split_sha256
    )


def _write(identity: Identity, network: nn.Module, optimizer: optim.Optimizer, path: Path) -> SavedFile:
    """Save all state there is: schedule, dropout and data order are functions of seed and epoch, and need none."""
    tensors = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        # What is None (the velocity of an SGD without momentum) is absent, and comes back as absent.
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items() if tensor is not None}
    return save(path, identity, tensors)


def _restore(checkpoint: Checkpoint, network: nn.Module, optimizer: optim.Optimizer) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in checkpoint.part("optimizer").items():
        index, entry = name.split(".")
        state.setdefault(int(index), {})[entry] = tensor
    _load_weights(checkpoint, network)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _load_weights(checkpoint: Checkpoint, network: nn.Module) -> None:
    try:
        network.load_state_dict(checkpoint.part("model"))
    except RuntimeError as error:
        raise CorruptCheckpoint(checkpoint.path, f"does not fit the network of its configuration: {error}") from error
