"""Wide residual networks for small images (Zagoruyko & Komodakis 2016, arXiv:1605.07146, table 1)."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.config_base import Activation
from models.architectures.configs import WideResnetConfig
from models.architectures.parts import ACTIVATIONS, Classifier, GlobalMean
from models.architectures.registry import register
from models.datasets import ImageSpec


class WideBlock(nn.Module):
    """Norm, activation, convolution, twice, with dropout before the second: [N, C, H, W] to [N, C', H / stride, ...].

    Where the shape changes, the shortcut is a 1x1 convolution of what the first activation gave.
    """

    def __init__(
        self, channels_in: int, channels: int, stride: int, *, dropout: float = 0.0, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if channels_in != channels or stride != 1:
            self.shortcut = nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        active = self.activation(self.norm1(x))
        inner = self.activation(self.norm2(self.conv1(active)))
        inner = self.conv2(F.dropout(inner, self.dropout, self.training))
        out: Tensor = inner + (x if self.shortcut is None else self.shortcut(active))
        return out


@register("wide_resnet", WideResnetConfig)
def wide_resnet(config: WideResnetConfig, image: ImageSpec) -> nn.Module:
    """Stem, three stages of blocks, norm, global mean, dense: [N, C, H, W] to logits [N, classes]."""
    layers: list[nn.Module] = [nn.Conv2d(image.channels, 16, 3, padding=1, bias=False)]
    channels = 16
    for stage in range(3):
        wider = 16 * config.width * 2**stage
        for block in range(config.blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(
                WideBlock(channels, wider, stride, dropout=config.dropout, activation=config.activation),
            )
            channels = wider
    network = nn.Sequential(
        *layers,
        nn.BatchNorm2d(channels),
        ACTIVATIONS[config.activation](),
        GlobalMean(),
        Classifier(channels, image.classes),
    )
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network
