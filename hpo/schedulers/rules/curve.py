"""Stop a trial whose learning curve will hardly beat the best complete trial (Domhan et al. 2015, IJCAI)."""

from dataclasses import dataclass

from hpo.domain.merit import INFEASIBLE
from hpo.schedulers.base import Past, RungEntry, RungLog
from hpo.schedulers.rules.extrapolate import extrapolate


@dataclass(frozen=True, slots=True)
class CurveRule:
    """Stop if the curve's chance to end below the incumbent is less than ``min_chance``.

    The incumbent is the lowest loss of a complete trial. Nobody is stopped while there is no feasible one, before the
    ``min_points``-th look, and while the trial itself is infeasible: its merit is then a rank, to which no curve fits.
    """

    levels: tuple[int, ...]
    min_chance: float = 0.05
    min_points: int = 4

    @property
    def enters_at_completion(self) -> bool:
        return False

    def score(self, loss: float, past: Past) -> float:
        return loss

    def stops(self, entry: RungEntry, past: Past, log: RungLog) -> bool:
        incumbent = log.kth(entry.bracket, len(self.levels) - 1, 1)
        if incumbent is None or max(incumbent.loss, entry.loss) >= INFEASIBLE:
            return False
        own = frozenset(self.levels)
        earlier = ((resource, loss) for resource, loss in past if resource in own and loss < INFEASIBLE)
        resources, losses = zip(*earlier, (self.levels[entry.rung], entry.loss), strict=True)
        if len(resources) < self.min_points:
            return False
        return extrapolate(resources, losses, self.levels[-1]).chance_below(incumbent.loss) < self.min_chance

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        return None  # a chance decides, and each curve has its own
