"""The typed configuration of the networks that were published with ImageNet weights. Torch-free."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from models.architectures.config_base import Activation, ArchitectureConfig
from models.image_config import ImageCnnConfig

TIMM = "timm:NAME"  # stands in the catalog for every model of timm
TIMM_PREFIX = "timm:"


class PublishedConfig(ArchitectureConfig):
    """Networks of three channels: grey images are repeated."""

    SMALLEST_SIDE: ClassVar[int] = 17  # below, the last of five halvings has nothing left to halve
    SMALLEST_BATCH: ClassVar[int] = 2

    @property
    def has_weights(self) -> bool:
        return True

    @property
    def torchvision_name(self) -> str:
        """What the network is called there."""
        return self.architecture


class Resnet18Config(PublishedConfig):
    """ResNet-18, 11.7 M parameters (He et al. 2016, arXiv:1512.03385)."""

    LAYERS: ClassVar[int | None] = 40

    architecture: Literal["resnet18"] = "resnet18"
    activation: Activation = "relu"


class Resnet34Config(PublishedConfig):
    """ResNet-34, 21.8 M parameters (He et al. 2016, arXiv:1512.03385)."""

    LAYERS: ClassVar[int | None] = 72

    architecture: Literal["resnet34"] = "resnet34"
    activation: Activation = "relu"


class Resnet50Config(PublishedConfig):
    """ResNet-50, 25.6 M parameters (He et al. 2016, arXiv:1512.03385)."""

    LAYERS: ClassVar[int | None] = 106

    architecture: Literal["resnet50"] = "resnet50"
    activation: Activation = "relu"


class VggConfig(PublishedConfig):
    """Simonyan & Zisserman 2015, arXiv:1409.1556. ``dropout`` also stands between the dense layers.

    ``dense_units`` other than the published 4096 make the dense part a new classifier on a map of at most 7x7, as
    large as the image gives: 32 px then need 512 inputs and not 25,088.
    """

    SMALLEST_SIDE: ClassVar[int] = 32
    LETTER: ClassVar[str]  # of the paper's table 1
    CONVOLUTIONS: ClassVar[int]
    PUBLISHED_UNITS: ClassVar[int] = 4096

    batch_norm: StrictBool = True
    dense_units: Annotated[StrictInt, Field(ge=1, le=4096)] = PUBLISHED_UNITS
    activation: Activation = "relu"

    @property
    def smallest_batch(self) -> int:
        return 2 if self.batch_norm else 1

    @property
    def new_dense_part(self) -> bool:
        return self.dense_units != self.PUBLISHED_UNITS

    @property
    def most_tuned_layers(self) -> int:
        dense = 0 if self.new_dense_part else 2
        return self.CONVOLUTIONS * (2 if self.batch_norm else 1) + dense

    @property
    def torchvision_name(self) -> str:
        return f"{self.architecture}_bn" if self.batch_norm else self.architecture


class Vgg11Config(VggConfig):
    """VGG-11 (A), 132.9 M parameters with 4096 dense units (Simonyan & Zisserman 2015, arXiv:1409.1556)."""

    LETTER: ClassVar[str] = "A"
    CONVOLUTIONS: ClassVar[int] = 8

    architecture: Literal["vgg11"] = "vgg11"


class Vgg16Config(VggConfig):
    """VGG-16 (D), 138.4 M parameters with 4096 dense units (Simonyan & Zisserman 2015, arXiv:1409.1556)."""

    LETTER: ClassVar[str] = "D"
    CONVOLUTIONS: ClassVar[int] = 13

    architecture: Literal["vgg16"] = "vgg16"


class GooglenetConfig(PublishedConfig):
    """GoogLeNet with batch normalisation, 6.6 M parameters (Szegedy et al. 2015, arXiv:1409.4842).

    Without the two auxiliary classifiers, which only served training without batch normalisation.
    """

    SMALLEST_SIDE: ClassVar[int] = 15
    LAYERS: ClassVar[int | None] = 114

    architecture: Literal["googlenet"] = "googlenet"


class InceptionV3Config(PublishedConfig):
    """Inception v3, 23.8 M parameters (Szegedy et al. 2016, arXiv:1512.00567), without the auxiliary classifier."""

    SMALLEST_SIDE: ClassVar[int] = 75
    LAYERS: ClassVar[int | None] = 188

    architecture: Literal["inception_v3"] = "inception_v3"


class XceptionConfig(PublishedConfig):
    """Xception, 22.9 M parameters (Chollet 2017, arXiv:1610.02357). ``tuned_layers`` counts Keras' 132 layers."""

    SMALLEST_SIDE: ClassVar[int] = 71  # Keras' bound, and the smallest of experiment E1
    LAYERS: ClassVar[int | None] = 132

    architecture: Literal["xception"] = "xception"


