"""When a study has found what it looked for, or finds nothing better any more."""

from hpo.domain.merit import merit
from hpo.lifecycle.definitions import Definition
from hpo.schedulers.composed import Arrival
from hpo.storage.change import TrialChange


def reason_to_stop(
    change: TrialChange, definition: Definition, *, ended: bool, arrival: Arrival | None = None
) -> str | None:
    """Why the study stops with this change: ``goal`` or ``stagnation``; None if it goes on.

    ``ended``: the trial ends with it. ``arrival`` is None for a trial that ends without one. Keeps count on the study.
    """
    row, spec = change.row, definition.spec
    if arrival is not None and reaches_goal(definition, arrival):
        return "goal" if row.state == "running" else None
    if spec.stagnation is None:
        return None
    best, since = row.best_merit, row.since_best
    mine = None if arrival is None else merit(arrival.loss, arrival.violation)
    if mine is not None and (best is None or mine < best - spec.stagnation.min_delta):
        best, since = mine, 0
    since += ended
    change.watch(best, since)
    return "stagnation" if since >= spec.stagnation.trials and row.state == "running" else None


def reaches_goal(definition: Definition, arrival: Arrival) -> bool:
    """Whether the trial keeps every constraint and reaches the goal of every objective that has one."""
    losses = arrival.vector or (arrival.loss,)
    goals = [
        (objective.loss(objective.goal), loss)
        for objective, loss in zip(definition.spec.objectives, losses, strict=True)
        if objective.goal is not None
    ]
    return bool(goals) and arrival.violation == 0 and all(loss <= goal for goal, loss in goals)
