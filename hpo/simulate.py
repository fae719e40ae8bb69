"""A whole study under a virtual clock: the engine of the service, invented workers, curves instead of training.

What the service's lifecycle adds is left out: budgets other than ``max_trials`` and ``max_concurrent``, goals, and
trials sampled ahead of need. A free worker asks once for work, as in the paper's ``get_job``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count

import numpy as np

from hpo.domain.history import Params, TrialRecord
from hpo.domain.trial import TRIAL_ENDED, TrialState
from hpo.engine import Engine
from hpo.replay import Created, Ended, Event, Promoted, Reported
from hpo.schedulers.base import Action, Decision, Finished, NewTrial, Promote, RungEntry, StudyView, Wait
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.spec.study import StudySpec


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a curve: the loss at its end and how long it takes. A loss that is not finite is a divergence."""

    loss: float
    seconds: float = 1.0


Curve = Callable[[int, Params, int], Epoch]  # trial number, params, step from 1


@dataclass(frozen=True, slots=True)
class Faults:
    """Workers killed in the middle of an epoch, each epoch with the same probability.

    The trial is queued again ``lease_s`` later and resumes from its newest checkpoint; the worker is back after
    ``restart_s``.
    """

    kill_probability: float = 0.0
    lease_s: float = 0.0
    restart_s: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Simulation:
    """What happened. ``times_s`` says when, one instant per event; lost epochs are those that a fault undid.

    ``makespan_s`` is when the last worker came to rest."""

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
    def decisions(self) -> tuple[Reported, ...]:
        return tuple(event for event in self.events if isinstance(event, Reported))


def simulate(
    spec: StudySpec, curve: Curve, *, workers: int, faults: Faults = Faults(), stop_after_epochs: int | None = None
) -> Simulation:
    """Run a study to its end. Raises ValueError without a worker, or if faults would never let it end.

    No work is handed out any more once ``stop_after_epochs`` were trained or promised to running trials.
    """
    if workers < 1 or not 0 <= faults.kill_probability < 1:
        raise ValueError(f"need workers >= 1 and 0 <= kill_probability < 1, got {workers} and {faults}")
    return _Simulator(spec, curve, workers, faults, stop_after_epochs).run()


@dataclass(slots=True)
class _Trial:
    record: TrialRecord
    rung: int = 0  # the one it trains for, or waits at
    saved: int = 0  # epochs in its newest checkpoint


