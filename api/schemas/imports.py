"""Studies of other programs as the API takes them in."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StrictInt

from api.schemas.base import In, Metric, Metrics
from api.schemas.leases import Step
from hpo.spec.base import Text
from hpo.spec.search import MAX_TRIALS
from hpo.spec.space import Choice, ParamName
from hpo.spec.study import MAX_OBJECTIVES, StudySpec

MAX_PAGE = 500
MAX_STEPS = 5_000


class TrialImport(In):
    """A trial that has ended elsewhere."""

    number: Annotated[StrictInt, Field(ge=0, lt=MAX_TRIALS)]
    state: Literal["complete", "pruned", "failed", "cancelled"]
    params: Annotated[dict[ParamName, Choice], Field(description="those that it had; any may be missing")]
    values: Annotated[list[Metric], Field(min_length=1, max_length=MAX_OBJECTIVES)] | None = Field(
        None, description="of all objectives, in their order"
    )
    curve: Annotated[list[tuple[Step, Metric]], Field(max_length=MAX_STEPS)] = Field(
        default_factory=list, description="(step, value of the first objective), rising in step"
    )
    metrics: Metrics = Field(default_factory=dict, description="further metrics of its newest step")
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    error: Annotated[Text, Field(max_length=10_000)] | None = None


class StudyImport(In):
    """A page of an import. Each page carries the whole definition: the first one creates the study with it."""

    study: StudySpec
    source: Annotated[Text, Field(min_length=1, max_length=200, description="what it is imported from, for its log")]
    trials: Annotated[list[TrialImport], Field(max_length=MAX_PAGE, description="numbers rise by one")]
