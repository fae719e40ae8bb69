"""What the live streams follow, for all of a process's streams at once: studies and workers as they are now."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

_HEADS = """
SELECT id, last_seq, state, queued + running + paused AS unfinished, deleted_at IS NOT NULL AS deleted,
  coalesce(confirmation->>'state' = 'running', false) AS confirming
FROM study WHERE id = ANY(%(studies)s)"""


def heads(tx: Connection, studies: Sequence[UUID]) -> Sequence[Row[Any]]:
    """How far the logs of studies have come, and whether more can follow."""
    return tx.exec_driver_sql(_HEADS, {"studies": list(studies)}).all()


_CHANGED = """
SELECT id, project_id, name, CASE WHEN deleted_at IS NULL THEN state ELSE 'deleted' END AS state,
  queued, running, paused, complete, pruned, failed, cancelled, last_seq, updated_at
FROM study WHERE project_id = ANY(%(projects)s) AND (updated_at, id) > (%(since)s, %(past)s)
ORDER BY updated_at, id LIMIT %(limit)s"""
_FIRST = UUID(int=0)


def changed_studies(
    tx: Connection, projects: Sequence[UUID], since: datetime, *, past: UUID = _FIRST, limit: int = 5_000
) -> Sequence[Row[Any]]:
    """Studies that changed after ``since`` (or then, with an id past ``past``), in the order of their last change.

    A change is seen once it is committed, with the time at which it was made: look back by as long as that may take.
    """
    params = {"projects": list(projects), "since": since, "past": past, "limit": limit}
    return tx.exec_driver_sql(_CHANGED, params).all()


_WORKERS = """
SELECT w.project_id, w.name, w.drain, w.seen_at < clock_timestamp() - make_interval(secs => %(live)s) AS lost,
  t.study, t.number
FROM worker w LEFT JOIN (
  SELECT DISTINCT ON (t.project_id, t.worker) t.project_id, t.worker, s.name AS study, t.number
  FROM trial t JOIN study s ON s.id = t.study_id
  WHERE t.state = 'running' AND t.project_id = ANY(%(projects)s)
  ORDER BY t.project_id, t.worker, t.lease_expires_at DESC) t ON t.project_id = w.project_id AND t.worker = w.name
WHERE w.project_id = ANY(%(projects)s) ORDER BY w.name"""


def workers(tx: Connection, projects: Sequence[UUID], *, live_s: float) -> Sequence[Row[Any]]:
    """All workers of projects, each with its newest trial."""
    return tx.exec_driver_sql(_WORKERS, {"projects": list(projects), "live": live_s}).all()


def now(tx: Connection) -> datetime:
    """The database's clock, which all instants are told by."""
    instant: datetime = tx.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return instant
