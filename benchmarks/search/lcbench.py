"""LCBench (Zimmer et al. 2021, arXiv:2006.13799) by the surrogate of YAHPO Gym (Pfisterer et al. 2022): 34 data sets.

The loss is 1 - balanced validation accuracy. Epoch 1 of the data is the untrained network, so step r of a search is
epoch r + 1, and there are 51 of them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# fmt: off
LCBENCH_SETS = (
    "3945", "7593", "34539", "126025", "126026", "126029", "146212", "167104", "167149", "167152",
    "167161", "167168", "167181", "167184", "167185", "167190", "167200", "167201", "168329", "168330",
    "168331", "168335", "168868", "168908", "168910", "189354", "189862", "189865", "189866", "189873",
    "189905", "189906", "189908", "189909",
)
# fmt: on
EPOCHS = 52
# The order in which the network takes them, after the epoch.
INPUTS = ("batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout")
TIME_S, VAL_BALANCED_ACCURACY = 0, 3
LEAST_SHARE = 0.1  # of the mean time of an epoch


def lcbench_space(data: Path) -> list[dict[str, Any]]:
    """The seven hyperparameters with the bounds and scales of the data."""
    given = json.loads((data / "lcbench/config_space.json").read_text())["hyperparameters"]
    by_name = {param["name"]: param for param in given}
    return [
        {
            "type": by_name[name]["type"].removeprefix("uniform_"),
            "name": name,
            "low": by_name[name]["lower"],
            "high": by_name[name]["upper"],
            "log": by_name[name]["log"],
        }
        for name in INPUTS
    ]


def lcbench_curves(
    data: Path, name: str
) -> Callable[[Sequence[Mapping[str, Any]]], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Losses and seconds per epoch on one data set, both [configs, 51]; all epochs in one call of the network."""
    session = _session(data)
    code = json.loads((data / "lcbench/encoding.json").read_text())["OpenML_task_id"][name]

    def curves(configs: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = np.array([[config[name] for name in INPUTS] for config in configs], dtype=np.float32)
        epochs = np.tile(np.arange(1, EPOCHS + 1, dtype=np.float32), len(rows))
        x_cont = np.column_stack([epochs, np.repeat(rows, EPOCHS, axis=0)])
        x_cat = np.full((len(x_cont), 1), code, dtype=np.int32)
        (output,) = session.run(None, {"x_cat": x_cat, "x_cont": x_cont})
        output = output.reshape(len(rows), EPOCHS, -1).astype(np.float64)
        losses = 1.0 - output[:, 1:, VAL_BALANCED_ACCURACY]
        total_s = output[:, :, TIME_S]
        mean_s = np.maximum(total_s[:, -1:] - total_s[:, :1], 1e-3) / (EPOCHS - 1)
        # The network's clock, fitted to noisy times, runs backwards in about one epoch of a hundred.
        return losses, np.maximum(np.diff(total_s, axis=1), LEAST_SHARE * mean_s)

    return curves


@cache
def _session(data: Path) -> Any:
    import onnxruntime  # only here: the other tasks, and the tests, do without it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(data / "lcbench/model.onnx"), options, providers=["CPUExecutionProvider"])
