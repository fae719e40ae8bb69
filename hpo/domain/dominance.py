"""Who dominates whom among vectors of losses, and how crowded a front is (NSGA-II, Deb et al. 2002).

A point dominates another if it is nowhere worse and somewhere better; lower is better.
"""

import numpy as np
from numpy.typing import NDArray


def nondominated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N, objectives] to [N]: whether no other point dominates it. Equal points do not dominate each other."""
    points, member = np.unique(values, axis=0, return_inverse=True)
    return _on_front(points)[member.reshape(-1)]


def domination_ranks(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """[N, objectives], lower is better, to [N] ranks from 0: a point is dominated by none of its rank or beyond."""
    points, member = np.unique(values, axis=0, return_inverse=True)
    ranks = np.zeros(len(points), dtype=np.intp)
    rest = np.arange(len(points))  # in lexicographic order, so that a point is dominated by earlier ones only
    rank = 0
    while rest.size:
        on_front = _on_front(points[rest])
        ranks[rest[on_front]] = rank
        rest = rest[~on_front]
        rank += 1
    return ranks[member.reshape(-1)]


def _on_front(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N, objectives] distinct points in lexicographic order to [N]: whether no other dominates it."""
    return _front_of_two(points[:, 1]) if points.shape[1] == 2 else _front_of_many(points)


def _front_of_two(second: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N] second objectives, the first rising, to [N]: whether none before is as low."""
    on_front = np.ones(len(second), dtype=np.bool_)
    on_front[1:] = second[1:] < np.minimum.accumulate(second)[:-1]
    return on_front


def _front_of_many(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    on_front = np.zeros(len(points), dtype=np.bool_)
    left = np.arange(len(points))
    while left.size:
        best = left[0]
        on_front[best] = True
        left = left[(points[left] < points[best]).any(axis=1)]
    return on_front


def crowding_distances(values: NDArray[np.float64], ranks: NDArray[np.intp]) -> NDArray[np.float64]:
    """[N, objectives] and [N] ranks to [N]: the gap between a point's neighbours in its rank, summed over objectives.

    Gaps are shares of the rank's range. The ends of a rank are infinitely far from the others.
    """
    distances = np.zeros(len(values))
    for column in values.T:
        order = np.lexsort((column, ranks))  # rank by rank, rising in each; equal ones in the order given
        sorted_ranks, sorted_column = ranks[order], column[order]
        starts = np.flatnonzero(np.diff(sorted_ranks, prepend=-1))
        ends = np.append(starts[1:], len(order)) - 1
        gap = np.full(len(order), np.inf)
        gap[1:-1] = sorted_column[2:] - sorted_column[:-2]
        width = np.repeat(sorted_column[ends] - sorted_column[starts], ends - starts + 1)
        gap = np.divide(gap, width, out=np.zeros(len(order)), where=width > 0)
        gap[starts[width[starts] > 0]] = np.inf
        gap[ends[width[ends] > 0]] = np.inf
        distances[order] += gap
    return distances
