"""Rules that stop a trial early, alone (as a scheduler) or beside any scheduler (as ``pruners``).

A rule looks at the resources ``grace``, ``grace + interval``, … and at the full resource.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictInt, model_validator

from hpo.spec.base import Real, SpecModel, refuse

MAX_RESOURCE = 10**9
Resource = Annotated[StrictInt, Field(ge=1, le=MAX_RESOURCE)]
MAX_LOOKS = 1_000  # of a rule at one trial; each is a decision under the study's lock
Statistic = Literal["last", "best", "average"]


class Pruner(SpecModel):
    """``grace``: the first resource at which it may stop a trial. ``interval``: from there, every so many steps."""

    grace: Resource = 1
    interval: Resource = 1

    def levels(self, max_resource: int) -> tuple[int, ...]:
        """Resources at which the rule looks, rising; the last is ``max_resource``, where nothing is stopped."""
        return (*range(self.grace, max_resource, self.interval), max_resource)

    def check_looks(self, max_resource: int, at: str = "") -> None:
        """Refuse a rule that could never stop a trial of ``max_resource``, or would look too often.

        ``at`` stands before the name of the field at fault, for a model that holds this one.
        """
        if self.grace > max_resource:
            message = f"grace must be at most max_resource = {max_resource}, got {self.grace}"
            raise refuse("grace_above_max", message, field=f"{at}grace")
        n_looks = len(range(self.grace, max_resource, self.interval)) + 1
        if n_looks > MAX_LOOKS:
            least = -(-(max_resource - self.grace) // (MAX_LOOKS - 1))
            message = (
                f"interval must be at least {least} for at most {MAX_LOOKS} looks at a trial, got {self.interval}"
                f" with grace {self.grace} and max_resource {max_resource}: {n_looks} looks"
            )
            raise refuse("too_many_looks", message, field=f"{at}interval")


class MedianPruner(Pruner):
    """Stop a trial that is worse than the median of its rivals at the same step (Golovin et al. 2017, Vizier).

    The trial is judged by its ``value`` so far, its rivals by their ``rivals`` value at that step: the last, the best,
    or the running average. ``among``: all who reached the step, or only trials that completed.
    """

    type: Literal["median"] = "median"
    min_trials: Annotated[StrictInt, Field(ge=1, le=100_000)] = 5
    value: Statistic = "best"
    rivals: Statistic = "last"
    among: Literal["same_step", "completed"] = "same_step"


class PercentilePruner(Pruner):
    """Stop a trial that is not in the best ``percentile`` percent of its rivals; otherwise as the median."""

    type: Literal["percentile"] = "percentile"
    percentile: Annotated[Real, Field(gt=0, lt=100)]
    min_trials: Annotated[StrictInt, Field(ge=1, le=100_000)] = 5
    value: Statistic = "best"
    rivals: Statistic = "last"
    among: Literal["same_step", "completed"] = "same_step"


class ThresholdPruner(Pruner):
    """Stop a trial whose metric is below ``lower`` or above ``upper`` (in the metric's own unit)."""

    type: Literal["threshold"] = "threshold"
    lower: Real | None = None
    upper: Real | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.lower is None and self.upper is None:
            raise refuse("bound_missing", "threshold wants lower, upper or both", field="lower")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            message = f"lower must be below upper, got {self.lower} and {self.upper}"
            raise refuse("low_not_below_high", message, field="lower")
        return self


class PatiencePruner(Pruner):
    """Stop a trial whose loss has not fallen by more than ``min_delta`` in its last ``patience`` looks."""

    type: Literal["patience"] = "patience"
    patience: Annotated[StrictInt, Field(ge=1, le=MAX_LOOKS)]
    min_delta: Annotated[Real, Field(ge=0)] = 0.0


class CurvePruner(Pruner):
    """Stop a trial whose extrapolated curve beats the best complete trial with less than ``min_chance`` probability.

    An ensemble of parametric curves, after Domhan et al. 2015 (IJCAI); fitted from ``min_points`` looks on.
    """

    type: Literal["curve"] = "curve"
    min_chance: Annotated[Real, Field(gt=0, lt=1)] = 0.05
    # Three points leave no curve but the constant one to be told from noise.
    min_points: Annotated[StrictInt, Field(ge=4, le=MAX_LOOKS)] = 4


PrunerSpec = Annotated[
    MedianPruner | PercentilePruner | ThresholdPruner | PatiencePruner | CurvePruner, Field(discriminator="type")
]
