"""Claim, renew, release, and the ways an attempt ends other than by a report."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection

from hpo.domain.errors import LeaseLost, NotFound
from hpo.domain.events import EventType
from hpo.domain.report import Failure, SavedCheckpoint, StepResult
from hpo.domain.trial import EndClass, TrialState
from hpo.lifecycle.definitions import Definition, Definitions
from hpo.lifecycle.ends import reason_to_stop
from hpo.lifecycle.outcome import Outcome
from hpo.lifecycle.promotion import begin_stopping, low_water
from hpo.lifecycle.reports import arrival_of, drop, judged_by
from hpo.storage import leases
from hpo.storage import reports as stored
from hpo.storage.change import TrialChange
from hpo.storage.checkpoints import StoredCheckpoint, newest
from hpo.storage.rungs import SqlRungLog

MAX_NO_PROGRESS = 3  # attempts in a row without a new step: the trial is poison
MAX_OOM_RETRIES = 1
LONGEST_WAIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """A trial under lease, with what training it needs. ``alone``: with its device to itself, since memory ran out."""

    study: UUID
    number: int
    attempt: int
    lease: UUID
    expires_at: datetime
    params: dict[str, Any]
    seed: int
    last_step: int
    target_step: int
    checkpoints: Sequence[StoredCheckpoint]
    stops: tuple[int, ...]
    definition: Definition
    alone: bool
    split_sha256: str | None = None
    final: Literal["train", "train_and_validation"] | None = None


def claim(
    tx: Connection,
    definitions: Definitions,
    project: UUID,
    claim_id: UUID,
    *,
    worker: str,
    queue: str | None = None,
    study: UUID | None = None,
    ttl_s: float,
) -> Outcome[Claimed | None]:
    """Lease one queued trial of a queue, or of one study; None if there is nothing to do.

    Replaying a ``claim_id`` gives the same trial as long as that claim holds it.
    """
    row = leases.claim(tx, project, claim_id, worker=worker, queue=queue, study=study, ttl_s=ttl_s)
    if row is None:
        return Outcome(None, advance=study)
    definition = definitions.get(tx, row.study_id)
    claimed = Claimed(
        study=row.study_id,
        number=row.number,
        attempt=row.attempt,
        lease=row.lease_id,
        expires_at=row.lease_expires_at,
        params=row.params,
        seed=definition.trial_seed(row.number),
        last_step=row.last_step,
        target_step=row.target_step,
        checkpoints=newest(tx, row.id, row.resume_from) if row.last_step else (),
        stops=definition.engine.stops(row.bracket),
        definition=definition,
        alone=row.alone,
        split_sha256=row.split_sha256,
        final=row.final,
    )
    hungry = row.study_queued <= low_water(row.study_running)
    return Outcome(claimed, advance=row.study_id if hungry else None)


def renew(tx: Connection, project: UUID, study: UUID, number: int, lease: UUID) -> leases.Renewed:
    """Extend the lease and say what the trial is asked to do. Raises LeaseLost, NotFound."""
    renewed = leases.renew(tx, project, study, number, lease)
    if renewed is None:
        raise _lost(tx, project, study, number)
    return renewed


def release(
    tx: Connection,
    definitions: Definitions,
    project: UUID,
    study: UUID,
    number: int,
    lease: UUID,
    *,
    checkpoints: Sequence[SavedCheckpoint] = (),
    corrupt: Sequence[UUID] = (),
) -> Outcome[None]:
    """Take a trial back unfinished: it queues again and counts as no failure, or ends if it was told to.

    Raises LeaseLost, NotFound.
    """
    row = _locked(tx, project, study, number, lease)
    change = TrialChange(row, study)
    change.checkpoints(checkpoints, corrupt)
    state, end_class = TrialState.QUEUED, EndClass.DRAIN
    if row.state in ("cancelled", "failed") or row.stop_requested == "cancel":
        state, end_class = TrialState.CANCELLED, EndClass.CANCELLED
    elif row.stop_requested == "stop" or row.state == "stopping":
        state, end_class = TrialState.PRUNED, EndClass.PRUNED
    return _leave(tx, change, definitions.get(tx, study, revision=row.revision), state, end_class)


def complete(
    tx: Connection, definitions: Definitions, project: UUID, study: UUID, number: int, lease: UUID
) -> Outcome[None]:
    """The trainer says that the trial needs no more steps: it would not change any more. Raises LeaseLost, NotFound.

    Its last value counts at the rung that it was due at, as if it had been trained up to there.
    """
    row = _locked(tx, project, study, number, lease)
    change, definition = TrialChange(row, study), definitions.get(tx, study, revision=row.revision)
    last = StepResult(row.last_step, stored.metrics_at(tx, row.id, row.last_step))
    if not all(math.isfinite(last.metrics.get(metric, math.nan)) for metric in judged_by(definition)):
        return _leave(tx, change, definition, TrialState.COMPLETE, EndClass.COMPLETE)  # there is nothing to rank it by
    seq, rungs = change.next_seq(), SqlRungLog(tx, study)
    arrival = arrival_of(definition, row, last, seq)
    due = 0 if row.rung is None else row.rung + 1
    entered = definition.engine.scheduler.ended(arrival, due)
    for one in entered:
        rungs.add(change.batch, one)
    change.judged(arrival.vector, arrival.violation)
    change.set(rung=due)
    data: dict[str, Any] = {"state": TrialState.COMPLETE.value, "end_class": EndClass.COMPLETE.value}
    data |= {"step": last.step, "loss": arrival.loss, "counts_at": entered[0].resource}
    data |= {"vector": list(arrival.vector)} if arrival.vector else {}
    data |= {"violation": arrival.violation} if arrival.violation else {}
    data |= {"dropped_at": entered[1].entry.rung} if entered[1:] else {}
    rungs.flush(change.batch)
    reason = reason_to_stop(change, definition, ended=True, arrival=arrival)
    change.event(EventType.TRIAL_FINISHED, row.number, data, seq=seq)
    change.leave_running(TrialState.COMPLETE, EndClass.COMPLETE)
    change.write(tx)
    if reason is not None:
        begin_stopping(tx, study, change.seq, reason)
    return Outcome(None, advance=study)


def fail(
    tx: Connection,
    definitions: Definitions,
    project: UUID,
    study: UUID,
    number: int,
    lease: UUID,
    failure: Failure,
    *,
    step: StepResult | None = None,
    backoff_s: float,
) -> Outcome[None]:
    """End an attempt that failed, by its class (RELIABILITY.md 3.6). Raises LeaseLost, NotFound.

    A diverged trial is pruned: that is a result. Dead nodes and memory are tried again, a user's error is not.
    """
    row = _locked(tx, project, study, number, lease)
    change, definition = TrialChange(row, study), definitions.get(tx, study, revision=row.revision)
    if _named(failure) is EndClass.DIVERGED:
        if step is not None and row.last_step < step.step <= row.target_step:
            change.steps([step], [float("nan")], "stop")
        change.set(non_finite="nan", loss=None)
        return _leave(tx, change, definition, TrialState.PRUNED, EndClass.DIVERGED, failure)
    return _failed(tx, change, definition, failure, backoff_s=backoff_s)


def reap(
    tx: Connection, definitions: Definitions, project: UUID, study: UUID, number: int, lease: UUID, *, backoff_s: float
) -> Outcome[None] | None:
    """Take back a lease that has run out; None if its worker renewed it or it has ended meanwhile."""
    row = leases.lock(tx, project, study, number, lease)
    if row is None or not leases.still_expired(tx, lease):
        return None
    failure = Failure(EndClass.INFRA, "the worker stopped renewing its lease", retryable=True)
    definition = definitions.get(tx, study, revision=row.revision)
    return _failed(tx, TrialChange(row, study), definition, failure, backoff_s=backoff_s)


def _failed(
    tx: Connection, change: TrialChange, definition: Definition, failure: Failure, *, backoff_s: float
) -> Outcome[None]:
    row = change.row
    if row.state in ("cancelled", "failed") or row.stop_requested == "cancel":
        return _leave(tx, change, definition, TrialState.CANCELLED, EndClass.CANCELLED)
    end_class = _class_of(failure)
    infra, oom, idle = row.infra_failures, row.oom_failures, row.no_progress_attempts + 1
    if end_class is EndClass.OOM:
        oom += 1
        again = oom <= MAX_OOM_RETRIES
    else:
        infra += 1
        again = end_class is EndClass.INFRA or (end_class is EndClass.STALLED and infra <= 1)
    if again and idle >= MAX_NO_PROGRESS:
        again, end_class = False, EndClass.POISON
    if infra + oom >= definition.spec.retry.max_attempts:
        again = False
    change.set(infra_failures=infra, oom_failures=oom, no_progress_attempts=idle)
    if not again:
        return _leave(tx, change, definition, TrialState.FAILED, end_class, failure)
    change.not_before(min(LONGEST_WAIT_S, backoff_s * 2 ** (infra + oom - 1)))
    return _leave(tx, change, definition, TrialState.QUEUED, end_class, failure)


def _class_of(failure: Failure) -> EndClass:
    named = _named(failure)
    if named in (EndClass.OOM, EndClass.STALLED, EndClass.INFRA, EndClass.USER_ERROR):
        return named
    return EndClass.INFRA if failure.retryable else EndClass.USER_ERROR


def _named(failure: Failure) -> EndClass | None:
    """The class that the worker calls the failure by; it may as well be OOM as oom."""
    name = failure.type.lower()
    return next((one for one in EndClass if one == name), None)


def _leave(
    tx: Connection,
    change: TrialChange,
    definition: Definition,
    state: TrialState,
    end_class: EndClass,
    failure: Failure | None = None,
) -> Outcome[None]:
    row = change.row
    error = None if failure is None else failure.as_json() | {"type": end_class.value}
    data: dict[str, Any] = {"state": state.value, "end_class": end_class.value, "step": row.last_step}
    kind, reason = EventType.TRIAL_REQUEUED, None
    seq = change.next_seq()
    if state is not TrialState.QUEUED:
        kind = EventType.TRIAL_FINISHED
        rungs = SqlRungLog(tx, change.study)
        data |= drop(change, definition, rungs, seq)
        rungs.flush(change.batch)
        reason = reason_to_stop(change, definition, ended=True)
    change.event(kind, row.number, data, seq=seq)
    change.leave_running(state, end_class, error)
    change.write(tx)
    if state is TrialState.FAILED and row.state == "running" and row.failed + 1 > row.max_failed:
        reason = "max_failed"
    if reason is not None:
        begin_stopping(tx, change.study, change.seq, reason)
    queues = (row.queue,) if state is TrialState.QUEUED and row.state == "running" else ()
    return Outcome(None, advance=change.study, queues=queues)


def _locked(tx: Connection, project: UUID, study: UUID, number: int, lease: UUID) -> Any:
    row = leases.lock(tx, project, study, number, lease)
    if row is None:
        raise _lost(tx, project, study, number)
    return row


def _lost(tx: Connection, project: UUID, study: UUID, number: int) -> LeaseLost | NotFound:
    if stored.exists(tx, project, study, number):
        return LeaseLost(f"the lease of trial {number} is no longer yours: drop its work")
    return NotFound(f"there is no trial {number} in study {study}")
