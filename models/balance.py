"""Which training rows are used, and what the classes weigh: fraction, balance and class weights. Rows in, rows out."""

import math

import structlog
import torch
from torch import Tensor

from models.image_config import ImageCnnConfig
from models.job import InvalidConfig
from models.seeds import derive

log = structlog.get_logger(__name__)


def chosen_rows(config: ImageCnnConfig, rows: Tensor, labels: Tensor, class_names: tuple[str, ...]) -> Tensor:
    """The rows to train on, int64: ``train_images`` or ``train_fraction`` first, then ``balance``.

    ``rows`` int64 [n] are all training rows in their fixed random order, ``labels`` int64 [n] their classes. What is
    chosen stays in that order, what is drawn again follows it.
    Raises InvalidConfig (``train_images``) if there are fewer.
    """
    if config.train_images is not None:
        kept = _equally_many(config.train_images, labels, class_names)
    else:
        kept = _first_of_each(labels, config.train_fraction)
    rows, labels = rows[kept], labels[kept]
    if config.balance == "subset":
        rarest = int(_present(labels).min())
        return rows[_first(labels, {int(label): rarest for label in labels.unique()})]  # type: ignore[no-untyped-call]
    if config.balance == "oversample":
        return rows[_oversampled(labels, derive(config.split_seed, "oversampling"))]
    return rows


def class_weights(config: ImageCnnConfig, labels: Tensor, class_names: tuple[str, ...]) -> Tensor | None:
    """What each class weighs in the loss: float32 [classes], None for ``none``. ``labels`` are of the rows used.

    ``log``: w_k = ln(n / n_k), the most common class 1 (Wojciuk et al. 2024, Heliyon 10 e26586, equation 1); classes
    as common as the most common are 1 as well. ``inverse``: n / (K n_k), scikit-learn's "balanced".
    Raises InvalidConfig (``class_weights``) if a class has no training image.
    """
    if config.class_weights == "none":
        return None
    counts = labels.bincount(minlength=len(class_names)).double()
    if counts.min() == 0:
        name = class_names[int(counts.argmin())]
        raise InvalidConfig("class_weights", f"got {config.class_weights!r}, but no training image of {name!r} is used")
    n = counts.sum()
    if config.class_weights == "inverse":
        return (n / (len(counts) * counts)).float()
    weights = torch.where(counts == counts.max(), 1.0, (n / counts).log())
    # The paper means rare classes to weigh more than the common one; ln(n / n_k) does so only up to n_k = n / e.
    light = [class_names[int(k)] for k in (weights < 1).nonzero()]
    if light:
        log.warning("class_weights_below_one", classes=light, weights=weights.tolist(), bound=float(n / math.e))
    return weights.float()


def _equally_many(count: int, labels: Tensor, class_names: tuple[str, ...]) -> Tensor:
    """The first of each class, ``count`` in all; where it does not divide, the first classes give one more."""
    if count > len(labels):
        raise InvalidConfig("train_images", f"got {count}, the training part has {len(labels)}")
    classes = len(class_names)
    wanted = {label: count // classes + (label < count % classes) for label in range(classes)}
    there = labels.bincount(minlength=classes).tolist()
    for label, number in wanted.items():
        if number > there[label]:
            raise InvalidConfig(
                "train_images",
                f"got {count}, which takes {number} of class {class_names[label]}, "
                f"the training part has {there[label]}",
            )
    return _first(labels, wanted)


def _first_of_each(labels: Tensor, fraction: float) -> Tensor:
    counts = labels.bincount().tolist()
    return _first(labels, {label: max(1, round(n * fraction)) for label, n in enumerate(counts)})


def _first(labels: Tensor, wanted: dict[int, int]) -> Tensor:
    """Positions of the first so many of each class, in rising order."""
    return torch.cat([(labels == label).nonzero().squeeze(1)[:count] for label, count in wanted.items()]).sort().values


def _oversampled(labels: Tensor, seed: int) -> Tensor:
    """All positions, then those drawn again: each class goes round in random order until it has the largest count."""
    generator = torch.Generator().manual_seed(seed)
    most = int(_present(labels).max())
    again = []
    for label in labels.unique():  # type: ignore[no-untyped-call]
        own = (labels == label).nonzero().squeeze(1)
        rounds = [own[torch.randperm(len(own), generator=generator)] for _ in range(math.ceil(most / len(own)) - 1)]
        again.append(torch.cat([own, *rounds])[len(own) : most])
    return torch.cat([torch.arange(len(labels)), *again])


def _present(labels: Tensor) -> Tensor:
    counts = labels.bincount()
    return counts[counts > 0]
