"""Asynchronous successive halving, promoting and stopping (Li et al. 2020, arXiv:1810.05934).

All arithmetic on ranks is in integers. Ties are broken by arrival, so an order of events has one outcome.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import numpy as np

from hpo.domain.merit import WORST
from hpo.schedulers.base import (
    Action,
    Decision,
    Finished,
    Promote,
    RungEntry,
    RungLog,
    StudyView,
    Wait,
    Work,
    is_among_best,
    start_or_finish,
)
from hpo.schedulers.hyperband import bracket_sizes

_STREAM = 0xB  # keeps the draws of brackets apart from those of params, which use the same seed and number


@dataclass(frozen=True, slots=True)
class _Asha(ABC):
    """What both modes share: who arrives among the best ``keep`` of a rung goes on in place.

    With several ``brackets``, bracket s has the ladder ``levels[s:]``, and a trial's bracket is drawn by its number, in
    proportion to Hyperband's numbers of trials. Raises ValueError if there are more brackets than levels.
    """

    levels: tuple[int, ...]
    reduction_factor: int
    n_full: int | None = None
    brackets: int = 1
    seed: int = 0

    cut: ClassVar[Action]  # what happens to the others

    def __post_init__(self) -> None:
        if not 1 <= self.brackets <= len(self.levels):
            raise ValueError(f"need 1 to {len(self.levels)} brackets, got {self.brackets}")

    @abstractmethod
    def keep(self, entries: int) -> int:
        """How many of a rung's entries may go on."""

    def bracket_of(self, number: int) -> int:
        if self.brackets == 1:
            return 0
        ends = tuple(accumulate(bracket_sizes(len(self.levels), self.reduction_factor)[: self.brackets]))
        draw = np.random.default_rng([self.seed, number, _STREAM]).integers(ends[-1])
        return bisect_right(ends, int(draw))

    def ladder(self, bracket: int) -> tuple[int, ...]:
        return self.levels[bracket:]

    def on_report(self, entry: RungEntry, log: RungLog) -> Decision:
        ladder = self.ladder(entry.bracket)
        if entry.loss >= WORST:
            return Decision(Action.STOP)
        if entry.rung == len(ladder) - 1:
            return Decision(Action.COMPLETE)
        keep = self.keep(log.count(entry.bracket, entry.rung) + 1)
        if is_among_best(entry, keep, log) and self.may_enter(ladder[entry.rung + 1], log):
            return Decision(Action.CONTINUE, ladder[entry.rung + 1])
        return Decision(self.cut)

    def next_work(self, log: RungLog, view: StudyView) -> Work:
        if self.n_full is not None and view.complete >= self.n_full:
            return Finished("n_full")
        return self.promotion(log, view) or start_or_finish(view)

    def promotion(self, log: RungLog, view: StudyView) -> Promote | Wait | None:
        """The paused trial to go on with, if there is one; Wait if no work can be of use now."""
        return None

    def may_enter(self, target: int, log: RungLog) -> bool:
        """Whether one more trial may go on to this resource."""
        return True

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        keep = self.keep(log.count(bracket, rung))
        if keep == 0 or rung == len(self.ladder(bracket)) - 1:
            return None
        key = log.kth(bracket, rung, keep)
        return None if key is None or key.loss >= WORST else key.loss


@dataclass(frozen=True, slots=True)
class PromotingAsha(_Asha):
    """Algorithm 2 of the paper: a trial pauses at its rung and goes on once it is in the best ``1/eta`` there.

    Promotions are decided as late as possible, so a trial may be promoted at any time after it paused, and one that is
    promotable on arrival goes on in place. Later arrivals may push a promoted trial out of the best ``1/eta``: the
    number of promotions from a rung can therefore exceed its share, each of them was in it when it was made.

    ``n_full`` trials are promoted to the full resource and no more, unless one of them ends on the way. A bracket that
    begins at the full resource is not counted in: nothing is promoted there.
    """

    cut: ClassVar[Action] = Action.PAUSE

    def keep(self, entries: int) -> int:
        return entries // self.reduction_factor

    def promotion(self, log: RungLog, view: StudyView) -> Promote | Wait | None:
        if self.n_full is not None and view.queued + view.running > 0 and not self.may_enter(self.levels[-1], log):
            return Wait()  # all that are wanted are on their way: whatever else is trained can only be in vain
        for bracket, rung in self._places():
            waiting = log.best_waiting(bracket, rung)
            keep = self.keep(log.count(bracket, rung)) if waiting else 0
            if waiting is None or keep == 0:
                continue
            cut = log.kth(bracket, rung, keep)
            if cut is not None and waiting.key <= cut:
                return Promote(waiting.trial, bracket, rung, self.levels[bracket + rung + 1])
        return None

    def may_enter(self, target: int, log: RungLog) -> bool:
        if self.n_full is None or target != self.levels[-1]:
            return True
        # Who left the rung below for the full resource, less those that ended on the way (or while they waited, which
        # is entered there too). The rung below holds about n_full * eta entries, so that reading it is cheap.
        taken = 0
        for bracket in range(min(self.brackets, len(self.levels) - 1)):
            last = len(self.levels) - bracket - 1
            if log.count(bracket, last - 1):
                left = sum(not one.waiting and one.entry.loss < WORST for one in log.entries(bracket, last - 1))
                taken += left - sum(one.entry.loss >= WORST for one in log.entries(bracket, last))
        return taken < self.n_full

    def _places(self) -> Iterator[tuple[int, int]]:
        """(bracket, rung) in the order of promotion.

        From the top down in resource: whoever is nearest to the full one goes first, in whatever bracket. Of equal ones
        the lowest bracket: its trials have come through most cuts.
        """
        for level in range(len(self.levels) - 2, -1, -1):
            for bracket in range(min(self.brackets, level + 1)):
                yield bracket, level - bracket


@dataclass(frozen=True, slots=True)
class StoppingAsha(_Asha):
    """Decide once, on arrival: stop a trial unless it is in the best ``1/eta``, at least one, of its rung so far."""

    cut: ClassVar[Action] = Action.STOP

    def keep(self, entries: int) -> int:
        return max(1, entries // self.reduction_factor)
