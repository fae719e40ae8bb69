"""From a configuration to its network: every architecture registers the function that builds it."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from torch import nn

from models.architectures.configs import entry_of
from models.architectures.published_configs import TIMM
from models.datasets import ImageSpec
from models.image_config import ImageCnnConfig

Builder = TypeVar("Builder", bound=Callable[[Any, ImageSpec], nn.Module])

# Where each is registered. Imported when it is first built: torchvision alone takes a second, timm several.
_MODULES: Mapping[str, str] = {
    "resnet20": "resnet_small",
    "resnet32": "resnet_small",
    "resnet56": "resnet_small",
    "resnet_small": "resnet_small",
    TIMM: "timm_models",
    "two_conv": "two_conv",
    "wide_resnet": "wide_resnet",
    "xception": "xception",
}
_TORCHVISION = "torchvision_models"  # all others

_BUILDERS: dict[str, tuple[type[ImageCnnConfig], Callable[..., nn.Module]]] = {}


def register(name: str, config: type[ImageCnnConfig]) -> Callable[[Builder], Builder]:
    """Make the decorated function the builder of the architecture ``name``, whose configuration is a ``config``."""

    def enter(builder: Builder) -> Builder:
        if name in _BUILDERS:
            raise ValueError(f"architecture {name} is registered twice")
        _BUILDERS[name] = (config, builder)
        return builder

    return enter


def build(config: ImageCnnConfig, image: ImageSpec) -> nn.Module:
    """The network of ``config`` for such images: normalised floats [N, C, H, W] to logits [N, classes].

    Initial weights come from torch's global generator: seed it, and restore it, around the call. Raises InvalidConfig
    for what only the images or an installed library tell.
    """
    name = entry_of(config.architecture)
    if name not in _BUILDERS:
        import_module(f"models.architectures.{_MODULES.get(name, _TORCHVISION)}")
    kind, builder = _BUILDERS[name]
    if not isinstance(config, kind):
        raise TypeError(f"{config.architecture} is built from a {kind.__name__}, got {type(config).__name__}")
    return builder(config, image)
