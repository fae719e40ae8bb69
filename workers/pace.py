"""How fast a run gets on, and when it no longer does."""

import math
from collections import deque
from statistics import median

from workers.limits import Limits

SLOW_EPOCH_S = 1.0


class Pace:
    """Measures from ``started_at`` (monotonic seconds); ``timeout_s`` is the trial's own limit for the whole run."""

    def __init__(self, limits: Limits, started_at: float, timeout_s: float | None) -> None:
        self._limits = limits
        self._ends_at = math.inf if timeout_s is None else started_at + timeout_s
        self._epochs_s: deque[float] = deque(maxlen=50)
        self._told: tuple[int, int] | None = None
        self.progress_at = started_at

    def progress(self, now: float, done: int, total: int) -> None:
        """``done`` of ``total`` images, or epochs of a step, are done; saying so again and again is no progress."""
        if (done, total) != self._told:  # not only more: after the images come the epochs, which begin at 1 again
            self._told, self.progress_at = (done, total), now

    def epoch(self, now: float, seconds: float) -> None:
        self.progress_at, self._told = now, None  # the next step may say what this one said last
        self._epochs_s.append(seconds)

    @property
    def slow(self) -> bool:
        """Whether to kill a child rather than wait for the end of its epoch: the one on standby is ready at once."""
        return bool(self._epochs_s) and median(self._epochs_s) > SLOW_EPOCH_S

    @property
    def stalled_at(self) -> float:
        """When the run must have got on, or its time is over."""
        epoch_s = median(self._epochs_s) if self._epochs_s else 0.0
        patience_s = max(self._limits.stall_s, self._limits.stall_epochs * epoch_s)
        return min(self.progress_at + patience_s, self._ends_at)
