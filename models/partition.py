"""Which images of a set are training, validation and test part: a function of the labels and a seed."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.image_config import ImageCnnConfig
from models.job import InvalidConfig
from models.seeds import derive
from models.sources.base import ImageFiles, Images, Source

# Where a set has no test part of its own, this much of it is held out.
TEST_FRACTION = 0.15


@dataclass(frozen=True, slots=True)
class Partition:
    """``pool`` int64 [N] are the images of ``source`` that are no test images; what follows counts within it.

    ``order`` int64 [N] is the one random order that every choice is made in; ``in_val`` bool [N] marks the validation
    part. ``held_out`` int64 are the images of ``source`` that are the test part, None where it has one of its own.
    """

    pool: Tensor
    order: Tensor
    in_val: Tensor
    held_out: Tensor | None

    def learned(self, source: Source) -> Images | ImageFiles:
        return source.images if self.held_out is None else source.images.take(self.pool)

    def test(self, source: Source) -> Images | ImageFiles:
        if self.held_out is not None:
            return source.images.take(self.held_out)
        assert source.test is not None
        return source.test

    def sha256(self, content_sha256: str) -> str:
        """Of the content and of which image is in which part."""
        digest = hashlib.sha256(content_sha256.encode())
        nothing = torch.empty(0, dtype=torch.int64)
        for rows in (self.pool[~self.in_val], self.pool[self.in_val], self.held_out):
            numbers = (nothing if rows is None else rows).sort().values.numpy()
            digest.update(f"{len(numbers)}:".encode())
            digest.update(numbers.astype("<i8").data)
        return digest.hexdigest()


def partition(source: Source, *, val_fraction: float, seed: int) -> Partition:
    """Stratified: of every class the same fraction is held out, at least one image, and never all."""
    labels = source.images.labels
    pool, held_out = torch.arange(len(labels)), None
    if source.test is None:
        order, held = _hold_out(labels, TEST_FRACTION, derive(seed, "test part"))
        pool, held_out = order[~held[order]], order[held[order]]
    order, in_val = _hold_out(labels[pool], val_fraction, derive(seed, "validation part"))
    if source.own_val is not None:
        in_val = source.own_val[pool]
    return Partition(pool, order, in_val, held_out)


def fold_rows(config: ImageCnnConfig, labels: Tensor, fold: int, class_names: tuple[str, ...]) -> Tensor:
    """The validation part of fold ``fold`` (from 1): bool [N]. Raises InvalidConfig (``folds``) if a class is too rare.

    Stratified and shuffled by ``split_seed``, over training and validation part together.
    """
    from sklearn.model_selection import StratifiedKFold

    if config.folds is None or not 1 <= fold <= config.folds:
        raise ValueError(f"want a fold in 1 to {config.folds}, got {fold}")
    counts = labels.bincount(minlength=len(class_names))
    if counts.min() < config.folds:
        name = class_names[int(counts.argmin())]
        raise InvalidConfig("folds", f"got {config.folds}, but class {name!r} has {int(counts.min())} images")
    # scikit-learn takes seeds of 32 bits.
    splitter = StratifiedKFold(config.folds, shuffle=True, random_state=derive(config.split_seed, "folds") % 2**32)
    rows = [rows for _, rows in splitter.split(np.zeros(len(labels)), labels.numpy())][fold - 1]
    in_val = torch.zeros(len(labels), dtype=torch.bool)
    in_val[torch.from_numpy(rows)] = True
    return in_val


def _hold_out(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """(random order int64 [N], which are held out bool [N])."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    held = torch.zeros(len(order), dtype=torch.bool)
    for label in labels.unique():  # type: ignore[no-untyped-call]
        rows = order[labels[order] == label]
        held[rows[: min(max(1, round(len(rows) * fraction)), len(rows) - 1)]] = True
    return order, held
