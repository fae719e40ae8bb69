"""The result of a contest: from how each study stands to one row of numbers per method."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from scipy.special import stdtrit

from hpo.domain.history import Params
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.spec.search import Objective

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Run:
    """One study of a contest as it stands: a method with a seed.

    ``loss`` is that of its best trial, None while none has a value; ``test`` the accuracy on the test part, if scored.
    ``wall_s`` counts from the first claim of a trial. ``params`` are those of its confirmation's recommendation, else
    of its best trial. With a confirmation, ``state`` is running until that has ended.
    """

    method: str
    seed: int
    state: StudyState
    loss: float | None
    epochs: int
    device_seconds: float
    wall_s: float
    trials: int
    test: float | None = None
    params: Params | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A method over its seeds. Values are of the objective's metric; ``ci95`` is half the width of the interval.

    ``params`` are those of the best seed, by the search's value: the test part chooses nothing.
    """

    method: str
    mean_rank: float | None
    mean: float | None
    ci95: float | None
    best: float | None
    best_seed: int | None
    params: Params | None
    test: float | None
    epochs_mean: float
    epochs_total: int
    gpu_hours: float
    wall_hours: float
    trials: int
    finished: int
    failed: int
    running: int


def standings(runs: Sequence[Run], objective: Objective) -> list[Standing]:
    """One row per method, by mean rank; those without a rank last, equals in the order of ``runs``.

    A method is ranked within each seed by its best loss so far, 1 is best and equals share the mean of their ranks
    (Friedman 1937). Whoever has no value there shares the last rank; a seed in which nobody has one does not count.
    ``epochs_mean``, ``wall_hours`` are means over the studies, the other amounts are sums.
    """
    methods = list(dict.fromkeys(run.method for run in runs))
    ranks = _ranks(runs)
    rows = [_standing(method, [run for run in runs if run.method == method], ranks[method], objective)
            for method in methods]  # fmt: skip
    return sorted(rows, key=lambda row: math.inf if row.mean_rank is None else row.mean_rank)


def _ranks(runs: Sequence[Run]) -> dict[str, list[float]]:
    """The ranks of each method, one per seed that counts."""
    ranks: dict[str, list[float]] = {run.method: [] for run in runs}
    for seed in dict.fromkeys(run.seed for run in runs):
        rivals = [run for run in runs if run.seed == seed]
        if all(run.loss is None for run in rivals):
            continue
        losses = np.array([math.inf if run.loss is None else run.loss for run in rivals])
        below = (losses[None, :] < losses[:, None]).sum(axis=1)
        equal = (losses[None, :] == losses[:, None]).sum(axis=1)
        for run, rank in zip(rivals, below + (equal + 1) / 2, strict=True):
            ranks[run.method].append(float(rank))
    return ranks


def _standing(method: str, runs: Sequence[Run], ranks: Sequence[float], objective: Objective) -> Standing:
    valued = [(run.loss, run.seed) for run in runs if run.loss is not None]
    values = [objective.value(loss) for loss, _ in valued]
    top = min(valued, default=None)
    tests = [run.test for run in runs if run.test is not None]
    finished = sum(run.state is StudyState.FINISHED for run in runs)
    ended = sum(run.state in STUDY_ENDED for run in runs)
    return Standing(
        method=method,
        mean_rank=fmean(ranks) if ranks else None,
        mean=fmean(values) if values else None,
        ci95=half_width(values),
        best=None if top is None else objective.value(top[0]),
        best_seed=None if top is None else top[1],
        params=None if top is None else next(run.params for run in runs if run.seed == top[1]),
        test=fmean(tests) if tests else None,
        epochs_mean=fmean(run.epochs for run in runs),
        epochs_total=sum(run.epochs for run in runs),
        gpu_hours=sum(run.device_seconds for run in runs) / 3600,
        wall_hours=fmean(run.wall_s for run in runs) / 3600,
        trials=sum(run.trials for run in runs),
        finished=finished,
        failed=ended - finished,
        running=len(runs) - ended,
    )


def half_width(values: Sequence[float]) -> float | None:
    """Half the 95 % confidence interval of the mean, by Student's t; None for fewer than two values."""
    n = len(values)
    if n < 2:
        return None
    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * stdev(values) / math.sqrt(n)


def contest_state(states: Sequence[StudyState]) -> str:
    """``running`` until every study has ended, then ``failed`` if one failed or was cancelled, else ``finished``."""
    if any(state not in STUDY_ENDED for state in states):
        return "running"
    return "finished" if all(state is StudyState.FINISHED for state in states) else "failed"
