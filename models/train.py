"""The training loop as a generator: whoever runs a trial holds control between its epochs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from models.catalog import SyntheticConfig, parse_config
from models.image_cnn import train_image_cnn
from models.image_config import ImageCnnConfig
from models.job import EpochResult, SavedFile, TrainJob, Watcher
from models.synthetic import train_synthetic


def train(job: TrainJob, watcher: Watcher | None = None) -> Iterator[EpochResult]:
    """Train from ``from_step`` to ``max_resource`` epochs, one result each; nothing happens before the first ``next``.

    Stop early by closing the iterator. The results are a function of the job and the data: they do not depend on
    interruptions (on a CPU, bit for bit), nor on what the process trained before.

    Raises InvalidConfig, BadData, Diverged (models.job), CorruptCheckpoint (models.checkpoint) and
    torch.OutOfMemoryError.
    """
    if (
        job.max_resource < 1
        or not 0 <= job.from_step <= job.max_resource
        or (job.from_step > 0) != (job.resume is not None)
    ):
        raise ValueError(f"want a checkpoint if and only if from_step is in 1 to max_resource, got {job}")
    config = parse_config(job.trainer, job.config)
    if isinstance(config, SyntheticConfig):
        epochs = train_synthetic(job, config, watcher)
    elif isinstance(config, ImageCnnConfig):
        epochs = train_image_cnn(job, config, watcher)
    else:
        raise TypeError(f"no trainer takes a {type(config).__name__}")
    for result in epochs:
        window = _SaveWindow(result)
        yield replace(result, save=window.save)
        window.open = False


class _SaveWindow:
    """Lets an epoch be saved until the next one begins: from then on the tensors are no longer that epoch's."""

    def __init__(self, result: EpochResult) -> None:
        self._result = result
        self.open = True

    def save(self, path: Path) -> SavedFile:
        if not self.open:
            raise RuntimeError(f"epoch {self._result.step} can only be saved before the next one is asked for")
        return self._result.save(path)


def warm_up(threads: int = 1) -> None:
    """Pay now what the first trial of a process would wait for: lazy imports, the kernels' first call, digits.

    Torch takes a second to import what its first optimizer needs.
    """
    config = {"dataset": "digits", "train_images": 10, "batch_size": 10}
    job = TrainJob(
        "image-cnn", config, seed=0, from_step=0, max_resource=1, resume=None, data_root=Path(), threads=threads
    )
    for _ in train(job):
        pass
