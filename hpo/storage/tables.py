"""Every table. The constraints here are the last word: what they refuse cannot happen (RELIABILITY.md 3.2).

Instants are the database's clock. A trial's identity for people is (study, number); ``trial.id`` is internal.
The tables that every report appends to (report, rung_entry, attempt, event) carry no foreign key: they are written only
under the lock of the row they would refer to, and checking that row again cost a tenth of a report.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    UniqueConstraint,
    func,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, DOUBLE_PRECISION, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from hpo.domain.study import StudyState
from hpo.domain.trial import EndClass, StopRequest, TrialState

CLOCK = func.clock_timestamp()  # now() is the start of the transaction and is stale after a lock wait


def _one_of(column: str, values: type[StudyState] | type[TrialState] | type[EndClass] | type[StopRequest]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


def _finite(column: str) -> str:
    # Postgres sorts NaN above every number: unrefused it would win a maximisation.
    return f"{column} = {column} AND abs({column}) < 'Infinity'::float8"


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it from the class)
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        float: DOUBLE_PRECISION,
        bytes: BYTEA,
        list[float]: ARRAY(DOUBLE_PRECISION),
    }


class ProjectRow(Base):
    __tablename__ = "project"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)


class ApiKeyRow(Base):
    """``id`` is the public part of the key; of the secret only its SHA-256 is kept."""

    __tablename__ = "api_key"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    scope: Mapped[str]
    secret_sha256: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("scope IN ('admin', 'write', 'read', 'worker')", name="scope"),
        CheckConstraint("octet_length(secret_sha256) = 32", name="secret_sha256"),
    )


class ContestRow(Base):
    """Several methods on one problem at one budget; its studies name it."""

    __tablename__ = "contest"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    spec: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    __table_args__ = (UniqueConstraint("project_id", "name"),)


class StudyRow(Base):
    """``queued`` to ``cancelled`` count the trials by state; ``last_seq`` numbers the events.

    ``spent`` is the sum of the trials' ``last_step``; ``reserved`` what the running ones may still add.
    """

    __tablename__ = "study"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    state: Mapped[str]
    state_reason: Mapped[str | None]
    revision: Mapped[int] = mapped_column(server_default="1")
    spec: Mapped[dict[str, Any]]
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(server_default="0")
    max_trials: Mapped[int]
    max_running: Mapped[int]
    max_failed: Mapped[int]
    budget: Mapped[int | None] = mapped_column(BigInteger)
    spent: Mapped[int] = mapped_column(BigInteger, server_default="0")
    reserved: Mapped[int] = mapped_column(BigInteger, server_default="0")
    next_number: Mapped[int] = mapped_column(server_default="0")
    last_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    queued: Mapped[int] = mapped_column(server_default="0")
    running: Mapped[int] = mapped_column(server_default="0")
    paused: Mapped[int] = mapped_column(server_default="0")
    complete: Mapped[int] = mapped_column(server_default="0")
    pruned: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    cancelled: Mapped[int] = mapped_column(server_default="0")
    closed: Mapped[int] = mapped_column(server_default="0")  # trials that its end has closed, until it is extended
    device_seconds: Mapped[float] = mapped_column(server_default="0")  # of all attempts that have ended
    best_merit: Mapped[float | None]  # the lowest of all rungs so far; kept only where stagnation is watched
    since_best: Mapped[int] = mapped_column(server_default="0")  # trials that have ended since then
    earlier: Mapped[dict[str, Any] | None]  # trials of other studies that a warm start begins with
    contest_id: Mapped[UUID | None] = mapped_column(ForeignKey("contest.id", ondelete="CASCADE"), index=True)
    split_sha256: Mapped[str | None]  # of the data as its first report had it: all trials train on the same
    class_names: Mapped[list[Any] | None] = mapped_column(JSONB)
    confirms: Mapped[UUID | None] = mapped_column(ForeignKey("study.id", ondelete="CASCADE"), index=True)
    confirmation: Mapped[dict[str, Any] | None]  # what the study that confirms this one has found
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    updated_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]  # left out of lists unless asked for
    deleted_at: Mapped[datetime | None]  # gone for everybody; control removes what it holds
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        CheckConstraint(_one_of("state", StudyState), name="state"),
        CheckConstraint("running BETWEEN 0 AND max_running", name="running"),
        CheckConstraint("next_number BETWEEN 0 AND max_trials", name="next_number"),
        CheckConstraint(
            "reserved >= 0 AND spent >= 0 AND (budget IS NULL OR spent + reserved <= budget)", name="budget"
        ),
        CheckConstraint("queued >= 0 AND paused >= 0 AND complete >= 0 AND pruned >= 0", name="counts"),
        CheckConstraint("closed >= 0", name="closed"),
        CheckConstraint(
            "queued + running + paused + complete + pruned + failed + cancelled = next_number", name="counts_add_up"
        ),
        Index("ix_study_claimable", "project_id", "queue", postgresql_where=sql("state = 'running'")),
        Index("ix_study_updated_at", "project_id", "updated_at", "id"),
        Index("ix_study_deleted_at", "deleted_at", postgresql_where=sql("deleted_at IS NOT NULL")),
        {"postgresql_with": {"fillfactor": 50}},  # the row of a hot study is rewritten at every report
    )


class EnqueuedRow(Base):
    """A configuration that somebody wants trained before what the sampler proposes, oldest first."""

    __tablename__ = "enqueued"
    study_id: Mapped[UUID] = mapped_column(ForeignKey("study.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    params: Mapped[dict[str, Any]]
    final: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)


class TrialRow(Base):
    __tablename__ = "trial"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    project_id: Mapped[UUID]
    study_id: Mapped[UUID] = mapped_column(ForeignKey("study.id", ondelete="CASCADE"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="queued")
    params: Mapped[dict[str, Any]]
    cursor: Mapped[int] = mapped_column(BigInteger)  # event of the study up to which the sampler saw results
    bracket: Mapped[int] = mapped_column(server_default="0")
    rung: Mapped[int | None]  # index of the highest rung reached
    loss: Mapped[float | None]  # at the newest step; null while not finite
    non_finite: Mapped[str | None]
    vector: Mapped[list[float] | None]  # losses of all objectives at the newest stop, where there are several
    violation: Mapped[float] = mapped_column(server_default="0")  # by which outcome constraints are missed there
    last_step: Mapped[int] = mapped_column(BigInteger, server_default="0")
    target_step: Mapped[int] = mapped_column(BigInteger)
    attempt: Mapped[int] = mapped_column(server_default="0")
    lease_id: Mapped[UUID | None] = mapped_column(unique=True)
    claim_id: Mapped[UUID | None] = mapped_column(unique=True)
    worker: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    lease_ttl_s: Mapped[float | None]
    stop_requested: Mapped[str | None]
    resume_from: Mapped[UUID | None]  # a checkpoint of another trial of its population, which it goes on from
    final: Mapped[str | None]  # of a confirmation's last trial: what it learns from before it is tested
    infra_failures: Mapped[int] = mapped_column(server_default="0")
    oom_failures: Mapped[int] = mapped_column(server_default="0")
    no_progress_attempts: Mapped[int] = mapped_column(server_default="0")
    promoted: Mapped[bool] = mapped_column(server_default=sql("false"))  # queued by a promotion: goes before new trials
    not_before: Mapped[datetime] = mapped_column(server_default=CLOCK)
    queued_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    hinted_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    device_seconds: Mapped[float] = mapped_column(server_default="0")  # of its attempts that have ended
    claimed_at: Mapped[datetime | None]  # the newest claim
    closed_from: Mapped[str | None]  # the state in which the end of its study found it
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    updated_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("study_id", "number"),
        CheckConstraint(_one_of("state", TrialState), name="state"),
        CheckConstraint(f"stop_requested IS NULL OR {_one_of('stop_requested', StopRequest)}", name="stop_requested"),
        CheckConstraint("(state = 'running') = (lease_id IS NOT NULL)", name="lease"),
        CheckConstraint("(lease_id IS NULL) = (lease_expires_at IS NULL)", name="lease_expires_at"),
        CheckConstraint("last_step BETWEEN 0 AND target_step", name="last_step"),
        CheckConstraint(f"loss IS NULL OR ({_finite('loss')})", name="loss"),
        Index(
            "ix_trial_queued",
            "study_id",
            sql("promoted DESC"),
            "queued_at",
            "id",
            postgresql_where=sql("state = 'queued'"),
        ),
        Index("ix_trial_leases", "lease_expires_at", postgresql_where=sql("state = 'running'")),
        CheckConstraint("violation >= 0", name="violation"),
        CheckConstraint("final IN ('train', 'train_and_validation')", name="final"),
        Index("ix_trial_best", "study_id", "loss", "number", postgresql_where=sql("loss IS NOT NULL")),
        Index("ix_trial_state", "study_id", "state", "number"),
        CheckConstraint("closed_from IN ('queued', 'paused')", name="closed_from"),
        Index("ix_trial_closed", "study_id", "closed_from", "number", postgresql_where=sql("closed_from IS NOT NULL")),
        Index("ix_trial_resume_from", "resume_from", postgresql_where=sql("resume_from IS NOT NULL")),
        {"postgresql_with": {"fillfactor": 70}},
    )


class ReportRow(Base):
    """The accepted metrics of one step. The first report of a step wins; ``decision`` stands where one was made."""

    __tablename__ = "report"
    trial_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    lease_id: Mapped[UUID]
    attempt: Mapped[int]
    loss: Mapped[float | None]
    metrics: Mapped[dict[str, Any]]
    confusion: Mapped[list[Any] | None] = mapped_column(JSONB)  # counts by true and predicted class, at stops
    seconds: Mapped[float | None]
    decision: Mapped[str | None]
    target: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    __table_args__ = (
        CheckConstraint("step >= 1", name="step"),
        CheckConstraint(f"loss IS NULL OR ({_finite('loss')})", name="loss"),
    )


class RungRow(Base):
    """Kept counts of one rung, and its finger: the key of the ``finger_rank``-th best entry (docs/adr/0007)."""

    __tablename__ = "rung"
    study_id: Mapped[UUID] = mapped_column(ForeignKey("study.id", ondelete="CASCADE"), primary_key=True)
    bracket: Mapped[int] = mapped_column(primary_key=True)
    rung: Mapped[int] = mapped_column(primary_key=True)
    resource: Mapped[int] = mapped_column(BigInteger)
    entries: Mapped[int] = mapped_column(server_default="0")
    waiting: Mapped[int] = mapped_column(server_default="0")
    promoted: Mapped[int] = mapped_column(server_default="0")
    finger_rank: Mapped[int] = mapped_column(server_default="0")
    finger_loss: Mapped[float | None]
    finger_seq: Mapped[int | None] = mapped_column(BigInteger)
    __table_args__ = (
        CheckConstraint("finger_rank BETWEEN 0 AND entries", name="finger_rank"),
        CheckConstraint("(finger_rank = 0) = (finger_loss IS NULL)", name="finger"),
        CheckConstraint("waiting >= 0 AND promoted >= 0 AND waiting + promoted <= entries", name="waiting"),
        {"postgresql_with": {"fillfactor": 50}},
    )


class RungEntryRow(Base):
    """One trial's result at one rung with the scheduler's decision; ``seq`` is the event that records it."""

    __tablename__ = "rung_entry"
    study_id: Mapped[UUID] = mapped_column(primary_key=True)
    bracket: Mapped[int] = mapped_column(primary_key=True)
    rung: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    loss: Mapped[float]  # the merit: feasible by loss, then infeasible by violation, then whoever ended on the way
    vector: Mapped[list[float] | None]  # merits of all objectives, where there are several
    seq: Mapped[int] = mapped_column(BigInteger)
    decision: Mapped[str]
    waiting: Mapped[bool]  # paused here and may still be promoted
    at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    __table_args__ = (
        UniqueConstraint("study_id", "bracket", "rung", "seq"),
        CheckConstraint(_finite("loss"), name="loss"),
        CheckConstraint("decision IN ('continue', 'pause', 'stop', 'complete')", name="decision"),
        Index("ix_rung_entry_merit", "study_id", "bracket", "rung", "loss", "seq"),
        Index("ix_rung_entry_waiting", "study_id", "bracket", "rung", "loss", "seq", postgresql_where=sql("waiting")),
        {"postgresql_with": {"fillfactor": 80}},
    )


class AttemptRow(Base):
    """One claim of a trial, with its own lease and what it cost."""

    __tablename__ = "attempt"
    trial_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    lease_id: Mapped[UUID] = mapped_column(unique=True)
    worker: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    ended_at: Mapped[datetime | None]
    end_class: Mapped[str | None]
    start_step: Mapped[int] = mapped_column(BigInteger)
    end_step: Mapped[int | None] = mapped_column(BigInteger)
    setup_s: Mapped[float | None]
    device_seconds: Mapped[float] = mapped_column(server_default="0")
    peak_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    alone: Mapped[bool] = mapped_column(server_default=sql("false"))  # had its device to itself, after out of memory
    error: Mapped[dict[str, Any] | None]
    __table_args__ = (
        CheckConstraint(f"end_class IS NULL OR {_one_of('end_class', EndClass)}", name="end_class"),
        CheckConstraint("(ended_at IS NULL) = (end_class IS NULL)", name="ended"),
    )


class CheckpointRow(Base):
    __tablename__ = "checkpoint"
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    trial_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("trial.id", ondelete="CASCADE"))
    lease_id: Mapped[UUID]
    attempt: Mapped[int]
    step: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(server_default="ok")
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    __table_args__ = (
        UniqueConstraint("trial_id", "lease_id", "step"),
        CheckConstraint("state IN ('ok', 'corrupt', 'deleted')", name="state"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    )


class EventRow(Base):
    """Append-only; numbered per study without a gap; written in the transaction of the change it records."""

    __tablename__ = "event"
    study_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    type: Mapped[str]
    number: Mapped[int | None]
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    __table_args__ = (
        # Few are: an insertion of the others costs no more than a look at their type.
        Index("ix_event_requeued", "study_id", "seq", postgresql_where=sql("type = 'trial-requeued'")),
    )


class WorkerRow(Base):
    __tablename__ = "worker"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("project.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    queue: Mapped[str]
    host: Mapped[str]
    device: Mapped[str]
    pid: Mapped[int]
    versions: Mapped[dict[str, Any]]
    instance: Mapped[UUID | None]  # the process that says so: in a container every start has the same pid
    drain: Mapped[bool] = mapped_column(server_default=sql("false"))
    stats: Mapped[dict[str, Any]] = mapped_column(server_default=sql("'{}'"))  # as its last heartbeat measured them
    started_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    seen_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    __table_args__ = (Index("ix_worker_queue", "project_id", "queue", "seen_at"),)


class LogLineRow(Base):
    """What an attempt printed, the newest lines of it; ``position`` counts its lines from 1."""

    __tablename__ = "log_line"
    trial_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    stream: Mapped[str]
    text: Mapped[str]
    __table_args__ = (CheckConstraint("stream IN ('out', 'err', 'ladder')", name="stream"),)


class AnalysisRow(Base):
    """What takes too long to compute in a request; ``basis`` is the event of the study up to which it counts."""

    __tablename__ = "analysis"
    study_id: Mapped[UUID] = mapped_column(ForeignKey("study.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)  # SHA-256 of the question
    state: Mapped[str]
    question: Mapped[dict[str, Any]]
    basis: Mapped[int] = mapped_column(BigInteger)
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    requested_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    started_at: Mapped[datetime | None]
    computed_at: Mapped[datetime | None]
    __table_args__ = (CheckConstraint("state IN ('waiting', 'computing', 'done', 'failed')", name="state"),)


class IdempotencyKeyRow(Base):
    """The stored answer to a creating request, kept 24 hours."""

    __tablename__ = "idempotency_key"
    api_key_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[bytes]
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    __table_args__ = (Index("ix_idempotency_key_created_at", "created_at"),)


class AuditRow(Base):
    """Who changed what: one row per command of a person, in the transaction of the change."""

    __tablename__ = "audit_log"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    project_id: Mapped[UUID]
    api_key_id: Mapped[str]
    action: Mapped[str]
    object: Mapped[str]
    request_id: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(server_default=CLOCK)
