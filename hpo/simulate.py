"""A whole study under a virtual clock: the engine of the service, invented workers, curves instead of training.

The event log is the service's own, so ``hpo.replay`` reads both. What the service's lifecycle adds is left out: wall
time and device hours, goals, and trials sampled ahead of need. A free worker asks once for work, as in the paper's
``get_job``.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

import numpy as np

from hpo.domain.events import Event, EventType
from hpo.domain.fold import HistoryFold
from hpo.domain.history import Params, TrialRecord
from hpo.domain.trial import EndClass, TrialState
from hpo.engine import Engine
from hpo.schedulers.base import Action, Finished, Promote, StudyView, Wait
from hpo.schedulers.composed import Arrival, Entered
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.spec.study import StudySpec


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a curve: the loss at its end and how long it takes. A loss that is not finite is a divergence.

    ``vector`` holds the losses of all objectives where there are several, ``violation`` what outcome constraints miss.
    """

    loss: float
    seconds: float = 1.0
    vector: tuple[float, ...] = ()
    violation: float = 0.0


# Of trial number, params and step from 1. An end in place of an epoch: the trial fails in it (USER_ERROR), or it is
# cancelled because nothing is known from there on (CANCELLED).
Curve = Callable[[int, Params, int], Epoch | EndClass]


@dataclass(frozen=True, slots=True)
class Faults:
    """Workers killed in the middle of an epoch, each epoch with the same probability.

    The trial is queued again ``lease_s`` later and resumes from its newest checkpoint; the worker is back after
    ``restart_s``. With ``fail_probability`` an epoch ends its trial for good.
    """

    kill_probability: float = 0.0
    lease_s: float = 0.0
    restart_s: float = 0.0
    seed: int = 0
    fail_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Simulation:
    """What happened. ``times_s`` says when, one instant per event; lost epochs are those that a fault undid.

    ``epochs`` counts each epoch of a trial once, however often it was trained; an epoch in which a fault struck does
    not count. ``makespan_s`` is when the last worker came to rest.
    """

    events: tuple[Event, ...]
    times_s: tuple[float, ...]
    trials: tuple[TrialRecord, ...]
    reason: str
    epochs: int
    epochs_lost: int
    kills: int
    peak_running: int
    makespan_s: float

    @property
    def decisions(self) -> tuple[Event, ...]:
        return tuple(event for event in self.events if "decision" in event.data)


def simulate(
    spec: StudySpec,
    curve: Curve,
    *,
    workers: int,
    faults: Faults = Faults(),
    params: Callable[[int], Params] | None = None,
) -> Simulation:
    """Run a study to its end. Raises ValueError without a worker, or if faults would never let it end.

    ``params`` gives those of a trial by its number, and no sampler is asked.
    """
    if workers < 1 or not 0 <= faults.kill_probability < 1:
        raise ValueError(f"need workers >= 1 and 0 <= kill_probability < 1, got {workers} and {faults}")
    return _Simulator(spec, curve, workers, faults, params).run()


@dataclass(slots=True)
class _Trial:
    bracket: int
    target: int
    params: Params
    due: int = 0  # rung that it reaches next
    saved: int = 0  # epochs in its newest checkpoint
    done: int = 0  # epochs reported, of which a fault may have undone those since the checkpoint
    past: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Segment:
    """One claim: the epochs that a worker trains without being asked anything."""

    trial: int
    end: Epoch
    step: int
    killed: bool = False
    ended: EndClass | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Back:
    """A killed worker starts again."""


@dataclass(frozen=True, slots=True)
class _Requeue:
    """The lease of a killed worker runs out."""

    trial: int


_Alarm = _Segment | _Back | _Requeue


