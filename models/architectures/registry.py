"""From a configuration to its network: every architecture registers the function that builds it."""

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from models.datasets import ImageSpec
from models.image_config import ImageCnnConfig

Config = TypeVar("Config", bound=ImageCnnConfig)

_BUILDERS: dict[str, tuple[type[ImageCnnConfig], Callable[..., nn.Module]]] = {}


def register(
    name: str, config: type[Config]
) -> Callable[[Callable[[Config, ImageSpec], nn.Module]], Callable[[Config, ImageSpec], nn.Module]]:
    """Make the decorated function the builder of the architecture ``name``."""

    def enter(builder: Callable[[Config, ImageSpec], nn.Module]) -> Callable[[Config, ImageSpec], nn.Module]:
        if name in _BUILDERS:
            raise ValueError(f"architecture {name} is registered twice")
        _BUILDERS[name] = (config, builder)
        return builder

    return enter


def build(config: ImageCnnConfig, image: ImageSpec) -> nn.Module:
    """The network of ``config`` for such images: normalised floats [N, C, H, W] to logits [N, classes].

    Initial weights come from torch's global generator: seed it, and restore it, around the call.
    """
    kind, builder = _BUILDERS[config.architecture]
    if not isinstance(config, kind):
        raise TypeError(f"{config.architecture} is built from a {kind.__name__}, got {type(config).__name__}")
    return builder(config, image)
