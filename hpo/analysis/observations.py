"""What figures and importances are made of: trials as they were measured, and which of them there is room for."""

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.domain.history import Params
from hpo.domain.trial import TrialState

ENOUGH = 30  # entries from which on a rung is preferred to a lower one with more
FEWEST = 10  # trials, below which an importance would be an accident


@dataclass(frozen=True, slots=True)
class Observation:
    """A trial with the values of all objectives, in their own units, after ``step`` steps; all values are finite."""

    number: int
    params: Params
    values: tuple[float, ...]
    state: TrialState
    step: int
    feasible: bool = True


@dataclass(frozen=True, slots=True)
class Level:
    """A resource at which trials were compared, with all its (bracket, rung) places and the entries of each."""

    resource: int
    places: tuple[tuple[int, int, int], ...]

    @property
    def entries(self) -> int:
        return sum(entries for _, _, entries in self.places)


def level_to_compare(rungs: Sequence[tuple[int, int, int, int]]) -> Level | None:
    """The level whose trials are compared, like with like; None while nobody has reached any.

    ``rungs`` are (bracket, rung, resource, entries). It is the highest resource with ``ENOUGH`` entries over all
    brackets; where none has as many, that with the most, the higher of equals.
    """
    levels = [
        Level(resource, tuple((bracket, rung, n) for bracket, rung, at, n in rungs if at == resource and n > 0))
        for resource in sorted({resource for _, _, resource, entries in rungs if entries > 0}, reverse=True)
    ]
    enough = [level for level in levels if level.entries >= ENOUGH]
    return enough[0] if enough else max(levels, key=lambda level: level.entries, default=None)
