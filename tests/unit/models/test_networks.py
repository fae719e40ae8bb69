from typing import Any

import pytest
import torch
from torch import nn

from models.architectures import resnet_small, two_conv
from models.architectures.configs import TwoConvConfig
from models.architectures.registry import build, register
from models.catalog import parse_config
from models.datasets import DATASETS, ImageSpec
from models.image_config import ImageCnnConfig
from models.optim import build_optimizer, set_lr


def config(**entries: Any) -> ImageCnnConfig:
    parsed = parse_config("image-cnn", entries)
    assert isinstance(parsed, ImageCnnConfig)
    return parsed


def shape(dataset: str) -> ImageSpec:
    image = DATASETS[dataset].image
    assert image is not None
    return image


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("dataset", ["digits", "mnist", "cifar10"])
@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"filters1": 1, "filters2": 3, "dense_units": 1, "activation": "sigmoid"},
        {"architecture": "resnet_small"},
        {"architecture": "resnet_small", "width": 3, "blocks": 2, "stages": 4},
        {"architecture": "resnet_small", "stages": 1},
    ],
)
def test_a_network_takes_the_images_of_its_data_set(dataset: str, entries: dict[str, Any]) -> None:
    image = shape(dataset)
    network = build(config(dataset=dataset, **entries), image)
    logits = network(torch.zeros(2, image.channels, image.side, image.side))
    assert list(logits.shape) == [2, image.classes]


def test_two_conv_has_the_layers_of_the_paper() -> None:
    network = build(config(dataset="cifar10", filters1=16, filters2=32, dense_units=64, dropout=0.3), shape("cifar10"))
    kinds = [type(layer).__name__ for layer in network.children()]
    assert (
        " ".join(kinds)
        == "Conv2d ReLU Conv2d ReLU MaxPool2d Dropout ChannelsLast Flatten Linear ReLU Dropout Classifier"
    )
    conv, dense = 3 * 16 * 9 + 16 + 16 * 32 * 9 + 32, 32 * 14 * 14 * 64 + 64 + 64 * 10 + 10
    assert parameters(network) == conv + dense
    assert {layer.p for layer in network.children() if isinstance(layer, nn.Dropout)} == {0.3}


@pytest.mark.parametrize(("blocks", "millions"), [(3, 0.27), (5, 0.46), (9, 0.85)])
def test_resnet_small_has_the_size_that_the_paper_states(blocks: int, millions: float) -> None:
    """Table 6 of He et al. 2016: ResNet-20, -32 and -56."""
    network = build(config(dataset="cifar10", architecture="resnet_small", blocks=blocks), shape("cifar10"))
    assert round(parameters(network) / 1e6, 2) == millions
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in network.modules()) == 6 * blocks + 2


def test_a_stage_of_resnet_small_halves_the_side() -> None:
    block = resnet_small.Block(4, 8, stride=2)
    assert list(block(torch.zeros(2, 4, 8, 8)).shape) == [2, 8, 4, 4]


def test_the_shortcut_carries_the_image_past_silent_convolutions() -> None:
    block = resnet_small.Block(2, 5, stride=2).eval()
    nn.init.zeros_(block.conv2.weight)
    image = torch.rand(1, 2, 4, 4)
    out = block(image)
    assert torch.equal(out[:, :2], image[:, :, ::2, ::2])
    assert not out[:, 2:].any()


def test_initial_weights_follow_from_the_generator() -> None:
    def weights(seed: int) -> torch.Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return torch.cat([parameter.flatten() for parameter in build(config(), shape("digits")).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_an_architecture_is_registered_once() -> None:
    with pytest.raises(ValueError, match="two_conv is registered twice"):
        register("two_conv", TwoConvConfig)(two_conv.two_conv)


def test_the_configuration_of_another_architecture_is_refused() -> None:
    wrong = config(architecture="resnet_small").model_copy(update={"architecture": "two_conv"})
    with pytest.raises(TypeError, match="two_conv is built from a TwoConvConfig, got ResnetSmallConfig"):
        build(wrong, shape("digits"))


@pytest.mark.parametrize(
    ("name", "kind", "momentum"),
    [
        ("sgd", torch.optim.SGD, 0.5),
        ("rmsprop", torch.optim.RMSprop, 0.5),
        ("adam", torch.optim.Adam, None),
        ("adamw", torch.optim.AdamW, None),
        ("adadelta", torch.optim.Adadelta, None),
    ],
)
def test_an_optimizer_has_what_the_configuration_says(
    name: str, kind: type[torch.optim.Optimizer], momentum: float | None
) -> None:
    wanted = config(optimizer=name, lr=0.25, momentum=0.5, weight_decay=0.125)
    optimizer = build_optimizer(wanted, build(wanted, shape("digits")).parameters())
    assert type(optimizer) is kind
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"], group.get("momentum")) == (0.25, 0.125, momentum)


@pytest.mark.parametrize(("name", "momentum"), [("sgd", 0.9), ("rmsprop", 0.0)])
def test_momentum_is_by_default_what_suits_the_optimizer(name: str, momentum: float) -> None:
    wanted = config(optimizer=name)
    assert build_optimizer(wanted, build(wanted, shape("digits")).parameters()).param_groups[0]["momentum"] == momentum


def test_the_learning_rate_is_set_on_every_group() -> None:
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(2)], lr=1.0)
    set_lr(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
