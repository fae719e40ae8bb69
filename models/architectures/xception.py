"""Xception (Chollet 2017, arXiv:1610.02357, figure 5), which torchvision has not.

Tensors have the names of Cadene's port of Keras' weights, ``xception-43020ad28.pth``, which timm calls legacy_xception.
"""

from itertools import chain

from torch import Tensor, nn

from models.architectures.parts import Classifier, GlobalMean, in_colour
from models.architectures.published_configs import XceptionConfig
from models.architectures.registry import register
from models.datasets import ImageSpec

MIDDLE = 728  # channels of the middle flow


class SeparableConv(nn.Module):
    """A 3x3 convolution of every channel by itself, then a 1x1 across them: [N, C, H, W] to [N, C', H, W]."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False)
        self.pointwise = nn.Conv2d(channels_in, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise(self.conv1(x))
        return out


class Block(nn.Module):
    """ReLU, separable convolution, norm, for each width, beside a shortcut; ``halve`` pools at the end.

    [N, C, H, W] to [N, widths[-1], H', W'].
    """

    def __init__(self, channels_in: int, *widths: int, halve: bool = False, relu_first: bool = True) -> None:
        super().__init__()
        channels = channels_in
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.ReLU(), SeparableConv(channels, width), nn.BatchNorm2d(width)]
            channels = width
        if not relu_first:
            del layers[0]
        if halve:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        self.rep = nn.Sequential(*layers)
        self.skip = nn.Conv2d(channels_in, channels, 1, stride=2, bias=False) if halve else None
        self.skipbn = nn.BatchNorm2d(channels) if halve else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.rep(x)
        if self.skip is not None and self.skipbn is not None:
            x = self.skipbn(self.skip(x))
        return out + x


class Xception(nn.Module):
    """[N, 3, H, W] to logits [N, classes]."""

    def __init__(self, classes: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.block1 = Block(64, 128, 128, halve=True, relu_first=False)
        self.block2 = Block(128, 256, 256, halve=True)
        self.block3 = Block(256, MIDDLE, MIDDLE, halve=True)
        for number in range(4, 12):
            self.add_module(f"block{number}", Block(MIDDLE, MIDDLE, MIDDLE, MIDDLE))
        self.block12 = Block(MIDDLE, MIDDLE, 1024, halve=True)
        self.conv3 = SeparableConv(1024, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.conv4 = SeparableConv(1536, 2048)
        self.bn4 = nn.BatchNorm2d(2048)
        self.relu = nn.ReLU()
        self.pool = GlobalMean()
        self.fc = Classifier(2048, classes, dropout)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        for number in range(1, 13):
            x = self.get_submodule(f"block{number}")(x)
        x = self.relu(self.bn3(self.conv3(x)))
        x = self.relu(self.bn4(self.conv4(x)))
        logits: Tensor = self.fc(self.pool(x))
        return logits

    def keras_layers(self) -> list[nn.Module | None]:
        """Keras' layers before the classifier, in its order: the module that each stands for, None without parameters.

        The order of ``keras.applications.Xception(include_top=False).layers``.
        """
        return [None if name is None else self.get_submodule(name) for _, name in KERAS_LAYERS]


def _keras_block(number: int, *, separable: int, halve: bool) -> list[tuple[str, str | None]]:
    """Keras' block ``number``, which is block ``number`` - 1 here."""
    here = f"block{number - 1}"
    first = 0 if number > 2 else -1  # the first block has no ReLU before its first convolution
    layers: list[tuple[str, str | None]] = []
    for index in range(separable):
        keras = f"block{number}_sepconv{index + 1}"
        if number > 2 or index > 0:
            layers.append((f"{keras}_act", None))
        layers += [
            (keras, f"{here}.rep.{first + 3 * index + 1}"),
            (f"{keras}_bn", f"{here}.rep.{first + 3 * index + 2}"),
        ]
    if halve:
        layers += [(f"block{number}_skip", f"{here}.skip"), (f"block{number}_pool", None)]
        layers.append((f"block{number}_skip_bn", f"{here}.skipbn"))
    return [*layers, (f"block{number}_add", None)]


# Keras' own name of each layer (the shortcuts, which it only numbers, are called skip and add here) and the module.
KERAS_LAYERS: tuple[tuple[str, str | None], ...] = (
    ("input", None),
    ("block1_conv1", "conv1"),
    ("block1_conv1_bn", "bn1"),
    ("block1_conv1_act", None),
    ("block1_conv2", "conv2"),
    ("block1_conv2_bn", "bn2"),
    ("block1_conv2_act", None),
    *chain.from_iterable(_keras_block(number, separable=2, halve=True) for number in (2, 3, 4)),
    *chain.from_iterable(_keras_block(number, separable=3, halve=False) for number in range(5, 13)),
    *_keras_block(13, separable=2, halve=True),
    ("block14_sepconv1", "conv3"),
    ("block14_sepconv1_bn", "bn3"),
    ("block14_sepconv1_act", None),
    ("block14_sepconv2", "conv4"),
    ("block14_sepconv2_bn", "bn4"),
    ("block14_sepconv2_act", None),
)


@register("xception", XceptionConfig)
def xception(config: XceptionConfig, image: ImageSpec) -> nn.Module:
    """[N, C, H, W] to logits [N, classes]."""
    return in_colour(Xception(image.classes, config.dropout), image)
