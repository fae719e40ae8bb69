"""The worker protocol: claim or ask, heartbeat, report, release, tell."""

import math
from itertools import pairwise
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from api.answers import IdempotencyKey, answer, once
from api.deps import Parts, Trainer, WorkerKey
from api.errors import responses
from api.schemas.leases import (
    AskIn,
    AskOut,
    Assignment,
    CheckpointRef,
    ClaimIn,
    ClaimOut,
    HeartbeatOut,
    Lease,
    LeaseIn,
    ReleaseIn,
    ReportIn,
    ReportOut,
    TellIn,
)
from api.schemas.trials import TrialRead
from api.strict_json import StrictRoute
from api.views import trial_read
from hpo.domain.errors import FieldError, InvalidSpec
from hpo.domain.report import Failure, Report, SavedCheckpoint, StepResult
from hpo.lifecycle import leases
from hpo.lifecycle.leases import Claimed
from hpo.lifecycle.outcome import Outcome
from hpo.lifecycle.reports import report as accept
from hpo.spec.errors import pointer
from hpo.storage import studies, trials
from hpo.storage.idempotency import Stored

router = APIRouter(route_class=StrictRoute, tags=["leases"])

Study = Annotated[str, Path(description="id or name of the study", max_length=100)]
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
_KEYED = ("not_found", "key_in_flight", "idempotency_key_reused")


def assignment(claimed: Claimed, ttl_s: float) -> Assignment:
    spec = claimed.definition.spec
    return Assignment(
        study_id=claimed.study,
        study=spec.name,
        number=claimed.number,
        attempt=claimed.attempt,
        lease=Lease(token=claimed.lease, expires_at=claimed.expires_at, ttl_s=ttl_s),
        trainer=spec.trainer.name,
        config={**spec.trainer.config, **claimed.params},
        params=claimed.params,
        seed=claimed.seed,
        last_step=claimed.last_step,
        target_step=claimed.target_step,
        max_resource=spec.scheduler.max_resource,
        rungs=list(claimed.stops),
        checkpoint_every=spec.checkpoints.every,
        checkpoints=[
            CheckpointRef(id=c.id, trial=c.number, lease=c.lease, step=c.step, sha256=c.sha256, size_bytes=c.size_bytes)
            for c in claimed.checkpoints
        ],
        timeout_s=spec.trainer.timeout_s,
        alone=claimed.alone,
        split_sha256=claimed.split_sha256,
        final=claimed.final,
    )


@router.post("/claim", response_model=ClaimOut, responses=responses())
def claim(body: ClaimIn, parts: Parts, caller: WorkerKey) -> Response:
    """Take the most urgent queued trial of a queue; ``trial`` is null if there is none."""
    ttl_s = parts.settings.lease_ttl_s
    claimed = parts.ring(
        parts.db.write(
            lambda tx: leases.claim(
                tx,
                parts.definitions,
                caller.project,
                body.claim_id,
                worker=body.worker,
                queue=body.queue,
                ttl_s=ttl_s,
            )
        )
    )
    return answer(ClaimOut(trial=None if claimed is None else assignment(claimed, ttl_s)))


@router.post("/studies/{study}/ask", response_model=AskOut, responses=responses(*_KEYED))
def ask(
    study: Study, body: AskIn, request: Request, parts: Parts, caller: Trainer, idempotency_key: IdempotencyKey = None
) -> Response:
    """Take up to ``count`` trials of one study, for a trainer that Ladder does not run."""
    study_id = parts.names.of_lease(parts.db, caller.project, study)
    ttl_s = body.lease_s or parts.settings.lease_ttl_s

    def work(tx: Connection) -> tuple[Outcome[Any], Stored]:
        taken: list[Assignment] = []
        hungry = False
        while len(taken) < body.count:
            outcome = leases.claim(
                tx, parts.definitions, caller.project, uuid4(), worker=body.worker, study=study_id, ttl_s=ttl_s
            )
            hungry |= outcome.advance is not None
            if outcome.value is None:
                break
            taken.append(assignment(outcome.value, ttl_s))
        reason = None if taken else _why_nothing(studies.get(tx, caller.project, str(study_id)))
        out = AskOut(trials=taken, reason=reason, retry_after_s=None if taken else 1.0)
        return Outcome(None, advance=study_id if hungry else None), Stored(200, {}, out.model_dump_json())

    return once(parts, caller, request, idempotency_key, body, work)


def _why_nothing(row: Any) -> Any:
    if row.state in ("paused", "created"):
        return "paused"
    if row.state != "running":
        return "finished"
    return "max_concurrent" if row.running >= row.max_running else "waiting_for_rung"


@router.post(
    "/studies/{study}/trials/{number}/heartbeat",
    response_model=HeartbeatOut,
    responses=responses("not_found", "lease_lost"),
)
def heartbeat(study: Study, number: Number, body: LeaseIn, parts: Parts, caller: Trainer) -> Response:
    """Renew the lease; ``stop`` says what the trial is asked to do."""
    study_id = parts.names.of_lease(parts.db, caller.project, study)
    renewed = parts.db.write(lambda tx: leases.renew(tx, caller.project, study_id, number, body.lease))
    stop = None if renewed.stop is None else renewed.stop.value
    return answer(HeartbeatOut(lease_expires_at=renewed.expires_at, stop=stop))


