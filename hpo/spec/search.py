"""What is searched for and what it may cost: objectives, outcome constraints, budget."""

from typing import Annotated, Literal

from pydantic import Field, StrictInt

from hpo.spec.base import MetricName, Real, SpecModel

MAX_TRIALS = 100_000


class Objective(SpecModel):
    """A metric that is searched by. A trial that reaches the goal of every objective that has one ends the study."""

    metric: MetricName
    direction: Literal["maximize", "minimize"]
    goal: Real | None = None

    def loss(self, value: float) -> float:
        """Turn a value of the metric into a loss: lower is better from here on."""
        return -value if self.direction == "maximize" else value

    def value(self, loss: float) -> float:
        return -loss if self.direction == "maximize" else loss


class OutcomeConstraint(SpecModel):
    """A bound that a trial's metric must keep; whoever keeps all of them ranks before whoever does not."""

    metric: MetricName
    op: Literal["<=", ">="]
    value: Real

    def violation(self, value: float) -> float:
        """By how much the bound is missed; 0 where it is kept."""
        return max(0.0, value - self.value if self.op == "<=" else self.value - value)


class Stagnation(SpecModel):
    """End the study once ``trials`` trials in a row have ended without lowering the best loss by over ``min_delta``."""

    trials: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)]
    min_delta: Annotated[Real, Field(ge=0)] = 0.0


class Budget(SpecModel):
    """What a study may spend in all. ``max_epochs`` counts the epochs of all trials together."""

    max_trials: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)] = 100
    max_concurrent: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)] | None = None
    max_failed: Annotated[StrictInt, Field(ge=0, le=MAX_TRIALS)] = 20
    max_epochs: Annotated[StrictInt, Field(ge=1, le=10**15)] | None = None
    max_wall_s: Annotated[Real, Field(gt=0)] | None = None
    max_gpu_hours: Annotated[Real, Field(gt=0)] | None = None
