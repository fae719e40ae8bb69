import math
import subprocess
import sys
from typing import Any

import pytest

from models.architectures.configs import ARCHITECTURES, ResnetSmallConfig, TwoConvConfig
from models.catalog import TRAINERS, parse_config
from models.datasets import DATASETS
from models.job import InvalidConfig


def refusal(config: dict[str, Any], trainer: str = "image-cnn") -> InvalidConfig:
    with pytest.raises(InvalidConfig) as caught:
        parse_config(trainer, config)
    return caught.value


def test_the_catalog_imports_no_torch() -> None:
    code = "import sys, models.catalog; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_an_empty_configuration_trains_two_conv_on_digits() -> None:
    config = parse_config("image-cnn", {})
    assert isinstance(config, TwoConvConfig)
    assert (config.dataset, config.image) == ("digits", DATASETS["digits"].image)


def test_the_architecture_chooses_the_configuration() -> None:
    config = parse_config("image-cnn", {"architecture": "resnet_small", "blocks": 3})
    assert isinstance(config, ResnetSmallConfig)
    assert config.blocks == 3


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_dumped_configuration_parses_to_itself(trainer: str) -> None:
    config = parse_config(trainer, {})
    assert parse_config(trainer, config.model_dump()) == config


def test_an_int_is_taken_for_a_float() -> None:
    config = parse_config("image-cnn", {"lr": 1})
    assert isinstance(config, TwoConvConfig)
    assert config.lr == 1.0


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        ({"filtres": 3}, "filtres", "unknown entry"),
        ({"seed": 3}, "seed", "unknown entry"),
        ({"lr": True}, "lr", "got True, want a valid number"),
        ({"batch_size": True}, "batch_size", "got True, want a valid integer"),
        ({"batch_size": 32.0}, "batch_size", "got 32.0, want a valid integer"),
        ({"lr": "0.1"}, "lr", "got '0.1', want a valid number"),
        ({"lr": 0}, "lr", "got 0, want greater than 0"),
        ({"lr": math.nan}, "lr", "got nan"),
        ({"lr": math.inf}, "lr", "got inf"),
        ({"filters1": 600}, "filters1", "got 600, want less than or equal to 512"),
        ({"filters2": 0}, "filters2", "got 0, want greater than or equal to 1"),
        ({"dropout": 0.91}, "dropout", "got 0.91, want less than or equal to 0.9"),
        ({"dataset": "imagenet"}, "dataset", "got 'imagenet', want one of 'digits', 'mnist'"),
        ({"optimizer": "lion"}, "optimizer", "want one of 'sgd', 'adam', 'adamw', 'rmsprop' or 'adadelta'"),
        ({"activation": "step"}, "activation", "want one of 'relu', 'sigmoid'"),
        ({"architecture": "vgg"}, "architecture", "got 'vgg', want one of convnext_tiny, efficientnet_b0"),
        ({"architecture": ["two_conv"]}, "architecture", "want one of convnext_tiny, efficientnet_b0"),
        ({"architecture": "resnet_small", "filters1": 8}, "filters1", "an entry of two_conv, not of resnet_small"),
        ({"width": 8}, "width", "an entry of resnet_small, wide_resnet, not of two_conv"),
        ({"architecture": "resnet_small", "stages": 5}, "architecture", "needs images of 16 px, digits has 8 px"),
        ({"architecture": "resnet_small", "dataset": "cifar10", "width": 256, "stages": 6}, "width", "8192 channels"),
        ({"architecture": "resnet_small", "batch_size": 1}, "batch_size", "at least 2"),
        ({"dataset": "cifar10", "train_images": 9}, "train_images", "greater than or equal to 10"),
        ({"data_path": "digits"}, "data_path", "leave it out"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(config: dict[str, Any], field: str, message: str) -> None:
    error = refusal(config)
    assert error.field == field
    assert message in error.message


@pytest.mark.parametrize(
    "path", ["/etc", "../x", "a/../../b", "..", "a/..", "", "a\x00b", "a\ud800b", "x" * 501, 7, True, ["a"]]
)
def test_a_data_path_stays_below_the_data_root(path: Any) -> None:
    assert refusal({"dataset": "cifar10", "data_path": path}).field == "data_path"


def test_a_data_path_may_name_a_file_in_a_folder() -> None:
    config = parse_config("image-cnn", {"dataset": "cifar10", "data_path": "sets/small.npz"})
    assert isinstance(config, TwoConvConfig)
    assert config.data_path == "sets/small.npz"


def test_a_long_value_is_shown_cut_and_escaped() -> None:
    message = refusal({"dataset": "\x1b[31m" * 1000}).message
    assert len(message) < 200
    assert "\x1b" not in message


def test_an_unknown_trainer_is_refused_with_the_known_ones() -> None:
    error = refusal({}, trainer="keras")
    assert (error.field, "image-cnn, synthetic" in error.message) == ("trainer", True)


def test_the_synthetic_trainer_has_ranges_too() -> None:
    assert refusal({"x": 1.5}, "synthetic").field == "x"
    assert refusal({"kill_at": 0}, "synthetic").field == "kill_at"
    assert refusal({"lr": 0.1}, "synthetic").field == "lr"


def test_the_schema_of_a_trainer_covers_every_architecture() -> None:
    schema = TRAINERS["image-cnn"].json_schema()
    assert {f"{config.__name__}" for config in ARCHITECTURES.values()} == set(schema["$defs"])
    assert "epoch_s" in TRAINERS["synthetic"].json_schema()["properties"]
