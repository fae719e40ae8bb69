"""Generations of a population as sets of trials."""

from dataclasses import dataclass
from math import floor

import numpy as np

from hpo.domain.merit import WORST
from hpo.schedulers.base import Action, RungEntry, StudyView
from tests.property.drive import Promotion, Rungs


@dataclass
class ReferencePbt:
    """``percent`` is the quantile."""

    n_levels: int
    population: int
    percent: int
    seed: int

    def arrive(self, entry: RungEntry, rungs: Rungs) -> Action:
        if entry.loss >= WORST:
            return Action.STOP
        return Action.COMPLETE if entry.rung == self.n_levels - 1 else Action.PAUSE

    def is_here(self, rung: int, rungs: Rungs, size: int) -> bool:
        due = set(rungs.alive((0, rung - 1))) if rung else set(range(size))
        return due <= set(rungs.at((0, rung))) and (rung == 0 or self.is_here(rung - 1, rungs, size))

    def quantiles(self, rung: int, rungs: Rungs) -> tuple[list[int], list[int]]:
        """The best and the worst of those that live, each best first."""
        alive = rungs.alive((0, rung))
        n = min(max(1, floor(len(alive) * self.percent / 100)), floor(len(alive) / 2))
        return alive[:n], alive[::-1][:n][::-1]

    def promotion(self, rungs: Rungs, view: StudyView) -> Promotion | None:
        size = min(self.population, view.max_trials)
        for rung in reversed(range(self.n_levels - 1)):
            here = [trial for trial in rungs.at((0, rung)) if ((0, rung), trial) in rungs.waiting]
            if here and self.is_here(rung, rungs, size):
                best, worst = self.quantiles(rung, rungs)
                losers = [trial for trial in here if trial in worst]
                sources = [trial for trial in here if trial in best]
                if not losers or not sources:
                    return Promotion(here[0], (0, rung))
                drawn = np.random.default_rng([self.seed, losers[-1], rung]).integers(len(sources))
                return Promotion(losers[-1], (0, rung), sources[int(drawn)])
        return None
