"""Studies as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StrictBool, StrictInt, field_validator

from api.schemas.base import In, Out, Page
from hpo.domain.study import StudyState
from hpo.spec.base import Name, Real, Text, refuse
from hpo.spec.search import MAX_TRIALS
from hpo.spec.space import Choice, ParamName, SearchSpace
from hpo.spec.study import Forbidden, SpaceConstraints, StudySpec


class StudyCreate(StudySpec):
    """A study spec, and whether it starts at once."""

    start: StrictBool = True

    def to_spec(self) -> StudySpec:
        return StudySpec.model_validate(self.model_dump(exclude={"start"}, exclude_unset=True))


def _not_null(value: Any) -> Any:
    if value is None:
        raise refuse("null", "null is no value here: leave the field out to keep what it is")
    return value


class BudgetPatch(In):
    """The budget fields to change; the others stay. Null lifts a bound that may be absent."""

    max_trials: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)] | None = None
    max_concurrent: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)] | None = None
    max_failed: Annotated[StrictInt, Field(ge=0, le=MAX_TRIALS)] | None = None
    max_epochs: Annotated[StrictInt, Field(ge=1, le=10**15)] | None = None
    max_wall_s: Annotated[Real, Field(gt=0)] | None = None
    max_gpu_hours: Annotated[Real, Field(gt=0)] | None = None

    _present = field_validator("max_trials", "max_failed", mode="before")(_not_null)


class StudyPatch(In):
    """What changes; what is left out stays."""

    budget: BudgetPatch | None = None
    labels: Annotated[dict[Name, Annotated[Text, Field(max_length=200)]], Field(max_length=64)] | None = None
    description: Annotated[Text, Field(max_length=10_000)] | None = None
    search_space: SearchSpace | None = Field(
        None, description="the whole new space: parameters may be widened, narrowed, fixed, added with a default"
    )
    forbidden: Forbidden | None = None
    space_constraints: SpaceConstraints | None = None

    _present = field_validator(
        "budget", "labels", "description", "search_space", "forbidden", "space_constraints", mode="before"
    )(_not_null)


class ExtendIn(In):
    """What is raised, and how far; of a finished study it must hold the bound that ended it."""

    budget: BudgetPatch = Field(default_factory=BudgetPatch)
    n_full: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)] | None = Field(
        None, description="of asha: whole trials that end the study; null lifts it, left out it stays"
    )


class CloneIn(In):
    """A new study like another. Changes are merged as RFC 7396 says, null takes a field back to its default."""

    name: Name
    changes: dict[Text, Any] = Field(default_factory=dict, description="fields of the study that are other")
    start: StrictBool = True


class StudyDeleted(Out):
    """The study is gone; what it holds is removed in the background."""

    id: UUID
    name: str


class Counts(Out):
    queued: int = 0
    running: int = 0
    paused: int = 0
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    cancelled: int = 0


class Usage(Out):
    """What the study has spent: epochs as accounted, device hours over all attempts."""

    epochs: int = 0
    gpu_hours: float = 0.0


class Condition(Out):
    """Why a study does not move, in plain words."""

    type: str
    status: bool
    reason: str
    message: str
    command: str | None = Field(None, description="the line for a terminal that helps, if one does")
    since: datetime | None = None


class BestTrial(Out):
    """A trial ranked by its newest value."""

    number: int
    value: float
    values: list[float] | None = Field(None, description="of all objectives, where there are several")
    params: dict[str, Any]
    state: str
    step: int = Field(description="epochs it was trained for")
    metrics: dict[str, float | None] = Field(default_factory=dict, description="null where a value is not finite")


class Candidate(Out):
    """A winner of the search with its replicates; all values are of the objective's metric."""

    params: dict[str, Any]
    trial: int = Field(description="of the search, the best one with these params")
    search_value: float
    values: list[float] = Field(description="of the replicates that came to their end, or of the folds")
    n: int
    mean: float | None
    ci95: float | None = Field(description="half the 95 % confidence interval of the mean (Student's t)")
    gap: float | None = Field(description="search_value minus mean: where more is better, what was promised too much")
    failed: int = Field(description="replicates without a value, or outside of an outcome constraint")


