"""Leases: claim, renew, and taking back what a dead worker held (RELIABILITY.md 3.3).

Time is the database's clock, never a worker's. Row locks are taken trial first, then study.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.domain.trial import StopRequest
from hpo.storage.batch import find, run
from hpo.storage.contests import same_data

_CLAIMED = f"""
    t.id, t.study_id, t.number, t.bracket, t.attempt, t.lease_id, t.lease_expires_at, t.params, t.last_step,
    t.target_step, t.resume_from, t.oom_failures > 0 AS alone, t.final,
    s.queued AS study_queued, s.running AS study_running,
    coalesce(s.split_sha256, (SELECT r.split_sha256 FROM study r JOIN study me ON me.id = t.study_id
      WHERE r.contest_id = me.contest_id AND r.split_sha256 IS NOT NULL AND {same_data("r", "me")} LIMIT 1))
      AS split_sha256"""


# One statement: the best claimable trial of each claimable study in the order of the studies, the first that is free.
def _claim_from(which: str) -> str:
    return f"""
WITH cand AS MATERIALIZED (
  SELECT t.id, t.study_id, t.target_step - t.last_step AS need
  FROM (SELECT id, budget, spent, reserved FROM study
        WHERE project_id = %(project)s AND {which} AND state = 'running' AND running < max_running AND queued > 0
          AND NOT EXISTS (SELECT 1 FROM trial WHERE claim_id = %(claim)s)
        ORDER BY priority DESC, running, id) s
  CROSS JOIN LATERAL (
    SELECT q.id, q.study_id, q.target_step, q.last_step FROM trial q
    WHERE q.study_id = s.id AND q.state = 'queued' AND q.not_before <= clock_timestamp()
      AND (s.budget IS NULL OR s.spent + s.reserved + (q.target_step - q.last_step) <= s.budget)
    ORDER BY q.promoted DESC, q.queued_at, q.id LIMIT 1 FOR NO KEY UPDATE OF q SKIP LOCKED) t
  LIMIT 1),
slot AS (
  UPDATE study s SET running = s.running + 1, queued = s.queued - 1, reserved = s.reserved + cand.need,
    last_seq = s.last_seq + 1, updated_at = clock_timestamp()
  FROM cand WHERE s.id = cand.study_id AND s.state = 'running' AND s.running < s.max_running
    AND (s.budget IS NULL OR s.spent + s.reserved + cand.need <= s.budget)
  RETURNING s.id, s.last_seq, s.queued, s.running, s.split_sha256, s.contest_id),
taken AS (
  UPDATE trial t SET state = 'running', attempt = t.attempt + 1, lease_id = gen_random_uuid(), claim_id = %(claim)s,
    worker = %(worker)s, lease_ttl_s = %(ttl)s, lease_expires_at = clock_timestamp() + make_interval(secs => %(ttl)s),
    promoted = false, stop_requested = NULL, error = NULL, claimed_at = clock_timestamp(),
    updated_at = clock_timestamp()
  FROM cand, slot WHERE t.id = cand.id AND slot.id = t.study_id RETURNING t.*),
begun AS (
  INSERT INTO attempt (trial_id, attempt, lease_id, worker, start_step, alone)
  SELECT id, attempt, lease_id, worker, last_step, oom_failures > 0 FROM taken),
told AS (
  INSERT INTO event (study_id, seq, type, number, data)
  SELECT taken.study_id, slot.last_seq, 'trial-started', taken.number,
    jsonb_build_object('worker', taken.worker, 'attempt', taken.attempt, 'from', taken.last_step,
      'alone', taken.oom_failures > 0)
  FROM taken, slot)
