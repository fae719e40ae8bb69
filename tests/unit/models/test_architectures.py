"""Every architecture of the catalog: its shape, its published size, its first step, and what it says of itself."""

import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models._torchvision import import_models
from models.architectures.config_base import ArchitectureConfig
from models.architectures.configs import ARCHITECTURES
from models.architectures.parts import AdaptiveMean, Classifier, DenseHead, GreyAsColour, without_grey
from models.architectures.published_configs import TIMM, PublishedConfig, TimmConfig
from models.architectures.registry import build
from models.catalog import TRAINERS, parse_config
from models.datasets import ImageSpec
from models.job import InvalidConfig
from models.transfer import layers_before_classifier

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")

SMALL: dict[str, dict[str, Any]] = {"vgg11": {"dense_units": 16}, "vgg16": {"dense_units": 16, "batch_norm": False}}
OWN = [name for name in ARCHITECTURES if name != TIMM]

# Parameters for three channels and 1,000 classes at the published size of images; for the small-image networks with
# 10 classes. torchvision's own tables (num_params of its weights) unless another source stands beside it.
PUBLISHED: list[tuple[str, dict[str, Any], int, int]] = [
    ("resnet18", {}, 224, 11_689_512),
    ("resnet34", {}, 224, 21_797_672),
    ("resnet50", {}, 224, 25_557_032),
    ("vgg11", {}, 224, 132_868_840),
    ("vgg11", {"batch_norm": False}, 224, 132_863_336),
    ("vgg16", {}, 256, 138_365_992),
    ("vgg16", {"batch_norm": False}, 64, 138_357_544),
    ("googlenet", {}, 224, 6_624_904),
    ("inception_v3", {}, 299, 27_161_264 - 3_326_696),  # torchvision counts the auxiliary classifier
    ("xception", {}, 299, 22_855_952),  # timm, results/model_metadata-in1k.csv: legacy_xception 22.86 M
    ("mobilenet_v3", {"size": "small"}, 224, 2_542_856),
    ("mobilenet_v3", {"size": "large"}, 224, 5_483_032),
    ("efficientnet_b0", {}, 224, 5_288_548),
    ("efficientnet_b1", {}, 240, 7_794_184),
    ("efficientnet_b2", {}, 260, 9_109_994),
    ("efficientnet_b3", {}, 300, 12_233_232),
    ("convnext_tiny", {}, 224, 28_589_128),
]
# Millions, from the papers: He et al. 2016, table 6; Zagoruyko & Komodakis 2016, tables 4 and 5.
PAPERS = [
    ("resnet20", {}, 0.27),
    ("resnet32", {}, 0.46),
    ("resnet56", {}, 0.85),
    ("wide_resnet", {"depth": 40, "width": 1}, 0.6),
    ("wide_resnet", {"depth": 40, "width": 2}, 2.2),
    ("wide_resnet", {"depth": 40, "width": 4}, 8.9),
    ("wide_resnet", {"depth": 16, "width": 8}, 11.0),
    ("wide_resnet", {"depth": 28, "width": 10}, 36.5),
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Beside other processes, threads that wait for each other take minutes for what takes one a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(architecture: str, **entries: Any) -> ArchitectureConfig:
    """On CIFAR-10, at the smallest size of images that may be asked for, unless told otherwise."""
    kind = TRAINERS["image-cnn"].kind({"architecture": architecture})
    if "image_size" not in entries:
        bare = kind.model_construct(architecture=architecture, **entries)
        assert isinstance(bare, ArchitectureConfig)
        entries["image_size"] = max(4, bare.smallest_side)
    parsed = parse_config("image-cnn", {"architecture": architecture, "dataset": "cifar10", **entries})
    assert isinstance(parsed, ArchitectureConfig)
    return parsed


def spec(wanted: ArchitectureConfig, channels: int = 3, classes: int = 10) -> ImageSpec:
    assert wanted.image_size is not None
    return ImageSpec(channels, wanted.image_size, classes)


def on_meta(wanted: ArchitectureConfig, channels: int = 3, classes: int = 10) -> nn.Module:
    """The network without values: large ones cost nothing."""
    with torch.device("meta"):
        return build(wanted, spec(wanted, channels, classes))


@lru_cache
def smallest(architecture: str) -> tuple[nn.Module, Tensor]:
    """The network for its smallest images, and four of them; not to be altered."""
    wanted = config(architecture, **SMALL.get(architecture, {}))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(wanted, spec(wanted)), torch.randn(4, 3, wanted.image_size or 0, wanted.image_size or 0)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("architecture", "entries", "side", "count"), PUBLISHED)
