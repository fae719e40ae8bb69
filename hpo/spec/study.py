"""What a user asks for: the whole definition of a study."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, StrictInt, field_validator, model_validator

from hpo.spec.base import Name, QueueName, Real, SpecModel, Text, refuse
from hpo.spec.conditions import check_conditions, prepared
from hpo.spec.pruners import MAX_RESOURCE, PrunerSpec
from hpo.spec.rules import MAX_FORBIDDEN, MAX_RULES, LinearRule, check_forbidden, check_rules, parse_rule
from hpo.spec.samplers import AutoSamplerSpec, GridSamplerSpec, PickedSampler, SamplerSpec
from hpo.spec.schedulers import AutoSchedulerSpec, PickedScheduler, SchedulerSpec
from hpo.spec.search import Budget, Objective, OutcomeConstraint, Stagnation
from hpo.spec.space import MAX_CHOICES_IN_ALL, CategoricalParam, Choice, ParamName, SearchSpace, Values

MAX_OBJECTIVES = 8
MAX_CONSTRAINTS = 16
MAX_PRUNERS = 8
MAX_ENQUEUED = 1_000
MAX_LABELS = 64
MAX_NAME = 100  # characters
EXTERNAL = "external"  # trials of this trainer are taken by ask, never by our workers
TRAINER_NAME = r"^[a-z0-9][a-z0-9._:-]{0,63}$"


class Resources(SpecModel):
    gpus: Annotated[StrictInt, Field(ge=0, le=64)] = 0
    queue: QueueName = "cpu"


class TrainerSpec(SpecModel):
    """Who trains: a trainer by name with the part of its configuration that is not searched."""

    name: Annotated[str, Field(pattern=TRAINER_NAME)]
    config: dict[Text, JsonValue] = Field(default_factory=dict)
    resources: Resources = Resources()
    timeout_s: Annotated[Real, Field(gt=0)] | None = None


class Retry(SpecModel):
    """A trial fails for good once so many attempts were lost to dead workers or memory; user errors at once."""

    max_attempts: Annotated[StrictInt, Field(ge=1, le=100)] = 5


class WarmTrial(SpecModel):
    """A configuration and the value of the first objective that it had."""

    params: Annotated[dict[ParamName, Choice], Field(min_length=1)]
    value: Real


class WarmStart(SpecModel):
    """What is known from before: earlier studies of the project, by name or id, and trials by themselves.

    Parameters are matched by name and kind. Values are compared within their own source only, by rank. The best
    ``max_trials`` of each source are kept.
    """

    studies: Annotated[tuple[Name, ...], Field(max_length=16)] = ()
    trials: Annotated[tuple[WarmTrial, ...], Field(max_length=1_000)] = ()
    max_trials: Annotated[StrictInt, Field(ge=1, le=1_000)] = 100


class Confirm(SpecModel):
    """What is done with the winners once the search has ended: they are trained anew, and the best of them is tested.

    The ``top`` configurations are trained with ``seeds`` fresh seeds each, or on ``folds`` folds; neither stands for 5
    seeds. The one with the best mean is trained once more and scored on the test part, which nothing else reads.
    """

    top: Annotated[StrictInt, Field(ge=1, le=50)] = 3
    seeds: Annotated[StrictInt, Field(ge=1, le=100)] | None = Field(
        None, description="trainings of each winner, each with a fresh seed; 5 without folds"
    )
    folds: Annotated[StrictInt, Field(ge=2, le=50)] | None = Field(
        None, description="instead of seeds: one k-fold training of each winner, every fold as long as a whole trial"
    )
    config: dict[Text, JsonValue] = Field(
        default_factory=dict,
        description="entries of trainer.config that replace the search's, such as those of a whole training set",
    )
    train_on: Literal["train", "train_and_validation"] = Field(
        "train_and_validation", description="what the network that is tested learns from"
    )

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("seeds") is None and data.get("folds") is None:
            return {**data, "seeds": 5}
        return data

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.seeds is not None and self.folds is not None:
            raise refuse("seeds_or_folds", f"give seeds or folds, got {self.seeds} and {self.folds}", field="folds")
        if self.top * self.replicates > MAX_ENQUEUED:
            message = f"at most {MAX_ENQUEUED} trainings anew, got {self.top} times {self.replicates}"
            raise refuse("too_many_replicates", message, field="seeds")
        return self

    @property
    def replicates(self) -> int:
        """Trials of each winner: a k-fold training is one."""
        return 1 if self.seeds is None else self.seeds


class Checkpoints(SpecModel):
    """A checkpoint is written every ``every`` epochs, and always at a rung and when a worker is told to stop."""

    every: Annotated[StrictInt, Field(ge=1, le=MAX_RESOURCE)] = 1


def _readable(text: str) -> str:
    parse_rule(text)
    return text


Forbidden = Annotated[
    tuple[Annotated[dict[ParamName, Values], Field(min_length=1)], ...],
    Field(
        max_length=MAX_FORBIDDEN,
        description="combinations of values that no trial may have: all entries of one together",
    ),
]
SpaceConstraints = Annotated[
    tuple[Annotated[Text, AfterValidator(_readable)], ...],
    Field(
        max_length=MAX_RULES,
        description="linear inequalities over float and int parameters, such as ``a < b`` or ``2*x + y <= 1``",
    ),
]


class StudySpec(SpecModel):
    """One search. Everything that decides its course stands here, so that it can be run again."""

    name: Name
    description: Annotated[Text, Field(max_length=10_000)] = ""
    labels: Annotated[dict[Name, Annotated[Text, Field(max_length=200)]], Field(max_length=MAX_LABELS)] = Field(
        default_factory=dict
    )
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=MAX_OBJECTIVES)]
    constraints: Annotated[tuple[OutcomeConstraint, ...], Field(max_length=MAX_CONSTRAINTS)] = ()
    search_space: SearchSpace
    forbidden: Forbidden = ()
    space_constraints: SpaceConstraints = ()
    enqueue: Annotated[
        tuple[dict[ParamName, Choice], ...],
        Field(max_length=MAX_ENQUEUED, description="configurations that are trained first"),
    ] = ()
    sampler: SamplerSpec = AutoSamplerSpec()
    scheduler: SchedulerSpec = AutoSchedulerSpec(max_resource=10)
    pruners: Annotated[tuple[PrunerSpec, ...], Field(max_length=MAX_PRUNERS)] = ()
    warm_start: WarmStart | None = None
    repeats: Annotated[
        StrictInt, Field(ge=1, le=1000, description="how often the same configuration may be trained")
    ] = 1
    trainer: TrainerSpec
    budget: Budget = Budget()
    stagnation: Stagnation | None = None
    retry: Retry = Retry()
    checkpoints: Checkpoints = Checkpoints()
    priority: Annotated[StrictInt, Field(ge=-100, le=100)] = 0
    confirm: Confirm | None = None

    @field_validator("objectives")
    @classmethod
    def _metrics(cls, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
        metrics = [objective.metric for objective in objectives]
        for index, metric in enumerate(metrics):
            if metric in metrics[:index]:
                message = f"each objective wants a metric of its own, got {metric!r} twice"
                raise refuse("duplicate_metric", message, field=f"{index}/metric")
        return objectives

    @field_validator("search_space")
    @classmethod
    def _space(cls, space: SearchSpace) -> SearchSpace:
        names = [param.name for param in space]
        for name in names:
            if names.count(name) > 1:
                raise refuse("duplicate_name", f"parameter names must be distinct, got {name!r} twice")
        choices = sum(len(param.choices) for param in space if isinstance(param, CategoricalParam))
        if choices > MAX_CHOICES_IN_ALL:
            raise refuse("too_many_choices", f"at most {MAX_CHOICES_IN_ALL} choices in all parameters, got {choices}")
        check_conditions(space)
        return space

    @model_validator(mode="after")
    def _rules_fit(self) -> Self:
        check_forbidden(self.forbidden, self.search_space)
        check_rules(self.space_constraints, self.search_space)
        return self

    @model_validator(mode="before")
    @classmethod
    def _depth(cls, data: Any) -> Any:
        if _depth_of(data, 17) > 16:
            raise refuse("too_deep", "a study may be nested at most 16 levels deep")
        return data

    @model_validator(mode="after")
    def _looks(self) -> Self:
        for index, pruner in enumerate(self.pruners):
            pruner.check_looks(self.scheduler.max_resource, at=f"pruners/{index}/")
        return self

    @property
    def objective(self) -> Objective:
        return self.objectives[0]

    @property
    def chosen_sampler(self) -> PickedSampler | None:
        """The sampler that counts: what ``auto`` stands for, None where nothing was picked yet."""
        return self.sampler.picked if isinstance(self.sampler, AutoSamplerSpec) else self.sampler

    @property
    def chosen_scheduler(self) -> PickedScheduler | None:
        """The scheduler that counts: what ``auto`` stands for, None where nothing was picked yet."""
        return self.scheduler.picked if isinstance(self.scheduler, AutoSchedulerSpec) else self.scheduler

    @property
    def rules(self) -> tuple[LinearRule, ...]:
        """The ``space_constraints``, a chained one as several."""
        return tuple(rule for text in self.space_constraints for rule in parse_rule(text))

    @property
    def grid_size(self) -> int | None:
        """Number of distinct allowed points of the grid, None if a parameter is continuous.

        Raises GridTooLarge where conditions or rules make it necessary to list them and they are too many.
        """
        sizes = [param.grid_size for param in self.search_space]
        if None in sizes:
            return None
        if not (self.forbidden or self.space_constraints or any(param.when for param in self.search_space)):
            return math.prod(size for size in sizes if size is not None)
        # Imported where it is needed: the client and the command line do without numpy.
        from hpo.spec.grid import allowed_digits

        return len(allowed_digits(prepared(self.search_space), self.forbidden, self.rules))

    @property
    def max_trials(self) -> int:
        """Trials that will be created at most: a grid may hold fewer points than the budget allows."""
        if isinstance(self.chosen_sampler, GridSamplerSpec) and self.grid_size is not None:
            return min(self.budget.max_trials, self.grid_size)
        return self.budget.max_trials


def _depth_of(value: Any, limit: int) -> int:
    if limit == 0:
        return 1
    if isinstance(value, dict):
        return 1 + max((_depth_of(item, limit - 1) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth_of(item, limit - 1) for item in value), default=0)
    return 0
