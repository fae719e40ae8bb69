"""A trainer without training: closed-form curves, real small checkpoints and faults to order, for tests and load."""

import math
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from models.catalog import SyntheticConfig
from models.checkpoint import CorruptCheckpoint, Identity, load_for, save
from models.job import Diverged, EpochResult, SavedFile, Setup, TrainJob, Watcher
from models.seeds import derive

WAIT_PIECE_S = 0.01
TEST_IMAGES = 1000


class SyntheticFault(Exception):
    """The error that ``raise_at`` asks for."""


def train_synthetic(job: TrainJob, config: SyntheticConfig, watcher: Watcher | None) -> Iterator[EpochResult]:
    """See models.train.train."""
    # The walk and its generator go on from the checkpoint and nowhere else: a wrong resume bends the curve.
    generator = torch.Generator().manual_seed(derive(job.seed, "walk"))
    walk = torch.zeros((), dtype=torch.float64)
    if job.resume is not None:
        checkpoint = load_for(job.resume, _identity(job, config, job.from_step), inherits=job.inherits)
        try:
            walk = checkpoint.tensors["walk"]
            generator.set_state(checkpoint.tensors["generator"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise CorruptCheckpoint(job.resume, f"has no walk to go on from: {error}") from error

    if watcher is not None and job.from_step < job.max_resource:
        watcher.started(Setup())
    for epoch in range(job.from_step + 1, job.max_resource + 1):
        started = time.perf_counter()
        _wait(config.epoch_s)
        walk = 0.8 * walk + 0.6 * torch.randn((), dtype=torch.float64, generator=generator)
        metrics = curve(config, epoch, float(walk))
        _fault(config, epoch)
        if epoch == config.diverge_at:
            raise Diverged(epoch, metrics | {"loss": math.nan})
        if job.final is not None and epoch == job.max_resource:
            metrics |= unseen(config, epoch)
        write = partial(_write, _identity(job, config, epoch), walk, generator, config.checkpoint_bytes)
        yield EpochResult(epoch, metrics, time.perf_counter() - started, write)


def curve(config: SyntheticConfig, epoch: int, walk: float) -> dict[str, float]:
    """``acc`` rises to a limit that is best at (0.7, 0.3); the larger y, the slower, so that curves cross.

    ``cost`` is a second thing to want little of: it rises with x, so that accuracy has its price.
    """
    limit = 0.3 + 0.69 * math.exp(-4 * ((config.x - 0.7) ** 2 + (config.y - 0.3) ** 2))
    acc = limit * (1 - math.exp(-epoch / (1 + 8 * config.y))) + config.noise * walk
    return {"loss": 1 - acc, "acc": acc, "cost": 1 + 9 * config.x**2}


def unseen(config: SyntheticConfig, epoch: int) -> dict[str, float]:
    """The scores on a test part of ``TEST_IMAGES`` images, which the walk leaves no trace in."""
    metrics = curve(config, epoch, 0.0)
    return {"test_acc": metrics["acc"], "test_loss": metrics["loss"], "test_images": float(TEST_IMAGES)}


def _fault(config: SyntheticConfig, epoch: int) -> None:
    if epoch == config.raise_at:
        raise SyntheticFault(f"raise_at = {epoch}")
    if epoch == config.oom_at:
        raise torch.OutOfMemoryError(f"oom_at = {epoch}")
    if epoch == config.kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    if epoch == config.hang_at:
        _wait(math.inf)


def _wait(seconds: float) -> None:
    """Let time pass in small pieces, so that a signal's handler or a closing generator is not kept waiting."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, WAIT_PIECE_S))


def _identity(job: TrainJob, config: SyntheticConfig, step: int) -> Identity:
    return Identity(trainer=job.trainer, config=config.model_dump(), seed=job.seed, step=step)


def _write(identity: Identity, walk: Tensor, generator: torch.Generator, ballast_bytes: int, path: Path) -> SavedFile:
    ballast = torch.arange(ballast_bytes).to(torch.uint8)
    return save(path, identity, {"walk": walk, "generator": generator.get_state(), "ballast": ballast})
