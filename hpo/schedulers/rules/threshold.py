"""Stop a trial whose metric leaves the range that its user expects."""

import math
from dataclasses import dataclass

from hpo.domain.merit import INFEASIBLE
from hpo.schedulers.base import Past, RungEntry, RungLog


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """Stop below ``lower`` or above ``upper``, both losses. A loss on a bound goes on.

    Infeasible trials are not judged: their merit tells by how much constraints are broken and not what the metric is.
    """

    levels: tuple[int, ...]
    lower: float = -math.inf
    upper: float = math.inf

    @property
    def enters_at_completion(self) -> bool:
        return False

    def score(self, loss: float, past: Past) -> float:
        return loss

    def stops(self, entry: RungEntry, past: Past, log: RungLog) -> bool:
        return entry.loss < INFEASIBLE and not self.lower <= entry.loss <= self.upper

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        return self.upper if math.isfinite(self.upper) else None
