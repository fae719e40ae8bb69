"""Any model of timm, where that is installed (Wightman, doi:10.5281/zenodo.4414861)."""

from types import ModuleType

import torch
from torch import nn

from models._torchvision import fakes_of_missing_operators_skipped
from models.architectures.parts import in_colour, replace_classifier
from models.architectures.published_configs import TIMM, TimmConfig
from models.architectures.registry import register
from models.config_base import shown
from models.datasets import ImageSpec
from models.job import InvalidConfig


def import_timm() -> ModuleType:
    """timm, which imports torchvision. Raises InvalidConfig where it is not installed."""
    try:
        with fakes_of_missing_operators_skipped():
            import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise InvalidConfig(
            "architecture", "timm:... needs timm, which this worker has not: pip install 'ladder-hpo[timm]'"
        ) from error
    module: ModuleType = timm
    return module


@register(TIMM, TimmConfig)
def timm_model(config: TimmConfig, image: ImageSpec) -> nn.Module:
    """[N, C, H, W] to logits [N, classes].

    Raises InvalidConfig if timm has no such model, it does not end in one dense layer, or takes no such images.
    """
    timm = import_timm()
    if not timm.is_model(config.model_name):
        raise InvalidConfig("architecture", f"timm {timm.__version__} has no model {config.model_name!r}")
    network = timm.create_model(config.model_name, pretrained=False, num_classes=image.classes)
    ends = [name for name, module in network.named_modules() if module is network.get_classifier()]
    if not ends or not isinstance(network.get_submodule(ends[0]), nn.Linear):
        raise InvalidConfig("architecture", f"{config.architecture} does not end in one dense layer, which is wanted")
    replace_classifier(network, ends[0], config.dropout)
    network = in_colour(network, image)
    _try(network, config, image)
    return network


def _try(network: nn.Module, config: TimmConfig, image: ImageSpec) -> None:
    """What sizes a model of timm takes is nowhere written, so it is tried."""
    device = next(network.parameters()).device
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, image.channels, image.side, image.side, device=device))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InvalidConfig(
            "image_size", f"got {image.side}, {config.architecture} takes no such images: {shown(str(error))}"
        ) from error
    network.train()
