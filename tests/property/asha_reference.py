"""Algorithm 2 of Li et al. 2020, written the slow and obvious way."""

from dataclasses import dataclass, field

from hpo.domain.merit import WORST
from hpo.schedulers.base import Action, RungEntry, StudyView
from tests.property.drive import Promotion, Rungs


@dataclass
class ReferenceAsha:
    """``stopping`` decides on arrival only. Whoever is on the way to the full resource, or there, is in ``whole``."""

    levels: tuple[int, ...]
    eta: int
    brackets: int = 1
    n_full: int | None = None
    stopping: bool = False
    whole: set[int] = field(default_factory=set)

    def top(self, bracket: int, rung: int, rungs: Rungs) -> list[int]:
        ranked = rungs.at((bracket, rung))
        return ranked[: max(1 if self.stopping else 0, len(ranked) // self.eta)]

    def has_room(self, bracket: int, rung: int) -> bool:
        """Whether the next rung may be entered."""
        if self.n_full is None or self.stopping or bracket + rung + 1 < len(self.levels) - 1:
            return True
        return len(self.whole) < self.n_full

    def sent(self, trial: int, bracket: int, rung: int) -> None:
        if bracket + rung + 1 == len(self.levels) - 1:
            self.whole.add(trial)

    def arrive(self, entry: RungEntry, rungs: Rungs) -> Action:
        if entry.loss >= WORST:
            self.whole.discard(entry.trial)
            return Action.STOP
        if entry.bracket + entry.rung == len(self.levels) - 1:
            return Action.COMPLETE
        if entry.trial in self.top(entry.bracket, entry.rung, rungs) and self.has_room(entry.bracket, entry.rung):
            self.sent(entry.trial, entry.bracket, entry.rung)
            return Action.CONTINUE
        return Action.STOP if self.stopping else Action.PAUSE

    def promotion(self, rungs: Rungs, view: StudyView) -> Promotion | None:
        if self.n_full is not None and (view.complete >= self.n_full or len(self.whole) >= self.n_full):
            return None
        for target in reversed(self.levels):
            for bracket in range(self.brackets):
                rung = self.levels.index(target) - bracket - 1
                for trial in self.top(bracket, rung, rungs) if rung >= 0 else []:
                    if ((bracket, rung), trial) in rungs.waiting:
                        self.sent(trial, bracket, rung)
                        return Promotion(trial, (bracket, rung))
        return None