def test_a_network_has_the_published_number_of_parameters(
    architecture: str, entries: dict[str, Any], side: int, count: int
) -> None:
    wanted = config(architecture, image_size=side, **entries)
    assert parameters(on_meta(wanted, classes=1000)) == count
    assert parameters(on_meta(wanted, channels=1, classes=1000)) == count


@pytest.mark.parametrize(("architecture", "entries", "millions"), PAPERS)
def test_a_network_for_small_images_has_the_size_of_the_paper(
    architecture: str, entries: dict[str, Any], millions: float
) -> None:
    digits = 2 if millions < 1 and architecture != "wide_resnet" else 1
    network = on_meta(config(architecture, image_size=32, **entries))
    assert round(parameters(network) / 1e6, digits) == millions


def test_the_published_counts_are_those_of_torchvision() -> None:
    """All but those that stand in no table of torchvision's."""
    for architecture, entries, side, count in PUBLISHED:
        wanted = config(architecture, image_size=side, **entries)
        assert isinstance(wanted, PublishedConfig)
        if architecture not in ("xception", "inception_v3"):
            weights = import_models().get_model_weights(wanted.torchvision_name).DEFAULT
            assert weights.meta["num_params"] == count


@pytest.mark.parametrize("architecture", OWN)
def test_one_step_changes_the_loss_and_reaches_every_parameter(architecture: str) -> None:
    original, images = smallest(architecture)
    labels = torch.tensor([3, 7, 0, 9])
    with torch.random.fork_rng():
        torch.manual_seed(1)
        wanted = config(architecture, **SMALL.get(architecture, {}))
        network = build(wanted, spec(wanted))
        network.load_state_dict(original.state_dict())
        logits = network(images)
        assert list(logits.shape) == [4, 10]
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        assert [name for name, each in network.named_parameters() if each.grad is None] == []
        torch.optim.SGD(network.parameters(), lr=1e-3).step()
        torch.manual_seed(1)  # the same noise
        after = F.cross_entropy(network(images), labels)
    assert after.isfinite()
    assert after.item() != loss.item()


@pytest.mark.parametrize("architecture", OWN)
def test_the_catalog_knows_how_many_layers_can_be_tuned(architecture: str) -> None:
    wanted = config(architecture, **SMALL.get(architecture, {}))
    most = wanted.most_tuned_layers
    assert most == len(layers_before_classifier(smallest(architecture)[0]))
    fitting = wanted.model_dump() | {"tuned_layers": most}
    assert parse_config("image-cnn", fitting) == wanted.model_copy(update={"tuned_layers": most})
    with pytest.raises(InvalidConfig, match=f"so configured has {most} layers") as caught:
        parse_config("image-cnn", fitting | {"tuned_layers": (most or 0) + 1})
    assert caught.value.field == "tuned_layers"


@pytest.mark.parametrize(
    ("architecture", "entries"),
    [
        ("resnet_small", {"stages": 2, "blocks": 3}),
        ("wide_resnet", {"width": 1, "depth": 10}),
        ("wide_resnet", {"width": 2, "depth": 22}),
        ("vgg11", {}),
        ("vgg11", {"batch_norm": False}),
        ("vgg16", {}),
        ("vgg16", {"batch_norm": True, "dense_units": 8}),
        ("mobilenet_v3", {"size": "large"}),
    ],
)
def test_the_number_of_layers_follows_the_configuration(architecture: str, entries: dict[str, Any]) -> None:
    wanted = config(architecture, **entries)
    assert wanted.most_tuned_layers == len(layers_before_classifier(on_meta(wanted)))


@pytest.mark.parametrize("architecture", OWN)
def test_layers_are_counted_in_the_order_in_which_images_pass_them(architecture: str) -> None:
    network, images = smallest(architecture)
    passed: list[nn.Module] = []
    layers = [layer for layer in layers_before_classifier(network) if layer is not None]
    handles = [layer.register_forward_hook(lambda layer, *_: passed.append(layer)) for layer in layers]
    with torch.inference_mode():
        network.train(False)(images)
    network.train()
    for handle in handles:
        handle.remove()
    assert [id(layer) for layer in passed] == [id(layer) for layer in layers]


