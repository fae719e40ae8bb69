"""Exported models: the same logits to the last bit as the checkpoint's network, and clear errors for what is torn."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ladder
from ladder.errors import LocalError
from ladder.exports import Origin, write_model
from models import checkpoint
from models.architectures.registry import build
from models.catalog import parse_config
from models.checkpoint import Identity, ImageShape, manifest_path
from models.datasets import ImageSpec
from models.exported import InvalidModel
from models.image_config import ImageCnnConfig

IMAGE = ImageSpec(channels=3, side=9, classes=4)
NAMES = ("ant", "bee", "cat", "dog")
SMALL = {"architecture": "resnet_small", "dataset": "npz", "width": 4, "stages": 2}
MEAN, STD = torch.tensor([120.1, 60.7, 200.0]).view(1, 3, 1, 1), torch.tensor([50.3, 1.0, 77.7]).view(1, 3, 1, 1)
ORIGIN = Origin(study="digits", study_id="0199a000-0000-7000-8000-000000000001", trial=3, metrics={"val_acc": 0.5})


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(0, 256, (5, 3, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def network(seed: int, config: dict[str, Any]) -> nn.Module:
    """A network whose statistics are those of some batches, as after training."""
    parsed = parse_config("image-cnn", config)
    assert isinstance(parsed, ImageCnnConfig)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        built = build(parsed, IMAGE).to(memory_format=torch.channels_last)
        built.train()(torch.randn(8, 3, 9, 9))
    return built.eval()


def save(path: Path, tensors: dict[str, Tensor], config: dict[str, Any], **identity: Any) -> Path:
    fields: dict[str, Any] = {
        "trainer": "image-cnn",
        "config": config,
        "seed": 0,
        "step": 2,
        "split_sha256": "ab" * 32,
        "image": ImageShape(channels=3, side=9, classes=4),
        "class_names": NAMES,
    }
    checkpoint.save(path, Identity(**fields | identity), tensors)
    return path


def tensors_of(trained: nn.Module, part: str = "model") -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for name, tensor in trained.state_dict().items()}


def exported(path: Path, to: Path) -> Path:
    write_model(path, json.loads(manifest_path(path).read_text()), to, origin=ORIGIN)
    return to


def simple(tmp_path: Path) -> Path:
    tensors = tensors_of(network(0, SMALL)) | {"scaling.mean": MEAN, "scaling.std": STD}
    return exported(save(tmp_path / "step-2.safetensors", tensors, SMALL), tmp_path / "out")


@pytest.mark.parametrize("config", [SMALL, {"architecture": "two_conv", "dataset": "npz", "dropout": 0.4}])
def test_an_exported_model_gives_the_very_logits_of_the_checkpoints_network(
    config: dict[str, Any], tmp_path: Path, pixels: Tensor
) -> None:
    trained = network(0, config)
    tensors = tensors_of(trained) | {"scaling.mean": MEAN, "scaling.std": STD, "optimizer.0.step": torch.tensor(3.0)}
    model = ladder.load_model(exported(save(tmp_path / "a.safetensors", tensors, config), tmp_path / "out"))
    with torch.inference_mode():
        assert torch.equal(model(pixels), trained((pixels.float() - MEAN) / STD))
    assert isinstance(model, nn.Module)
    assert not model.training
    assert model.classes == NAMES
    assert (model.card.step, model.card.split_sha256, model.card.metrics) == (2, "ab" * 32, {"val_acc": 0.5})


def test_where_an_average_of_the_weights_was_validated_it_is_what_is_exported(tmp_path: Path, pixels: Tensor) -> None:
    last, averaged = network(0, SMALL), network(1, SMALL)
    tensors = tensors_of(last) | tensors_of(averaged, "ema") | {"scaling.mean": MEAN, "scaling.std": STD}
    model = ladder.load_model(exported(save(tmp_path / "a.safetensors", tensors, SMALL), tmp_path / "out"))
    with torch.inference_mode():
        assert torch.equal(model(pixels), averaged((pixels.float() - MEAN) / STD))


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    to = simple(tmp_path)
    before = torch.get_rng_state()
    ladder.load_model(str(to))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_export_replaces_an_earlier_one_and_leaves_two_files(tmp_path: Path) -> None:
    first = ladder.load_model(simple(tmp_path)).state_dict()
    tensors = tensors_of(network(1, SMALL)) | {"scaling.mean": MEAN, "scaling.std": STD}
    to = exported(save(tmp_path / "b.safetensors", tensors, SMALL), tmp_path / "out")
    second = ladder.load_model(to).state_dict()
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert sorted(path.name for path in to.iterdir()) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 3, 9, 9), torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 9, 9, dtype=torch.uint8)],
)
def test_images_of_another_type_or_size_are_refused(images: Tensor, tmp_path: Path) -> None:
    model = ladder.load_model(simple(tmp_path))
    with pytest.raises(ValueError, match=r"want uint8 \[N, 3, 9, 9\], got torch\.(uint8|float32) \[.+\]"):
        model(images)


def altered(entry: str, value: Any) -> Callable[[Path], None]:
    def alter(to: Path) -> None:
        card = json.loads((to / "model.json").read_text())
        (to / "model.json").write_text(json.dumps(card | {entry: value}))

    return alter


def flipped(to: Path) -> None:
    content = bytearray((to / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (to / "model.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda to: (to / "model.json").unlink(), "model.json: cannot be read: No such file"),
        (lambda to: (to / "model.safetensors").unlink(), "model.safetensors: cannot be read: No such file"),
        (lambda to: (to / "model.json").write_text("{"), "model.json: is not the description of a model"),
        (flipped, r"model.safetensors: has sha256 [0-9a-f]{64}, model.json wants [0-9a-f]{64}"),
        (altered("format", 2), "model.json: is not the description of a model: format: "),
        (altered("class_names", ["ant"]), "class_names: want 4, got 1"),
        (altered("scaling", {"mean": [1.0], "std": [1.0]}), "want a mean and std for each of 3 channels"),
        (altered("config", SMALL | {"width": "wide"}), "its network cannot be built here: width: got 'wide'"),
        (altered("config", SMALL | {"architecture": "no_such"}), "cannot be built here: architecture: got 'no_such'"),
        (altered("config", SMALL | {"width": 8}), "does not fit the network of model.json"),
    ],
)
def test_what_is_missing_torn_or_altered_is_refused_by_name(
    damage: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    to = simple(tmp_path)
    damage(to)
    with pytest.raises(InvalidModel, match=told):
        ladder.load_model(to)


@pytest.mark.parametrize(
    ("identity", "drop", "told"),
    [
        ({"trainer": "synthetic"}, "", "trained by trainer synthetic: only models of trainer image-cnn"),
        ({"image": None}, "", "the manifest of trial 3 of digits cannot be used: identity.image: "),
        ({}, "scaling.std", "holds no network with the scaling of its images"),
        ({}, "model.", "holds no network with the scaling of its images"),
    ],
)
def test_a_checkpoint_without_a_whole_image_network_is_not_exported(
    identity: dict[str, Any], drop: str, told: str, tmp_path: Path
) -> None:
    tensors = tensors_of(network(0, SMALL)) | {"scaling.mean": MEAN, "scaling.std": STD}
    kept = {name: tensor for name, tensor in tensors.items() if not drop or not name.startswith(drop)}
    path = save(tmp_path / "a.safetensors", kept, SMALL, **identity)
    with pytest.raises(LocalError, match=told):
        exported(path, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_a_checkpoint_with_other_bytes_than_its_manifest_says_is_not_exported(tmp_path: Path) -> None:
    tensors = tensors_of(network(0, SMALL)) | {"scaling.mean": MEAN, "scaling.std": STD}
    path = save(tmp_path / "a.safetensors", tensors, SMALL)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(LocalError, match="its manifest says"):
        exported(path, tmp_path / "out")


def test_a_directory_that_cannot_be_made_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    tensors = tensors_of(network(0, SMALL)) | {"scaling.mean": MEAN, "scaling.std": STD}
    path = save(tmp_path / "a.safetensors", tensors, SMALL)
    with pytest.raises(LocalError, match=r"out: File exists"):
        exported(path, tmp_path / "out")
