"""The number that orders the trials of a rung: feasible ones by loss, the others behind them, failures last."""

import sys

INFEASIBLE = 1e300  # merits from here on are of trials that break an outcome constraint
WORST = sys.float_info.max  # of a trial that failed, diverged or was stopped on its way to the rung


def merit(loss: float, violation: float = 0.0) -> float:
    """Lower is better. ``violation`` is the sum by which outcome constraints are missed, 0 if all are kept.

    Infeasible trials rank by their violation alone (Deb 2000, feasible first).
    """
    if violation > 0:
        # Rising in the violation and below WORST for any finite one.
        return INFEASIBLE * (1.0 + violation / (1.0 + violation))
    limit = INFEASIBLE / 10
    return min(max(loss, -limit), limit)
