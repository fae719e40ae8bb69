"""Asynchronous successive halving, promoting and stopping (Li et al. 2020, arXiv:1810.05934).

All arithmetic on ranks is in integers. Ties are broken by arrival, so an order of events has one outcome.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from hpo.schedulers.base import (
    Action,
    Decision,
    Finished,
    Promote,
    RungEntry,
    RungLog,
    StudyView,
    Work,
    start_or_finish,
)

BRACKET = 0  # ASHA climbs one ladder


@dataclass(frozen=True, slots=True)
class _Asha(ABC):
    """What both modes share: who arrives among the best ``keep`` of a rung goes on in place."""

    levels: tuple[int, ...]
    reduction_factor: int
    n_full: int | None = None

    cut: ClassVar[Action]  # what happens to the others

    @abstractmethod
    def keep(self, entries: int) -> int:
        """How many of a rung's entries may go on."""

    def on_report(self, entry: RungEntry, log: RungLog) -> Decision:
        if entry.rung == len(self.levels) - 1:
            return Decision(Action.COMPLETE)
        keep = self.keep(log.count(entry.bracket, entry.rung) + 1)
        if _is_among_best(entry, keep, log):
            return Decision(Action.CONTINUE, self.levels[entry.rung + 1])
        return Decision(self.cut)

    def next_work(self, log: RungLog, view: StudyView) -> Work:
        if self.n_full is not None and view.complete >= self.n_full:
            return Finished("n_full")
        return self.promotion(log) or start_or_finish(view, self.levels[0])

    def promotion(self, log: RungLog) -> Promote | None:
        """The paused trial to go on with, if there is one."""
        return None

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        keep = self.keep(log.count(bracket, rung))
        if keep == 0 or rung == len(self.levels) - 1:
            return None
        key = log.kth(bracket, rung, keep)
        return None if key is None else key.loss


@dataclass(frozen=True, slots=True)
class PromotingAsha(_Asha):
    """Algorithm 2 of the paper: a trial pauses at its rung and goes on once it is in the best ``1/eta`` there.

    Promotions are decided as late as possible, so a trial may be promoted at any time after it paused, and one that is
    promotable on arrival goes on in place. Later arrivals may push a promoted trial out of the best ``1/eta``: the
    number of promotions from a rung can therefore exceed its share, each of them was in it when it was made.
    """

    cut: ClassVar[Action] = Action.PAUSE

    def keep(self, entries: int) -> int:
        return entries // self.reduction_factor

    def promotion(self, log: RungLog) -> Promote | None:
        # From the top down: whoever is nearest to the full resource goes first.
        for rung in reversed(range(len(self.levels) - 1)):
            waiting = log.best_waiting(BRACKET, rung)
            keep = self.keep(log.count(BRACKET, rung)) if waiting else 0
            if waiting is None or keep == 0:
                continue
            cut = log.kth(BRACKET, rung, keep)
            if cut is not None and waiting.key <= cut:
                return Promote(waiting.trial, BRACKET, rung, self.levels[rung + 1])
        return None


@dataclass(frozen=True, slots=True)
class StoppingAsha(_Asha):
    """Decide once, on arrival: stop a trial unless it is in the best ``1/eta``, at least one, of its rung so far."""

    cut: ClassVar[Action] = Action.STOP

    def keep(self, entries: int) -> int:
        return max(1, entries // self.reduction_factor)


def _is_among_best(entry: RungEntry, keep: int, log: RungLog) -> bool:
    """Whether ``entry`` is one of the best ``keep`` of its rung, counting itself; ``log`` does not hold it yet."""
    if keep == 0:
        return False
    cut = log.kth(entry.bracket, entry.rung, keep)
    return cut is None or entry.key < cut
