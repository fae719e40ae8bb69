"""How good a network is on images that it has not learnt from: loss and confusion matrix in one pass."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.batches import Pictures
from models.precision import Precision, autocast

LARGEST_BATCH = 512
PIXELS = LARGEST_BATCH * 64**2  # of one channel at a time: one layer's output of larger images would fill the memory


@dataclass(frozen=True, slots=True)
class Score:
    """Mean cross-entropy, and int64 [classes, classes]: how many of each true class were taken for which."""

    loss: float
    confusion: Tensor

    @property
    def accuracy(self) -> float:
        return int(self.confusion.diagonal().sum()) / int(self.confusion.sum())


def score(
    network: nn.Module, pictures: Pictures, classes: int, *, scaling: Callable[[Tensor], Tensor], precision: Precision
) -> Score:
    """Score ``network``, which is left in evaluation mode, on ``pictures``; all on one device."""
    network.eval()
    batch = max(1, min(LARGEST_BATCH, PIXELS // pictures.pixels[0, 0].numel()))
    loss_sum = torch.zeros((), dtype=torch.float64, device=pictures.labels.device)
    taken: list[Tensor] = []
    with torch.inference_mode():
        for images, labels in pictures.in_order(batch):
            with autocast(precision):
                logits = network(scaling(images)).float()
            loss_sum += F.cross_entropy(logits, labels, reduction="sum")
            taken.append(labels * classes + logits.argmax(1))
        # Counted once: on a GPU every count of a batch would wait for the batch.
        counts = torch.cat(taken).bincount(minlength=classes * classes)
    return Score(float(loss_sum) / len(pictures.labels), counts.view(classes, classes).cpu())
