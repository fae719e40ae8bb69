"""What a run leaves behind: the best loss so far against the epochs spent."""

import math
from dataclasses import dataclass

Trace = list[tuple[int, float]]  # (epochs spent by all trials together, best loss so far), only where it improves


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one run: its trace, and how many trials it began within the budget."""

    trace: Trace
    trials: int


class Tracer:
    """Takes every epoch of every trial in the order in which they end."""

    def __init__(self) -> None:
        self.epochs = 0
        self.trace: Trace = []
        self._best = math.inf

    def add(self, loss: float) -> None:
        self.epochs += 1
        if loss < self._best:
            self._best = loss
            self.trace.append((self.epochs, loss))
