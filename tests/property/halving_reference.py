"""Synchronous brackets as sets of trials: who is sent to a rung, and have they all come?"""

from dataclasses import dataclass
from fractions import Fraction
from math import floor

from hpo.domain.merit import WORST
from hpo.schedulers.base import Action, RungEntry, StudyView
from tests.property.drive import Place, Promotion, Rungs

Bracket = tuple[int, int]  # number of trials, number of rungs


@dataclass
class ReferenceHalving:
    """``brackets`` are filled one after the other, and then all over again."""

    brackets: list[Bracket]
    eta: int

    def members(self, upto: int) -> list[list[int]]:
        """Numbers below ``upto`` by bracket."""
        found: list[list[int]] = []
        numbers = iter(range(upto))
        while (number := next(numbers, None)) is not None:
            size, _ = self.brackets[len(found) % len(self.brackets)]
            found.append([number, *(other for _, other in zip(range(size - 1), numbers, strict=False))])
        return found

    def share(self, n: int, rung: int) -> int:
        return max(1, floor(Fraction(n, self.eta**rung)))

    def sent(self, place: Place, n: int, rungs: Rungs) -> set[int] | None:
        """Trials that go to a rung above the first; None while that is open."""
        bracket, rung = place
        below = (bracket, rung - 1)
        if not self.is_full(below, n, rungs):
            return None
        best = rungs.at(below)[: self.share(n, rung)]
        return {trial for trial in best if trial in rungs.alive(below)}

    def is_full(self, place: Place, n: int, rungs: Rungs) -> bool:
        if place[1] == 0:
            return len(rungs.at(place)) >= n
        sent = self.sent(place, n, rungs)
        return sent is not None and sent <= set(rungs.at(place))

    def arrive(self, entry: RungEntry, rungs: Rungs) -> Action:
        place = (bracket, rung) = (entry.bracket, entry.rung)
        size, n_rungs = self.brackets[bracket % len(self.brackets)]
        if entry.loss >= WORST:
            return Action.STOP
        if rung == n_rungs - 1:
            return Action.COMPLETE
        n = len(rungs.at((bracket, 0))) if rung else size
        ranked = rungs.at(place)
        if entry.trial not in ranked[: self.share(size, rung + 1)]:
            return Action.STOP
        goes_on = entry.trial in ranked[: self.share(n, rung + 1)] and self.is_full(place, n, rungs)
        return Action.CONTINUE if goes_on else Action.PAUSE

    def promotion(self, rungs: Rungs, view: StudyView) -> Promotion | None:
        for bracket, members in enumerate(self.members(view.created)):
            size, n_rungs = self.brackets[bracket % len(self.brackets)]
            n = len(members) if view.created == view.max_trials else size
            for rung in reversed(range(n_rungs - 1)):
                sent = self.sent((bracket, rung + 1), n, rungs) or set()
                for trial in rungs.at((bracket, rung)):
                    if trial in sent and ((bracket, rung), trial) in rungs.waiting:
                        return Promotion(trial, (bracket, rung))
        return None