class FinalCheckpoint(Out):
    id: UUID
    step: int
    sha256: str


class Recommendation(Out):
    """The winner with the best mean, and the network of it that was tested."""

    params: dict[str, Any]
    trial: int
    search_value: float
    n: int
    mean: float | None
    ci95: float | None
    gap: float | None
    final_trial: int | None = Field(description="of the study that confirms; null where none was begun")
    checkpoint: FinalCheckpoint | None


class SealedScore(Out):
    """What the recommended network scored on the test part, which nothing else has read."""

    acc: float | None
    acc_low: float | None = Field(description="the 95 % interval of acc (Wilson's score interval)")
    acc_high: float | None
    loss: float | None
    images: int | None
    metrics: dict[str, float | None] = Field(description="as they were reported; null where one is not finite")


class ConfirmationRead(Out):
    """The winners of a study, trained anew by another: what is left of what they promised."""

    state: Literal["running", "finished", "failed"]
    reason: str | None = Field(description="why it failed")
    study: str | None = Field(description="name of the study that confirms")
    study_id: UUID | None
    seeds: int | None = Field(description="replicates of each candidate")
    folds: int | None = Field(description="or the folds that one was trained on")
    train_on: Literal["train", "train_and_validation"] = Field(description="what the network tested has learned from")
    candidates: list[Candidate]
    recommendation: Recommendation | None
    test: SealedScore | None


class StudyRead(StudySpec):
    """The normalised definition (the seed is filled in) and how the study stands."""

    model_config = ConfigDict(extra="ignore")

    id: UUID
    state: StudyState
    state_reason: str | None = Field(None, description="why it stopped: n_full, max_trials, goal, budget, user, …")
    revision: int
    counts: Counts
    best: BestTrial | None
    usage: Usage
    conditions: list[Condition]
    split_sha256: str | None = Field(None, description="of the data and its split, which all trials share; once known")
    class_names: list[str] | None = Field(None, description="of the data, in the order of its labels; once known")
    confirms: UUID | None = Field(None, description="the study whose winners this one trains anew")
    confirmation: ConfirmationRead | None = Field(None, description="of its winners, once the search has ended")
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    archived_at: datetime | None = None


class StudyPage(Page):
    items: list[StudyRead]


class RungPlan(Out):
    bracket: int
    rung: int
    resource: int
    trials: int
    epochs: int = Field(description="that these trials train to get here from the rung below")


class DryRun(Out):
    """What would happen: the normalised spec and the rung table, nothing stored."""

    spec: dict[str, Any]
    rungs: list[RungPlan]
    max_trials: int
    epochs: int = Field(description="epochs spent if each rung keeps exactly its share")
    epochs_low: int | None = Field(None, description="nine in ten simulated runs spend between this and epochs_high")
    epochs_high: int | None = None
    epochs_without_pruning: int
    confirm_epochs: int | None = Field(None, description="that the confirmation takes besides, at most")
    gpu_hours: float | None = Field(None, description="of one device, at the given speed")
    hours: float | None = Field(None, description="at the given speed on the given number of workers")


class RungRead(Out):
    bracket: int
    rung: int
    resource: int
    reported: int
    promoted: int
    waiting: int
    running: int
    cutoff: float | None = Field(description="value that a trial needs to go on from here; null while none may")


class RungList(Out):
    items: list[RungRead]


class BestList(Out):
    items: list[BestTrial]


class ParetoFront(Out):
    """Trials that no other beats in every objective; infeasible ones do not count."""

    items: list[BestTrial]
    hypervolume: float | None = Field(
        description="of what the front dominates up to the reference point; null while nothing lies within it"
    )
    reference_point: list[float] | None = Field(description="values of the objectives, in their order")


class EnqueueIn(In):
    """A configuration to train before what the sampler proposes."""

    params: dict[ParamName, Choice]
    repeat: Annotated[StrictInt, Field(ge=1, le=1000)] = 1


class Enqueued(Out):
    waiting: int = Field(description="configurations that wait to become trials, these among them")


StudyVerb = Literal["start", "pause", "resume", "stop", "cancel", "archive", "unarchive"]
