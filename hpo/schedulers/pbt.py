"""Population based training (Jaderberg et al. 2017, arXiv:1711.09846), a generation at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hpo.domain.merit import WORST
from hpo.schedulers.base import (
    Action,
    Decision,
    Exploit,
    Promote,
    RungEntry,
    RungLog,
    Standing,
    StudyView,
    Work,
    start_or_finish,
)

BRACKET = 0  # one population, one ladder


@dataclass(frozen=True, slots=True)
class Pbt:
    """All members wait at each level until the last has come; then the worst quantile goes on from the best one's.

    The exploiting members are promoted first and the sources wait until then, so a source's checkpoint is that of the
    level. A member that ended is in the log with the worst loss where it was due: the population shrinks by it. Waiting
    for the last costs devices their time; in return a schedule of parameters depends on the losses alone, not on who
    was faster, and can be replayed.
    """

    levels: tuple[int, ...]
    population_size: int
    quantile: float
    seed: int = 0

    def bracket_of(self, number: int) -> int:
        return BRACKET

    def ladder(self, bracket: int) -> tuple[int, ...]:
        return self.levels

    def on_report(self, entry: RungEntry, log: RungLog) -> Decision:
        if entry.loss >= WORST:
            return Decision(Action.STOP)
        return Decision(Action.COMPLETE if entry.rung == len(self.levels) - 1 else Action.PAUSE)

    def next_work(self, log: RungLog, view: StudyView) -> Work:
        size = min(self.population_size, view.max_trials)
        for rung in range(len(self.levels) - 2, -1, -1):
            if log.best_waiting(BRACKET, rung) is not None and self._has_come(rung, size, log):
                return self._promotion(rung, log.entries(BRACKET, rung))
        return start_or_finish(replace(view, max_trials=size))

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        return None  # all members go on

    def _has_come(self, rung: int, size: int, log: RungLog) -> bool:
        """Whether the whole generation is at the rung: the population, less those that had ended further below."""
        if rung == 0:
            return log.count(BRACKET, 0) >= size
        if log.count(BRACKET, rung) == size:  # nobody ended further below: spares a look at the entries
            return True
        alive = sum(one.entry.loss < WORST for one in log.entries(BRACKET, rung - 1))
        return log.count(BRACKET, rung) >= alive and self._has_come(rung - 1, size, log)

    def _promotion(self, rung: int, entries: Sequence[Standing]) -> Promote:
        """Of the waiting, at least one: the worst quantile from its end, then the rest from the best."""
        alive = [one for one in entries if one.entry.loss < WORST]
        # As a fraction, because 0.29 * 100 is 28.999... in floats. Two of three members cannot be both best and worst.
        share = Fraction(str(self.quantile)) * len(alive)
        quantile = min(max(1, int(share)), len(alive) // 2)
        sources = [one.entry.trial for one in alive[:quantile] if one.waiting]
        losers = [one.entry.trial for one in alive[len(alive) - quantile :] if one.waiting]
        if losers and sources:
            trial = losers[-1]
            draw = np.random.default_rng([self.seed, trial, rung])
            exploit = Exploit(sources[int(draw.integers(len(sources)))])
            return Promote(trial, BRACKET, rung, self.levels[rung + 1], exploit)
        trial = next(one.entry.trial for one in alive if one.waiting)
        return Promote(trial, BRACKET, rung, self.levels[rung + 1])
