"""Synchronous successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943), in brackets that overlap.

A rung is cut when all that can still come to it have come. Ended trials are in the log with the worst loss at the rung
that they were due at, so they fill it up and nobody waits for them. A worker that would have to wait begins the next
bracket instead, as Hyperband's authors do.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from hpo.domain.merit import WORST
from hpo.schedulers.base import (
    Action,
    Decision,
    Promote,
    RungEntry,
    RungLog,
    StudyView,
    Work,
    is_among_best,
    start_or_finish,
)


@dataclass(frozen=True)
class SyncHalving(ABC):
    """What synchronous halving and Hyperband share. A bracket is an instance: trials fill one after the other.

    A bracket of n trials sends the best ``max(1, floor(n / eta^i))`` to its rung i. The last one is cut short when no
    more trials of it can come: the view says so, hence only ``next_work`` knows. Should more trials be allowed later,
    the bracket goes on as a full one; those promoted meanwhile were the best of the trials then in it.
    """

    levels: tuple[int, ...]
    reduction_factor: int

    @abstractmethod
    def bracket_of(self, number: int) -> int: ...

    @abstractmethod
    def ladder(self, bracket: int) -> tuple[int, ...]: ...

    @abstractmethod
    def size(self, bracket: int) -> int:
        """Trials of the bracket, if the study creates so many."""

    @abstractmethod
    def first(self, bracket: int) -> int:
        """Number of the bracket's first trial."""

    def share(self, n: int, rung: int) -> int:
        """Trials that a bracket of ``n`` sends to a rung."""
        divisor: int = self.reduction_factor**rung
        return max(1, n // divisor)

    def on_report(self, entry: RungEntry, log: RungLog) -> Decision:
        bracket, rung = entry.bracket, entry.rung
        ladder = self.ladder(bracket)
        if entry.loss >= WORST:
            return Decision(Action.STOP)
        if rung == len(ladder) - 1:
            return Decision(Action.COMPLETE)
        size = self.size(bracket)
        if not is_among_best(entry, self.share(size, rung + 1), log):
            return Decision(Action.STOP)  # so many better ones have come that no later arrival can bring it back
        # Above the first rung the bracket has been cut, at the number of trials that are in it.
        n = log.count(bracket, 0) if rung > 0 else size
        goes_on = n == size or is_among_best(entry, self.share(n, rung + 1), log)
        if goes_on and self._is_full(bracket, rung, n, log=log, arriving=1):
            return Decision(Action.CONTINUE, ladder[rung + 1])
        return Decision(Action.PAUSE)

    def next_work(self, log: RungLog, view: StudyView) -> Work:
        # Oldest bracket first: its survivors are nearest to their end. One without work costs its rungs' cut-offs.
        opened = self.bracket_of(view.created - 1) + 1 if view.created else 0
        for bracket in range(opened):
            n = self.size(bracket)
            if bracket == opened - 1 and view.created >= view.max_trials:
                n = min(n, view.created - self.first(bracket))
            promotion = self._promotion(bracket, n, log)
            if promotion is not None:
                return promotion
        return start_or_finish(view)

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        if rung >= len(self.ladder(bracket)) - 1:
            return None
        n = log.count(bracket, 0) if rung > 0 else self.size(bracket)
        key = log.kth(bracket, rung, self.share(n, rung + 1))
        return None if key is None or key.loss >= WORST else key.loss

    def _promotion(self, bracket: int, n: int, log: RungLog) -> Promote | None:
        ladder = self.ladder(bracket)
        for rung in range(len(ladder) - 2, -1, -1):
            waiting = log.best_waiting(bracket, rung)
            if waiting is None:
                continue
            cut = log.kth(bracket, rung, self.share(n, rung + 1))
            if (cut is None or waiting.key <= cut) and self._is_full(bracket, rung, n, log=log):
                return Promote(waiting.trial, bracket, rung, ladder[rung + 1])
        return None

    def _is_full(self, bracket: int, rung: int, n: int, *, log: RungLog, arriving: int = 0) -> bool:
        """Whether all that the rung below sends have come, with ``arriving`` more than the log holds."""
        present = log.count(bracket, rung)
        if rung == 0:
            return present + arriving >= n
        if not self._is_full(bracket, rung - 1, n, log=log):
            return False
        share = self.share(n, rung)
        cut = log.kth(bracket, rung - 1, share)
        if cut is not None and cut.loss < WORST:
            if present + arriving < share:
                return False
            last = log.kth(bracket, rung, present) if present else None
            if last is None or last.loss < WORST:
                return True
        # Somebody failed. A trial cancelled while it waited outside the share is entered here too, and is none of those
        # to wait for; where less than the share survived below, only they are.
        sent = {one.entry.trial for one in log.entries(bracket, rung - 1)[:share] if one.entry.loss < WORST}
        here = sum(one.entry.trial in sent for one in log.entries(bracket, rung))
        return here + arriving >= len(sent)


@dataclass(frozen=True)
class SuccessiveHalving(SyncHalving):
    """Brackets of ``n_trials``, all on the whole ladder."""

    n_trials: int

    def bracket_of(self, number: int) -> int:
        return number // self.n_trials

    def ladder(self, bracket: int) -> tuple[int, ...]:
        return self.levels

    def size(self, bracket: int) -> int:
        return self.n_trials

    def first(self, bracket: int) -> int:
        return bracket * self.n_trials