@router.post(
    "/studies/{study}/trials/{number}/report",
    response_model=ReportOut,
    responses=responses("not_found", "lease_lost"),
)
def report(study: Study, number: Number, body: ReportIn, parts: Parts, caller: Trainer) -> Response:
    """Accept metrics; at a rung, decide. A repeated report is answered as the first was."""
    study_id = parts.names.of_lease(parts.db, caller.project, study)
    reply = parts.ring(parts.turns.report(caller.project, study_id, number, _report(body)))
    return answer(
        ReportOut.model_validate(
            {
                "decision": reply.decision,
                "target_step": reply.target_step,
                "lease_expires_at": reply.lease_expires_at,
            }
        )
    )


def _report(body: ReportIn) -> Report:
    steps = [StepResult(one.step, one.metrics, one.seconds, one.confusion) for one in (*body.earlier, body)]
    if any(later.step <= before.step for before, later in pairwise(steps)):
        raise InvalidSpec(FieldError("/earlier", "not_rising", "steps must rise, and end below the reported step"))
    return Report(
        lease=body.lease,
        steps=tuple(steps),
        checkpoints=tuple(SavedCheckpoint(c.step, c.sha256, c.size_bytes) for c in body.checkpoints),
        corrupt=tuple(body.corrupt),
        setup_s=body.setup_s,
        peak_memory_bytes=body.peak_memory_bytes,
        split_sha256=body.split_sha256,
        class_names=tuple(body.class_names),
    )


@router.post(
    "/studies/{study}/trials/{number}/release",
    status_code=204,
    responses=responses(*_KEYED, "lease_lost"),
)
def release(
    study: Study,
    number: Number,
    body: ReleaseIn,
    request: Request,
    parts: Parts,
    caller: Trainer,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Hand a trial back unfinished: it is queued again and that counts as no failure."""
    study_id = parts.names.of_lease(parts.db, caller.project, study)
    saved = [SavedCheckpoint(c.step, c.sha256, c.size_bytes) for c in body.checkpoints]

    def work(tx: Connection) -> tuple[Outcome[None], Stored]:
        outcome = leases.release(
            tx,
            parts.definitions,
            caller.project,
            study_id,
            number,
            body.lease,
            checkpoints=saved,
            corrupt=body.corrupt,
        )
        return outcome, Stored(204, {}, "")

    return once(parts, caller, request, idempotency_key, body, work)


@router.post(
    "/studies/{study}/trials/{number}/tell", response_model=TrialRead, responses=responses(*_KEYED, "lease_lost")
)
def tell(
    study: Study,
    number: Number,
    body: TellIn,
    request: Request,
    parts: Parts,
    caller: Trainer,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """End a trial: complete, with a last value if one is given, or failed with an error."""
    study_id = parts.names.of_lease(parts.db, caller.project, study)

    def work(tx: Connection) -> tuple[Outcome[Any], Stored]:
        outcome = _told(tx, parts, caller.project, study_id, number, body)
        read = trial_read(trials.get(tx, study_id, number), parts.definitions.get(tx, study_id))
        return outcome, Stored(200, {}, read.model_dump_json())

    return once(parts, caller, request, idempotency_key, body, work)


def _told(tx: Connection, parts: Parts, project: UUID, study: UUID, number: int, body: TellIn) -> Outcome[Any]:
    backoff_s = parts.settings.retry_backoff_s
    if body.state == "failed":
        error = body.error
        step = None if body.step is None else StepResult(body.step, _metrics(tx, parts, study, body))
        failure = Failure("user_error") if error is None else Failure(**error.model_dump())
        return leases.fail(
            tx, parts.definitions, project, study, number, body.lease, failure, step=step, backoff_s=backoff_s
        )
    if metrics := _metrics(tx, parts, study, body):
        current = trials.get(tx, study, number)
        last = StepResult(body.step or max(current.last_step + 1, 1), metrics)
        outcome = accept(tx, parts.definitions, project, study, number, Report(body.lease, (last,)))
        if outcome.value.decision != "continue":
            return outcome
    return leases.complete(tx, parts.definitions, project, study, number, body.lease)


def _metrics(tx: Connection, parts: Parts, study: UUID, body: TellIn) -> dict[str, float]:
    """What was told of the step, by metric: ``values`` and ``constraints`` with the rest.

    Raises InvalidSpec for a metric that was told twice with different values.
    """
    further: list[tuple[str, float, tuple[str, int | str]]] = []
    if body.values is not None:
        objectives = parts.definitions.get(tx, study).spec.objectives
        if len(body.values) != len(objectives):
            message = f"one value per objective is wanted ({len(objectives)}), got {len(body.values)}"
            raise InvalidSpec(FieldError("/values", "wrong_count", message))
        told = zip(objectives, body.values, strict=True)
        further += [(objective.metric, value, ("values", at)) for at, (objective, value) in enumerate(told)]
    further += [(name, value, ("constraints", name)) for name, value in body.constraints.items()]
    metrics = dict(body.metrics)
    for name, value, place in further:
        before = metrics.setdefault(name, value)
        if before != value and not (math.isnan(before) and math.isnan(value)):
            at = pointer(place, {"values": body.values, "constraints": body.constraints})
            message = f"{name!r} was told as {before:g} and here as {value:g}: one value of each metric is wanted"
            raise InvalidSpec(FieldError(at, "metric_differs", message))
    return metrics
