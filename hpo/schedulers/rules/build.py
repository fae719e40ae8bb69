"""From the spec to the rules that may stop a trial, in the order of their lanes in the rung log."""

import math

from hpo.schedulers.base import StopRule
from hpo.schedulers.rules.curve import CurveRule
from hpo.schedulers.rules.median import MedianRule, PercentileRule
from hpo.schedulers.rules.patience import PatienceRule
from hpo.schedulers.rules.threshold import ThresholdRule
from hpo.spec.pruners import CurvePruner, MedianPruner, PatiencePruner, PercentilePruner, Pruner, ThresholdPruner
from hpo.spec.search import Objective
from hpo.spec.study import StudySpec


def build_rules(spec: StudySpec) -> tuple[StopRule, ...]:
    """The scheduler itself if it is a rule, then the pruners as listed. Rule i keeps the lane of bracket -1 - i.

    Raises ValueError if the scheduler is ``auto`` and none was picked yet.
    """
    scheduler = spec.chosen_scheduler
    if scheduler is None:
        raise ValueError("scheduler auto must be picked before its rules are built")
    pruners = [*([scheduler] if isinstance(scheduler, Pruner) else []), *spec.pruners]
    return tuple(_build(pruner, scheduler.max_resource, spec.objective) for pruner in pruners)


def _build(pruner: Pruner, max_resource: int, objective: Objective) -> StopRule:
    levels = pruner.levels(max_resource)
    if isinstance(pruner, MedianPruner):
        return MedianRule(
            levels, min_trials=pruner.min_trials, value=pruner.value, rivals=pruner.rivals, among=pruner.among
        )
    if isinstance(pruner, PercentilePruner):
        return PercentileRule(
            levels,
            percentile=pruner.percentile,
            min_trials=pruner.min_trials,
            value=pruner.value,
            rivals=pruner.rivals,
            among=pruner.among,
        )
    if isinstance(pruner, ThresholdPruner):
        return ThresholdRule(levels, *_in_losses(pruner, objective))
    if isinstance(pruner, PatiencePruner):
        return PatienceRule(levels, pruner.patience, pruner.min_delta)
    if isinstance(pruner, CurvePruner):
        return CurveRule(levels, pruner.min_chance, pruner.min_points)
    raise TypeError(f"there is no rule for the pruner {pruner!r}")


def _in_losses(pruner: ThresholdPruner, objective: Objective) -> tuple[float, float]:
    """The bounds, stated in the metric's unit, as the lowest and the highest loss that may go on."""
    bounds = (
        -math.inf if pruner.lower is None else pruner.lower,
        math.inf if pruner.upper is None else pruner.upper,
    )
    low, high = sorted(objective.loss(bound) for bound in bounds)  # a metric to maximize swaps them
    return low, high
