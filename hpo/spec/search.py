"""How a user asks to search: objective, sampler, scheduler, budget. One model per kind, chosen by ``type``."""

from itertools import count, takewhile
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from hpo.spec.base import MetricName, Real, SpecModel, refuse

MAX_TRIALS = 100_000
MAX_RESOURCE = 10**9


class Objective(SpecModel):
    """The metric that is searched by; ``goal`` ends the study once a trial reaches it."""

    metric: MetricName
    direction: Literal["maximize", "minimize"]
    goal: Real | None = None

    def loss(self, value: float) -> float:
        """Turn a value of the metric into a loss: lower is better from here on."""
        return -value if self.direction == "maximize" else value

    def value(self, loss: float) -> float:
        return -loss if self.direction == "maximize" else loss


class RandomSamplerSpec(SpecModel):
    type: Literal["random"] = "random"
    seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] | None = None


class GridSamplerSpec(SpecModel):
    """Every point of the grid once, in an order shuffled by the seed so that a cut-off grid still covers the space."""

    type: Literal["grid"] = "grid"
    seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] | None = None


class TpeSamplerSpec(SpecModel):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's implementation."""

    type: Literal["tpe"] = "tpe"
    seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] | None = None
    n_startup_trials: Annotated[StrictInt, Field(ge=1, le=1000)] = 10
    n_ei_candidates: Annotated[StrictInt, Field(ge=1, le=1000)] = 24
    multivariate: StrictBool = True


SamplerSpec = Annotated[RandomSamplerSpec | GridSamplerSpec | TpeSamplerSpec, Field(discriminator="type")]

Resource = Annotated[StrictInt, Field(ge=1, le=MAX_RESOURCE)]


class FifoSpec(SpecModel):
    """Train every trial for ``max_resource``; nothing is pruned."""

    type: Literal["fifo"] = "fifo"
    resource: Literal["epoch"] = "epoch"
    max_resource: Resource

    @property
    def levels(self) -> tuple[int, ...]:
        """Resources at which trials are compared, rising; the last is ``max_resource``."""
        return (self.max_resource,)


class AshaSpec(SpecModel):
    """Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934).

    ``promote`` is the paper's Algorithm 2: a trial pauses at its rung and goes on whenever it enters the best
    ``1/reduction_factor`` there. ``stop`` decides once, on arrival. ``n_full`` ends the study when that many trials
    were trained for ``max_resource``.
    """

    type: Literal["asha"] = "asha"
    resource: Literal["epoch"] = "epoch"
    min_resource: Resource = 1
    max_resource: Resource
    reduction_factor: Annotated[StrictInt, Field(ge=2, le=1000)] = 3
    mode: Literal["promote", "stop"] = "promote"
    n_full: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)] | None = None

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.min_resource > self.max_resource:
            raise refuse(
                "min_above_max",
                f"min_resource must be at most max_resource = {self.max_resource}, got {self.min_resource}",
                field="min_resource",
            )
        return self

    @property
    def levels(self) -> tuple[int, ...]:
        """Resources at which trials are compared, rising; the last is ``max_resource``."""
        # Integer powers: in floats log(243, 3) is just under 5 and would lose a rung.
        ladder = (self.min_resource * self.reduction_factor**k for k in count())
        return (*takewhile(lambda resource: resource < self.max_resource, ladder), self.max_resource)


SchedulerSpec = Annotated[FifoSpec | AshaSpec, Field(discriminator="type")]


class Budget(SpecModel):
    """What a study may spend in all. ``max_epochs`` counts the epochs of all trials together."""

    max_trials: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)] = 100
    max_concurrent: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)] | None = None
    max_failed: Annotated[StrictInt, Field(ge=0, le=MAX_TRIALS)] = 20
    max_epochs: Annotated[StrictInt, Field(ge=1, le=10**15)] | None = None
    max_wall_s: Annotated[Real, Field(gt=0)] | None = None
    max_gpu_hours: Annotated[Real, Field(gt=0)] | None = None