@dataclass
class _Simulator:
    spec: StudySpec
    curve: Curve
    workers: int
    faults: Faults
    params: Callable[[int], Params] | None = None
    now_s: float = 0.0
    busy_until_s: float = 0.0
    kills: int = 0
    epochs: int = 0
    epochs_lost: int = 0
    reserved: int = 0
    peak_running: int = 0
    reason: str = ""
    events: list[Event] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(self.spec)
        self.rungs = MemoryRungLog()
        self.history = HistoryFold()
        self.trials: list[_Trial] = []
        self.max_trials = self.spec.max_trials
        self.waiting: set[int] = set()  # trials paused at a rung
        self.queue: list[int] = []  # trials to resume, oldest first
        self.orphans = 0  # trials whose killed worker still holds the lease
        self.running = 0
        self.complete = 0
        self.idle = min(self.workers, self.spec.budget.max_concurrent or self.workers)
        self.alarms: list[tuple[float, int, _Alarm]] = []
        self.tick = count()
        self.rng = np.random.default_rng(self.faults.seed)

    def run(self) -> Simulation:
        self._hand_out()
        while self.alarms:
            self.now_s, _, alarm = heappop(self.alarms)
            self._ring(alarm)
            self._hand_out()
        for number in sorted({*self.waiting, *self.queue}):  # whoever still waits is pruned with the end of the study
            state = TrialState.PRUNED if self.trials[number].done else TrialState.CANCELLED
            self._record(EventType.TRIAL_FINISHED, number, {"state": state.value, "end_class": state.value})
        return Simulation(
            events=tuple(self.events),
            times_s=tuple(self.times_s),
            trials=tuple(self.history.before(len(self.trials))),
            reason=self.reason or "max_epochs",  # nothing runs, and nothing more fits into the budget
            epochs=self.epochs,
            epochs_lost=self.epochs_lost,
            kills=self.kills,
            peak_running=self.peak_running,
            makespan_s=self.busy_until_s,
        )

    def _ring(self, alarm: _Alarm) -> None:
        match alarm:
            case _Back():
                self.idle += 1
            case _Requeue(trial):
                self.orphans -= 1
                self._requeue(trial, EndClass.INFRA)
            case _Segment(trial, killed=True):
                self._free(trial)
                self._reported(trial, alarm.step - 1)
                self.kills += 1
                self.orphans += 1
                self._alarm(self.faults.lease_s, _Requeue(trial))
                self._alarm(self.faults.restart_s, _Back())
            case _Segment(trial, ended=EndClass() as end):
                self._free(trial)
                self.idle += 1
                self._reported(trial, alarm.step - 1)
                state = TrialState.CANCELLED if end is EndClass.CANCELLED else TrialState.FAILED
                self._drop(trial, state, end, {"step": self.trials[trial].done})
            case _Segment(trial):
                self._free(trial)
                self.idle += 1
                self._report(alarm)

    def _free(self, number: int) -> None:
        trial = self.trials[number]
        self.running -= 1
        self.reserved -= trial.target - trial.done
        self.busy_until_s = self.now_s

    def _reported(self, number: int, step: int) -> None:
        trial = self.trials[number]
        self.epochs += max(0, step - trial.done)
        trial.done = max(step, trial.done)

    def _requeue(self, number: int, end_class: EndClass) -> None:
        self.queue.append(number)
        data = {"state": TrialState.QUEUED.value, "end_class": end_class.value, "step": self.trials[number].done}
        self._record(EventType.TRIAL_REQUEUED, number, data)

    def _hand_out(self) -> None:
        """Give every idle worker something to do, until nothing is left or the study is over."""
        while self.idle and not self.reason:
            affordable = next((number for number in self.queue if self._fits(number)), None)
            if affordable is not None:
                self.queue.remove(affordable)
                self._start(affordable)
                continue
            work = self.engine.next_work(self.rungs, self._view())
            match work:
                case Promote():
                    self._promote(work)
                case Finished(reason):
                    self.reason = reason
                case Wait():
                    return
                case _ if not self._create():
                    return

    def _fits(self, number: int) -> bool:
        trial, most = self.trials[number], self.spec.budget.max_epochs
        return most is None or self.epochs + self.reserved + trial.target - trial.done <= most

    def _promote(self, work: Promote) -> None:
        trial = self.trials[work.trial]
        data: dict[str, Any] = {"bracket": work.bracket, "rung": work.rung, "target": work.target}
        if work.exploit is not None:
            trial.params = self.engine.explored(self.trials[work.exploit.source].params, work.trial, work.rung)
            step = self.engine.scheduler.main.ladder(work.bracket)[work.rung]
            data |= {"source": work.exploit.source, "params": trial.params, "step": step}
        self.rungs.leave(work.bracket, work.rung, work.trial)
        self.waiting.remove(work.trial)
        trial.target = work.target
        self._record(EventType.TRIAL_PROMOTED, work.trial, data)
        self.queue.insert(0, work.trial)

    def _create(self) -> bool:
        """Add a trial; False if none can be started."""
        number = len(self.trials)
        bracket = self.engine.bracket_of(number)
        target = self.engine.first_target(bracket)
        most = self.spec.budget.max_epochs
        if most is not None and self.epochs + self.reserved + target > most:
            return False
        given = self.params
        params = self.engine.ask(self.history.before(number), number) if given is None else given(number)
        if params is None:
            self.max_trials = number
            self._record(EventType.STUDY_UPDATED, None, {"max_trials": number, "reason": "space_exhausted"})
            return True
        self.trials.append(_Trial(bracket, target, params))
        self._record(
            EventType.TRIAL_CREATED, number, {"params": params, "cursor": len(self.events), "bracket": bracket}
        )
        self._start(number)
        return True

    def _start(self, number: int) -> None:
        trial = self.trials[number]
        self._record(EventType.TRIAL_STARTED, number, {"from": trial.saved})
        self.idle -= 1
        self.running += 1
        self.reserved += trial.target - trial.done
        self.peak_running = max(self.peak_running, self.running)
        segment = self._train(number)
        self._alarm(segment.seconds, segment)

    def _train(self, number: int) -> _Segment:
        """Epochs from the newest checkpoint to the next stop, unless a fault or a divergence comes first."""
        trial, seconds, epoch = self.trials[number], 0.0, Epoch(math.nan)
        every, step = self.spec.checkpoints.every, trial.saved
        for step in range(trial.saved + 1, trial.target + 1):
            found = self.curve(number, trial.params, step)
            if isinstance(found, EndClass):
                return _Segment(number, epoch, step, ended=found, seconds=seconds)
            epoch = found
            chance = self.rng.random()
            if chance < self.faults.kill_probability:
                self.epochs_lost += step - 1 - trial.saved
                return _Segment(number, epoch, step, killed=True, seconds=seconds + epoch.seconds / 2)
            seconds += epoch.seconds
            if chance > 1 - self.faults.fail_probability:
                return _Segment(number, epoch, step, ended=EndClass.USER_ERROR, seconds=seconds)
            if not math.isfinite(epoch.loss):
                break
            if step % every == 0 or step == trial.target:
                trial.saved = step
        return _Segment(number, epoch, step, seconds=seconds)

    def _report(self, segment: _Segment) -> None:
        number, trial, end = segment.trial, self.trials[segment.trial], segment.end
        self._reported(number, segment.step)
        if not math.isfinite(end.loss):
            self._drop(number, TrialState.PRUNED, EndClass.DIVERGED, {"step": segment.step})
            return
        if self.reason and segment.step < self.engine.full:  # a study that is over goes no further
            self._drop(number, TrialState.PRUNED, EndClass.PRUNED, {"step": segment.step})
            return
        seq = len(self.events) + 1
        arrival = Arrival(number, trial.bracket, segment.step, seq, end.loss, end.vector, end.violation)
        verdict = self.engine.decide(arrival, lambda: trial.past, self.rungs)
        self._enter(verdict.entered)
        trial.past.append((segment.step, end.loss))
        action, target = verdict.decision.action, verdict.decision.target
        data: dict[str, Any] = {"step": segment.step, "loss": end.loss, "bracket": trial.bracket, "rung": verdict.rung}
        data |= {"decision": action.value, "target": target, "seconds": segment.seconds}
        data |= {"vector": list(end.vector)} if end.vector else {}
        data |= {"violation": end.violation} if end.violation else {}
        if verdict.rung is not None:
            trial.due = verdict.rung + 1
        match action:
            case Action.CONTINUE:
                assert target is not None
                trial.target = target
                fits = self._fits(number)
                self._record(EventType.TRIAL_REPORTED, number, data if fits else data | {"queued": True})
                self.queue.insert(0, number)
            case Action.PAUSE:
                self.waiting.add(number)
                self._record(EventType.TRIAL_PAUSED, number, data)
            case _:
                state = TrialState.COMPLETE if action is Action.COMPLETE else TrialState.PRUNED
                self.complete += state is TrialState.COMPLETE
                end_class = EndClass(state.value).value
                self._record(EventType.TRIAL_FINISHED, number, data | {"state": state.value, "end_class": end_class})

    def _drop(self, number: int, state: TrialState, end_class: EndClass, data: dict[str, Any]) -> None:
        trial = self.trials[number]
        entered = self.engine.scheduler.dropped(number, trial.bracket, trial.due, len(self.events) + 1)
        self._enter(entered)
        data |= {"state": state.value, "end_class": end_class.value}
        if entered:
            data["dropped_at"] = entered[0].entry.rung
        self._record(EventType.TRIAL_FINISHED, number, data)

    def _enter(self, entered: Iterable[Entered]) -> None:
        for one in entered:
            self.rungs.add(one.entry, waiting=one.waiting)

    def _view(self) -> StudyView:
        return StudyView(
            created=len(self.trials),
            max_trials=self.max_trials,
            queued=len(self.queue),
            running=self.running + self.orphans,
            complete=self.complete,
        )

    def _record(self, kind: EventType, trial: int | None, data: dict[str, Any]) -> None:
        event = Event(len(self.events) + 1, kind, trial, data)
        self.history.apply(event)
        self.events.append(event)
        self.times_s.append(self.now_s)

    def _alarm(self, after_s: float, alarm: _Alarm) -> None:
        heappush(self.alarms, (self.now_s + after_s, next(self.tick), alarm))
