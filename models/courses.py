"""The two courses that a job can take: epochs of one network, or the folds of a cross-validation."""

from typing import Protocol

import torch
from torch import Tensor

from models.checkpoint import Checkpoint, CorruptCheckpoint
from models.data import Split, load_split
from models.image_config import ImageCnnConfig
from models.job import TrainJob, Watcher
from models.precision import Precision
from models.seeds import derive
from models.training import Epoch, Training
from models.transfer import load_pretrained

# What a fold says of itself beside the mean over the folds so far.
OF_EACH_FOLD = ("val_acc", "val_loss", "balanced_acc", "macro_precision", "macro_recall", "macro_f1")


class Course(Protocol):
    """``training`` is the network in work, ``split`` its data; ``finished`` says whether the last step was the last."""

    training: Training
    split: Split
    finished: bool

    def step(self, number: int) -> Epoch: ...
    def tensors(self) -> dict[str, Tensor]: ...
    def restore(self, checkpoint: Checkpoint) -> None: ...


class Epochs:
    """One network. A step is an epoch; where the study counts folds, so many epochs that all are done with the last."""

    def __init__(self, job: TrainJob, config: ImageCnnConfig, precision: Precision, watcher: Watcher | None) -> None:
        self.split = load_split(
            config,
            job.data_root,
            cache_root=job.cache_root,
            watcher=watcher,
            join_validation=job.final == "train_and_validation",
        )
        self.finished = False
        self._watcher = watcher
        self._steps = job.max_resource
        self._epochs = job.max_resource if config.folds is None else config.fold_epochs
        # By steps that may train nothing, or by images that are trained on, patience would judge nothing.
        patient = config.folds is None and job.final != "train_and_validation"
        self._patience = config.patience if patient else None
        self._best, self._since = torch.inf, 0
        self.training = Training(
            config, self.split, seed=job.seed, length=self._epochs, threads=job.threads, precision=precision
        )
        if job.resume is None and config.pretrained:
            load_pretrained(self.training.network, config, self.split.image, job.data_root)

    def step(self, number: int) -> Epoch:
        first, last = self._ends_at(number - 1) + 1, self._ends_at(number)
        done = list(self.training.epochs(first, last, self._watcher)) or [self.training.validate(last)]
        val_loss = done[-1].metrics["val_loss"]
        self._since = 0 if val_loss < self._best else self._since + 1
        self._best = min(self._best, val_loss)
        self.finished = self._is_over()
        return Epoch(done[-1].metrics, done[-1].confusion, sum(one.seconds for one in done))

    def _is_over(self) -> bool:
        return self._patience is not None and self._since >= self._patience

    def _ends_at(self, step: int) -> int:
        return -(-step * self._epochs // self._steps)

    def tensors(self) -> dict[str, Tensor]:
        watch = torch.tensor([self._best, self._since], dtype=torch.float64)
        return self.training.tensors() | {"patience": watch}

    def restore(self, checkpoint: Checkpoint) -> None:
        self.training.restore(checkpoint)
        best, since = entry(checkpoint, "patience").tolist()
        self._best, self._since = best, int(since)
        self.finished = self._is_over()


class Folds:
    """k-fold cross-validation: step i trains a new network on all folds but the i-th, which it is validated on.

    What is reported is the mean over the folds so far: whoever compares trials compares them at the same folds.
    """

    finished = False  # a fold more is always another fold's result

    def __init__(self, job: TrainJob, config: ImageCnnConfig, precision: Precision, watcher: Watcher | None) -> None:
        self._job, self._config, self._precision, self._watcher = job, config, precision, watcher
        self._sums: dict[str, Tensor] = {}
        self._begin(min(job.from_step + 1, self._folds))

    @property
    def _folds(self) -> int:
        assert self._config.folds is not None
        return self._config.folds

    def _begin(self, fold: int) -> None:
        job, config = self._job, self._config
        vars(self).pop("training", None)  # the last fold's goes first: a device may not hold both
        self._fold = fold
        self.split = load_split(config, job.data_root, cache_root=job.cache_root, watcher=self._watcher, fold=fold)
        self.training = Training(
            config,
            self.split,
            seed=derive(job.seed, "fold", fold),
            length=config.fold_epochs,
            threads=job.threads,
            precision=self._precision,
        )
        if config.pretrained:
            load_pretrained(self.training.network, config, self.split.image, job.data_root)

    def step(self, number: int) -> Epoch:
        if number != self._fold:
            self._begin(number)
        done = list(self.training.epochs(1, self._config.fold_epochs, self._watcher))
        last = done[-1]
        for name, value in last.metrics.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), dtype=torch.float64)) + value
        counts = self._sums.get("confusion", torch.zeros_like(last.confusion)) + last.confusion
        means = {name: float(total) / number for name, total in self._sums.items() if name != "confusion"}
        self._sums["confusion"] = counts
        own = {f"fold_{name}": last.metrics[name] for name in OF_EACH_FOLD}
        return Epoch(means | own, counts, sum(one.seconds for one in done))

    def tensors(self) -> dict[str, Tensor]:
        return self.training.tensors() | {f"folds.{name}": total for name, total in self._sums.items()}

    def restore(self, checkpoint: Checkpoint) -> None:
        # The next fold begins with a network of its own: of the earlier ones their figures alone are needed.
        self._sums = checkpoint.part("folds")
        if "confusion" not in self._sums:
            raise CorruptCheckpoint(checkpoint.path, "has no folds to go on from")


def entry(checkpoint: Checkpoint, name: str) -> Tensor:
    if name not in checkpoint.tensors:
        raise CorruptCheckpoint(checkpoint.path, f"has no {name} to go on from")
    return checkpoint.tensors[name]