class MobilenetV3Config(PublishedConfig):
    """MobileNetV3, 2.5 M (small) or 5.5 M (large) parameters (Howard et al. 2019, arXiv:1905.02244)."""

    architecture: Literal["mobilenet_v3"] = "mobilenet_v3"
    size: Literal["small", "large"] = "small"

    @property
    def most_tuned_layers(self) -> int:
        return 87 if self.size == "small" else 109

    @property
    def torchvision_name(self) -> str:
        return f"{self.architecture}_{self.size}"


class EfficientnetB0Config(PublishedConfig):
    """EfficientNet-B0, 5.3 M parameters (Tan & Le 2019, arXiv:1905.11946)."""

    LAYERS: ClassVar[int | None] = 130

    architecture: Literal["efficientnet_b0"] = "efficientnet_b0"


class EfficientnetB1Config(PublishedConfig):
    """EfficientNet-B1, 7.8 M parameters (Tan & Le 2019, arXiv:1905.11946)."""

    LAYERS: ClassVar[int | None] = 184

    architecture: Literal["efficientnet_b1"] = "efficientnet_b1"


class EfficientnetB2Config(PublishedConfig):
    """EfficientNet-B2, 9.1 M parameters (Tan & Le 2019, arXiv:1905.11946)."""

    LAYERS: ClassVar[int | None] = 184

    architecture: Literal["efficientnet_b2"] = "efficientnet_b2"


class EfficientnetB3Config(PublishedConfig):
    """EfficientNet-B3, 12.2 M parameters (Tan & Le 2019, arXiv:1905.11946)."""

    LAYERS: ClassVar[int | None] = 208

    architecture: Literal["efficientnet_b3"] = "efficientnet_b3"


class ConvnextTinyConfig(PublishedConfig):
    """ConvNeXt-T, 28.6 M parameters (Liu et al. 2022, arXiv:2201.03545)."""

    SMALLEST_SIDE: ClassVar[int] = 32
    SMALLEST_BATCH: ClassVar[int] = 1
    LAYERS: ClassVar[int | None] = 81

    architecture: Literal["convnext_tiny"] = "convnext_tiny"


class TimmConfig(PublishedConfig):
    """Any model of timm (Wightman, doi:10.5281/zenodo.4414861) that ends in one dense layer, named after the prefix.

    Needs the extra ``timm`` on the workers. Whether there is such a model, and how small its images may be, shows when
    it is built.
    """

    SMALLEST_SIDE: ClassVar[int] = 1

    architecture: Annotated[str, Field(pattern=r"^timm:[A-Za-z0-9_.]{1,100}$")]

    @property
    def model_name(self) -> str:
        """timm's own name of the model."""
        return self.architecture.removeprefix(TIMM_PREFIX)


PUBLISHED: Mapping[str, type[ImageCnnConfig]] = {
    "convnext_tiny": ConvnextTinyConfig,
    "efficientnet_b0": EfficientnetB0Config,
    "efficientnet_b1": EfficientnetB1Config,
    "efficientnet_b2": EfficientnetB2Config,
    "efficientnet_b3": EfficientnetB3Config,
    "googlenet": GooglenetConfig,
    "inception_v3": InceptionV3Config,
    "mobilenet_v3": MobilenetV3Config,
    "resnet18": Resnet18Config,
    "resnet34": Resnet34Config,
    "resnet50": Resnet50Config,
    TIMM: TimmConfig,
    "vgg11": Vgg11Config,
    "vgg16": Vgg16Config,
    "xception": XceptionConfig,
}
