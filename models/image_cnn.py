"""Training of one image network, step by step; bit-exact on a CPU however often it is interrupted and resumed."""

import math
from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from pathlib import Path

from torch import nn

from models.checkpoint import Identity, ImageShape, load_for, save
from models.courses import Course, Epochs, Folds
from models.data import check_unchanged, sealed_test
from models.datasets import ImageSpec
from models.device import device
from models.image_config import ImageCnnConfig
from models.job import Diverged, EpochResult, SavedFile, Setup, TrainJob, Watcher
from models.measures import latency_ms, scores, size_of
from models.memory import forget_peak
from models.precision import DTYPES, chosen
from models.training import Training

MOST_SIZES = 1000
_sizes: dict[tuple[Hashable, ...], Mapping[str, float]] = {}


def train_image_cnn(job: TrainJob, config: ImageCnnConfig, watcher: Watcher | None) -> Iterator[EpochResult]:
    """See models.train.train. A step is an epoch or, with ``folds``, a fold."""
    checkpoint = None
    if job.resume is not None:
        wanted = Identity(trainer=job.trainer, config=config.model_dump(), seed=job.seed, step=job.from_step)
        checkpoint = load_for(job.resume, wanted, inherits=job.inherits)
    # A trial goes on with the arithmetic that it began with, also on a machine that would choose another.
    precision = chosen(config, job.threads) if checkpoint is None else checkpoint.manifest.identity.precision
    forget_peak()
    course: Course = (Epochs if config.folds is None or job.final else Folds)(job, config, precision, watcher)
    split = course.split
    check_unchanged(split.sha256, job.split_sha256, config, job.data_root)
    if checkpoint is not None:
        check_unchanged(split.sha256, checkpoint.manifest.identity.split_sha256, config, job.data_root)
        course.restore(checkpoint)
        if course.finished and not job.inherits:
            return  # it had ended of its own accord when it was interrupted or paused
    costs = {
        **_size(course.training.network, config, split.image),
        "latency_ms": latency_ms(course.training.network, split.image, device(), DTYPES[precision]),
    }

    if watcher is not None and job.from_step < job.max_resource:
        watcher.started(Setup(split.sha256, split.class_names))
    for step in range(job.from_step + 1, job.max_resource + 1):
        done = course.step(step)
        metrics = done.metrics | costs
        if not all(math.isfinite(metrics[name]) for name in ("train_loss", "val_loss") if name in metrics):
            raise Diverged(step, metrics)
        finished = course.finished
        if job.final is not None and (finished or step == job.max_resource):
            metrics |= _score_test(course.training, job, watcher)
        identity = Identity(
            trainer=job.trainer,
            config=config.model_dump(),
            seed=job.seed,
            step=step,
            split_sha256=split.sha256,
            precision=precision,
            image=ImageShape(channels=split.image.channels, side=split.image.side, classes=split.image.classes),
            class_names=split.class_names,
        )
        matrix = tuple(tuple(row) for row in done.confusion.tolist())
        yield EpochResult(step, metrics, done.seconds, partial(_write, identity, course), matrix, finished)
        if finished:
            return


def _size(network: nn.Module, config: ImageCnnConfig, image: ImageSpec) -> Mapping[str, float]:
    """Its size, counted once a process for all that are built alike: counting takes a fifth of setting a trial up."""
    key = (type(config), image, *(getattr(config, name) for name in _shaping(type(config))))
    if key not in _sizes:
        if len(_sizes) == MOST_SIZES:
            del _sizes[next(iter(_sizes))]
        _sizes[key] = size_of(network, image)
    return _sizes[key]


def _shaping(kind: type[ImageCnnConfig]) -> list[str]:
    """The entries that decide what is built: the architecture's own. Of the others only its name does."""
    return ["architecture", *(name for name in kind.model_fields if name not in ImageCnnConfig.model_fields)]


def _score_test(training: Training, job: TrainJob, watcher: Watcher | None) -> dict[str, float]:
    """Break the seal: the network's figures on the test part."""
    test = sealed_test(training.config, job.data_root, cache_root=job.cache_root, watcher=watcher)
    check_unchanged(test.sha256, training.split.sha256, training.config, job.data_root)
    result = training.score_images(test.images)
    found = scores(result.confusion)
    return {
        "test_acc": result.accuracy,
        "test_loss": result.loss,
        "test_balanced_acc": found["balanced_acc"],
        "test_macro_f1": found["macro_f1"],
        "test_images": float(len(test.images.labels)),
    }


def _write(identity: Identity, course: Course, path: Path) -> SavedFile:
    return save(path, identity, course.tensors())
