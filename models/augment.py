"""Augmentation as functions of a batch, on its device: uint8 [N, C, H, W] in, the same shape out.

Chance comes from torch's global generator of the batch's device: whoever seeds it for an epoch gets the same again.
"""

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from models.job import InvalidConfig

Policy = Callable[[Tensor], Tensor]

ROTATION_DEGREES = 10.0
ZOOM = 0.1
ALTERED = 0.75  # three altered copies beside each image, drawn afresh every epoch instead of stored
DRAWN_TOGETHER = 8  # images that share one draw of RandAugment's operations


def none(batch: Tensor) -> Tensor:
    return batch


def crop_flip(batch: Tensor) -> Tensor:
    """A shift by up to an eighth of the side with mirrored edges, and half the images mirrored (He et al. 2016)."""
    count, _, height, width = batch.shape
    where = batch.device
    reach = max(1, height // 8)
    down, right = torch.randint(-reach, reach + 1, (2, count, 1), device=where)
    rows = _mirrored(torch.arange(height, device=where) + down, height)
    columns = _mirrored(torch.arange(width, device=where) + right, width)
    flipped = torch.rand(count, 1, device=where) < 0.5
    columns = torch.where(flipped, width - 1 - columns, columns)
    images = torch.arange(count, device=where)
    # One gather does all, no padded copy is made; its result has the channels last, as the network wants them.
    return batch[images[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _mirrored(positions: Tensor, size: int) -> Tensor:
    return (size - 1 - (size - 1 - positions.abs()).abs()).clamp(0, size - 1)


def paper_affine(batch: Tensor) -> Tensor:
    """Three images in four are turned by 0 to 10 degrees, zoomed by up to 10 % and, half of those, flipped upside down.

    Wojciuk et al. 2024, study III: three altered copies of every image; here each epoch draws its own.
    """
    count = len(batch)
    draw = torch.rand(4, count, device=batch.device)
    altered = (draw[0] < ALTERED).float()
    angle = altered * draw[1] * math.radians(ROTATION_DEGREES)
    scale = 1 + altered * ZOOM * (2 * draw[2] - 1)
    upright = 1 - 2 * altered * (draw[3] < 0.5)
    zero = torch.zeros_like(angle)
    # The rows of the inverse map: where each pixel of the result comes from.
    across = torch.stack([angle.cos(), -angle.sin(), zero], 1)
    along = torch.stack([angle.sin() * upright, angle.cos() * upright, zero], 1)
    maps = torch.stack([across, along], 1) / scale.view(-1, 1, 1)
    grid = F.affine_grid(maps, list(batch.shape), align_corners=False)
    turned = F.grid_sample(batch.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return turned.round().to(torch.uint8)


def randaugment(batch: Tensor) -> Tensor:
    """Two random operations at magnitude 9 (Cubuk et al. 2020, arXiv:1909.13719), torchvision's, drawn per 8 images."""
    from models._torchvision import import_transforms

    change = import_transforms().RandAugment()
    parts = batch.split(DRAWN_TOGETHER)  # type: ignore[no-untyped-call]
    return torch.cat([change(part.contiguous()) for part in parts])


POLICIES: Mapping[str, Policy] = {
    "none": none,
    "crop_flip": crop_flip,
    "paper_affine": paper_affine,
    "randaugment": randaugment,
}


def policy(name: str, channels: int) -> Policy:
    """Raises InvalidConfig (``augment``) if it cannot change images of so many channels."""
    if name == "randaugment" and channels not in (1, 3):
        message = f"got 'randaugment', which changes grey and RGB images; these have {channels} channels"
        raise InvalidConfig("augment", message)
    return POLICIES[name]


def mixer(name: str, classes: int, alpha: float) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """MixUp (Zhang et al. 2018) or CutMix (Yun et al. 2019) of torchvision.

    Takes normalised images [N, C, H, W] and labels [N]; gives mixed images and the shares of the classes [N, classes].
    """
    from models._torchvision import import_transforms

    transforms = import_transforms()
    kind = {"mixup": transforms.MixUp, "cutmix": transforms.CutMix}[name]
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = kind(alpha=alpha, num_classes=classes)
    return mix
