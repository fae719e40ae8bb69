"""Training on a CUDA device. Skipped, and said so, where there is none."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from models.job import EpochResult, TrainJob

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CONFIG = {"dataset": "digits", "architecture": "two_conv", "optimizer": "adam", "lr": 3e-3, "dropout": 0.2}


def epochs(
    count: int, *, from_step: int = 0, resume: Path | None = None, save: Path | None = None, **entries: Any
) -> list[EpochResult]:
    from models.train import train

    job = TrainJob(
        trainer="image-cnn",
        config=CONFIG | entries,
        seed=3,
        from_step=from_step,
        max_resource=9,
        resume=resume,
        data_root=Path("."),
    )
    results = []
    for result in islice(train(job), count):
        if save is not None:
            result.save(save)
        results.append(result)
    return results


def test_a_network_learns_the_digits_on_the_device() -> None:
    assert epochs(5)[-1].metrics["val_acc"] > 0.9


def test_a_resumed_trial_follows_the_curve_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = [result.metrics["val_loss"] for result in epochs(4)]
    checkpoint = tmp_path / "step.safetensors"
    epochs(2, save=checkpoint)
    resumed = [result.metrics["val_loss"] for result in epochs(2, from_step=2, resume=checkpoint)]
    assert resumed == pytest.approx(whole[2:], rel=1e-3)


@pytest.mark.parametrize("amp", ["off", "bf16"])
@pytest.mark.parametrize("architecture", ["two_conv", "resnet_small", "resnet18", "mobilenet_v3"])
@pytest.mark.parametrize("augment", ["crop_flip", "paper_affine", "randaugment"])
def test_a_deterministic_trial_resumes_bit_for_bit(tmp_path: Path, architecture: str, augment: str, amp: str) -> None:
    entries = {"architecture": architecture, "image_size": 32, "optimizer": "sgd", "augment": augment, "amp": amp}
    entries |= {"ema": 0.99, "class_weights": "inverse", "deterministic": True}
    whole = [result.metrics["val_loss"] for result in epochs(3, **entries)]
    checkpoint = tmp_path / "step.safetensors"
    epochs(1, save=checkpoint, **entries)
    resumed = [result.metrics["val_loss"] for result in epochs(2, from_step=1, resume=checkpoint, **entries)]
    assert resumed == whole[1:]


def test_memory_and_latency_are_those_of_the_device() -> None:
    metrics = epochs(1)[-1].metrics
    assert metrics["peak_memory_mb"] == pytest.approx(torch.cuda.max_memory_allocated() / 1e6, rel=0.5)
    assert 0 < metrics["latency_ms"] < 1000
