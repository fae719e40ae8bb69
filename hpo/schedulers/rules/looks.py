"""A trial's own looks at a rule, and the one number that stands for several of them."""

import math
from collections.abc import Sequence

from hpo.domain.merit import INFEASIBLE
from hpo.schedulers.base import Past
from hpo.spec.pruners import Statistic

LOWEST = -INFEASIBLE / 10  # as of every merit: sums and differences of what lies above stay finite


def looks(levels: Sequence[int], past: Past, loss: float) -> list[float]:
    """The trial's losses at the rule's looks so far, the present one last.

    ``past`` may hold stops that are none of the rule's looks (a scheduler's rungs): they are left out.
    """
    own = frozenset(levels)
    losses = (*(earlier for resource, earlier in past if resource in own), loss)
    return [max(one, LOWEST) for one in losses]


def summary(losses: Sequence[float], statistic: Statistic) -> float:
    """The last, the best or the average of merits in order of time; rises with each of them."""
    if statistic == "last":
        return losses[-1]
    if statistic == "best":
        return min(losses)
    worst = max(losses)
    # A merit from INFEASIBLE on is a rank and no quantity: it makes the whole average infeasible.
    return worst if worst >= INFEASIBLE else math.fsum(losses) / len(losses)
