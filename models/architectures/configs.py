"""The typed configuration of every architecture, without torch; their networks are built in the modules beside it."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictFloat, StrictInt, model_validator

from models.image_config import ImageCnnConfig
from models.job import InvalidConfig


class TwoConvConfig(ImageCnnConfig):
    """Two 3x3 convolutions, one dense layer; ``dropout`` is used before and after the dense layer."""

    architecture: Literal["two_conv"] = "two_conv"
    filters1: Annotated[StrictInt, Field(ge=1, le=512)] = 32
    filters2: Annotated[StrictInt, Field(ge=1, le=512)] = 32
    dense_units: Annotated[StrictInt, Field(ge=1, le=4096)] = 128
    dropout: Annotated[StrictFloat, Field(ge=0, le=0.9)] = 0.2
    activation: Literal["relu", "sigmoid", "tanh", "gelu", "silu"] = "relu"

    @property
    def smallest_side(self) -> int:
        return 6  # two unpadded 3x3 convolutions take 4 px, the pooling halves the rest


class ResnetSmallConfig(ImageCnnConfig):
    """A CIFAR-form ResNet of ``2 * stages * blocks + 2`` layers; each stage doubles the width and halves the side."""

    MAX_CHANNELS: ClassVar[int] = 1024

    architecture: Literal["resnet_small"] = "resnet_small"
    width: Annotated[StrictInt, Field(ge=1, le=256)] = 16
    blocks: Annotated[StrictInt, Field(ge=1, le=18, description="residual blocks per stage")] = 1
    stages: Annotated[StrictInt, Field(ge=1, le=6)] = 3

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
    def smallest_batch(self) -> int:
        return 2


ARCHITECTURES: Mapping[str, type[ImageCnnConfig]] = {"resnet_small": ResnetSmallConfig, "two_conv": TwoConvConfig}
