"""Asynchronous successive halving, promoting and stopping (Li et al. 2020, arXiv:1810.05934).

All arithmetic on ranks is in integers. Ties are broken by arrival, so an order of events has one outcome.
"""

from dataclasses import dataclass

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
class PromotingAsha:
    """Algorithm 2 of the paper: a trial pauses at its rung and goes on once it is in the best ``1/eta`` there.

    Promotions are decided as late as possible, so a trial may be promoted at any time after it paused, and one that is
    promotable on arrival goes on in place. Later arrivals may push a promoted trial out of the best ``1/eta``: the
    number of promotions from a rung can therefore exceed its share, each of them was in it when it was made.
    """

    levels: tuple[int, ...]
    reduction_factor: int
    n_full: int | None = None

    def on_report(self, entry: RungEntry, log: RungLog) -> Decision:
        if entry.rung == len(self.levels) - 1:
            return Decision(Action.COMPLETE)
        keep = (log.count(entry.bracket, entry.rung) + 1) // self.reduction_factor
        if _is_among_best(entry, keep, log):
            return Decision(Action.CONTINUE, self.levels[entry.rung + 1])
        return Decision(Action.PAUSE)

    def next_work(self, log: RungLog, view: StudyView) -> Work:
        if self.n_full is not None and view.complete >= self.n_full:
            return Finished("n_full")
        return self._promotion(log) or start_or_finish(view, self.levels[0])

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        return _cutoff(bracket, rung, log, self.levels, log.count(bracket, rung) // self.reduction_factor)

    def _promotion(self, log: RungLog) -> Promote | None:
        # From the top down: whoever is nearest to the full resource goes first.
        for rung in reversed(range(len(self.levels) - 1)):
            waiting = log.best_waiting(BRACKET, rung)
            keep = log.count(BRACKET, rung) // self.reduction_factor if waiting else 0
            if waiting is None or keep == 0:
                continue
            cut = log.kth(BRACKET, rung, keep)
            if cut is not None and waiting.key <= cut:
                return Promote(waiting.trial, BRACKET, rung, self.levels[rung + 1])
        return None


@dataclass(frozen=True, slots=True)
class StoppingAsha:
    """Decide once, on arrival: stop a trial unless it is in the best ``1/eta``, at least one, of its rung so far."""

    levels: tuple[int, ...]
    reduction_factor: int
    n_full: int | None = None

    def on_report(self, entry: RungEntry, log: RungLog) -> Decision:
        if entry.rung == len(self.levels) - 1:
            return Decision(Action.COMPLETE)
        keep = max(1, (log.count(entry.bracket, entry.rung) + 1) // self.reduction_factor)
        if _is_among_best(entry, keep, log):
            return Decision(Action.CONTINUE, self.levels[entry.rung + 1])
        return Decision(Action.STOP)

    def next_work(self, log: RungLog, view: StudyView) -> Work:
        if self.n_full is not None and view.complete >= self.n_full:
            return Finished("n_full")
        return start_or_finish(view, self.levels[0])

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        return _cutoff(bracket, rung, log, self.levels, max(1, log.count(bracket, rung) // self.reduction_factor))


def _cutoff(bracket: int, rung: int, log: RungLog, levels: tuple[int, ...], keep: int) -> float | None:
    if keep == 0 or rung == len(levels) - 1:
        return None
    key = log.kth(bracket, rung, keep)
    return None if key is None else key.loss


def _is_among_best(entry: RungEntry, keep: int, log: RungLog) -> bool:
    """Whether ``entry`` is one of the best ``keep`` of its rung, counting itself; ``log`` does not hold it yet."""
    if keep == 0:
        return False
    cut = log.kth(entry.bracket, entry.rung, keep)
    return cut is None or entry.key < cut
