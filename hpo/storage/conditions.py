"""What the conditions of studies are told from: the workers of a project's queues, and a few facts of each study."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

_QUEUES = """
SELECT queue, count(*) FILTER (WHERE live AND NOT drain) AS ready, count(*) FILTER (WHERE live AND drain) AS draining,
  count(*) FILTER (WHERE NOT live) AS lost, max(seen_at) FILTER (WHERE NOT live) AS lost_at
FROM (SELECT queue, drain, seen_at, seen_at > clock_timestamp() - make_interval(secs => %(live)s) AS live
      FROM worker WHERE project_id = %(project)s) w GROUP BY queue"""


def queues(tx: Connection, project: UUID, *, live_s: float) -> dict[str, Row[Any]]:
    """How many workers of each queue are ready, draining and lost, and when the last of the lost was seen."""
    return {row.queue: row for row in tx.exec_driver_sql(_QUEUES, {"project": project, "live": live_s})}


# Of the log only the newest events are looked at. While a study runs, the event that says so may lie far back and is
# not looked for; what is asked of studies that have ended is little.
_FACTS = """
SELECT s.id, extract(epoch FROM clock_timestamp() - s.updated_at)::float8 AS quiet_s,
  extract(epoch FROM clock_timestamp() - s.started_at)::float8 AS wall_s,
  s.device_seconds + CASE WHEN s.running > 0 AND s.spec->'budget'->'max_gpu_hours' <> 'null' THEN (
    SELECT coalesce(sum(extract(epoch FROM clock_timestamp() - t.claimed_at)), 0)::float8 FROM trial t
    WHERE t.study_id = s.id AND t.state = 'running') ELSE 0 END AS device_s,
  CASE WHEN s.state IN ('paused', 'stopping') THEN (
    SELECT e.at FROM event e WHERE e.study_id = s.id AND e.seq > s.last_seq - 10000 AND e.type = 'study-updated'
      AND e.data->>'state' = s.state ORDER BY e.seq DESC LIMIT 1) END AS state_at,
  CASE WHEN s.state = 'running' AND s.queued = 0 AND s.paused > 0 THEN (
    SELECT jsonb_agg(to_jsonb(r) ORDER BY r.rung DESC, r.bracket) FROM rung r
    WHERE r.study_id = s.id AND r.bracket >= 0 AND r.waiting > 0) END AS rungs,
  CASE WHEN s.state = 'running' AND s.queued = 0 THEN (
    SELECT EXISTS (SELECT 1 FROM enqueued q WHERE q.study_id = s.id)) END AS enqueued,
  CASE WHEN s.confirmation->>'state' = 'running' THEN (
    SELECT jsonb_build_object('name', c.name, 'trials', c.max_trials, 'since', c.created_at,
      'ended', c.complete + c.pruned + c.failed + c.cancelled)
    FROM study c WHERE c.id = (s.confirmation->>'study_id')::uuid AND c.deleted_at IS NULL) END AS confirming,
  CASE WHEN s.state NOT IN ('created', 'finished', 'cancelled') AND s.last_seq > 3 THEN (
    SELECT jsonb_agg(jsonb_build_object('number', e.number, 'at', e.at, 'end_class', e.end_class, 'error', t.error)
      ORDER BY e.seq DESC)
    FROM (
      SELECT n.seq, n.number, n.at, coalesce(n.data->>'end_class', 'none') AS end_class
      FROM (SELECT * FROM event WHERE study_id = s.id AND seq > s.last_seq - 200) n
      WHERE n.type IN ('trial-finished', 'trial-requeued', 'trial-paused') ORDER BY n.seq DESC LIMIT 3) e
    JOIN trial t ON t.study_id = s.id AND t.number = e.number) END AS ends
FROM study s WHERE s.id = ANY(%(studies)s::uuid[])"""


def facts(tx: Connection, studies: Sequence[UUID]) -> dict[UUID, Row[Any]]:
    """By study: how long nothing changed, what it has used, where its trials wait, how the last attempts ended."""
    return {row.id: row for row in tx.exec_driver_sql(_FACTS, {"studies": list(studies)})}
