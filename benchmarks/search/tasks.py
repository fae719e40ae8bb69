"""The tasks: what is searched, what an epoch of a configuration gives, and which tasks are kept out of a choice.

The data and their formats are described in the README beside them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.lcbench import LCBENCH_SETS, lcbench_curves, lcbench_space
from benchmarks.search.tables import (
    DEEPOBS_PROBLEMS,
    NASBENCH_SETS,
    deepobs_curves,
    deepobs_space,
    nasbench_curves,
    nasbench_space,
)

Array = NDArray[np.float64]
Params = Mapping[str, Any]
Curves = Callable[[Sequence[Params]], tuple[Array, Array]]  # losses and seconds per epoch, both [configs, epochs]
Part = Literal["choice", "held_out", "all"]

FULL_TRAININGS = 50  # the budget of a task with curves, in whole trainings
EVALUATIONS = 100  # that of a task of one step
SAMPLE = 10_000  # random configurations that tell how good a task can get

# Fixed before any method ran: no result may decide what a default is chosen by.
HELD_OUT = frozenset(
    [
        *(f"lcbench-{name}" for name in LCBENCH_SETS[2::3]),
        "deepobs-cifar10_3c3d",
        "nasbench201-imagenet",
    ]
)


@dataclass(frozen=True)
class Task:
    """A search problem with known answers. ``search_space`` is Ladder's JSON list (``hpo/spec/space.py``)."""

    name: str
    search_space: list[dict[str, Any]]
    max_resource: int
    curves: Curves
    _known: dict[tuple[Any, ...], tuple[list[float], list[float]]] = field(default_factory=dict, repr=False)

    @property
    def budget(self) -> int:
        """Epochs that a method may spend in all."""
        return FULL_TRAININGS * self.max_resource if self.max_resource > 1 else EVALUATIONS

    def epoch(self, params: Params, step: int) -> tuple[float, float]:
        """Loss at the end of an epoch, counted from 1, and the seconds that it takes."""
        key = tuple(params[param["name"]] for param in self.search_space)
        if key not in self._known:
            losses, seconds = self.curves([params])
            self._known[key] = (losses[0].tolist(), seconds[0].tolist())
        losses_of, seconds_of = self._known[key]
        return losses_of[step - 1], seconds_of[step - 1]


@dataclass(frozen=True, slots=True)
class Scale:
    """What a loss on a task is worth: ``best`` of a large random sample, ``reference`` its median, fully trained."""

    best: float
    reference: float


def task_names(part: Part) -> list[str]:
    """The names of the tasks to choose by, of those kept out, or of all."""
    names = [
        *(f"lcbench-{name}" for name in LCBENCH_SETS),
        *(f"deepobs-{name}" for name in DEEPOBS_PROBLEMS),
        *(f"nasbench201-{name}" for name in NASBENCH_SETS),
    ]
    return [name for name in names if part == "all" or (name in HELD_OUT) == (part == "held_out")]


def load_task(data: Path, name: str) -> Task:
    """A task by its name. Raises ValueError if there is none of that name, OSError if its data cannot be read."""
    group, _, which = name.partition("-")
    if group == "lcbench" and which in LCBENCH_SETS:
        return Task(name, lcbench_space(data), 51, lcbench_curves(data, which))
    if group == "deepobs" and which in DEEPOBS_PROBLEMS:
        return Task(name, deepobs_space(), DEEPOBS_PROBLEMS[which], deepobs_curves(data, which))
    if group == "nasbench201" and which in NASBENCH_SETS:
        return Task(name, nasbench_space(), 1, nasbench_curves(data, which))
    raise ValueError(f"unknown task {name!r}, want one of {', '.join(task_names('all'))}")


def scale(data: Path, name: str) -> Scale:
    """Best loss of ``SAMPLE`` random configurations at any epoch, and the median of their last."""
    task = load_task(data, name)
    rng = np.random.default_rng(0)
    best, last = np.inf, []
    for _ in range(0, SAMPLE, 1_000):
        losses, _ = task.curves(draw(task.search_space, 1_000, rng))
        # A divergence is a bad end, but its NaN would make the median unknown.
        last.append(np.nan_to_num(losses[:, -1], nan=np.inf))
        best = min(best, float(np.nanmin(losses)))
    return Scale(best, float(np.median(np.concatenate(last))))


def draw(search_space: list[dict[str, Any]], n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """``n`` configurations, uniform on each parameter's own scale."""
    columns = {param["name"]: _column(param, n, rng) for param in search_space}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _column(param: dict[str, Any], n: int, rng: np.random.Generator) -> list[Any]:
    if param["type"] == "categorical":
        return [param["choices"][index] for index in rng.integers(len(param["choices"]), size=n)]
    whole = param["type"] == "int"
    low, high = (param["low"] - 0.5, param["high"] + 0.5) if whole else (param["low"], param["high"])
    log = param.get("log", False)
    values = np.exp(rng.uniform(np.log(low), np.log(high), n)) if log else rng.uniform(low, high, n)
    held = np.clip(np.round(values) if whole else values, param["low"], param["high"])
    return [int(value) for value in held] if whole else held.tolist()
