"""How the resource is spent: one model per scheduler, chosen by ``type``."""

from itertools import count, takewhile
from typing import Annotated, Literal, Self

from pydantic import Field, StrictInt, model_validator

from hpo.spec.base import Real, SpecModel, Text, refuse
from hpo.spec.pruners import (
    MAX_LOOKS,
    CurvePruner,
    MedianPruner,
    PatiencePruner,
    PercentilePruner,
    Pruner,
    Resource,
    ThresholdPruner,
)
from hpo.spec.search import MAX_TRIALS
from hpo.spec.space import ParamName


class FifoSpec(SpecModel):
    """Train every trial for ``max_resource``; nothing is pruned."""

    type: Literal["fifo"] = "fifo"
    resource: Literal["epoch"] = "epoch"
    max_resource: Resource


class Halving(SpecModel):
    """What all halving schedulers share: rungs at ``min_resource`` times the powers of ``reduction_factor``."""

    resource: Literal["epoch"] = "epoch"
    min_resource: Resource = 1
    max_resource: Resource
    reduction_factor: Annotated[StrictInt, Field(ge=2, le=1000)] = 3

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


class AshaSpec(Halving):
    """Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934).

    ``promote`` is the paper's Algorithm 2: a trial pauses at its rung and goes on whenever it enters the best
    ``1/reduction_factor`` there. ``stop`` decides once, on arrival. ``n_full`` ends the study when that many trials
    were trained for ``max_resource``. With several ``brackets``, bracket s starts at the s-th rung.
    """

    type: Literal["asha"] = "asha"
    mode: Literal["promote", "stop"] = "promote"
    n_full: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)] | None = None
    brackets: Annotated[StrictInt, Field(ge=1, le=30)] = 1

    @model_validator(mode="after")
    def _brackets(self) -> Self:
        if self.brackets > len(self.levels):
            message = f"brackets must be at most {len(self.levels)}, the number of rungs; got {self.brackets}"
            raise refuse("too_many_brackets", message, field="brackets")
        return self


class SuccessiveHalvingSpec(Halving):
    """Synchronous successive halving (Jamieson and Talwalkar 2016): a rung is cut when all its trials have come.

    Brackets of ``n_trials`` follow each other until the budget is used; None: as many as leave one whole trial.
    """

    type: Literal["successive_halving"] = "successive_halving"
    n_trials: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)] | None = None


class HyperbandSpec(Halving):
    """Hyperband (Li et al. 2018, arXiv:1603.06560): successive halving at every trade-off of trials and resource.

    ``sync`` runs the paper's brackets one after the other, survivors resume from their checkpoints; free workers begin
    the next bracket. ``async`` is ASHA in all brackets, in the paper's proportions.
    """

    type: Literal["hyperband"] = "hyperband"
    mode: Literal["sync", "async"] = "sync"


class _Pruning(Pruner):
    """A scheduler made of one stopping rule."""

    resource: Literal["epoch"] = "epoch"
    max_resource: Resource

    @model_validator(mode="after")
    def _looks(self) -> Self:
        self.check_looks(self.max_resource)
        return self


class MedianSpec(_Pruning, MedianPruner): ...


class PercentileSpec(_Pruning, PercentilePruner): ...


class ThresholdSpec(_Pruning, ThresholdPruner): ...


class PatienceSpec(_Pruning, PatiencePruner): ...


class CurveSpec(_Pruning, CurvePruner): ...


class PbtSpec(SpecModel):
    """Population based training (Jaderberg et al. 2017, arXiv:1711.09846), a generation at a time.

    Every ``interval`` steps the worst ``quantile`` of the population copies params and checkpoint of a random member of
    the best ``quantile``, and changes the parameters of ``mutate`` (None: all that may change in training): a number
    is multiplied by one of ``factors``, a choice moves to a neighbour, or with ``resample_probability`` is drawn anew.
    """

    type: Literal["pbt"] = "pbt"
    resource: Literal["epoch"] = "epoch"
    max_resource: Resource
    interval: Resource
    population_size: Annotated[StrictInt, Field(ge=2, le=1000)] = 16
    quantile: Annotated[Real, Field(gt=0, le=0.5)] = 0.25
    factors: tuple[Annotated[Real, Field(gt=0)], Annotated[Real, Field(gt=0)]] = (0.8, 1.2)
    resample_probability: Annotated[Real, Field(ge=0, le=1)] = 0.25
    mutate: Annotated[tuple[ParamName, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _generations(self) -> Self:
        if self.interval > self.max_resource:
            message = f"interval must be at most max_resource = {self.max_resource}, got {self.interval}"
            raise refuse("interval_above_max", message, field="interval")
        generations = -(-self.max_resource // self.interval)
        if generations > MAX_LOOKS:
            least = -(-self.max_resource // MAX_LOOKS)
            message = f"interval must be at least {least} for at most {MAX_LOOKS} generations, got {self.interval}"
            raise refuse("too_many_looks", message, field="interval")
        return self

    @property
    def levels(self) -> tuple[int, ...]:
        """Resources at which a generation is compared, rising; the last is ``max_resource``."""
        return (*range(self.interval, self.max_resource, self.interval), self.max_resource)


PickedScheduler = Annotated[
    FifoSpec
    | AshaSpec
    | SuccessiveHalvingSpec
    | HyperbandSpec
    | MedianSpec
    | PercentileSpec
    | ThresholdSpec
    | PatienceSpec
    | CurveSpec
    | PbtSpec,
    Field(discriminator="type"),
]


class AutoSchedulerSpec(SpecModel):
    """Picks by objectives and resource when the study is created; ``picked`` and ``why`` are then filled in."""

    type: Literal["auto"] = "auto"
    resource: Literal["epoch"] = "epoch"
    max_resource: Resource
    picked: PickedScheduler | None = None
    why: Annotated[Text, Field(max_length=1000)] | None = None

    @model_validator(mode="after")
    def _same_resource(self) -> Self:
        if self.picked is not None and self.picked.max_resource != self.max_resource:
            message = f"picked.max_resource must be max_resource = {self.max_resource}, got {self.picked.max_resource}"
            raise refuse("contradictory", message, field="picked/max_resource")
        return self


SchedulerSpec = Annotated[
    FifoSpec
    | AshaSpec
    | SuccessiveHalvingSpec
    | HyperbandSpec
    | MedianSpec
    | PercentileSpec
    | ThresholdSpec
    | PatienceSpec
    | CurveSpec
    | PbtSpec
    | AutoSchedulerSpec,
    Field(discriminator="type"),
]
