"""How the hypervolume that a study dominates has grown."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.pareto import hypervolume, reference_point
from hpo.domain.dominance import nondominated

Array = NDArray[np.float64]
POINTS = 100  # of the history
MOST_ON_FRONT, MOST_OF_MANY = 200, 30  # of which the volume is taken, with up to 3 objectives and with more


def hypervolume_history(numbers: Sequence[int], vectors: Sequence[Sequence[float]]) -> tuple[list[int], list[float]]:
    """Numbers of trials, rising, and the volume that was dominated by then; both empty without a trial.

    ``vectors`` are losses, [trials][objectives], by the trials' numbers. All volumes are up to one reference point,
    that of the whole study. Fronts of more than ``MOST_ON_FRONT`` (beyond three objectives ``MOST_OF_MANY``) are
    thinned, since the cost is exponential in the objectives: their volume is a little too small.
    """
    losses = np.asarray(vectors, dtype=float)
    if not len(losses):
        return [], []
    reference = reference_point(losses.tolist())
    ends = np.unique(np.linspace(1, len(losses), min(POINTS, len(losses))).astype(int))
    shown: list[int] = []
    volumes: list[float] = []
    front, began = losses[:0], 0
    for end in ends.tolist():
        grown = np.concatenate([front, losses[began:end]])
        kept = grown[nondominated(grown)]
        if not len(volumes) or len(kept) != len(front) or not np.array_equal(kept, front):
            volume = hypervolume(_thinned(kept).tolist(), reference)
            volumes.append(max(volume, volumes[-1] if volumes else 0.0))
        else:
            volumes.append(volumes[-1])
        shown.append(int(numbers[end - 1]))
        front, began = kept, end
    return shown, volumes


def _thinned(front: Array) -> Array:
    most = MOST_ON_FRONT if front.shape[1] <= 3 else MOST_OF_MANY
    if len(front) <= most:
        return front
    along = front[np.argsort(front[:, 0])]
    thinned: Array = along[np.linspace(0, len(along) - 1, most).astype(int)]
    return thinned
