"""ResNet in its CIFAR form: 3x3 stem, no pooling before the stages (He et al. 2016, arXiv:1512.03385, section 4.2)."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.config_base import Activation
from models.architectures.configs import (
    Resnet20Config,
    Resnet32Config,
    Resnet56Config,
    ResnetCifarConfig,
    ResnetSmallConfig,
)
from models.architectures.parts import ACTIVATIONS, Classifier, GlobalMean
from models.architectures.registry import register
from models.datasets import ImageSpec


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters, the paper's option A.

    [N, C, H, W] to [N, C', H / stride, W / stride].
    """

    def __init__(self, channels_in: int, channels: int, stride: int, *, activation: Activation = "relu") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.activation = ACTIVATIONS[activation]()
        self.stride = stride
        self.missing = channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.norm1(self.conv1(x)))
        inner = self.norm2(self.conv2(inner))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        out: Tensor = self.activation(inner + F.pad(shortcut, (0, 0, 0, 0, 0, self.missing)))
        return out


@register("resnet_small", ResnetSmallConfig)
def resnet_small(config: ResnetSmallConfig, image: ImageSpec) -> nn.Module:
    """Stem, stages of residual blocks, global mean, dense: [N, C, H, W] to logits [N, classes]."""
    layers: list[nn.Module] = [
        nn.Conv2d(image.channels, config.width, 3, padding=1, bias=False),
        nn.BatchNorm2d(config.width),
        ACTIVATIONS[config.activation](),
    ]
    channels = config.width
    for stage in range(config.stages):
        wider = config.width * 2**stage
        for block in range(config.blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(Block(channels, wider, stride, activation=config.activation))
            channels = wider
    network = nn.Sequential(*layers, GlobalMean(), Classifier(channels, image.classes, config.dropout))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network


@register("resnet20", Resnet20Config)
@register("resnet32", Resnet32Config)
@register("resnet56", Resnet56Config)
def resnet_cifar(config: ResnetCifarConfig, image: ImageSpec) -> nn.Module:
    """The paper's networks of 20, 32 and 56 layers: [N, C, H, W] to logits [N, classes]."""
    common = {name: getattr(config, name) for name in ("activation", "dropout")}
    return resnet_small(ResnetSmallConfig.model_construct(width=16, blocks=config.BLOCKS, stages=3, **common), image)
