"""Hyperband (Li et al. 2018, arXiv:1603.06560, Algorithm 1), survivors resume from their checkpoints."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from hpo.schedulers.successive_halving import SyncHalving


def bracket_sizes(n_levels: int, reduction_factor: int) -> tuple[int, ...]:
    """Trials of the brackets that start at each level, from the lowest: ``ceil((s_max + 1) / (s + 1) * eta^s)``.

    ``s`` is the number of levels above the start, ``s_max`` that of the first bracket. All in integers.
    """
    return tuple(-(-n_levels * reduction_factor**s // (s + 1)) for s in reversed(range(n_levels)))


@dataclass(frozen=True)
class Hyperband(SyncHalving):
    """The brackets of the paper one after the other, from the one with most trials, and then all over again.

    Bracket ``j`` of each round starts at ``levels[j]``.
    """

    def bracket_of(self, number: int) -> int:
        turn, rest = divmod(number, self._starts[-1])
        return turn * len(self.levels) + bisect_right(self._starts, rest) - 1

    def ladder(self, bracket: int) -> tuple[int, ...]:
        return self._ladders[bracket % len(self.levels)]

    def size(self, bracket: int) -> int:
        return self._sizes[bracket % len(self.levels)]

    def first(self, bracket: int) -> int:
        turn, kind = divmod(bracket, len(self.levels))
        return turn * self._starts[-1] + self._starts[kind]

    @cached_property
    def _sizes(self) -> tuple[int, ...]:
        return bracket_sizes(len(self.levels), self.reduction_factor)

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        """First trial of each bracket within a round, and the trials of a round."""
        return tuple(accumulate(self._sizes, initial=0))

    @cached_property
    def _ladders(self) -> tuple[tuple[int, ...], ...]:
        return tuple(self.levels[start:] for start in range(len(self.levels)))