@pytest.mark.parametrize("architecture", OWN)
def test_smaller_images_and_batches_than_the_network_can_take_are_refused(architecture: str) -> None:
    wanted = config(architecture)
    if wanted.smallest_side > 4:
        with pytest.raises(InvalidConfig, match=f"needs images of {wanted.smallest_side} px"):
            config(architecture, image_size=wanted.smallest_side - 1)
    if wanted.smallest_batch > 1:
        with pytest.raises(InvalidConfig, match="needs at least 2"):
            config(architecture, batch_size=1)
    else:
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in on_meta(wanted).modules())


def test_smallest_sides_are_those_that_torchvision_states() -> None:
    for architecture in OWN:
        wanted = config(architecture)
        if isinstance(wanted, PublishedConfig) and architecture != "xception":
            meta = import_models().get_model_weights(wanted.torchvision_name).DEFAULT.meta
            # It takes 1 px where it does not check: then ours is the smallest that is halved five times.
            assert wanted.smallest_side == max(meta["min_size"][0], 17 if meta["min_size"][0] == 1 else 0)


@pytest.mark.parametrize("architecture", OWN)
def test_all_dropout_is_that_of_the_configuration(architecture: str) -> None:
    network = on_meta(config(architecture, dropout=0.375))
    rates = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
    rates += [each.dropout for each in network.modules() if isinstance(getattr(each, "dropout", None), float)]
    assert set(rates) - {0.0} == {0.375}
    before = [each for each in network.modules() if isinstance(each, Classifier | nn.Dropout)]
    assert any(getattr(each, "p", getattr(each, "dropout", 0)) for each in before) or architecture == "wide_resnet"


def test_dropout_of_a_classifier_stops_when_it_is_judged() -> None:
    classifier, features = Classifier(64, 3, 0.5), torch.ones(1, 64)
    assert torch.equal(classifier.eval()(features), F.linear(features, classifier.weight, classifier.bias))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(classifier.train()(features), classifier(features))


@pytest.mark.parametrize(
    "architecture", [name for name, kind in ARCHITECTURES.items() if "activation" in kind.model_fields]
)
def test_an_activation_takes_the_place_of_every_relu(architecture: str) -> None:
    modules = list(on_meta(config(architecture, activation="silu")).modules())
    assert any(isinstance(module, nn.SiLU) for module in modules)
    assert not any(isinstance(module, nn.ReLU) for module in modules)


@pytest.mark.parametrize("architecture", ["resnet18", "xception", "vgg11"])
def test_grey_images_are_repeated_for_a_network_of_three_channels(architecture: str) -> None:
    colour, images = smallest(architecture)
    wanted = config(architecture, **SMALL.get(architecture, {}))
    grey = build(wanted, spec(wanted, channels=1))
    assert isinstance(grey[0], GreyAsColour)
    without_grey(grey).load_state_dict(colour.state_dict())
    with torch.inference_mode():
        single = images[:, :1]
        expected = colour.eval()(single.expand(-1, 3, -1, -1))
        assert torch.equal(grey.eval()(single), expected)
        # As they come where published constants have normalised them, channel by channel.
        assert torch.equal(grey(single.repeat(1, 3, 1, 1)), expected)
    colour.train()


def test_images_of_two_channels_are_refused_by_published_networks() -> None:
    wanted = config("resnet18")
    with pytest.raises(InvalidConfig, match="1 or 3 channels, these have 2") as caught:
        on_meta(wanted, channels=2)
    assert caught.value.field == "architecture"


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 10])
def test_the_adaptive_mean_is_adaptive_average_pooling(side: int) -> None:
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(AdaptiveMean(side, 7)(x), nn.AdaptiveAvgPool2d(7)(x))


@pytest.mark.parametrize("architecture", OWN)
def test_no_network_pools_adaptively_but_to_one_pixel(architecture: str) -> None:
    """The backward of adaptive pooling is not deterministic on CUDA; to one pixel it is computed as a mean."""
    pools = [each for each in smallest(architecture)[0].modules() if isinstance(each, nn.AdaptiveAvgPool2d)]
    assert all(pool.output_size in (1, (1, 1)) for pool in pools)


