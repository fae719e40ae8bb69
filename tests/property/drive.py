"""A small study on random losses, each answer of the scheduler held against a reference: workers, failures, cancels."""

import random
from collections import Counter
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from hpo.domain.merit import WORST
from hpo.schedulers.base import (
    Action,
    Decision,
    Finished,
    NewTrial,
    Promote,
    RungEntry,
    Scheduler,
    StudyView,
    Wait,
    Work,
)
from hpo.schedulers.rung_log import MemoryRungLog

Place = tuple[int, int]  # bracket and rung
Answer = Decision | Work


@dataclass
class Rungs:
    """All a reference knows: who came where, in which order of merit, and who waits. Sorted anew for every question."""

    arrivals: dict[Place, list[tuple[float, int, int]]] = field(default_factory=dict)
    waiting: set[tuple[Place, int]] = field(default_factory=set)

    def at(self, place: Place) -> list[int]:
        """Trials, best first."""
        return [trial for _, _, trial in sorted(self.arrivals.get(place, []))]

    def alive(self, place: Place) -> list[int]:
        """Those that did not end on their way there, best first."""
        return [trial for loss, _, trial in sorted(self.arrivals.get(place, [])) if loss < WORST]


class Promotion(NamedTuple):
    """The trial to promote, the place that it leaves, and in a population whom it goes on from."""

    trial: int
    place: Place
    source: int | None = None


class Reference(Protocol):
    def arrive(self, entry: RungEntry, rungs: Rungs) -> Action:
        """``rungs`` hold the entry already."""
        ...

    def promotion(self, rungs: Rungs, view: StudyView) -> Promotion | None: ...


@dataclass
class Drive:
    """Run ``scheduler`` until it has finished. Raises AssertionError where it and the reference differ."""

    scheduler: Scheduler
    reference: Reference | None
    seed: int
    workers: int
    max_trials: int
    failing: float = 0.0
    cancelling: float = 0.0
    losses: int = 6  # distinct ones: few, so that there are ties
    log: MemoryRungLog = field(default_factory=MemoryRungLog)
    rungs: Rungs = field(default_factory=Rungs)
    created: int = 0
    complete: int = 0
    seq: int = 0
    training: list[tuple[int, Place]] = field(default_factory=list)  # trial and where it is due
    written: list[tuple[RungEntry, bool]] = field(default_factory=list)  # entry, waiting
    left: list[tuple[Place, int]] = field(default_factory=list)
    # How much of both had been written, the question and the answer.
    asked: list[tuple[int, int, RungEntry | StudyView, Answer]] = field(default_factory=list)
    promoted: Counter[Place] = field(default_factory=Counter)  # by the place left, in place or later
    finished: str = ""

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    @property
    def decisions(self) -> list[tuple[RungEntry, Decision]]:
        return [
            (asked, answer)
            for *_, asked, answer in self.asked
            if isinstance(asked, RungEntry) and isinstance(answer, Decision)
        ]

    @property
    def promotions(self) -> list[Promote]:
        return [answer for *_, answer in self.asked if isinstance(answer, Promote)]

    @property
    def view(self) -> StudyView:
        return StudyView(self.created, self.max_trials, queued=0, running=len(self.training), complete=self.complete)

    def run(self) -> "Drive":
        while not self.finished:
            if len(self.training) < self.workers and self._work():
                continue
            assert self.training or self.finished, "nothing runs and the scheduler waits"
            if self.training:
                self._end_of_training()
            if self.rungs.waiting and self.draw.random() < self.cancelling:
                (bracket, rung), trial = self.draw.choice(sorted(self.rungs.waiting))
                self._leave((bracket, rung), trial)
                self._enter_ended(trial, (bracket, rung + 1))
        return self

    def _work(self) -> bool:
        """Ask for work; False if there is none now."""
        view = self.view
        work = self.scheduler.next_work(self.log, view)
        self._answered(view, work)
        if self.reference is not None:
            expected = self.reference.promotion(self.rungs, view)
            assert (_told(work) if isinstance(work, Promote) else None) == expected, (
                f"seed {self.seed}: {work} after {self.seq} events"
            )
        match work:
            case Promote(trial, bracket, rung, target):
                assert target == self.scheduler.ladder(bracket)[rung + 1]
                self._leave((bracket, rung), trial)
                self.promoted[bracket, rung] += 1
                self.training.append((trial, (bracket, rung + 1)))
            case NewTrial():
                assert self.created < self.max_trials
                self.training.append((self.created, (self.scheduler.bracket_of(self.created), 0)))
                self.created += 1
            case Finished(reason):
                self.finished = reason
            case Wait():
                return False
        return not self.finished

    def _end_of_training(self) -> None:
        trial, (bracket, rung) = self.training.pop(self.draw.randrange(len(self.training)))
        if self.draw.random() < self.failing:
            self._enter_ended(trial, (bracket, rung))
            return
        self.seq += 1
        entry = RungEntry(trial, bracket, rung, float(self.draw.randrange(self.losses)), self.seq)
        decision = self.scheduler.on_report(entry, self.log)
        self._answered(entry, decision)
        self._write(entry, decision)
        if decision.action is Action.PAUSE:
            self.rungs.waiting.add(((bracket, rung), trial))
        elif decision.action is Action.CONTINUE:
            assert decision.target == self.scheduler.ladder(bracket)[rung + 1]
            self.promoted[bracket, rung] += 1
            self.training.append((trial, (bracket, rung + 1)))
        elif decision.action is Action.COMPLETE:
            self.complete += 1

    def _write(self, entry: RungEntry, decision: Decision) -> None:
        waiting = decision.action is Action.PAUSE
        self.log.add(entry, waiting=waiting)
        self.written.append((entry, waiting))
        place = (entry.bracket, entry.rung)
        self.rungs.arrivals.setdefault(place, []).append((entry.loss, entry.seq, entry.trial))
        if self.reference is not None:
            expected = self.reference.arrive(entry, self.rungs)
            assert decision.action is expected, f"seed {self.seed}: {decision} on {entry}, want {expected}"

    def _enter_ended(self, trial: int, due: Place) -> None:
        self.seq += 1
        entry = RungEntry(trial, *due, WORST, self.seq)
        self._write(entry, Decision(Action.STOP))

    def _leave(self, place: Place, trial: int) -> None:
        self.rungs.waiting.remove((place, trial))
        self.log.leave(*place, trial)
        self.left.append((place, trial))

    def _answered(self, question: RungEntry | StudyView, answer: Answer) -> None:
        self.asked.append((len(self.written), len(self.left), question, answer))


def _told(work: Promote) -> Promotion:
    return Promotion(work.trial, (work.bracket, work.rung), work.exploit.source if work.exploit else None)


def answered_again(drive: Drive) -> list[Answer]:
    """All answers once more, each by a log made of nothing but what was written before it, newest first."""
    answers: list[Answer] = []
    for n_written, n_left, question, _ in drive.asked:
        log = MemoryRungLog()
        for entry, waiting in reversed(drive.written[:n_written]):
            log.add(entry, waiting=waiting)
        for place, trial in drive.left[:n_left]:
            log.leave(*place, trial)
        scheduler = copy(drive.scheduler)
        if isinstance(question, RungEntry):
            answers.append(scheduler.on_report(question, log))
        else:
            answers.append(scheduler.next_work(log, question))
    return answers
