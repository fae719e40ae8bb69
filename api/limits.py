"""How often one may ask: token buckets in each API process, so that no limit depends on Redis being there."""

import math
import threading
import time
from collections import OrderedDict

BURST = 2.0  # seconds' worth of requests that may come at once
MOST_KEPT = 10_000


class Buckets:
    """A bucket for each name, filled at ``per_s`` tokens a second up to ``burst``."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, max(1.0, burst)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when that many were left
        self._lock = threading.Lock()

    def take(self, name: str, *, now: float | None = None) -> float:
        """Take a token; returns 0, or in how many seconds there will be one if there is none now."""
        with self._lock:
            tokens, now = self._filled(name, now)
            wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._per_s
            self._put(name, tokens - 1 if tokens >= 1 else tokens, now)
            return wait_s

    def wait_s(self, name: str, *, now: float | None = None) -> float:
        """In how many seconds there will be a token; 0 where there is one. Takes none."""
        with self._lock:
            tokens, _ = self._filled(name, now)
            return 0.0 if tokens >= 1 else (1 - tokens) / self._per_s

    def _filled(self, name: str, now: float | None) -> tuple[float, float]:
        now = time.monotonic() if now is None else now
        tokens, at = self._left.get(name, (self._burst, now))
        return min(self._burst, tokens + (now - at) * self._per_s), now

    def _put(self, name: str, tokens: float, now: float) -> None:
        self._left[name] = (tokens, now)
        self._left.move_to_end(name)
        # Who has not asked for longest is forgotten first, and has a full bucket again by then.
        while len(self._left) > MOST_KEPT:
            self._left.popitem(last=False)


def retry_after(wait_s: float) -> str:
    """The value of the header, in whole seconds."""
    return str(max(1, math.ceil(wait_s)))
