"""What a scheduler decides, and what it may ask: values and protocols only."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol


class Key(NamedTuple):
    """Order of merit in a rung: lower loss first, ties by arrival."""

    loss: float
    seq: int


@dataclass(frozen=True, slots=True)
class RungEntry:
    """A trial's arrival at a rung. ``rung`` indexes its bracket's ladder; ``seq`` rises with every decision.

    ``loss`` is the merit it is ranked by (``hpo.domain.merit``); ``vector`` holds the merits of all objectives where
    there are several.
    """

    trial: int
    bracket: int
    rung: int
    loss: float
    seq: int
    vector: tuple[float, ...] = ()

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
        """Number of entries that ever arrived at the rung; 0 for a rung that nobody has reached."""
        ...

    def kth(self, bracket: int, rung: int, k: int) -> Key | None:
        """Key of the k-th best entry, k from 1; None if there are fewer."""
        ...

    def best_waiting(self, bracket: int, rung: int) -> RungEntry | None:
        """Best entry whose trial is paused at this rung; None if none is."""
        ...

    def entries(self, bracket: int, rung: int) -> Sequence["Standing"]:
        """All entries, best first. Costs the size of the rung: for populations and for several objectives only."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """An entry and whether its trial still waits at the rung."""

    entry: RungEntry
    waiting: bool


@dataclass(frozen=True, slots=True)
class StudyView:
    """How far a study is: trials created so far, the most it may create, and how many are queued, running, complete."""

    created: int
    max_trials: int
    queued: int
    running: int
    complete: int


@dataclass(frozen=True, slots=True)
class Exploit:
    """The promoted trial goes on from another's checkpoint of the same rung, with that one's params, explored."""

    source: int


@dataclass(frozen=True, slots=True)
class Promote:
    """Queue a paused trial again. ``rung`` is the one it leaves, ``target`` the resource of the next."""

    trial: int
    bracket: int
    rung: int
    target: int
    exploit: Exploit | None = None


@dataclass(frozen=True, slots=True)
class NewTrial:
    """A new trial is wanted; ``Scheduler.bracket_of`` its number says where it starts."""


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

    def bracket_of(self, number: int) -> int:
        """The bracket that trial ``number`` starts in, from 0."""
        ...

    def ladder(self, bracket: int) -> tuple[int, ...]:
        """Resources at which the bracket's trials are compared, rising; the last is that of a whole trial."""
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


Past = Sequence[tuple[int, float]]  # a trial's (resource, loss) at the looks before this one, rising in resource


class StopRule(Protocol):
    """Stops trials and does nothing else. It keeps a lane of the rung log to itself, with a rung per look."""

    @property
    def levels(self) -> tuple[int, ...]:
        """Resources at which it looks, rising; the last is that of a whole trial, where it stops nobody."""
        ...

    @property
    def enters_at_completion(self) -> bool:
        """Whether the lane holds complete trials only, entered with all their looks when they complete."""
        ...

    def score(self, loss: float, past: Past) -> float:
        """What this look is entered with in the lane."""
        ...

    def stops(self, entry: RungEntry, past: Past, log: RungLog) -> bool:
        """Whether to stop now. ``entry.loss`` is the loss itself, not the score; ``log`` does not hold the look yet."""
        ...

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        """Loss that a trial must reach at a look by the counts of now; None where no single one decides."""
        ...


def start_or_finish(view: StudyView) -> Work:
    """What is left to do when nothing can be promoted."""
    if view.created < view.max_trials:
        return NewTrial()
    return Wait() if view.queued + view.running > 0 else Finished("max_trials")


def is_among_best(entry: RungEntry, keep: int, log: RungLog) -> bool:
    """Whether ``entry`` is one of the best ``keep`` of its rung, counting itself; ``log`` does not hold it yet."""
    if keep == 0:
        return False
    cut = log.kth(entry.bracket, entry.rung, keep)
    return cut is None or entry.key < cut
