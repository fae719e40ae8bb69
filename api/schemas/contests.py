"""Contests as the API shows them; they are created from a ``ContestSpec``."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.schemas.base import Out, Page
from hpo.domain.study import StudyState

ContestState = Literal["running", "finished", "failed"]
ResultFormat = Literal["json", "csv", "md"]


class ContestHead(Out):
    id: UUID
    name: str
    state: ContestState = Field(description="failed: all have ended, and some failed or were cancelled")
    complete: str = Field(description="studies that have ended, confirmed where they are to be, of all: 3/6")
    created_at: datetime


class ContestPage(Page):
    items: list[ContestHead]


class MethodResult(Out):
    """One method over its seeds; ``value`` is of the objective's metric at the best trial of each study."""

    method: str
    mean_rank: float | None = Field(description="over the seeds; 1 is best, equals share")
    value_mean: float | None
    value_ci95: float | None = Field(description="half the 95 % confidence interval over seeds (Student's t)")
    value_best: float | None
    best_seed: int | None
    params: dict[str, Any] | None = Field(
        None, description="of the best seed: of its confirmation's recommendation, else of its best trial; if asked for"
    )
    test_mean: float | None = Field(None, description="accuracy on the test part, over the seeds, once scored")
    epochs_mean: float
    epochs_total: int = Field(description="of the searches: confirmations are not counted")
    gpu_hours: float = Field(description="of all its studies together, by attempts that have ended")
    wall_hours: float = Field(description="from the first claim to the end of a study, mean")
    trials: int = Field(description="that were trained for an epoch or more")
    finished: int
    failed: int
    running: int


class ContestResult(Out):
    """The table of the contest, by mean rank; of an unfinished one, the table so far."""

    contest: str
    state: ContestState
    complete: str
    metric: str
    direction: Literal["maximize", "minimize"]
    max_epochs: int | None = Field(description="of each study")
    max_gpu_hours: float | None = None
    seeds: list[int]
    items: list[MethodResult]


class ContestStudy(Out):
    """One study of the contest; all else is at ``/studies/{id}``."""

    id: UUID
    name: str
    method: str
    seed: int
    state: StudyState
    state_reason: str | None
    value: float | None = Field(description="of its best trial so far")
    confirmation: Literal["running", "finished", "failed"] | None = Field(None, description="of its winners")
    test: float | None = Field(None, description="accuracy of its recommendation on the test part, once scored")
    epochs: int
    gpu_hours: float
    trials: int = Field(description="that were trained for an epoch or more")
    split_sha256: str | None = Field(
        None, description="of the data and its split, one in all studies that name the same; once known"
    )


class ContestRead(ContestHead):
    spec: dict[str, Any] = Field(description="as it was sent, seeds listed")
    studies: list[ContestStudy]
    result: ContestResult
