"""From traces to figures: normalised regret, ranks, and intervals over tasks. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.search.runs import Run
from benchmarks.search.tasks import Scale

SHARES = (0.1, 0.3, 1.0)  # of the budget
RESAMPLES = 10_000

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over tasks with its 95 % percentile bootstrap interval (tasks drawn with replacement)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """A method's figures. Ranks and regrets by share of the budget; ``rank_auc`` by area under the regret curve."""

    method: str
    ranks: tuple[Estimate, ...]
    regrets: tuple[Estimate, ...]
    rank_auc: Estimate
    seconds: float
    by_task: dict[str, dict[str, float]]


def table(methods: Sequence[str], tasks: Sequence[str], runs: Sequence[Run], scales: Sequence[Scale]) -> list[Row]:
    """The rows, best rank by area first.

    ``runs`` come by method, then task, then seed; ``scales`` by task. Ranks are taken among the methods for each task
    and seed, ties sharing theirs, then averaged over seeds, then over tasks.
    """
    shape = (len(methods), len(tasks), -1)
    of_task = dict(zip(tasks, scales, strict=True))
    measured = np.array([_measures(run, of_task[run.task]) for run in runs]).reshape(*shape, len(SHARES) + 1)
    ranks = rankdata(measured, axis=0).mean(axis=2)
    regrets = measured.mean(axis=2)
    seconds = np.array([run.seconds for run in runs]).reshape(shape).mean(axis=(1, 2))
    rank_of, regret_of = _estimates(ranks), _estimates(regrets)
    names = [*(f"{share:.0%}" for share in SHARES), "auc"]
    rows = [
        Row(
            method,
            tuple(rank_of[index][: len(SHARES)]),
            tuple(regret_of[index][: len(SHARES)]),
            rank_of[index][-1],
            float(seconds[index]),
            {
                task: {f"regret {name}": float(value) for name, value in zip(names, regrets[index, at], strict=True)}
                | {f"rank {name}": float(value) for name, value in zip(names, ranks[index, at], strict=True)}
                for at, task in enumerate(tasks)
            },
        )
        for index, method in enumerate(methods)
    ]
    return sorted(rows, key=lambda row: row.rank_auc.mean)


def _measures(run: Run, scale: Scale) -> list[float]:
    """Regret at each share of the budget, and its mean over all epochs of the budget.

    Regret is 0 at the best known loss and 1 at the reference; what is worse than the reference, or not yet known, is 1.
    """
    ends = [epochs for epochs, _ in run.trace]
    width = scale.reference - scale.best
    levels = [1.0, *(min(1.0, (loss - scale.best) / width) for _, loss in run.trace)]
    at = [levels[bisect_right(ends, int(share * run.budget))] for share in SHARES]
    # levels[k] holds from the end of the epoch that reached it until the next one is reached.
    spans = np.diff([0, *(end - 1 for end in ends), run.budget])
    return [*at, float(spans @ levels / run.budget)]


def _estimates(values: Array) -> list[list[Estimate]]:
    """Over tasks: ``values`` is [methods, tasks, measures]. The same tasks are drawn for all methods."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(values.shape[1], size=(RESAMPLES, values.shape[1]))
    # How often each task was drawn, so that a mean is a product of matrices.
    weights = np.stack([np.bincount(row, minlength=values.shape[1]) for row in drawn]) / values.shape[1]
    low, high = np.quantile(np.einsum("rt,mtk->rmk", weights, values, optimize=True), [0.025, 0.975], axis=0)
    mean = values.mean(axis=1)
    return [
        [Estimate(*map(float, triple)) for triple in zip(mean[m], low[m], high[m], strict=True)]
        for m in range(len(values))
    ]
