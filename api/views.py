"""From rows to response models."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from api.schemas.studies import BestTrial, Condition, ConfirmationRead, Counts, RungRead, StudyRead, Usage
from api.schemas.trials import (
    ArtifactRead,
    AttemptRead,
    ClassRead,
    ConfusionRead,
    DecisionRead,
    EventRead,
    MacroScores,
    MetricRead,
    ScheduleSegment,
    TrialRead,
)
from api.schemas.workers import QueueRead, WorkerRead, WorkerStats
from hpo.checkpoints.base import file_name
from hpo.domain.errors import NotConfirmed
from hpo.domain.merit import INFEASIBLE
from hpo.domain.study import StudyState
from hpo.lifecycle.conditions import conditions
from hpo.lifecycle.definitions import Definition
from hpo.spec.study import StudySpec
from hpo.storage import studies, trials
from hpo.storage.rungs import SqlRungLog
from models.classification import classification


def study_read(tx: Connection, row: Row[Any], *, live_s: float) -> StudyRead:
    return study_reads(tx, [row], live_s=live_s)[0]


def study_reads(tx: Connection, rows: Sequence[Row[Any]], *, live_s: float) -> list[StudyRead]:
    """Studies of one project, as many as a page has, in a handful of queries."""
    if not rows:
        return []
    specs = [StudySpec.model_validate(row.spec) for row in rows]
    single = [row.id for row, spec in zip(rows, specs, strict=True) if len(spec.objectives) == 1]
    best = studies.best_of_each(tx, single)
    told = conditions(tx, rows[0].project_id, rows, specs, live_s=live_s)
    return [
        StudyRead.model_construct(
            **{name: getattr(spec, name) for name in StudySpec.model_fields},
            id=row.id,
            state=StudyState(row.state),
            state_reason=row.state_reason,
            revision=row.revision,
            counts=Counts.model_validate({name: getattr(row, name) for name in Counts.model_fields}),
            best=best_trial(best[row.id], spec, {}) if row.id in best else None,
            usage=Usage(epochs=row.spent, gpu_hours=row.device_seconds / 3600),
            conditions=[Condition(**asdict(one)) for one in of_study],
            split_sha256=row.split_sha256,
            class_names=row.class_names,
            confirms=row.confirms,
            confirmation=None if row.confirmation is None else ConfirmationRead.model_validate(row.confirmation),
            created_at=row.created_at,
            updated_at=row.updated_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            archived_at=row.archived_at,
        )
        for row, spec, of_study in zip(rows, specs, told, strict=True)
    ]


def confirmation_read(tx: Connection, row: Row[Any]) -> ConfirmationRead:
    """The confirmation of a study's winners. Raises NotConfirmed, saying why there is none."""
    spec, found = StudySpec.model_validate(row.spec), row.confirmation
    if spec.confirm is None:
        raise NotConfirmed(f"study {row.name} did not ask for it: give the study `confirm`")
    if found is None:
        state = StudyState(row.state)
        why = "was cancelled" if state is StudyState.CANCELLED else f"is {state}"
        raise NotConfirmed(f"study {row.name} {why}: winners are confirmed once a study has finished")
    if found["state"] == "running":
        ended, trials = studies.ended(tx, found["study_id"])
        raise NotConfirmed(f"study {found['study']} is at it: {ended} of {trials} trials have ended")
    if found["state"] == "failed":
        raise NotConfirmed(f"it failed: {found['reason']}")
    return ConfirmationRead.model_validate(found)


def best_trial(row: Row[Any], spec: StudySpec, metrics: dict[str, Any]) -> BestTrial:
    return BestTrial(
        number=row.number,
        value=spec.objective.value(row.loss),
        values=values_of(row, spec),
        params=row.params,
        state=row.state,
        step=row.last_step,
        metrics=finite(metrics),
    )


def values_of(row: Row[Any], spec: StudySpec) -> list[float] | None:
    """The values of all objectives at the newest stop; None where there is one objective, or no stop yet."""
    if row.vector is None:
        return None
    return [objective.value(loss) for objective, loss in zip(spec.objectives, row.vector, strict=True)]


def trial_read(row: Row[Any], definition: Definition) -> TrialRead:
    objective = definition.spec.objective
    return TrialRead(
        number=row.number,
        state=row.state,
        params=row.params,
        value=None if row.loss is None else objective.value(row.loss),
        values=values_of(row, definition.spec),
        feasible=row.violation == 0 if definition.spec.constraints and row.rung is not None else None,
        non_finite=row.non_finite,
        bracket=row.bracket,
        rung=row.rung,
        last_step=row.last_step,
        target_step=row.target_step,
        attempt=row.attempt,
        worker=row.worker,
        stop_requested=row.stop_requested,
        final=row.final,
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        claimed_at=row.claimed_at,
        finished_at=row.finished_at,
        device_seconds=row.device_seconds,
    )


