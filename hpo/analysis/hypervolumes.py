"""How the hypervolume that a study dominates has grown."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.pareto import hypervolume
from hpo.domain.dominance import nondominated

Array = NDArray[np.float64]
MOST_ON_FRONT, MOST_OF_MANY = 200, 30  # of which the volume is taken, with up to 3 objectives and with more


def hypervolume_history(stretches: Sequence[Sequence[Sequence[float]]], reference: Sequence[float]) -> list[float]:
    """The volume that was dominated by the end of each stretch of a study, up to one reference point.

    A stretch is the losses of its trials, [trials][objectives]; those that others of them dominate may be missing.
    Fronts of more than ``MOST_ON_FRONT`` (beyond three objectives ``MOST_OF_MANY``) are thinned, since the cost is
    exponential in the objectives: their volume is a little too small.
    """
    volumes: list[float] = []
    front: Array = np.empty((0, len(reference)))
    for vectors in stretches:
        grown = np.concatenate([front, np.asarray(vectors, dtype=float).reshape(-1, len(reference))])
        kept = grown[nondominated(grown)]
        known = volumes[-1] if volumes else 0.0
        if not np.array_equal(kept, front):
            known = max(known, hypervolume(_thinned(kept).tolist(), reference))
        volumes.append(known)
        front = kept
    return volumes


def _thinned(front: Array) -> Array:
    most = MOST_ON_FRONT if front.shape[1] <= 3 else MOST_OF_MANY
    if len(front) <= most:
        return front
    along = front[np.argsort(front[:, 0])]
    thinned: Array = along[np.linspace(0, len(along) - 1, most).astype(int)]
    return thinned
