"""A trial that is interrupted, and goes on in another process, is bit for bit the one that was not."""

import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from models.checkpoint import load
from models.job import TrainJob
from models.train import train
from tests.timeless import timeless

EPOCHS, PAUSE = 4, 2
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adadelta")
NETWORKS: dict[str, dict[str, Any]] = {
    # The arithmetic is fixed: what a probe of the machine's speed chooses is no function of the job.
    "two_conv": {"filters1": 4, "filters2": 6, "dense_units": 16, "dropout": 0.4, "amp": "off"},
    "resnet_small": {"width": 4, "amp": "bf16"},
}
CASES = [*product(NETWORKS, OPTIMIZERS), ("two_conv", "sgd without momentum")]


@dataclass(frozen=True)
class Run:
    curve: list[dict[str, float]]
    last: Path


def configuration(network: str, optimizer: str) -> dict[str, Any]:
    entries = {"architecture": network, **NETWORKS[network], "weight_decay": 1e-3, "lr": 0.01, "train_images": 105}
    if optimizer == "sgd without momentum":
        return {**entries, "optimizer": "sgd", "momentum": 0.0}
    return {**entries, "optimizer": optimizer, "momentum": 0.5, "batch_size": 25}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[Run, Run]]:
    """Each case trained straight here, in one warm process, and resumed from its middle in a fresh one."""
    root = tmp_path_factory.mktemp("runs")
    straight, orders = {}, []
    for case in CASES:
        folder = root / "-".join(case).replace(" ", "-")
        folder.mkdir()
        job = TrainJob("image-cnn", configuration(*case), 11, 0, EPOCHS, None, root)
        curve = []
        for result in train(job):
            curve.append(timeless(result.metrics))
            result.save(folder / f"step-{result.step}.safetensors")
        straight[case] = Run(curve, folder / f"step-{EPOCHS}.safetensors")
        order = {"trainer": job.trainer, "config": job.config, "seed": 11, "max_resource": EPOCHS}
        resume = {"from_step": PAUSE, "resume": str(folder / f"step-{PAUSE}.safetensors")}
        orders.append(order | resume | {"data_root": str(root), "save": str(folder / "resumed.safetensors")})
    # Also the first case from its beginning: what a fresh process trains, without any other trial before.
    orders.insert(0, orders[0] | {"from_step": 0, "resume": None, "save": str(root / "fresh.safetensors")})
    child = subprocess.run(
        [sys.executable, "-m", "tests.unit.models.resume_all"],
        input="".join(f"{json.dumps(order)}\n" for order in orders),
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    curves = [[timeless(metrics) for metrics in json.loads(line)] for line in child.stdout.splitlines()]
    ends = [Run(curve, Path(order["save"])) for curve, order in zip(curves, orders, strict=True)]
    pairs = {case: (straight[case], end) for case, end in zip(CASES, ends[1:], strict=True)}
    return pairs | {("fresh", ""): (straight[CASES[0]], ends[0])}


@pytest.mark.parametrize("case", CASES, ids=[f"{network}-{optimizer}" for network, optimizer in CASES])
def test_a_resumed_curve_equals_the_uninterrupted_one(
    runs: dict[tuple[str, str], tuple[Run, Run]], case: tuple[str, str]
) -> None:
    straight, resumed = runs[case]
    assert len(straight.curve) == EPOCHS
    assert resumed.curve == straight.curve[PAUSE:]


@pytest.mark.parametrize("case", CASES, ids=[f"{network}-{optimizer}" for network, optimizer in CASES])
def test_every_tensor_of_a_resumed_trial_equals_the_uninterrupted_one(
    runs: dict[tuple[str, str], tuple[Run, Run]], case: tuple[str, str]
) -> None:
    straight, resumed = (load(run.last) for run in runs[case])
    assert straight.part("model")
    assert straight.part("optimizer") or case[1] == "sgd without momentum"
    assert straight.manifest == resumed.manifest  # the SHA-256 of all tensors included


def test_a_fresh_process_trains_what_a_warm_one_does(runs: dict[tuple[str, str], tuple[Run, Run]]) -> None:
    warm, fresh = runs["fresh", ""]
    assert fresh.curve == warm.curve
    assert load(fresh.last).manifest == load(warm.last).manifest
