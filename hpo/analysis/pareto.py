"""The Pareto front of a study with several objectives, and the hypervolume below it."""

from collections.abc import Sequence

import numpy as np

from hpo.domain.dominance import nondominated


def front(vectors: Sequence[Sequence[float]]) -> list[int]:
    """Positions of the vectors ``[n, objectives]`` of losses that no other dominates, in their order.

    Equal vectors do not dominate each other.
    """
    if not len(vectors):
        return []
    found: list[int] = np.flatnonzero(nondominated(np.asarray(vectors, dtype=float))).tolist()
    return found


def reference_point(vectors: Sequence[Sequence[float]]) -> list[float]:
    """The worst loss of each objective, a tenth of the range beyond: every trial counts towards the hypervolume."""
    losses = np.asarray(vectors, dtype=float)
    worst, best = losses.max(axis=0), losses.min(axis=0)
    return [float(one) for one in worst + 0.1 * np.where(worst > best, worst - best, 1.0)]


def hypervolume(vectors: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """The volume of what the vectors dominate up to the reference point (Zitzler and Thiele 1998)."""
    # Optuna's exact algorithm (While et al. 2012); imported here, since it takes half a second.
    from optuna._hypervolume import compute_hypervolume

    losses = np.asarray(vectors, dtype=float)
    within = losses[np.all(losses <= np.asarray(reference), axis=1)]
    if not len(within):
        return 0.0
    return float(compute_hypervolume(within[front(within.tolist())], np.asarray(reference, dtype=float)))
