"""Weights to start from, and which layers learn."""

import json
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ladder.exports import Origin, write_model
from ladder.models import load_model
from models._torchvision import import_models
from models.architectures.parts import Classifier, without_grey
from models.architectures.registry import build
from models.architectures.weights import PublishedWeights, fetch, published_weights, read_tensors
from models.architectures.xception import KERAS_LAYERS
from models.catalog import parse_config
from models.checkpoint import Identity, manifest_path, save
from models.datasets import ImageSpec
from models.image_config import ImageCnnConfig
from models.job import BadData, InvalidConfig, TrainJob
from models.optim import build_optimizer
from models.train import train
from models.transfer import layers_before_classifier, load_pretrained, scaling_of, train_mode, tune_last

MNIST = ImageSpec(channels=1, side=28, classes=10)
OTHER = ImageSpec(channels=1, side=28, classes=4)
TINY: dict[str, Any] = {"architecture": "resnet_small", "width": 4, "stages": 2}


@pytest.fixture(autouse=True)
def quiet_torch(tmp_path: Path) -> Iterator[None]:
    """One thread, a generator that is put back, and a cache of published weights that is empty."""
    threads, hub = torch.get_num_threads(), torch.hub.get_dir()
    torch.set_num_threads(1)
    torch.hub.set_dir(tmp_path / "hub")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.hub.set_dir(hub)
    torch.set_num_threads(threads)


def config(**entries: Any) -> ImageCnnConfig:
    parsed = parse_config("image-cnn", {"dataset": "mnist", **entries})
    assert isinstance(parsed, ImageCnnConfig)
    return parsed


def tiny(**entries: Any) -> ImageCnnConfig:
    return config(**TINY, **entries)


def pictures(image: ImageSpec) -> tuple[Tensor, Tensor]:
    """Of each class a bar in another place, in noise: [16 * classes, C, H, W] and their labels."""
    labels = torch.arange(image.classes).repeat(16)
    noise = torch.randn(len(labels), image.channels, image.side, image.side)
    for row, label in enumerate(labels.tolist()):
        noise[row, :, 2 * label : 2 * label + 2] += 3.0
    return noise, labels


