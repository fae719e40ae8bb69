"""A contest: several methods on one problem, each with several seeds, every study at the same budget."""

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, JsonValue, StrictInt, model_validator
from pydantic.json_schema import SkipJsonSchema

from hpo.spec.base import Name, Real, SpecModel, Text, escaped, refuse
from hpo.spec.pruners import PrunerSpec
from hpo.spec.samplers import ManualSamplerSpec, SamplerSpec
from hpo.spec.schedulers import SchedulerSpec
from hpo.spec.search import MAX_TRIALS, Stagnation
from hpo.spec.space import Choice, ParamName, SearchSpace
from hpo.spec.study import MAX_ENQUEUED, MAX_PRUNERS, Confirm, Forbidden, SpaceConstraints, StudySpec, WarmStart

MAX_METHODS = 64
MAX_SEEDS = 100
MAX_STUDIES = 1_000
MAX_NAME = 100  # characters of a study's name
TRIALS_WITHOUT_EPOCHS = 10_000  # bound of trials where the budget is in hours: there to be reached by none
OWN_LABELS = ("contest", "method", "seed")


def _counted(given: Any) -> Any:
    if isinstance(given, bool) or not isinstance(given, int):
        return given
    if not 1 <= given <= MAX_SEEDS:
        raise refuse("seed_count", f"want 1 to {MAX_SEEDS} seeds, or a list of them, got {given}")
    return list(range(given))


Seeds = Annotated[
    tuple[Annotated[StrictInt, Field(ge=0, lt=2**31)], ...],
    Field(min_length=1, max_length=MAX_SEEDS, description="the seeds, or how many: 3 stands for 0, 1, 2"),
    BeforeValidator(_counted, json_schema_input_type=Annotated[int, Field(ge=1, le=MAX_SEEDS)] | tuple[int, ...]),
]