SELECT {_CLAIMED} FROM taken t, slot s"""


_CLAIM_OF_QUEUE = _claim_from("queue = %(queue)s")
_CLAIM_OF_STUDY = _claim_from("id = %(study)s")

_CLAIMED_BEFORE = f"""
SELECT {_CLAIMED} FROM trial t JOIN study s ON s.id = t.study_id
WHERE t.claim_id = %(claim)s AND t.state = 'running' AND t.project_id = %(project)s"""


def claim(
    tx: Connection, project: UUID, claim_id: UUID, *, worker: str, queue: str | None, study: UUID | None, ttl_s: float
) -> Any | None:
    """Lease one queued trial of a queue (or of one study), by study priority, fewest running, promotions, then age.

    None if nothing can be claimed. A ``claim_id`` that was answered before gives the same trial while it is leased.
    """
    params = {"project": project, "claim": claim_id, "worker": worker, "ttl": ttl_s}
    if study is None:
        row = find(tx, _CLAIM_OF_QUEUE, queue=queue, **params)
    else:
        row = find(tx, _CLAIM_OF_STUDY, study=study, **params)
    if row is not None:
        return row
    return find(tx, _CLAIMED_BEFORE, claim=claim_id, project=project)


@dataclass(frozen=True, slots=True)
class Renewed:
    expires_at: datetime
    stop: StopRequest | None


# The study's own state is the command to all its trials (docs/adr/0008): no row of a running trial is written for it.
_RENEW = """
UPDATE trial t SET lease_expires_at = clock_timestamp() + make_interval(secs => t.lease_ttl_s)
FROM study s WHERE s.id = t.study_id AND t.study_id = %(study)s AND t.number = %(number)s AND t.lease_id = %(lease)s
  AND t.project_id = %(project)s
RETURNING t.lease_expires_at,
  CASE WHEN s.state IN ('cancelled', 'failed') THEN 'cancel' WHEN s.state = 'paused' THEN 'pause'
       WHEN s.state = 'stopping' AND s.state_reason <> 'user' THEN 'stop' ELSE t.stop_requested END AS stop"""


def renew(tx: Connection, project: UUID, study: UUID, number: int, lease: UUID) -> Renewed | None:
    """Extend the lease; None if the caller no longer holds it. An expired lease that nobody reaped may be renewed."""
    params = {"project": project, "study": study, "number": number, "lease": lease}
    row = find(tx, _RENEW, **params)
    return None if row is None else Renewed(row.lease_expires_at, StopRequest(row.stop) if row.stop else None)


_LOCK = """
SELECT t.id, t.number, t.bracket, t.rung, t.last_step, t.target_step, t.attempt, t.stop_requested, t.infra_failures,
  t.oom_failures, t.no_progress_attempts, t.lease_id, s.revision, s.state, s.state_reason, s.budget, s.spent,
  s.reserved,
  s.max_trials, s.max_failed, s.next_number, s.queued, s.running, s.complete, s.failed, s.last_seq, s.queue,
  s.best_merit, s.since_best, s.split_sha256, s.contest_id, t.violation, t.resume_from, t.final,
  (SELECT extract(epoch FROM clock_timestamp() - a.started_at)::float8 FROM attempt a
   WHERE a.trial_id = t.id AND a.attempt = t.attempt) AS held_s
FROM trial t JOIN study s ON s.id = t.study_id
WHERE t.study_id = %(study)s AND t.number = %(number)s AND t.lease_id = %(lease)s AND t.project_id = %(project)s
FOR NO KEY UPDATE OF t, s"""


def lock(tx: Connection, project: UUID, study: UUID, number: int, lease: UUID) -> Any | None:
    """Lock the leased trial, then its study; None if the lease is not the trial's."""
    params = {"project": project, "study": study, "number": number, "lease": lease}
    return find(tx, _LOCK, **params)


_LOCK_TRIALS = "SELECT id FROM trial WHERE lease_id = ANY(%(leases)s) ORDER BY id FOR NO KEY UPDATE"


def lock_trials(tx: Connection, held: Sequence[UUID]) -> None:
    """Lock the trials of several leases in one order, before the lock of their study."""
    run(tx, _LOCK_TRIALS, leases=list(held))


# The grace: after a restart of Postgres nobody could renew, so no lease is dead before one whole ttl has passed.
_EXPIRED = """
SELECT t.project_id, t.study_id, t.number, t.lease_id FROM trial t
WHERE t.state = 'running' AND t.lease_expires_at < clock_timestamp()
  AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => t.lease_ttl_s)
ORDER BY t.lease_expires_at LIMIT %(limit)s"""


def expired(tx: Connection, limit: int = 100) -> Sequence[Row[Any]]:
    """Leases that have run out, oldest first. Each is taken back in a transaction of its own."""
    return tx.exec_driver_sql(_EXPIRED, {"limit": limit}).all()


_STILL_EXPIRED = "SELECT lease_expires_at < clock_timestamp() FROM trial WHERE lease_id = %(lease)s"


def still_expired(tx: Connection, lease: UUID) -> bool:
    """Whether a locked lease is dead after all: its worker may have renewed it while the reaper waited."""
    return bool(tx.exec_driver_sql(_STILL_EXPIRED, {"lease": lease}).scalar_one_or_none())
