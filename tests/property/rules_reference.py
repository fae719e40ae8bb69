"""The stopping rules, written the slow and obvious way over whole curves: numpy on lists, no rung log."""

import statistics
from collections.abc import Sequence

import numpy as np

from hpo.domain.merit import INFEASIBLE


def statistic(kind: str, curve: Sequence[float]) -> float:
    if kind == "last":
        return curve[-1]
    if kind == "best":
        return float(np.min(curve))
    return statistics.fmean(curve) if max(curve) < INFEASIBLE else float(np.max(curve))


def percentile(scores: Sequence[float], percent: float) -> float:
    above = float(np.percentile(scores, percent, method="higher"))
    return above if above >= INFEASIBLE else float(np.percentile(scores, percent))


def median(scores: Sequence[float]) -> float:
    above = float(np.percentile(scores, 50, method="higher"))
    return above if above >= INFEASIBLE else float(np.median(scores))


def out_of_patience(curve: Sequence[float], patience: int, min_delta: float) -> bool:
    """Whether none of the last ``patience`` points is an improvement on all before them, one by one."""
    if len(curve) <= patience:
        return False
    record = min(curve[: len(curve) - patience])
    return not any(record - loss > min_delta for loss in curve[len(curve) - patience :])