def learn(network: nn.Module, wanted: ImageCnnConfig, image: ImageSpec, steps: int = 8) -> list[float]:
    images, labels = pictures(image)
    optimizer = build_optimizer(wanted, network.parameters())
    losses = []
    for _ in range(steps):
        train_mode(network)
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def trained() -> dict[str, Tensor]:
    """The tensors of a tiny network that was trained a little on ten classes."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        wanted = tiny(lr=0.01)
        network = build(wanted, MNIST)
        losses = learn(network, wanted, MNIST)
        assert losses[-1] < losses[0]
        return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def save_pth(path: Path, tensors: dict[str, Tensor]) -> None:
    torch.save(tensors, path)


def save_nested_pth(path: Path, tensors: dict[str, Tensor]) -> None:
    torch.save({"epoch": 3, "state_dict": tensors}, path)


def save_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    safetensors.torch.save_file(tensors, path)


def save_checkpoint(path: Path, tensors: dict[str, Tensor], *, averaged: bool = False) -> None:
    prefix = "ema." if averaged else "model."
    parts = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
    if averaged:
        parts |= {f"model.{name}": torch.zeros_like(tensor) for name, tensor in tensors.items()}
    parts["optimizer.0.momentum_buffer"] = torch.zeros(3)
    save(path, Identity(trainer="image-cnn", config={}, seed=0, step=1), parts)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("net.pth", save_pth),
        ("net.pt", save_nested_pth),
        ("net.safetensors", save_safetensors),
        ("step-3.safetensors", save_checkpoint),
        ("step-4.safetensors", partial(save_checkpoint, averaged=True)),
    ],
)
def test_a_network_starts_from_one_that_was_trained_on_other_classes(
    name: str, write: Any, trained: dict[str, Tensor], tmp_path: Path
) -> None:
    (tmp_path / "nets").mkdir()
    write(tmp_path / "nets" / name, trained)
    wanted = tiny(pretrained=f"nets/{name}", tuned_layers=0, lr=0.01)
    network = build(wanted, OTHER)
    new = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_pretrained(network, wanted, OTHER, tmp_path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, new[name] if name.startswith("6.") else trained[name]), name
    assert isinstance(network.get_submodule("6"), Classifier)
    tune_last(network, wanted)
    losses = learn(network, wanted, OTHER)
    assert losses[-1] < losses[0]


def test_a_classifier_of_the_same_shape_is_taken_over(trained: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(trained, tmp_path / "net.pth")
    wanted = tiny(pretrained="net.pth")
    network = build(wanted, MNIST)
    load_pretrained(network, wanted, MNIST, tmp_path)
    assert all(torch.equal(tensor, trained[name]) for name, tensor in network.state_dict().items())


def test_a_file_without_classifier_and_batch_counts_is_enough(trained: dict[str, Tensor], tmp_path: Path) -> None:
    kept = {name: each for name, each in trained.items() if not name.startswith("6.") and "num_batches" not in name}
    torch.save(kept, tmp_path / "net.pth")
    wanted = tiny(pretrained="net.pth")
    network = build(wanted, MNIST)
    load_pretrained(network, wanted, MNIST, tmp_path)
    assert torch.equal(network.state_dict()["0.weight"], trained["0.weight"])


def test_nothing_is_loaded_where_nothing_is_named(tmp_path: Path) -> None:
    network = build(tiny(), MNIST)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_pretrained(network, tiny(), MNIST, tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_what_was_trained_on_grey_images_is_taken_for_colour(tmp_path: Path) -> None:
    wanted = config(architecture="mobilenet_v3", image_size=32, pretrained="grey.pth")
    grey, colour = build(wanted, MNIST), build(wanted, ImageSpec(3, 32, 5))
    torch.save(grey.state_dict(), tmp_path / "grey.pth")
    load_pretrained(colour, wanted, ImageSpec(3, 32, 5), tmp_path)
    first = "features.0.0.weight"
    assert torch.equal(colour.state_dict()[first], without_grey(grey).state_dict()[first])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("3.conv2.weight"), "3.conv2.weight is missing"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "extra is not of this network"),
        (lambda tensors: tensors.update({"0.weight": torch.zeros(4, 3, 3, 3)}), r"0.weight is \[4, 3, 3, 3\], want"),
        (lambda tensors: tensors.clear(), r"0.weight is missing \(and \d+ more\)"),
    ],
)
def test_a_file_of_another_network_is_refused_by_tensor(
    change: Any, message: str, trained: dict[str, Tensor], tmp_path: Path
) -> None:
    tensors = dict(trained)
    change(tensors)
    torch.save(tensors, tmp_path / "net.pth")
    wanted = tiny(pretrained="net.pth")
    network = build(wanted, OTHER)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(BadData, match=message) as caught:
        load_pretrained(network, wanted, OTHER, tmp_path)
    assert str(tmp_path / "net.pth") in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_dense_layer_of_another_image_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    torch.save(build(config(), MNIST).state_dict(), tmp_path / "net.pth")
    wanted, larger = config(image_size=32, pretrained="net.pth"), ImageSpec(1, 32, 10)
    with pytest.raises(
        BadData, match=r"two_conv for images of 1 x 32 x 32: \d+.weight is \[128, 4608\], want \[128, 6272\]"
    ):
        load_pretrained(build(wanted, larger), wanted, larger, tmp_path)


def test_a_file_that_is_not_there_or_not_below_the_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "folder").mkdir(parents=True)
    torch.save({}, tmp_path / "secret.pth")
    (root / "link.pth").symlink_to(tmp_path / "secret.pth")
    (root / "loop.pth").symlink_to(root / "loop.pth")
    network = build(tiny(), MNIST)
    for name, message in {
        "absent.pth": "is no file",
        "folder": "is no file",
        "link.pth": "leads out of the data root",
        "loop.pth": "loop.pth",
        "x" * 400: "xxx",
    }.items():
        with pytest.raises(BadData, match=message):
            load_pretrained(network, tiny(pretrained=name), MNIST, root)


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_a_torn_or_altered_file_is_bad_data_or_harmless(name: str, trained: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / name
    (save_safetensors if path.suffix == ".safetensors" else save_pth)(path, trained)
    whole = path.read_bytes()
    for length in (0, 1, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BadData, match=str(path)):
            read_tensors(path)
    draw = torch.Generator().manual_seed(0)
    for where in torch.randint(len(whole), (150,), generator=draw).tolist():
        path.write_bytes(whole[:where] + bytes([whole[where] ^ 0x55]) + whole[where + 1 :])
        try:
            tensors = read_tensors(path)
        except BadData:
            continue
        assert all(isinstance(tensor, Tensor) for tensor in tensors.values())


class Payload:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("ran"),)  # type: ignore[return-value]


@pytest.mark.parametrize(
    "write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_nothing_in_a_file_is_run(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write({"0.weight": Payload()}, tmp_path / "net.pth")
    with pytest.raises(BadData, match="cannot be read as tensors"):
        read_tensors(tmp_path / "net.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": 1}, torch.zeros(2), {"state_dict": {"a": "b"}}])
def test_a_file_without_named_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(BadData, match="holds no tensors by name"):
        read_tensors(tmp_path / "net.pth")


def place(wanted: ImageCnnConfig, tensors: dict[str, Tensor]) -> None:
    path = published_weights(wanted).path  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, path)


@pytest.mark.parametrize("architecture", ["googlenet", "mobilenet_v3", "xception"])
def test_published_weights_come_from_torch_hub_s_cache(architecture: str, tmp_path: Path) -> None:
    side = {"xception": 71}.get(architecture, 32)
    wanted = config(dataset="cifar10", architecture=architecture, image_size=side, pretrained=True)
    image = ImageSpec(3, side, 10)
    if architecture == "googlenet":  # as published: with the auxiliary classifiers
        whole = import_models().googlenet(weights=None, init_weights=False)
    else:
        whole = build(wanted, ImageSpec(3, side, 1000))
    tensors = dict(whole.state_dict())
    if architecture == "xception":  # as some copies of the file have it
        tensors = {name.replace("fc.", "last_linear."): tensor for name, tensor in tensors.items()}
    place(wanted, tensors)
    network = build(wanted, image)
    load_pretrained(network, wanted, image, tmp_path)
    loaded = network.state_dict()
    head = {"xception": "fc", "googlenet": "fc", "mobilenet_v3": "classifier.3"}[architecture]
    same = [name for name in loaded if name in tensors and torch.equal(loaded[name], tensors[name])]
    assert set(loaded) - set(same) == {f"{head}.weight", f"{head}.bias"}


def test_the_dense_part_of_another_vgg_is_new_altogether(tmp_path: Path) -> None:
    wanted = config(architecture="vgg11", dataset="cifar10", dense_units=8, pretrained="vgg.pth")
    given = build(config(architecture="vgg11", dataset="cifar10", dense_units=9), ImageSpec(3, 32, 10))
    torch.save(given.state_dict(), tmp_path / "vgg.pth")
    network = build(wanted, ImageSpec(3, 32, 10))
    load_pretrained(network, wanted, ImageSpec(3, 32, 10), tmp_path)
    assert torch.equal(network.state_dict()["features.0.weight"], given.state_dict()["features.0.weight"])


@pytest.mark.parametrize(
    ("architecture", "file"), [("resnet18", "resnet18-f37072fd.pth"), ("xception", "xception-43020ad28.pth")]
)
def test_without_network_the_file_to_place_is_named(
    architecture: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # refuses every connection
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    image = ImageSpec(1, 71, 10)
    wanted = config(architecture=architecture, image_size=71, pretrained=True)
    with pytest.raises(BadData, match=f"could not be downloaded .* place the file at .*checkpoints/{file}") as caught:
        load_pretrained(build(wanted, image), wanted, image, tmp_path)
    assert published_weights(wanted).url in str(caught.value)  # type: ignore[arg-type]
    assert published_weights(wanted).url.endswith(file)  # type: ignore[arg-type]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL under which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_weights_are_downloaded_once_and_their_hash_is_checked(served: tuple[Path, str]) -> None:
    folder, url = served
    torch.save({"weight": torch.ones(2)}, folder / "net.pth")
    half = (0.5, 0.5, 0.5)
    with pytest.raises(BadData, match="invalid hash value"):
        fetch(PublishedWeights(f"{url}/net.pth", "net.pth", half, half, "0123"))
    weights = PublishedWeights(f"{url}/net.pth", "net.pth", half, half)
    assert not weights.path.exists()
    assert torch.equal(read_tensors(fetch(weights))["weight"], torch.ones(2))
    (folder / "net.pth").unlink()
    assert fetch(weights) == weights.path
    with pytest.raises(BadData, match="404"):
        fetch(PublishedWeights(f"{url}/absent.pth", "absent.pth", half, half))


def test_only_what_has_published_weights_takes_them() -> None:
    with pytest.raises(InvalidConfig, match="there are no published weights of resnet_small"):
        tiny(pretrained=True)


@pytest.mark.parametrize(
    ("entries", "mean"),
    [
        ({"architecture": "resnet18", "pretrained": True}, (0.485, 0.456, 0.406)),
        ({"architecture": "resnet18", "pretrained": "resnet18.pth"}, (0.485, 0.456, 0.406)),
        ({"architecture": "xception", "pretrained": True, "image_size": 71}, (0.5, 0.5, 0.5)),
        ({"architecture": "inception_v3", "pretrained": True, "image_size": 75}, (0.5, 0.5, 0.5)),
        ({"architecture": "resnet18", "pretrained": "ours.safetensors"}, None),
        ({"architecture": "resnet18"}, None),
        ({"architecture": "resnet_small", "pretrained": "ours.pth"}, None),
    ],
)
def test_published_weights_want_the_scaling_that_they_were_trained_with(
    entries: dict[str, Any], mean: tuple[float, ...] | None
) -> None:
    scaling = scaling_of(config(**entries))
    if mean is None:
        assert scaling is None
    else:
        assert scaling is not None
        assert [list(each.shape) for each in scaling] == [[1, 3, 1, 1]] * 2
        torch.testing.assert_close(scaling[0].flatten(), torch.tensor(mean) * 255)


def test_googlenet_sees_what_torchvision_s_input_transformation_shows() -> None:
    """Their constants, and then back to mean 0.5: one scaling does both."""
    reference = import_models().googlenet(weights=None, init_weights=False, transform_input=True)
    pixels = torch.randint(256, (2, 3, 4, 4)).float()
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    scaling = scaling_of(config(architecture="googlenet", pretrained=True))
    assert scaling is not None
    shown = reference._transform_input((pixels / 255 - mean) / std)
    torch.testing.assert_close((pixels - scaling[0]) / scaling[1], shown, atol=1e-5, rtol=1e-5)


def test_grey_pixels_take_the_constants_of_three_channels() -> None:
    wanted = config(architecture="mobilenet_v3", image_size=32, pretrained=True)
    network = build(wanted, ImageSpec(1, 32, 10)).eval()
    scaling = scaling_of(wanted)
    assert scaling is not None
    pixels = torch.randint(256, (2, 1, 32, 32)).float()
    with torch.inference_mode():
        grey = network((pixels - scaling[0]) / scaling[1])
        colour = without_grey(network)((pixels.repeat(1, 3, 1, 1) - scaling[0]) / scaling[1])
    assert torch.equal(grey, colour)


def test_a_model_for_grey_images_that_began_with_published_weights_is_exported(tmp_path: Path) -> None:
    entries = {"architecture": "mobilenet_v3", "dataset": "digits", "image_size": 17, "batch_size": 512}
    torch.save(build(config(**entries), ImageSpec(3, 17, 20)).state_dict(), tmp_path / "published.pth")
    entries |= {"pretrained": "published.pth", "tuned_layers": 1}
    job = TrainJob("image-cnn", entries, seed=0, from_step=0, max_resource=1, resume=None, data_root=tmp_path)
    for result in train(job):
        result.save(tmp_path / "step-1")
    manifest = json.loads(manifest_path(tmp_path / "step-1").read_bytes())
    write_model(tmp_path / "step-1", manifest, tmp_path / "export", origin=Origin("s", "0", 0))
    exported = load_model(tmp_path / "export")
    assert exported.mean.shape == (1, 3, 1, 1)
    assert exported(torch.zeros(2, 1, 17, 17, dtype=torch.uint8)).shape == (2, 10)


# ---- which layers learn


def learning(network: nn.Module) -> set[str]:
    """The modules of which parameters learn."""
    return {name.rpartition(".")[0] for name, each in network.named_parameters() if each.requires_grad}


def on_meta(wanted: ImageCnnConfig, classes: int = 120) -> nn.Module:
    with torch.device("meta"):
        network = build(wanted, ImageSpec(3, wanted.image_size or 32, classes))
    tune_last(network, wanted)
    return network


def xception(tuned: int | None) -> ImageCnnConfig:
    return config(dataset="cifar10", architecture="xception", image_size=71, tuned_layers=tuned)


NINE = {"fc", "bn4", "conv4.conv1", "conv4.pointwise", "bn3", "conv3.conv1", "conv3.pointwise", "block12.skipbn"}
FOURTEEN = NINE | {"block12.skip", "block12.rep.2", "block12.rep.4.conv1", "block12.rep.4.pointwise", "block12.rep.5"}
EIGHTEEN = FOURTEEN | {"block12.rep.1.conv1", "block12.rep.1.pointwise", "block11.rep.8"}


@pytest.mark.parametrize(
    ("tuned", "modules", "count"),
    # The counts are sums by hand, for 120 classes.
    [(0, {"fc"}, 245_880), (9, NINE, 4_996_728), (14, FOURTEEN, 6_497_728), (18, EIGHTEEN, 7_035_720)],
)
def test_xception_counts_the_layers_of_keras(tuned: int, modules: set[str], count: int) -> None:
    network = on_meta(xception(tuned))
    assert learning(network) == modules
    assert sum(each.numel() for each in network.parameters() if each.requires_grad) == count


def test_132_layers_are_all_of_xception() -> None:
    network = on_meta(xception(132))
    assert all(each.requires_grad for each in network.parameters())
    assert sum(each.numel() for each in network.parameters()) / 1e6 == pytest.approx(21.05, abs=0.005)
    assert learning(on_meta(xception(None))) == learning(network)
    # The input and the first convolution are Keras' first two layers.
    assert learning(network) - learning(on_meta(xception(130))) == {"conv1"}


def test_the_layers_of_xception_stand_for_every_module_once() -> None:
    names = [keras for keras, _ in KERAS_LAYERS]
    modules = [module for _, module in KERAS_LAYERS if module is not None]
    assert (len(names), len(set(names)), len(modules), len(set(modules))) == (132, 132, 80, 80)
    assert names[-9:-3] == [
        "block13_pool",
        "block13_skip_bn",
        "block13_add",
        "block14_sepconv1",
        "block14_sepconv1_bn",
        "block14_sepconv1_act",
    ]
    network = on_meta(xception(None))
    covered = {part for layer in layers_before_classifier(network) if layer is not None for part in layer.modules()}
    own = {each for each in network.modules() if list(each.parameters(recurse=False))}
    assert {type(each).__name__ for each in own - covered} == {"Classifier"}


@pytest.mark.parametrize(
    ("entries", "tuned", "modules"),
    [
        (TINY, 1, {"6", "4.norm2"}),
        (TINY, 3, {"6", "4.norm2", "4.conv2", "4.norm1"}),
        ({"architecture": "wide_resnet", "depth": 10}, 2, {"7", "4", "3.shortcut"}),
        ({"architecture": "vgg11", "batch_norm": False}, 1, {"classifier.6", "classifier.3"}),
        (
            {"architecture": "vgg11", "dense_units": 8},
            1,
            {"classifier.6", "classifier.3", "classifier.0", "features.26"},
        ),
        ({"architecture": "mobilenet_v3"}, 2, {"classifier.3", "classifier.0", "features.12.1"}),
    ],
)
def test_the_last_layers_and_the_classifier_learn(entries: dict[str, Any], tuned: int, modules: set[str]) -> None:
    assert learning(on_meta(config(dataset="cifar10", tuned_layers=tuned, **entries))) == modules


def test_the_layer_scale_of_convnext_learns_with_its_whole_block() -> None:
    def scales(tuned: int) -> set[str]:
        network = on_meta(config(dataset="cifar10", architecture="convnext_tiny", tuned_layers=tuned))
        return {name for name, each in network.named_parameters() if each.requires_grad and "layer_scale" in name}

    # After the last block there is one norm; the block has a convolution, a norm and two dense layers.
    assert scales(4) == set()
    assert scales(5) == {"features.7.2.layer_scale"}
    assert len(scales(81)) == 18


def test_more_layers_than_there_are_is_a_wrong_configuration_also_when_built() -> None:
    unchecked = tiny().model_copy(update={"tuned_layers": 11})
    with pytest.raises(InvalidConfig, match="got 11, resnet_small so configured has 10 layers") as caught:
        tune_last(build(tiny(), MNIST), unchecked)
    assert caught.value.field == "tuned_layers"


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
def test_what_is_frozen_stays_the_same_bit_by_bit(optimizer: str) -> None:
    wanted = tiny(tuned_layers=4, optimizer=optimizer, lr=0.01, weight_decay=0.1)
    network = build(wanted, MNIST)
    tune_last(network, wanted)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    learn(network, wanted, MNIST, steps=3)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    learns = ("4.conv1", "4.norm1", "4.conv2", "4.norm2", "6")
    assert changed == {name for name in before if name.startswith(learns)}
    assert "4.norm1.running_mean" in changed


def test_without_tuned_layers_every_norm_learns_its_statistics() -> None:
    network = build(tiny(), MNIST)
    tune_last(network, tiny())
    train_mode(network)
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_frozen_part_is_not_noisy() -> None:
    """Stochastic depth and dropout rest in what is frozen as a whole, so that its features are the same every time."""
    wanted = config(dataset="cifar10", architecture="efficientnet_b0", tuned_layers=0)
    network = build(wanted, ImageSpec(3, 32, 10))
    tune_last(network, wanted)
    train_mode(network)
    features, images = network.get_submodule("features"), torch.randn(2, 3, 32, 32)
    assert torch.equal(features(images), features(images))
    assert network.get_submodule("classifier").training
    assert network.training


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
def test_weights_of_timm_have_a_place_and_constants() -> None:
    wanted = config(architecture="timm:resnet10t", image_size=32, pretrained=True)
    weights = published_weights(wanted)  # type: ignore[arg-type]
    assert weights.url == "https://huggingface.co/timm/resnet10t.c3_in1k/resolve/main/model.safetensors"
    assert weights.path.name == "timm--resnet10t.c3_in1k.safetensors"
    image = ImageSpec(1, 32, 10)
    whole = build(wanted, ImageSpec(3, 32, 1000))
    weights.path.parent.mkdir(parents=True)
    safetensors.torch.save_file(whole.state_dict(), weights.path)
    network = build(wanted, image)
    load_pretrained(network, wanted, image, Path("/nowhere"))
    assert torch.equal(without_grey(network).state_dict()["conv1.0.weight"], whole.state_dict()["conv1.0.weight"])
    assert scaling_of(wanted) is not None
    with pytest.raises(InvalidConfig, match="has no weights of 'resnet10x'"):
        published_weights(wanted.model_copy(update={"architecture": "timm:resnet10x"}))  # type: ignore[arg-type]
