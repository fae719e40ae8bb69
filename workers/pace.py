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
        self._loaded = -1
        self.progress_at = started_at

    def loading(self, now: float, done: int) -> None:
        """``done`` images are decoded; saying so again and again is no progress."""
        if done > self._loaded:
            self._loaded, self.progress_at = done, now

    def epoch(self, now: float, seconds: float) -> None:
        self.progress_at = now
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
