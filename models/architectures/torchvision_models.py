"""The networks that torchvision has, under its names of tensors, so that its weights fit."""

from collections import OrderedDict
from typing import Any

from torch import nn

from models._torchvision import import_models
from models.architectures.parts import AdaptiveMean, Classifier, DenseHead, in_colour, replace_classifier, replace_relu
from models.architectures.published_configs import (
    ConvnextTinyConfig,
    EfficientnetB0Config,
    EfficientnetB1Config,
    EfficientnetB2Config,
    EfficientnetB3Config,
    GooglenetConfig,
    InceptionV3Config,
    MobilenetV3Config,
    PublishedConfig,
    Resnet18Config,
    Resnet34Config,
    Resnet50Config,
    Vgg11Config,
    Vgg16Config,
    VggConfig,
)
from models.architectures.registry import register
from models.datasets import ImageSpec

VGG_MAP = 7  # side of the map that the published dense layers take


@register("resnet18", Resnet18Config)
@register("resnet34", Resnet34Config)
@register("resnet50", Resnet50Config)
def resnet(config: Resnet18Config | Resnet34Config | Resnet50Config, image: ImageSpec) -> nn.Module:
    """[N, C, H, W] to logits [N, classes]."""
    network = _network(config, image)
    replace_classifier(network, "fc", config.dropout)
    replace_relu(network, config.activation)
    return in_colour(network, image)


@register("vgg11", Vgg11Config)
@register("vgg16", Vgg16Config)
def vgg(config: VggConfig, image: ImageSpec) -> nn.Module:
    """[N, C, H, W] to logits [N, classes].

    The published dense part (4096 units) takes a map of 7x7 whatever the image, another one the image's own up to that.
    """
    parts = import_models().vgg  # in parts, since the whole would first make 100 M weights that may not be wanted
    features = parts.make_layers(parts.cfgs[config.LETTER], batch_norm=config.batch_norm)
    side = image.side // 32  # five poolings
    wanted = min(side, VGG_MAP) if config.new_dense_part else VGG_MAP
    pool = nn.Identity() if wanted == side else AdaptiveMean(side, wanted)
    dense = _dense_part(512 * wanted**2, config, image.classes)
    layers = {"features": features, "avgpool": pool, "flatten": nn.Flatten(), "classifier": dense}
    network = nn.Sequential(OrderedDict(layers))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            mode: Any = "fan_out" if isinstance(layer, nn.Conv2d) else "fan_in"
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    replace_relu(network, config.activation)
    return in_colour(network, image)


def _dense_part(features: int, config: VggConfig, classes: int) -> nn.Sequential:
    units = config.dense_units
    container = DenseHead if config.new_dense_part else nn.Sequential
    last = nn.Linear(units, classes) if config.new_dense_part else Classifier(units, classes)
    return container(
        nn.Linear(features, units),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(units, units),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        last,
    )


@register("googlenet", GooglenetConfig)
@register("inception_v3", InceptionV3Config)
def inception(config: GooglenetConfig | InceptionV3Config, image: ImageSpec) -> nn.Module:
    """[N, C, H, W] to logits [N, classes], without auxiliary classifiers."""
    # torchvision's transform_input is left out: models.transfer normalises by the constants that it amounts to.
    network = _network(config, image, dropout=config.dropout, aux_logits=False, init_weights=True)
    replace_classifier(network, "fc")
    return in_colour(network, image)


@register("mobilenet_v3", MobilenetV3Config)
@register("efficientnet_b0", EfficientnetB0Config)
@register("efficientnet_b1", EfficientnetB1Config)
@register("efficientnet_b2", EfficientnetB2Config)
@register("efficientnet_b3", EfficientnetB3Config)
def mobile(config: PublishedConfig, image: ImageSpec) -> nn.Module:
    """[N, C, H, W] to logits [N, classes]."""
    network = _network(config, image, dropout=config.dropout)
    replace_classifier(network, f"classifier.{len(network.classifier) - 1}")
    return in_colour(network, image)


@register("convnext_tiny", ConvnextTinyConfig)
def convnext(config: ConvnextTinyConfig, image: ImageSpec) -> nn.Module:
    """[N, C, H, W] to logits [N, classes]."""
    network = _network(config, image)
    replace_classifier(network, "classifier.2", config.dropout)
    return in_colour(network, image)


def _network(config: PublishedConfig, image: ImageSpec, **options: Any) -> Any:
    return import_models().get_model(config.torchvision_name, weights=None, num_classes=image.classes, **options)
