"""Trials, their metrics, decisions, attempts and artifacts as the API shows them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.schemas.base import Out, Page
from hpo.domain.trial import TrialState


class TrialRead(Out):
    number: int
    state: TrialState
    params: dict[str, Any]
    value: float | None = Field(
        description="the objective at the newest step; null before the first and when not finite"
    )
    values: list[float] | None = Field(
        None, description="of all objectives at the newest stop, where there are several"
    )
    feasible: bool | None = Field(
        None, description="whether it keeps the outcome constraints; null without constraints and before the first rung"
    )
    non_finite: str | None = Field(None, description='"nan", "inf" or "-inf" for a diverged trial')
    bracket: int
    rung: int | None = Field(description="index of the highest rung reached")
    last_step: int
    target_step: int
    attempt: int
    worker: str | None = Field(description="that trains it, or was the last to")
    stop_requested: Literal["pause", "stop", "cancel"] | None = Field(
        None, description="what a running one will hear with its next heartbeat or report"
    )
    final: Literal["train", "train_and_validation"] | None = Field(
        None, description="of the trial that a confirmation ends with: what it learns from before it is tested"
    )
    error: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    claimed_at: datetime | None = Field(None, description="when its newest attempt began")
    finished_at: datetime | None
    device_seconds: float = Field(0.0, description="of the attempts that have ended: its duration on a device")


class TrialPage(Page):
    items: list[TrialRead]


class TrialFieldsPage(Page):
    """A page of trials of which only some fields were asked for."""

    items: list[dict[str, Any]]


class MetricRead(Out):
    step: int
    attempt: int
    metrics: dict[str, float | None] = Field(description="null where a value is not finite")
    non_finite: dict[str, str] = Field(default_factory=dict, description='"nan", "inf" or "-inf" of each such metric')
    seconds: float | None
    at: datetime


class MetricPage(Page):
    items: list[MetricRead]


class MacroScores(Out):
    """Means over the classes that occur or are predicted."""

    precision: float
    recall: float
    f1: float


class ClassRead(Out):
    """``support`` counts the validation images of the class. What would be 0 / 0 is 0."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class ConfusionRead(Out):
    """The validation images of a step by true class (row) and predicted class (column), and what follows from it."""

    step: int
    class_names: list[str] = Field(description="in the order of rows and columns; numbers where they are not known")
    matrix: list[list[int]]
    accuracy: float
    balanced_accuracy: float = Field(description="mean recall of the classes that occur")
    macro: MacroScores
    per_class: list[ClassRead]


class DecisionRead(Out):
    """Below 0, ``bracket`` counts the stopping rules: -1 is the first."""

    seq: int
    bracket: int
    rung: int
    resource: int
    value: float | None = Field(description="null for a trial that ended before it came to the rung")
    decision: str
    at: datetime


class DecisionList(Out):
    items: list[DecisionRead]


class ScheduleSegment(Out):
    """Epochs ``after_step`` + 1 to ``to_step`` of the trial's weights were trained by ``trial`` with ``params``."""

    trial: int
    after_step: int
    to_step: int
    params: dict[str, Any]


class Schedule(Out):
    items: list[ScheduleSegment]


class AttemptRead(Out):
    attempt: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    end_class: str | None
    start_step: int
    end_step: int | None
    setup_s: float | None = Field(description="from the claim's answer to the first batch")
    device_seconds: float
    peak_memory_bytes: int | None
    alone: bool = Field(description="had its device to itself, since an attempt before had run out of memory")
    error: dict[str, Any] | None


class AttemptList(Out):
    items: list[AttemptRead]


class ArtifactRead(Out):
    """A checkpoint of the trial in the store."""

    name: str = Field(description="step-<n>.safetensors")
    id: UUID
    step: int
    attempt: int
    size_bytes: int
    sha256: str
    created_at: datetime


class ArtifactList(Out):
    items: list[ArtifactRead]


class EventRead(Out):
    """One entry of a study's append-only log, also the data of its server-sent events."""

    seq: int
    type: str
    trial: int | None
    data: dict[str, Any]
    at: datetime


class ProblemField(Out):
    pointer: str
    code: str
    message: str


class Problem(Out):
    """RFC 9457: the body of every error."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    request_id: str | None = None
    errors: list[ProblemField] | None = None


class NotReady(Problem):
    """The problem of a service that is not ready: ``checks`` tells of each part "ok" or what is wrong."""

    ready: bool
    checks: dict[str, str]
