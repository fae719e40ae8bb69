"""Tasks that are tables: DeepOBS learning curves of CNNs, and NAS-Bench-201 accuracies.

DeepOBS (Schneider et al. 2019, arXiv:1903.05499): the loss is 1 - test accuracy after each epoch, by optimizer and
learning rate. NAS-Bench-201 (Dong and Yang 2020, arXiv:2001.00326): the loss is 1 - final validation accuracy.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Epochs searched over. Beyond 100 the recorded curves of the two long problems only level out.
DEEPOBS_PROBLEMS = {"fmnist_2c2d": 100, "cifar10_3c3d": 100, "cifar100_allcnnc": 100, "svhn_wrn164": 100}
NASBENCH_SETS = ("cifar10", "cifar100", "imagenet")
OPTIMIZERS = ("GradientDescent", "Momentum", "Adam")
EDGES, OPERATIONS = 6, 5

Array = NDArray[np.float64]
Curves = Callable[[Sequence[Mapping[str, Any]]], tuple[Array, Array]]


def deepobs_space() -> list[dict[str, Any]]:
    """Optimizer and learning rate, over the range that was recorded."""
    return [
        {"type": "categorical", "name": "optimizer", "choices": list(OPTIMIZERS)},
        {"type": "float", "name": "lr", "low": 1e-5, "high": 1e2, "log": True},
    ]


def deepobs_curves(data: Path, problem: str) -> Curves:
    """Losses and seconds, both [configs, epochs], of the run with the nearest recorded rate in log distance.

    An epoch takes a second for all, since times were not recorded. NaN is a divergence.
    """
    with np.load(data / "deepobs_cnn.npz") as table:
        optimizer, lr, seed = (table[f"{problem}_{name}"] for name in ("optimizer", "lr", "seed"))
        accuracy = table[f"{problem}_test_acc"].astype(np.float64)
    # The best rates were repeated with other seeds: every rate counts with the one seed that all have.
    first = seed == seed.min()
    runs = {
        name: (np.log(lr[first & (optimizer == name)]), 1.0 - accuracy[first & (optimizer == name), 1:])
        for name in OPTIMIZERS
    }
    epochs = DEEPOBS_PROBLEMS[problem]

    def curves(configs: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:
        rows = []
        for config in configs:
            rates, losses = runs[config["optimizer"]]
            rows.append(losses[np.abs(rates - np.log(config["lr"])).argmin(), :epochs])
        found = np.stack(rows)
        return found, np.ones_like(found)

    return curves


def nasbench_space() -> list[dict[str, Any]]:
    """The operation on each of the six edges of a cell, without an order."""
    choices = [f"op{number}" for number in range(OPERATIONS)]
    return [{"type": "categorical", "name": f"edge{edge}", "choices": choices} for edge in range(EDGES)]


def nasbench_curves(data: Path, name: str) -> Curves:
    """Losses and seconds, both [configs, 1]: the mean over the seeds that were recorded, and a second."""
    with np.load(data / "table_nasbench201.npz") as table:
        losses = 1.0 - np.nanmean(table[name].astype(np.float64), axis=1) / 100
        cells = {tuple(cell): loss for cell, loss in zip(table["index"].tolist(), losses.tolist(), strict=True)}

    def curves(configs: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:
        found = [cells[tuple(int(config[f"edge{edge}"][2:]) for edge in range(EDGES))] for config in configs]
        return np.array(found)[:, np.newaxis], np.ones((len(found), 1))

    return curves
