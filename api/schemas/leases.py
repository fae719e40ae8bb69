"""The worker protocol: claim (ours) or ask (external), heartbeat, report, release, tell."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StrictInt

from api.schemas.base import In, Metric, Metrics, Out
from hpo.spec.base import Name, QueueName, Real, Text, refuse

MAX_CLASSES = 200  # a confusion matrix of more is not sent: it grows with the square
Step = Annotated[StrictInt, Field(ge=1, le=10**9)]
Bytes = Annotated[StrictInt, Field(ge=0, le=2**62)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ClassNames = Annotated[list[Annotated[Text, Field(max_length=255)]], Field(max_length=MAX_CLASSES)]


def _square(rows: list[list[int]]) -> list[list[int]]:
    if any(len(row) != len(rows) for row in rows):
        raise refuse("not_square", f"want {len(rows)} counts in each of {len(rows)} rows, one for each class")
    if not any(map(any, rows)):
        raise refuse("no_counts", "want a count above 0, got none")
    return rows


# Counts of validation images by [true class][predicted class].
Confusion = Annotated[
    list[Annotated[list[Annotated[StrictInt, Field(ge=0, le=10**9)]], Field(max_length=MAX_CLASSES)]],
    Field(min_length=1, max_length=MAX_CLASSES),
    AfterValidator(_square),
]


class ClaimIn(In):
    """Take one queued trial of a queue. Replaying a ``claim_id`` gives the same trial again."""

    worker: Name
    queue: QueueName
    claim_id: UUID


class AskIn(In):
    """Take trials of one study, for a worker that Ladder does not run."""

    worker: Name
    count: Annotated[StrictInt, Field(ge=1, le=100)] = 1
    lease_s: Annotated[Real, Field(gt=0, le=86_400)] | None = None


class Lease(Out):
    token: UUID
    expires_at: datetime
    ttl_s: float


class CheckpointRef(Out):
    """Where a checkpoint lies in the store: ``<study>/<trial number>/<lease>/step-<step>.safetensors``.

    ``trial`` is another than the leased one where a member of a population goes on from another's checkpoint.
    """

    id: UUID
    trial: int
    lease: UUID
    step: int
    sha256: str
    size_bytes: int


class Assignment(Out):
    """A leased trial: all that training it needs. ``checkpoints`` are the valid ones, newest first.

    Train from the newest whose sha256 matches (from nothing if there is none), up to ``target_step``, then report.
    """

    study_id: UUID
    study: str
    number: int
    attempt: int
    lease: Lease
    trainer: str
    config: dict[str, Any] = Field(description="the trainer's configuration with the sampled params merged in")
    params: dict[str, Any]
    seed: int
    last_step: int = Field(description="the newest step that is accounted for")
    target_step: int
    max_resource: int
    rungs: list[int] = Field(description="steps at which a report waits for its decision, rising")
    checkpoint_every: int
    checkpoints: list[CheckpointRef]
    timeout_s: float | None
    alone: bool = Field(False, description="ran out of memory before: train it while nothing else trains on the device")
    split_sha256: str | None = Field(
        None, description="the split that the study's trials, or those of its contest, train on; null for the first"
    )
    final: Literal["train", "train_and_validation"] | None = Field(
        None, description="what a confirmation's last trial learns from before it is scored on the test part"
    )


class ClaimOut(Out):
    trial: Assignment | None


class AskOut(Out):
    trials: list[Assignment]
    reason: Literal["max_concurrent", "paused", "finished", "waiting_for_rung"] | None = None
    retry_after_s: float | None = None


class CheckpointIn(In):
    """A checkpoint that is already safely in the store, under this lease's directory."""

    step: Step
    sha256: Sha256
    size_bytes: Bytes


class StepIn(In):
    step: Step
    metrics: Metrics
    seconds: Annotated[Real, Field(ge=0)] | None = None
    confusion: Confusion | None = Field(
        None, description=f"counts of validation images by true and predicted class; up to {MAX_CLASSES} classes"
    )


class ReportIn(StepIn):
    """The metrics of ``step``, with earlier steps that were not sent yet, and the checkpoints written since.

    A checkpoint is in the store before it is reported, and reported no later than the rung it belongs to.
    """

    lease: UUID
    earlier: Annotated[list[StepIn], Field(max_length=1000)] = Field(default_factory=list)
    checkpoints: Annotated[list[CheckpointIn], Field(max_length=100)] = Field(default_factory=list)
    corrupt: Annotated[list[UUID], Field(max_length=100)] = Field(
        default_factory=list, description="ids of offered checkpoints whose bytes did not match"
    )
    setup_s: Annotated[Real, Field(ge=0)] | None = Field(
        None, description="from the claim's answer to the first batch, on the worker's clock; with the first report"
    )
    peak_memory_bytes: Bytes | None = None
    split_sha256: Sha256 | None = Field(
        None, description="of the data and its split, with the first report; all trials of a study share one"
    )
    class_names: ClassNames = Field(default_factory=list, description="of the data, in the order of its labels")


class ReportOut(Out):
    """continue: train on to ``target_step``. pause, stop, complete: the lease has ended, drop the trial."""

    decision: Literal["continue", "pause", "stop", "complete"]
    target_step: int | None = None
    lease_expires_at: datetime | None = None


class LeaseIn(In):
    lease: UUID


class HeartbeatOut(Out):
    lease_expires_at: datetime
    stop: Literal["pause", "stop", "cancel"] | None = None


class ReleaseIn(In):
    """Hand a trial back unfinished. It is queued again, and that counts as no failure."""

    lease: UUID
    checkpoints: Annotated[list[CheckpointIn], Field(max_length=100)] = Field(default_factory=list)
    corrupt: Annotated[list[UUID], Field(max_length=100)] = Field(default_factory=list)


class ErrorIn(In):
    """``type`` is a failure class where the worker knows one (OOM is oom), else the exception's name."""

    type: Annotated[Text, Field(max_length=100)]
    message: Annotated[Text, Field(max_length=10_000)] = ""
    traceback: Annotated[Text, Field(max_length=20_000)] = ""
    retryable: bool = False


class TellIn(In):
    """End a trial: complete with its values, or failed with an error (``oom``, ``user_error``, ``diverged``, …)."""

    lease: UUID
    state: Literal["complete", "failed"]
    step: Step | None = None
    metrics: Metrics = Field(default_factory=dict)
    values: Annotated[list[Metric], Field(max_length=10)] | None = Field(
        None, description="of the objectives, in their order; the same as in ``metrics`` by name"
    )
    constraints: Metrics = Field(
        default_factory=dict,
        description="of the metrics of outcome constraints, by name; the same as in ``metrics``",
    )
    error: ErrorIn | None = None
