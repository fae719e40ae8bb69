"""What several architectures are made of."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.config_base import Activation
from models.datasets import ImageSpec
from models.job import InvalidConfig

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class Head:
    """Marks the module that turns features into classes: new for every data set, and never frozen."""


class Classifier(Head, nn.Linear):
    """Dropout, then a dense layer: [N, features] to logits [N, classes]. To whoever loads weights it is a Linear."""

    def __init__(self, features: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__(features, classes)
        self.dropout = dropout

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(F.dropout(features, self.dropout, self.training))


class DenseHead(Head, nn.Sequential):
    """Several dense layers that are new together."""


class ChannelsLast(nn.Module):
    """[N, C, H, W] to [N, H, W, C]: how the numbers lie in memory already, so that flattening them copies nothing.

    Flattened in the other order, the copies in both directions took a third of a training step in bf16.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class GlobalMean(nn.Module):
    """[N, C, H, W] to [N, C]. A plain mean: the backward of adaptive pooling is not deterministic on CUDA."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class AdaptiveMean(nn.Module):
    """nn.AdaptiveAvgPool2d of a square map as two products of matrices, whose backward is deterministic on CUDA.

    [N, C, side, side] to [N, C, wanted, wanted].
    """

    weights: Tensor

    def __init__(self, side: int, wanted: int) -> None:
        super().__init__()
        averages = F.adaptive_avg_pool1d(torch.eye(side).unsqueeze(0), wanted)[0].T
        self.register_buffer("weights", averages.contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.weights.to(x.dtype)
        return weights @ x @ weights.T


class GreyAsColour(nn.Module):
    """[N, 1, H, W] to [N, 3, H, W] with the grey in every channel. What has three channels already passes.

    Published normalisation has constants for three channels, by which grey images become three channels before.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(-1, 3, -1, -1)


def in_colour(network: nn.Module, image: ImageSpec) -> nn.Module:
    """``network``, which takes three channels, for such images. Raises InvalidConfig if they are neither grey nor RGB.

    The names of its tensors get the prefix ``1.`` where grey images are repeated first; see ``without_grey``.
    """
    if image.channels == 3:
        return network
    if image.channels != 1:
        raise InvalidConfig("architecture", f"takes images of 1 or 3 channels, these have {image.channels}")
    return nn.Sequential(GreyAsColour(), network)


def without_grey(network: nn.Module) -> nn.Module:
    """What ``in_colour`` was given: the same names of tensors whatever the images."""
    if isinstance(network, nn.Sequential) and len(network) and isinstance(network[0], GreyAsColour):
        return network[1]
    return network


def replace_relu(network: nn.Module, activation: Activation) -> None:
    """Put another activation in the place of every ReLU."""
    if activation == "relu":
        return
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.ReLU):
            network.set_submodule(name, ACTIVATIONS[activation]())


def replace_classifier(network: nn.Module, name: str, dropout: float = 0.0) -> None:
    """Mark the dense layer ``name`` as the classifier, its weights kept, and put ``dropout`` before it."""
    dense = network.get_submodule(name)
    assert isinstance(dense, nn.Linear)
    marked = Classifier(dense.in_features, dense.out_features, dropout)
    marked.weight, marked.bias = dense.weight, dense.bias
    network.set_submodule(name, marked)