@dataclass(frozen=True, slots=True)
class _Segment:
    """One claim: the epochs that a worker trains without being asked anything."""

    trial: int
    loss: float
    killed: bool


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
    stop_after_epochs: int | None = None
    now_s: float = 0.0
    busy_until_s: float = 0.0
    kills: int = 0
    epochs: int = 0
    epochs_lost: int = 0
    peak_running: int = 0
    reason: str = ""
    events: list[Event] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(self.spec)
        self.log = MemoryRungLog()
        self.trials: list[_Trial] = []
        self.history: list[TrialRecord] = []
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
        for number, trial in enumerate(self.trials):
            if trial.record.state not in TRIAL_ENDED:  # whoever still waits is pruned with the end of the study
                self._record(Ended(self._seq(), number))
                self._change(number, TrialState.PRUNED)
        return Simulation(
            events=tuple(self.events),
            times_s=tuple(self.times_s),
            trials=tuple(self.history),
            reason=self.reason,
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
                self.queue.append(trial)
                self._change(trial, TrialState.QUEUED)
            case _Segment(trial, killed=True):
                self._free()
                self.kills += 1
                self.orphans += 1
                self._alarm(self.faults.lease_s, _Requeue(trial))
                self._alarm(self.faults.restart_s, _Back())
            case _Segment():
                self._free()
                self.idle += 1
                self._report(alarm)

    def _free(self) -> None:
        self.running -= 1
        self.busy_until_s = self.now_s

    def _hand_out(self) -> None:
        """Give every idle worker something to do, until nothing is left or the study is over."""
        while self.idle and not self.reason:
            if self.stop_after_epochs is not None and self.epochs >= self.stop_after_epochs:
                self.reason = "stop_after_epochs"
                return
            if self.queue:
                self._start(self.queue.pop(0))
                continue
            work = self.engine.next_work(self.log, self._view())
            match work:
                case Promote(number, bracket, rung, target):
                    self._record(Promoted(self._seq(), number, bracket, rung, target))
                    self.log.leave(bracket, rung, number)
                    self.trials[number].rung = rung + 1
                    self._start(number)
                case NewTrial(bracket=bracket):
                    self._start(self._create(bracket))
                case Finished(reason):
                    self.reason = reason
                case Wait():
                    return

    def _create(self, bracket: int) -> int:
        number = len(self.trials)
        params = self.engine.ask(self.history, number)
        record = TrialRecord(number, params, TrialState.RUNNING)
        self.trials.append(_Trial(record))
        self.history.append(record)
        self._record(Created(self._seq(), number, bracket))
        return number

    def _start(self, number: int) -> None:
        self._change(number, TrialState.RUNNING)
        self.idle -= 1
        self.running += 1
        self.peak_running = max(self.peak_running, self.running)
        segment, seconds = self._train(number)
        self._alarm(seconds, segment)

    def _train(self, number: int) -> tuple[_Segment, float]:
        """Epochs from the newest checkpoint to the rung, unless a fault or a divergence comes first."""
        trial, seconds, loss = self.trials[number], 0.0, math.nan
        target, every = self.engine.levels[trial.rung], self.spec.checkpoints.every
        for step in range(trial.saved + 1, target + 1):
            epoch = self.curve(number, trial.record.params, step)
            if self.rng.random() < self.faults.kill_probability:
                self.epochs_lost += step - 1 - trial.saved
                return _Segment(number, math.nan, killed=True), seconds + epoch.seconds / 2
            seconds += epoch.seconds
            self.epochs += 1
            loss = epoch.loss
            if not math.isfinite(loss):
                break
            if step % every == 0 or step == target:
                trial.saved = step
        return _Segment(number, loss, killed=False), seconds

    def _report(self, segment: _Segment) -> None:
        number, trial = segment.trial, self.trials[segment.trial]
        if not math.isfinite(segment.loss):
            self._record(Ended(self._seq(), number))
            self._change(number, TrialState.PRUNED, diverged=True)
            return
        entry = RungEntry(number, 0, trial.rung, segment.loss, self._seq())
        decision = self.engine.decide(entry, self.log)
        # A study that is over lets its running trials come to their rung, and no further.
        forced = self.reason != "" and decision.action in (Action.CONTINUE, Action.PAUSE)
        decision = Decision(Action.STOP) if forced else decision
        self.log.add(entry, waiting=decision.action is Action.PAUSE)
        self._record(Reported(entry.seq, number, 0, trial.rung, segment.loss, decision, forced))
        self._change(number, _STATE_AFTER[decision.action], loss=segment.loss)
        if decision.action is Action.COMPLETE:
            self.complete += 1
        if decision.action is Action.CONTINUE:
            trial.rung += 1
            self._start(number)

    def _view(self) -> StudyView:
        return StudyView(
            created=len(self.trials),
            max_trials=self.spec.max_trials,
            queued=len(self.queue),
            running=self.running + self.orphans,
            complete=self.complete,
        )

    def _change(self, number: int, state: TrialState, *, loss: float | None = None, diverged: bool = False) -> None:
        """Note a trial's new state, and its loss if it has reached a rung."""
        trial = self.trials[number]
        losses = trial.record.losses if loss is None else (*trial.record.losses, (self.engine.levels[trial.rung], loss))
        trial.record = self.history[number] = replace(trial.record, state=state, losses=losses, diverged=diverged)

    def _record(self, event: Event) -> None:
        self.events.append(event)
        self.times_s.append(self.now_s)

    def _alarm(self, after_s: float, alarm: _Alarm) -> None:
        heappush(self.alarms, (self.now_s + after_s, next(self.tick), alarm))

    def _seq(self) -> int:
        return len(self.events) + 1


_STATE_AFTER = {
    Action.CONTINUE: TrialState.RUNNING,
    Action.PAUSE: TrialState.PAUSED,
    Action.STOP: TrialState.PRUNED,
    Action.COMPLETE: TrialState.COMPLETE,
}
