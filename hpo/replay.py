"""Decide a finished or running study again from its events, and find where the record differs.

A scheduler is a pure function of the rung log, so every recorded decision can be derived by whoever has the events.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hpo.engine import Engine
from hpo.schedulers.base import Action, Decision, Promote, RungEntry, StudyView
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.spec.study import StudySpec


@dataclass(frozen=True, slots=True)
class Created:
    """A trial was created and queued for the first rung of its bracket."""

    seq: int
    trial: int
    bracket: int = 0


@dataclass(frozen=True, slots=True)
class Reported:
    """A trial arrived at a rung and was answered.

    ``forced`` marks an answer that was not the scheduler's, because the study was stopping: it is recorded and not
    compared.
    """

    seq: int
    trial: int
    bracket: int
    rung: int
    loss: float
    decision: Decision
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Promoted:
    """A paused trial was queued again; ``rung`` is the one it leaves."""

    seq: int
    trial: int
    bracket: int
    rung: int
    target: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A trial ended other than by the answer to a report: failed, diverged, cancelled, or pruned with its study."""

    seq: int
    trial: int


Event = Created | Reported | Promoted | Ended


@dataclass(frozen=True, slots=True)
class Difference:
    """The first event that could not have happened so; ``expected`` and ``recorded`` are sentences."""

    seq: int
    trial: int
    expected: str
    recorded: str


def replay(spec: StudySpec, events: Iterable[Event]) -> Difference | None:
    """The first difference between the record and what the scheduler decides on it; None if there is none.

    Events come in the order of ``seq``. That a promotable trial was promoted late, or a trial created ahead of need, is
    no difference: the service may find a row locked, and it samples in advance.
    """
    verifier = _Verifier(Engine(spec))
    for event in events:
        difference = verifier.check(event)
        if difference is not None:
            return difference
    return None


class _Verifier:
    """The rung log so far, and for every trial the rung it is on its way to (None once it waits or has ended)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._log = MemoryRungLog()
        self._next_rung: dict[int, int | None] = {}
        self._waits_at: dict[int, tuple[int, int]] = {}
        self._view = StudyView(created=0, max_trials=0, queued=0, running=0, complete=0)
        self._last_seq: int | None = None

    def check(self, event: Event) -> Difference | None:
        if self._last_seq is not None and event.seq <= self._last_seq:
            return _differs(event, f"a seq above {self._last_seq}", f"seq {event.seq}")
        self._last_seq = event.seq
        match event:
            case Created():
                return self._created(event)
            case Reported():
                return self._reported(event)
            case Promoted():
                return self._promoted(event)
            case Ended():
                return self._ended(event)

    def _created(self, event: Created) -> Difference | None:
        if event.trial in self._next_rung:
            return _differs(event, "a new trial", f"trial {event.trial} for the second time")
        self._next_rung[event.trial] = 0
        return None

    def _reported(self, event: Reported) -> Difference | None:
        due = self._next_rung.get(event.trial)
        if due != event.rung:
            wanted = "no report, the trial is not training" if due is None else f"a report at rung {due}"
            return _differs(event, wanted, f"a report at rung {event.rung}")
        entry = RungEntry(event.trial, event.bracket, event.rung, event.loss, event.seq)
        decision = event.decision if event.forced else self._engine.decide(entry, self._log)
        if decision != event.decision:
            return _differs(event, _told(decision), _told(event.decision))
        paused = decision.action is Action.PAUSE
        self._log.add(entry, waiting=paused)
        self._next_rung[event.trial] = event.rung + 1 if decision.action is Action.CONTINUE else None
        if paused:
            self._waits_at[event.trial] = (event.bracket, event.rung)
        if decision.action is Action.COMPLETE:
            self._view = replace(self._view, complete=self._view.complete + 1)
        return None

    def _promoted(self, event: Promoted) -> Difference | None:
        recorded = Promote(event.trial, event.bracket, event.rung, event.target)
        work = self._engine.next_work(self._log, self._view)
        if work != recorded:
            return _differs(event, str(work), str(recorded))
        self._log.leave(event.bracket, event.rung, event.trial)
        del self._waits_at[event.trial]
        self._next_rung[event.trial] = event.rung + 1
        return None

    def _ended(self, event: Ended) -> Difference | None:
        if event.trial not in self._next_rung:
            return _differs(event, "an end of a trial that was created", f"the end of trial {event.trial}")
        self._next_rung[event.trial] = None
        if event.trial in self._waits_at:
            self._log.leave(*self._waits_at.pop(event.trial), event.trial)
        return None


def _differs(event: Event, expected: str, recorded: str) -> Difference:
    return Difference(event.seq, event.trial, expected, recorded)


def _told(decision: Decision) -> str:
    return decision.action if decision.target is None else f"{decision.action} to {decision.target}"
