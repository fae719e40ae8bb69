"""The architectures that can be named, and the typed configuration of those that are built here. Torch-free."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictFloat, StrictInt, model_validator

from models.architectures.config_base import Activation, ArchitectureConfig
from models.architectures.published_configs import PUBLISHED, TIMM, TIMM_PREFIX
from models.image_config import ImageCnnConfig
from models.job import InvalidConfig


class TwoConvConfig(ArchitectureConfig):
    """Two 3x3 convolutions, one dense layer; ``dropout`` is used before and after the dense layer."""

    SMALLEST_SIDE: ClassVar[int] = 6  # two unpadded 3x3 convolutions take 4 px, the pooling halves the rest
    LAYERS: ClassVar[int | None] = 3

    architecture: Literal["two_conv"] = "two_conv"
    filters1: Annotated[StrictInt, Field(ge=1, le=512)] = 32
    filters2: Annotated[StrictInt, Field(ge=1, le=512)] = 32
    dense_units: Annotated[StrictInt, Field(ge=1, le=4096)] = 128
    dropout: Annotated[StrictFloat, Field(ge=0, le=0.9)] = 0.2
    activation: Activation = "relu"


class ResnetSmallConfig(ArchitectureConfig):
    """A CIFAR-form ResNet of ``2 * stages * blocks + 2`` layers; each stage doubles the width and halves the side."""

    SMALLEST_BATCH: ClassVar[int] = 2
    MAX_CHANNELS: ClassVar[int] = 1024

    architecture: Literal["resnet_small"] = "resnet_small"
    width: Annotated[StrictInt, Field(ge=1, le=256)] = 16
    blocks: Annotated[StrictInt, Field(ge=1, le=18, description="residual blocks per stage")] = 1
    stages: Annotated[StrictInt, Field(ge=1, le=6)] = 3
    activation: Activation = "relu"

    @model_validator(mode="after")
    def _size(self) -> Self:
        channels = self.width * 2 ** (self.stages - 1)
        if channels > self.MAX_CHANNELS:
            raise InvalidConfig(
                "width",
                f"got {self.width}, which {self.stages} stages double to {channels} channels, "
                f"want at most {self.MAX_CHANNELS}",
            )
        return self

    @property
    def smallest_side(self) -> int:
        return int(2 ** (self.stages - 1))

    @property
    def most_tuned_layers(self) -> int:
        return 2 + 4 * self.stages * self.blocks  # a convolution and a norm for the stem, two of each per block


class ResnetCifarConfig(ArchitectureConfig):
    """The networks of He et al. 2016 (arXiv:1512.03385), section 4.2: three stages of 16, 32 and 64 channels."""

    SMALLEST_SIDE: ClassVar[int] = 4
    SMALLEST_BATCH: ClassVar[int] = 2
    BLOCKS: ClassVar[int]

    activation: Activation = "relu"

    @property
    def most_tuned_layers(self) -> int:
        return 2 + 12 * self.BLOCKS


class Resnet20Config(ResnetCifarConfig):
    """ResNet-20 for small images, 0.27 M parameters (He et al. 2016, arXiv:1512.03385, table 6)."""

    BLOCKS: ClassVar[int] = 3

    architecture: Literal["resnet20"] = "resnet20"


class Resnet32Config(ResnetCifarConfig):
    """ResNet-32 for small images, 0.46 M parameters (He et al. 2016, arXiv:1512.03385, table 6)."""

    BLOCKS: ClassVar[int] = 5

    architecture: Literal["resnet32"] = "resnet32"


class Resnet56Config(ResnetCifarConfig):
    """ResNet-56 for small images, 0.85 M parameters (He et al. 2016, arXiv:1512.03385, table 6)."""

    BLOCKS: ClassVar[int] = 9

    architecture: Literal["resnet56"] = "resnet56"


class WideResnetConfig(ArchitectureConfig):
    """WRN-``depth``-``width`` for small images (Zagoruyko & Komodakis 2016, arXiv:1605.07146).

    ``dropout`` stands where the paper has it: between the two convolutions of every block.
    """

    SMALLEST_SIDE: ClassVar[int] = 4
    SMALLEST_BATCH: ClassVar[int] = 2

    architecture: Literal["wide_resnet"] = "wide_resnet"
    depth: Annotated[StrictInt, Field(ge=10, le=100, description="6 n + 4, for n residual blocks in each stage")] = 16
    width: Annotated[StrictInt, Field(ge=1, le=20, description="times 16, 32 and 64 channels")] = 4
    activation: Activation = "relu"

    @model_validator(mode="after")
    def _whole_blocks(self) -> Self:
        if self.depth % 6 != 4:
            raise InvalidConfig("depth", f"got {self.depth}, want 6 n + 4: 10, 16, 22, 28, 34, 40, ...")
        return self

    @property
    def blocks(self) -> int:
        """Residual blocks in each of the three stages."""
        return (self.depth - 4) // 6

    @property
    def most_tuned_layers(self) -> int:
        shortcuts = 2 if self.width == 1 else 3  # the first stage needs none where it keeps the 16 channels
        return 2 + 12 * self.blocks + shortcuts


ARCHITECTURES: Mapping[str, type[ImageCnnConfig]] = {
    "resnet20": Resnet20Config,
    "resnet32": Resnet32Config,
    "resnet56": Resnet56Config,
    "resnet_small": ResnetSmallConfig,
    "two_conv": TwoConvConfig,
    "wide_resnet": WideResnetConfig,
    **PUBLISHED,
}


def entry_of(architecture: str) -> str:
    """The entry of ARCHITECTURES that ``architecture`` belongs to, if it is any."""
    return TIMM if architecture.startswith(TIMM_PREFIX) else architecture