def rung_reads(tx: Connection, row: Row[Any], definition: Definition) -> list[RungRead]:
    """The rung table; the cut-off is the value of the last trial that may go on by the counts of now."""
    log = SqlRungLog(tx, row.id)
    reads = []
    for r in studies.rung_table(tx, row.id):
        cutoff = definition.engine.scheduler.cutoff(r.bracket, r.rung, log)
        reads.append(
            RungRead(
                bracket=r.bracket,
                rung=r.rung,
                resource=r.resource,
                reported=r.entries,
                promoted=r.promoted,
                waiting=r.waiting,
                running=r.running,
                cutoff=None if cutoff is None or cutoff >= INFEASIBLE else definition.spec.objective.value(cutoff),
            )
        )
    return reads


def finite(metrics: dict[str, Any]) -> dict[str, float | None]:
    """Stored metrics with null for the words that stand for NaN and the infinities."""
    return {name: None if isinstance(value, str) else value for name, value in metrics.items()}


def metric_read(row: Row[Any]) -> MetricRead:
    return MetricRead(
        step=row.step,
        attempt=row.attempt,
        metrics=finite(row.metrics),
        non_finite={name: value for name, value in row.metrics.items() if isinstance(value, str)},
        seconds=row.seconds,
        at=row.at,
    )


def confusion_read(row: Row[Any], class_names: Sequence[str] | None) -> ConfusionRead:
    found, classes = classification(row.confusion), len(row.confusion)
    names = class_names if class_names and len(class_names) == classes else [str(label) for label in range(classes)]
    return ConfusionRead(
        step=row.step,
        class_names=list(names),
        matrix=row.confusion,
        accuracy=found.accuracy,
        balanced_accuracy=found.balanced_accuracy,
        macro=MacroScores(precision=found.macro_precision, recall=found.macro_recall, f1=found.macro_f1),
        per_class=[
            ClassRead(name=name, precision=one.precision, recall=one.recall, f1=one.f1, support=one.support)
            for name, one in zip(names, found.per_class, strict=True)
        ],
    )


def decision_reads(rows: Sequence[Row[Any]], definition: Definition) -> list[DecisionRead]:
    return [
        DecisionRead(
            seq=row.seq,
            bracket=row.bracket,
            rung=row.rung,
            resource=row.resource,
            value=None if row.value is None else definition.spec.objective.value(row.value),
            decision=row.decision,
            at=row.at,
        )
        for row in rows
    ]


def schedule(tx: Connection, study: UUID, number: int) -> list[ScheduleSegment]:
    """The line of a trial's weights, followed back through the trials that it copied."""
    row = trials.get(tx, study, number)
    created: dict[int, dict[str, Any]] = {}
    changes: dict[int, list[tuple[int, int, dict[str, Any]]]] = {}
    for change in trials.param_changes(tx, study):
        if "source" in change.data:
            step = change.data["step"]
            changes.setdefault(change.number, []).append((step, change.data["source"], change.data["params"]))
        else:
            created[change.number] = change.data["params"]
    segments: list[ScheduleSegment] = []
    at, until = number, row.last_step
    while True:
        # The newest change at or before ``until`` says with what the steps up to there were trained.
        before = [change for change in changes.get(at, []) if change[0] < until]
        if not before:
            segments.append(ScheduleSegment(trial=at, after_step=0, to_step=until, params=created[at]))
            return segments[::-1]
        step, source, params = before[-1]
        segments.append(ScheduleSegment(trial=at, after_step=step, to_step=until, params=params))
        at, until = source, step


def attempt_read(row: Row[Any]) -> AttemptRead:
    return AttemptRead.model_validate({name: getattr(row, name) for name in AttemptRead.model_fields})


def artifact_read(row: Row[Any]) -> ArtifactRead:
    return ArtifactRead(
        name=file_name(row.step),
        id=row.id,
        step=row.step,
        attempt=row.attempt,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        created_at=row.created_at,
    )


def event_read(row: Row[Any]) -> EventRead:
    return EventRead(seq=row.seq, type=row.type, trial=row.number, data=row.data, at=row.at)


def worker_read(row: Row[Any]) -> WorkerRead:
    busy = row.study is not None
    state = "lost" if row.lost else "draining" if row.drain else "busy" if busy else "idle"
    return WorkerRead(
        name=row.name,
        queue=row.queue,
        host=row.host,
        device=row.device,
        state=state,
        trial=f"{row.study}/{row.number}" if busy else None,
        versions=row.versions,
        started_at=row.started_at,
        seen_at=row.seen_at,
        drain=row.drain,
        stats=WorkerStats.model_construct(**row.stats),
    )


def queue_read(row: Row[Any]) -> QueueRead:
    return QueueRead.model_validate({name: getattr(row, name) for name in QueueRead.model_fields})
