"""Train every trial to the end, in the order of creation."""

from dataclasses import dataclass

from hpo.domain.merit import WORST
from hpo.schedulers.base import Action, Decision, RungEntry, RungLog, StudyView, Work, start_or_finish


@dataclass(frozen=True, slots=True)
class Fifo:
    """One level, nothing is pruned: the baseline of every comparison, and the main scheduler of mere stopping rules."""

    max_resource: int

    def bracket_of(self, number: int) -> int:
        return 0

    def ladder(self, bracket: int) -> tuple[int, ...]:
        return (self.max_resource,)

    def on_report(self, entry: RungEntry, log: RungLog) -> Decision:
        return Decision(Action.STOP if entry.loss >= WORST else Action.COMPLETE)

    def next_work(self, log: RungLog, view: StudyView) -> Work:
        return start_or_finish(view)

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        return None