class CommonStudy(StudySpec):
    """What all studies of the contest share: a study without a name, a seed and a budget of its own."""

    name: SkipJsonSchema[Name] = Field("contest", exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _nameless(cls, data: Any) -> Any:
        if isinstance(data, dict) and "name" in data:
            raise refuse("named_by_contest", "leave the name out: the contest names its studies", field="name")
        return data

    @model_validator(mode="after")
    def _given_by_the_contest(self) -> Self:
        if len(self.objectives) > 1:
            message = f"methods are ranked by one value, and the study has {len(self.objectives)} objectives"
            raise refuse("needs_one_objective", message, field="objectives")
        for name in ("max_epochs", "max_gpu_hours"):
            if getattr(self.budget, name) is not None:
                message = f"leave {name} out here: the contest's budget is that of each study"
                raise refuse("budget_of_contest", message, field=f"budget/{name}")
        for label in OWN_LABELS:
            if label in self.labels:
                raise refuse("label_of_contest", f"leave {label!r} out: the contest sets it", field=f"labels/{label}")
        _check_seed(self.sampler)
        return self


class Method(SpecModel):
    """One contestant: a field that it gives replaces that of the common study as a whole, ``config`` is merged."""

    name: Name
    sampler: SamplerSpec | None = None
    scheduler: SchedulerSpec | None = None
    pruners: Annotated[tuple[PrunerSpec, ...], Field(max_length=MAX_PRUNERS)] | None = None
    search_space: SearchSpace | None = None
    forbidden: Forbidden | None = None
    space_constraints: SpaceConstraints | None = None
    enqueue: Annotated[tuple[dict[ParamName, Choice], ...], Field(max_length=MAX_ENQUEUED)] | None = None
    warm_start: WarmStart | None = None
    repeats: Annotated[StrictInt, Field(ge=1, le=1000)] | None = None
    stagnation: Stagnation | None = None
    confirm: Confirm | None = None
    config: dict[Text, JsonValue] = Field(
        default_factory=dict,
        description="entries of trainer.config that this method has of its own, beside those of the common study",
    )

    @model_validator(mode="after")
    def _seedless(self) -> Self:
        _check_seed(self.sampler)
        return self


class ContestBudget(SpecModel):
    """What each study may spend: the same for all, in exactly one currency."""

    max_epochs: Annotated[StrictInt, Field(ge=1, le=10**15)] | None = None
    max_gpu_hours: Annotated[Real, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.max_epochs is None) == (self.max_gpu_hours is None):
            raise refuse("one_budget", "give exactly one of max_epochs and max_gpu_hours")
        return self


@dataclass(frozen=True, slots=True)
class Entry:
    """One study of a contest: its name, the position of its method, its seed."""

    name: str
    method: int
    seed: int


class ContestSpec(SpecModel):
    """Each method runs with each seed as a study of its own, named ``contest.method.sSEED``."""

    name: Name
    study: CommonStudy
    methods: Annotated[tuple[Method, ...], Field(min_length=1, max_length=MAX_METHODS)]
    seeds: Seeds = (0,)
    budget: ContestBudget

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [method.name for method in self.methods]
        for index, name in enumerate(names):
            if name in names[:index]:
                message = f"methods must have distinct names, got {name!r} twice"
                raise refuse("duplicate_name", message, field=f"methods/{index}/name")
        for index, seed in enumerate(self.seeds):
            if seed in self.seeds[:index]:
                message = f"seeds must be distinct, got {seed} twice"
                raise refuse("duplicate_seed", message, field=f"seeds/{index}")
        return self

    @model_validator(mode="after")
    def _size(self) -> Self:
        studies = len(self.methods) * len(self.seeds)
        if studies > MAX_STUDIES:
            message = (
                f"{len(self.methods)} methods with {len(self.seeds)} seeds are {studies} studies,"
                f" want at most {MAX_STUDIES}"
            )
            raise refuse("too_many_studies", message, field="seeds")
        for entry in self.entries:
            if len(entry.name) > MAX_NAME:
                message = (
                    f"its studies are named contest.method.sSEED, at most {MAX_NAME} characters:"
                    f" {entry.name!r} has {len(entry.name)}"
                )
                raise refuse("name_too_long", message, field=f"methods/{entry.method}/name")
        return self

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All studies: seed by seed, so that every method gets its turn early."""
        return tuple(
            Entry(f"{self.name}.{method.name}.s{seed}", index, seed)
            for seed in self.seeds
            for index, method in enumerate(self.methods)
        )

    def definition(self, entry: Entry) -> dict[str, Any]:
        """The spec of one study as JSON, not checked yet."""
        method = self.methods[entry.method]
        given = self.study.model_dump(mode="json", exclude_unset=True)
        own = method.model_dump(mode="json", exclude_unset=True)
        config = own.pop("config", {})
        given |= {name: value for name, value in own.items() if value is not None}
        if config:
            given["trainer"] = {**given["trainer"], "config": {**given["trainer"].get("config", {}), **config}}
        given["name"] = entry.name
        given["labels"] = given.get("labels", {}) | dict(
            zip(OWN_LABELS, (self.name, method.name, str(entry.seed)), strict=True)
        )
        sampler = method.sampler or self.study.sampler
        given["sampler"] = sampler.model_dump(mode="json") | {"seed": entry.seed}
        given["budget"] = self._trials(sampler) | given.get("budget", {}) | self.budget.model_dump(exclude_none=True)
        return given

    def _trials(self, sampler: SamplerSpec) -> dict[str, int]:
        if isinstance(sampler, ManualSamplerSpec):
            return {}  # as many as are enqueued
        # Every trial takes an epoch at least: this many are bounded by the budget alone.
        return {"max_trials": min(self.budget.max_epochs or TRIALS_WITHOUT_EPOCHS, MAX_TRIALS)}

    def origin(self, entry: Entry, pointer: str) -> str:
        """Where in the contest a field of one of its studies was given."""
        field = pointer.split("/")[1] if pointer else ""
        here = f"/methods/{entry.method}"
        if field == "name":
            return f"{here}/name"
        if pointer in ("/budget/max_epochs", "/budget/max_gpu_hours"):
            return pointer
        if pointer == "/budget/max_trials" and "max_trials" not in self.study.budget.model_fields_set:
            return "/budget"  # which it was derived from
        config = pointer.removeprefix("/trainer/config/")
        if config != pointer and config.split("/")[0] in map(escaped, self.methods[entry.method].config):
            return f"{here}/config/{config}"
        if getattr(self.methods[entry.method], field, None) is not None:
            return f"{here}{pointer}"
        return f"/study{pointer}"


def _check_seed(sampler: SamplerSpec | None) -> None:
    if sampler is not None and sampler.seed is not None:
        raise refuse("seed_of_contest", "leave the seed out: the contest's seeds are used", field="sampler/seed")
