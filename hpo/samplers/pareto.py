"""An order of merit for vectors of losses: non-dominated fronts, and who stands first within one."""

import numpy as np
from numpy.typing import NDArray

from hpo.samplers.optuna_adapter import front_ranks, hypervolume_subset

Losses = NDArray[np.float64]
Positions = NDArray[np.intp]


def best_first(losses: Losses, n: int) -> list[int]:
    """The ``n`` best rows of ``losses``, [rows, objectives], front by front; the last front is cut by hypervolume.

    It is the split of MOTPE (Ozaki et al. 2022, JAIR 73): of a front that does not fit those rows stay that together
    dominate most.
    """
    ranks = front_ranks(losses, n)
    found: list[int] = []
    for rank in np.unique(ranks):
        front = np.flatnonzero(ranks == rank)
        room = n - len(found)
        if len(front) > room:
            front = front[np.sort(hypervolume_subset(losses[front], room))]
        found.extend(front.tolist())
        if len(found) >= n:
            break
    return found


def scalarised(losses: Losses, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """ParEGO's augmented Chebyshev function of each row (Knowles 2006), over losses scaled to [0, 1] by objective."""
    low, high = losses.min(axis=0), losses.max(axis=0)
    weighted = weights * (losses - low) / np.where(high > low, high - low, 1.0)
    found: NDArray[np.float64] = weighted.max(axis=1) + 0.05 * weighted.sum(axis=1)
    return found