def test_torch_pools_to_one_pixel_by_a_mean() -> None:
    pooled = nn.AdaptiveAvgPool2d(1)(torch.ones(1, 1, 4, 4, requires_grad=True))
    assert "Mean" in str(pooled.grad_fn)


def test_vgg_with_few_dense_units_is_small_on_small_images() -> None:
    full = parameters(on_meta(config("vgg16")))
    network = on_meta(config("vgg16", dense_units=256))
    head = network.get_submodule("classifier")
    assert isinstance(head, DenseHead)
    assert parameters(head) == 512 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10
    assert parameters(network) < 15e6 < 130e6 < full


def test_the_width_of_vgg_s_first_dense_layer_follows_the_image_up_to_seven() -> None:
    widths = {}
    for side in (32, 95, 96, 224, 320):
        layer = on_meta(config("vgg11", image_size=side, dense_units=8)).get_submodule("classifier.0")
        assert isinstance(layer, nn.Linear)
        widths[side] = layer.in_features // 512
    assert widths == {32: 1, 95: 4, 96: 9, 224: 49, 320: 49}


@pytest.mark.parametrize("depth", [11, 15, 17, 20])
def test_a_wide_resnet_has_whole_blocks(depth: int) -> None:
    with pytest.raises(InvalidConfig, match=r"got \d+, want 6 n \+ 4") as caught:
        config("wide_resnet", depth=depth)
    assert caught.value.field == "depth"


def test_small_networks_do_not_import_torchvision() -> None:
    code = (
        "import sys; from models.catalog import parse_config; from models.architectures.registry import build; "
        "config = parse_config('image-cnn', {}); build(config, config.image); sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


@pytest.mark.parametrize("name", ["timm:", "timm:a b", "timm:../x", "timm", f"timm:{'x' * 101}", "Timm:resnet18"])
def test_the_name_of_a_timm_model_is_checked_before_it_is_looked_for(name: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_config("image-cnn", {"architecture": name})
    assert caught.value.field == "architecture"


def test_an_entry_of_another_architecture_is_explained_to_timm_too() -> None:
    with pytest.raises(InvalidConfig, match="an entry of wide_resnet, not of timm:NAME"):
        parse_config("image-cnn", {"architecture": "timm:resnet18", "depth": 10})


def test_a_worker_without_timm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    wanted = config("timm:resnet18", image_size=32)
    with pytest.raises(InvalidConfig, match=r"pip install 'ladder-hpo\[timm\]'"):
        build(wanted, spec(wanted))


@needs_timm
def test_a_timm_model_is_built_for_the_images() -> None:
    wanted = config("timm:resnet10t", image_size=32, dropout=0.25)
    assert isinstance(wanted, TimmConfig)
    network = build(wanted, spec(wanted, channels=1, classes=4))
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 4)
    heads = [module for module in network.modules() if isinstance(module, Classifier)]
    assert [head.dropout for head in heads] == [0.25]
    assert len(layers_before_classifier(network)) > 10


@needs_timm
@pytest.mark.parametrize(
    ("name", "field", "message"),
    [
        ("resnet18x", "architecture", "has no model 'resnet18x'"),
        ("levit_128s", "architecture", "does not end in one dense layer"),
        ("vit_tiny_patch16_224", "image_size", "got 32, timm:vit_tiny_patch16_224 takes no such images"),
    ],
)
def test_what_timm_cannot_do_is_a_wrong_configuration(name: str, field: str, message: str) -> None:
    wanted = config(f"timm:{name}", image_size=32)
    with pytest.raises(InvalidConfig, match=message) as caught:
        build(wanted, spec(wanted))
    assert caught.value.field == field


@needs_timm
def test_xception_is_timm_s_legacy_xception_tensor_by_tensor() -> None:
    """So that the file of Keras' weights that timm serves loads, and means the same."""
    ours, images = smallest("xception")
    wanted = config("timm:legacy_xception", image_size=71)
    theirs = build(wanted, spec(wanted))
    theirs.load_state_dict(ours.state_dict())
    with torch.inference_mode():
        assert torch.equal(ours.eval()(images), theirs.eval()(images))
    ours.train()
