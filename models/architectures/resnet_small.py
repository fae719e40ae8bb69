"""ResNet in its CIFAR form: 3x3 stem, no pooling before the stages (He et al. 2016, arXiv:1512.03385, section 4.2)."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.configs import ResnetSmallConfig
from models.architectures.registry import register
from models.datasets import ImageSpec


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters, the paper's option A.

    [N, C, H, W] to [N, C', H / stride, W / stride].
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.missing = channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.conv1(x)))
        inner = self.norm2(self.conv2(inner))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return F.relu(inner + F.pad(shortcut, (0, 0, 0, 0, 0, self.missing)))


class GlobalMean(nn.Module):
    """[N, C, H, W] to [N, C]. A plain mean: the backward of adaptive pooling is not deterministic on CUDA."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


@register("resnet_small", ResnetSmallConfig)
def resnet_small(config: ResnetSmallConfig, image: ImageSpec) -> nn.Module:
    """Stem, stages of residual blocks, global mean, dense: [N, C, H, W] to logits [N, classes]."""
    layers: list[nn.Module] = [
        nn.Conv2d(image.channels, config.width, 3, padding=1, bias=False),
        nn.BatchNorm2d(config.width),
        nn.ReLU(),
    ]
    channels = config.width
    for stage in range(config.stages):
        wider = config.width * 2**stage
        for block in range(config.blocks):
            layers.append(Block(channels, wider, stride=2 if stage > 0 and block == 0 else 1))
            channels = wider
    network = nn.Sequential(*layers, GlobalMean(), nn.Linear(channels, image.classes))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network
