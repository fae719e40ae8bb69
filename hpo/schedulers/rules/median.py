"""Stop a trial that lags behind its rivals at the same step: median (Golovin et al. 2017, Vizier) and percentile."""

import math
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from hpo.domain.merit import INFEASIBLE
from hpo.schedulers.base import Past, RungEntry, RungLog
from hpo.schedulers.rules.looks import looks, summary
from hpo.spec.pruners import Statistic


@dataclass(frozen=True, slots=True)
class _RankRule(ABC):
    """Stop if the trial's ``value`` so far is worse than a cut through its rivals' scores at this look.

    A trial level with the cut goes on, and fewer than ``min_trials`` rivals stop nobody. The order in which the rivals
    came plays no part. A cut between a feasible and an infeasible rival is the infeasible one: merits from INFEASIBLE
    on are ranks, between which there is no middle.
    """

    levels: tuple[int, ...]
    _: KW_ONLY
    min_trials: int = 5
    value: Statistic = "best"
    rivals: Statistic = "last"
    among: Literal["same_step", "completed"] = "same_step"

    @property
    def enters_at_completion(self) -> bool:
        return self.among == "completed"

    def score(self, loss: float, past: Past) -> float:
        return summary(looks(self.levels, past, loss), self.rivals)

    def stops(self, entry: RungEntry, past: Past, log: RungLog) -> bool:
        count = log.count(entry.bracket, entry.rung)
        if count < max(1, self.min_trials):
            return False
        return summary(looks(self.levels, past, entry.loss), self.value) > self._cut(count, entry, log)

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        count = log.count(bracket, rung)
        if count < max(1, self.min_trials) or rung == len(self.levels) - 1:
            return None
        return self._cut(count, RungEntry(trial=-1, bracket=bracket, rung=rung, loss=0.0, seq=0), log)

    @abstractmethod
    def _cut(self, count: int, entry: RungEntry, log: RungLog) -> float:
        """The merit that the trial must reach, from ``count`` >= 1 rivals."""


@dataclass(frozen=True, slots=True)
class MedianRule(_RankRule):
    """The cut is the median: of an even number of rivals the mean of the two middle ones, as ``numpy.median``."""

    def _cut(self, count: int, entry: RungEntry, log: RungLog) -> float:
        upper = _kth(count // 2 + 1, entry, log)
        if count % 2 == 1 or upper >= INFEASIBLE:
            return upper
        return (_kth(count // 2, entry, log) + upper) / 2


@dataclass(frozen=True, slots=True)
class PercentileRule(_RankRule):
    """The cut is the ``percentile``-th percentile of the rivals' losses: who is not in the best so many percent stops.

    With n rivals it lies at position (n - 1) * percentile / 100 of their scores, best first from 0, interpolated
    linearly between the two neighbours: ``numpy.percentile`` with its default method. 0 < percentile < 100.
    """

    _: KW_ONLY
    percentile: float

    def _cut(self, count: int, entry: RungEntry, log: RungLog) -> float:
        position = (count - 1) * (self.percentile / 100)
        below = math.floor(position)
        lower = _kth(below + 1, entry, log)
        if position == below:
            return lower
        upper = _kth(below + 2, entry, log)
        return upper if upper >= INFEASIBLE else _between(lower, upper, position - below)


def _kth(k: int, entry: RungEntry, log: RungLog) -> float:
    key = log.kth(entry.bracket, entry.rung, k)
    assert key is not None  # k is at most the rung's count
    return key.loss


def _between(lower: float, upper: float, share: float) -> float:
    """The point at ``share`` of the way from ``lower`` to ``upper``, 0 < share < 1."""
    # Counted from the nearer end, as numpy does: otherwise rounding may pass the upper one.
    return lower + (upper - lower) * share if share < 0.5 else upper - (upper - lower) * (1 - share)
