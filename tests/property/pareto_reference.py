"""Non-dominated rank and crowding distance, pair by pair (Deb et al. 2002, sections III A and B)."""

from collections.abc import Sequence
from math import inf

from hpo.domain.merit import WORST
from hpo.schedulers.base import RungEntry

Vector = tuple[float, ...]


def dominates(one: Vector, other: Vector) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def fronts(entries: Sequence[RungEntry]) -> list[list[RungEntry]]:
    rest, found = list(entries), []
    while rest:
        found.append([one for one in rest if not any(dominates(other.vector, one.vector) for other in rest)])
        rest = [one for one in rest if one not in found[-1]]
    return found


def crowding(front: Sequence[RungEntry]) -> dict[int, float]:
    """By trial."""
    distance = {one.trial: 0.0 for one in front}
    for objective in range(len(front[0].vector)):
        line = sorted(front, key=lambda one: (one.vector[objective], one.seq))
        low, high = line[0].vector[objective], line[-1].vector[objective]
        if low == high:
            continue
        for at, one in enumerate(line):
            if at in (0, len(line) - 1):
                distance[one.trial] = inf
            else:
                distance[one.trial] += (line[at + 1].vector[objective] - line[at - 1].vector[objective]) / (high - low)
    return distance


def best_first(entries: Sequence[RungEntry]) -> list[int]:
    """Trials."""
    ended = sorted((one.seq, one.trial) for one in entries if one.loss >= WORST)
    order = []
    for front in fronts([one for one in entries if one.loss < WORST]):
        distance = crowding(front)
        order += [one.trial for one in sorted(front, key=lambda one: (-distance[one.trial], one.seq))]
    return order + [trial for _, trial in ended]
