"""What a scheduler decides, and what it may ask: values and protocols only."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol


class Key(NamedTuple):
    """Order of merit in a rung: lower loss first, ties by arrival."""

    loss: float
    seq: int


@dataclass(frozen=True, slots=True)
class RungEntry:
    """A trial's arrival at a rung. ``rung`` indexes the scheduler's ``levels``; ``seq`` rises with every decision."""

    trial: int
    bracket: int
    rung: int
    loss: float
    seq: int

    @property
    def key(self) -> Key:
        return Key(self.loss, self.seq)


class Action(StrEnum):
    CONTINUE = "continue"
    PAUSE = "pause"  # keep the checkpoint, free the device; may be promoted later
    STOP = "stop"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a report. ``target`` is the resource to train up to, with CONTINUE only."""

    action: Action
    target: int | None = None


class RungLog(Protocol):
    """The entries of all rungs, as a scheduler may ask for them; each answer costs an index step or a kept count."""

    def count(self, bracket: int, rung: int) -> int:
        """Number of entries that ever arrived at the rung."""
        ...

    def kth(self, bracket: int, rung: int, k: int) -> Key | None:
        """Key of the k-th best entry, k from 1; None if there are fewer."""
        ...

    def best_waiting(self, bracket: int, rung: int) -> RungEntry | None:
        """Best entry whose trial is paused at this rung; None if none is."""
        ...


@dataclass(frozen=True, slots=True)
class StudyView:
    """How far a study is: trials created so far, the most it may create, and how many are queued, running, complete."""

    created: int
    max_trials: int
    queued: int
    running: int
    complete: int


@dataclass(frozen=True, slots=True)
class Promote:
    """Queue a paused trial again. ``rung`` is the one it leaves, ``target`` the resource of the next."""

    trial: int
    bracket: int
    rung: int
    target: int


@dataclass(frozen=True, slots=True)
class NewTrial:
    """Ask the sampler for a trial and train it up to ``target``."""

    target: int
    bracket: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to start now; the reports of queued and running trials may change that."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The scheduler wants nothing more. ``reason`` is ``max_trials`` or ``n_full``."""

    reason: str


Work = Promote | NewTrial | Wait | Finished


class Scheduler(Protocol):
    """Spends the resource. Pure: an answer depends on the arguments alone."""

    @property
    def levels(self) -> tuple[int, ...]:
        """Resources at which trials are compared, rising; the last is what a whole trial is trained for."""
        ...

    def on_report(self, entry: RungEntry, log: RungLog) -> Decision:
        """Decide on an arrival at a rung; ``log`` does not hold ``entry`` yet."""
        ...

    def next_work(self, log: RungLog, view: StudyView) -> Work:
        """What to start next, if there is room for it."""
        ...

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        """Loss of the last entry of a rung that may go on by the counts of now; None where none may or all do."""
        ...


def start_or_finish(view: StudyView, first_target: int) -> Work:
    """What is left to do when nothing can be promoted."""
    if view.created < view.max_trials:
        return NewTrial(first_target)
    return Wait() if view.queued + view.running > 0 else Finished("max_trials")
