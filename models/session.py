"""What a trainer of the user's own and the loop that runs it say to each other. Torch-free.

The function pushes its epochs, the worker asks for them: ``Session`` lets the two take turns. The function runs in a
thread of its own and is held in ``report`` until its epoch has been taken, saved, and the next one is asked for.
"""

import operator
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

MAX_METRICS = 100
MAX_METRIC_NAME = 100


class Stopped(BaseException):
    """Ends a trainer where its trial is paused, pruned, complete or handed back. Let it pass."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trainer may know of its trial besides its configuration.

    ``max_resource`` is the step that a full training ends with: lay schedules out over it. ``threads`` is the number
    of CPU threads that the worker grants, ``data_root`` the operator's directory of data sets.
    """

    seed: int
    max_resource: int
    data_root: Path
    threads: int


@dataclass(frozen=True, slots=True)
class Began:
    """The function is set up and its first epoch starts."""


@dataclass(frozen=True, slots=True)
class Again:
    """A step that the trial had reported before was trained once more, since no state of it was kept."""

    step: int


@dataclass(frozen=True, slots=True)
class Reported:
    """A new step. ``state`` is a copy of what the trainer last gave to ``checkpoint``, in ``state_step``; 0: never."""

    step: int
    metrics: Mapping[str, float]
    seconds: float
    state: Any
    state_step: int


@dataclass(frozen=True, slots=True)
class Returned:
    """The function has ended, by ``error`` if there is one."""

    error: BaseException | None


class Session:
    """One run of a trainer's function.

    ``from_step`` steps of the trial are reported already, ``state`` is the trainer's as of ``state_step`` of them: the
    steps between the two are trained again. ``copy`` takes a state to keep; ``reseed(step)`` seeds the generators.
    """

    def __init__(
        self,
        trial: Trial,
        *,
        from_step: int,
        state: Any,
        state_step: int,
        copy: Callable[[Any], Any],
        reseed: Callable[[int], None],
    ) -> None:
        self.trial = trial
        self.said: SimpleQueue[Began | Again | Reported | Returned] = SimpleQueue()
        self._answers: SimpleQueue[bool] = SimpleQueue()
        self._from_step = from_step
        self._due = state_step + 1
        self._restored = state
        self._kept: tuple[Any, int] = (None, 0)
        self._copy, self._reseed = copy, reseed
        self._stopped = self._began = False
        self._epoch_at = time.perf_counter()

    # -- on the thread of the runner

    @property
    def reported(self) -> int:
        """The last step that the trial's state is of: restored or reported since."""
        return self._due - 1

    def go_on(self) -> None:
        """Let the function train its next step."""
        self._answers.put(True)

    def stop(self) -> None:
        """Let the function end: what it reports, now or later, raises Stopped."""
        self._stopped = True
        self._answers.put(False)

    def ended(self, error: BaseException | None) -> None:
        self.said.put(Returned(error))

    # -- on the thread of the function

    def epochs(self) -> Iterator[int]:
        while not self.should_stop():
            step = self._due
            self._reseed(step)
            self._begin()
            yield step
            if self._due == step:
                raise RuntimeError(f"step {step} was not reported: call ladder.report({step}, ...) at its end")

    def report(self, step: int, metrics: Mapping[str, Any]) -> None:
        if self.should_stop():
            raise Stopped
        step, values = checked(step, metrics)
        if step != self._due:
            resumed = f", since it goes on from step {self._from_step}" if self._from_step else ""
            raise ValueError(
                f"step: got {step}, want {self._due}{resumed}: steps are reported one by one, see ladder.epochs()"
            )
        self._begin()
        if step <= self._from_step:
            self.said.put(Again(step))
        else:
            seconds = time.perf_counter() - self._epoch_at
            self.said.put(Reported(step, values, seconds, *self._kept))
            if not self._answers.get():
                raise Stopped
        self._due += 1
        self._epoch_at = time.perf_counter()

    def should_stop(self) -> bool:
        return self._stopped or self._due > self.trial.max_resource

    def checkpoint(self, state: Any) -> None:
        self._kept = (self._copy(state), self._due)

    def restore(self) -> Any:
        return self._restored

    def _begin(self) -> None:
        if not self._began:
            self._began = True
            self._epoch_at = time.perf_counter()
            self.said.put(Began())


def checked(step: Any, metrics: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """A report's step and metrics as plain numbers, tensors of one element included.

    Raises TypeError and ValueError naming the one at fault.
    """
    try:
        number = operator.index(step)
    except TypeError:
        number = 0
    if number < 1 or isinstance(step, bool):
        raise ValueError(f"step: got {step!r}, want a whole number from 1")
    if len(metrics) > MAX_METRICS:
        raise ValueError(f"got {len(metrics)} metrics, at most {MAX_METRICS} can be reported")
    return number, {name: _number(name, value) for name, value in metrics.items()}


def _number(name: str, value: Any) -> float:
    if not 1 <= len(name) <= MAX_METRIC_NAME:
        raise ValueError(f"a metric's name has 1 to {MAX_METRIC_NAME} characters, got {name!r}")
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"metric {name!r}: want a number, got {type(value).__name__}")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # e.g. a tensor of several elements
        raise TypeError(f"metric {name!r}: want one number, got {type(value).__name__}: {error}") from None


_current: Session | None = None


def current() -> Session | None:
    """The session of the trial that this process trains; None where a training script is run by hand."""
    return _current


@contextmanager
def installed(session: Session) -> Iterator[None]:
    """Make it the process's session. A process trains one trial at a time."""
    global _current
    assert _current is None, "the trainer before has not ended"
    _current = session
    try:
        yield
    finally:
        _current = None
