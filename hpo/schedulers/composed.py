"""A scheduler with stopping rules beside it: where a trial stops, what is entered where, and the one answer."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from hpo.domain.merit import WORST, merit
from hpo.schedulers.base import (
    Action,
    Decision,
    Past,
    Promote,
    RungEntry,
    RungLog,
    Scheduler,
    StopRule,
    StudyView,
    Work,
)
from hpo.schedulers.pareto import ParetoLog


@dataclass(frozen=True, slots=True)
class Arrival:
    """A trial at a stop. ``vector`` holds the losses of all objectives where there are several, else nothing."""

    trial: int
    bracket: int
    step: int
    seq: int
    loss: float
    vector: tuple[float, ...] = ()
    violation: float = 0.0


@dataclass(frozen=True, slots=True)
class Entered:
    """What goes into the rung log. A negative bracket is the lane of a rule: -1 of the first, and so on."""

    entry: RungEntry
    action: Action
    resource: int

    @property
    def waiting(self) -> bool:
        return self.action is Action.PAUSE


@dataclass(frozen=True, slots=True)
class Verdict:
    """``rung``: the rung of the trial's own bracket that this stop is; None where only rules look."""

    decision: Decision
    rung: int | None
    entered: tuple[Entered, ...]


class Composed:
    """Trials stop at the rungs of their bracket and wherever a rule looks."""

    def __init__(self, main: Scheduler, rules: tuple[StopRule, ...] = (), *, objectives: int = 1) -> None:
        self.main = main
        self.rules = rules
        self._objectives = objectives
        self._stops = lru_cache(maxsize=64)(self._merged)

    def stops(self, bracket: int) -> tuple[int, ...]:
        """All resources at which a trial of the bracket is answered, rising."""
        return self._stops(self.main.ladder(bracket))

    def next_stop(self, bracket: int, step: int) -> int:
        """The first stop beyond ``step``. There must be one."""
        stops = self.stops(bracket)
        return stops[bisect_right(stops, step)]

    def decide(self, arrival: Arrival, past: Callable[[], Past], log: RungLog) -> Verdict:
        """``past`` is asked only if a rule looks at this stop; ``log`` does not hold the arrival yet."""
        bracket, step = arrival.bracket, arrival.step
        ladder = self.main.ladder(bracket)
        rung = ladder.index(step) if step in ladder else None
        entry = None if rung is None else self._entry(arrival, rung)
        looks = [(lane, rule) for lane, rule in enumerate(self.rules) if step in rule.levels]
        before = past() if looks else ()
        decision = Decision(Action.CONTINUE) if entry is None else self._asked(entry, log)
        stopped = set()
        if step != ladder[-1]:
            stopped = {lane for lane, rule in looks if rule.stops(_look(arrival, lane, rule), before, log)}
        if stopped:
            decision = Decision(Action.STOP)
            if entry is not None:
                # It takes no share of its rung and is not expected at the next: neither may wait for whom a rule stops.
                entry = replace(entry, loss=WORST, vector=self._worst)
        if decision.action is Action.CONTINUE:
            decision = Decision(Action.CONTINUE, self.next_stop(bracket, step))
        entered = [] if entry is None else [Entered(entry, decision.action, step)]
        if entry is None and stopped:
            entered += self.dropped(arrival.trial, bracket, bisect_right(ladder, step), arrival.seq)
        for lane, rule in looks:
            action = Action.STOP if lane in stopped else Action.CONTINUE
            entered += _entries(arrival, lane, rule, before, action, whole=decision.action is Action.COMPLETE)
        return Verdict(decision, rung, tuple(entered))

    def dropped(self, trial: int, bracket: int, due: int, seq: int) -> list[Entered]:
        """The entry of a trial that ended on its way to rung ``due``: the worst there, so that nobody waits for it.

        Nothing where that tells nobody anything: beyond the last rung, and in a study of a single one.
        """
        ladder = self.main.ladder(bracket)
        if due >= len(ladder) or (len(ladder) == 1 and bracket == 0):
            return []
        return [Entered(RungEntry(trial, bracket, due, WORST, seq, self._worst), Action.STOP, ladder[due])]

    def ended(self, arrival: Arrival, due: int) -> list[Entered]:
        """The entries of a trial that ended of its own accord on its way to rung ``due``, which must be one.

        It would stay as it is, so its loss counts there; at the rung beyond, nobody waits for it.
        """
        ladder = self.main.ladder(arrival.bracket)
        entry = Entered(self._entry(arrival, due), Action.COMPLETE, ladder[due])
        return [entry, *self.dropped(arrival.trial, arrival.bracket, due + 1, arrival.seq)]

    @property
    def _worst(self) -> tuple[float, ...]:
        return (WORST,) * self._objectives if self._objectives > 1 else ()

    def next_work(self, log: RungLog, view: StudyView) -> Work:
        work = self.main.next_work(self._ranked(log), view)
        if isinstance(work, Promote):
            leaves = self.main.ladder(work.bracket)[work.rung]
            return replace(work, target=self.next_stop(work.bracket, leaves))
        return work

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        """See ``Scheduler.cutoff``; None with several objectives, where no single loss is one."""
        return self.main.cutoff(bracket, rung, log) if self._objectives == 1 else None

    def _ranked(self, log: RungLog) -> RungLog:
        return log if self._objectives == 1 else ParetoLog(log)

    def _asked(self, entry: RungEntry, log: RungLog) -> Decision:
        if self._objectives == 1:
            return self.main.on_report(entry, log)
        ranked = ParetoLog(log)
        return self.main.on_report(ranked.placed(entry), ranked)

    def _entry(self, arrival: Arrival, rung: int) -> RungEntry:
        loss = merit(arrival.loss, arrival.violation)
        vector = tuple(merit(one, arrival.violation) for one in arrival.vector)
        return RungEntry(arrival.trial, arrival.bracket, rung, loss, arrival.seq, vector)

    def _merged(self, ladder: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted({*ladder, *(step for rule in self.rules for step in rule.levels)}))


def _look(arrival: Arrival, lane: int, rule: StopRule) -> RungEntry:
    # Rules judge the loss itself: outcome constraints are the rungs' business.
    return RungEntry(arrival.trial, -1 - lane, rule.levels.index(arrival.step), arrival.loss, arrival.seq)


def _entries(arrival: Arrival, lane: int, rule: StopRule, past: Past, action: Action, *, whole: bool) -> list[Entered]:
    if not rule.enters_at_completion:
        look = _look(arrival, lane, rule)
        return [Entered(replace(look, loss=rule.score(arrival.loss, past)), action, arrival.step)]
    if not whole:
        return []
    looks = [(step, loss) for step, loss in (*past, (arrival.step, arrival.loss)) if step in rule.levels]
    entered = []
    for position, (step, loss) in enumerate(looks):
        at = RungEntry(
            arrival.trial, -1 - lane, rule.levels.index(step), rule.score(loss, looks[:position]), arrival.seq
        )
        entered.append(Entered(at, action, step))
    return entered
