"""Every architecture at its smallest image: it trains, resumes bit for bit, and its export gives the same logits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ladder.exports import Origin, write_model
from ladder.models import load_model
from models.architectures.configs import ARCHITECTURES
from models.catalog import parse_config
from models.checkpoint import load, manifest_path
from models.data import load_split
from models.image_config import ImageCnnConfig
from models.train import train
from models.training import Training

from .conftest import Job

SIDE = 8
# What would only take time: the tests count seconds.
SMALL: dict[str, dict[str, Any]] = {"vgg11": {"dense_units": 16}, "vgg16": {"dense_units": 16}}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """``npz.npz``: three classes of twelve small pictures."""
    labels = np.arange(36) % 3
    images = np.random.default_rng(0).integers(0, 80, (36, SIDE, SIDE, 3)) + 60 * labels[:, None, None, None]
    np.savez(tmp_path / "npz.npz", images=images.astype(np.uint8), labels=labels)
    return tmp_path


def entries(name: str) -> dict[str, Any]:
    given = {
        "architecture": name,
        "dataset": "npz",
        "batch_size": 8,
        "optimizer": "sgd",
        "lr": 0.01,
        "momentum": 0.0,
        **SMALL.get(name, {}),
    }
    config = parse_config("image-cnn", given)
    assert isinstance(config, ImageCnnConfig)
    return given | {"image_size": max(4, config.smallest_side)}


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if ":" not in name])
def test_an_architecture_trains_resumes_bit_for_bit_and_is_exported(job: Job, pictures: Path, name: str) -> None:
    config = entries(name)
    hashes = []
    for result in train(job(**config)):
        hashes.append(result.save(pictures / f"straight-{result.step}").sha256)
    (resumed,) = [
        result.save(pictures / "resumed")
        for result in train(job(**config, from_step=1, resume=pictures / "straight-1"))
    ]
    assert resumed.sha256 == hashes[1] != hashes[0]

    parsed = parse_config("image-cnn", config)
    assert isinstance(parsed, ImageCnnConfig)
    split = load_split(parsed, pictures)
    checkpoint = load(pictures / "resumed")
    trained = Training(parsed, split, seed=0, length=2, threads=1, precision="fp32")
    trained.restore(checkpoint)
    manifest = json.loads(manifest_path(pictures / "resumed").read_bytes())
    write_model(pictures / "resumed", manifest, pictures / "export", origin=Origin("s", "0", 0))
    images = split.pixels[:4]
    with torch.inference_mode():
        logits = load_model(pictures / "export")(images)
        assert logits.shape == (4, 3)
        assert torch.equal(logits, trained.judged.eval()(trained.scaling(images)))
