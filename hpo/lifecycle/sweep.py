"""What nobody else will do: find dead leases, studies that stand still, trials nobody was rung for, old rows."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

# Studies where control has something to do although no bell may have said so.
_RESTLESS = """
SELECT id FROM study
WHERE state = 'running' AND queued <= running / 4
   OR state = 'running' AND running = 0
   OR state = 'stopping' OR state IN ('cancelled', 'failed') AND queued + paused > 0
ORDER BY priority DESC, updated_at LIMIT %(limit)s"""


def restless(tx: Connection, limit: int = 200) -> Sequence[UUID]:
    return tx.exec_driver_sql(_RESTLESS, {"limit": limit}).scalars().all()


_OVERSPENT = """
SELECT s.id, s.last_seq, CASE WHEN clock_timestamp() - s.started_at > make_interval(secs =>
    (s.spec->'budget'->>'max_wall_s')::float8) THEN 'max_wall_s' ELSE 'max_gpu_hours' END AS reason
FROM study s WHERE s.state = 'running' AND (
  clock_timestamp() - s.started_at > make_interval(secs => (s.spec->'budget'->>'max_wall_s')::float8)
  OR (s.spec->'budget'->>'max_gpu_hours')::float8 * 3600 < s.device_seconds + (
    SELECT coalesce(sum(extract(epoch FROM clock_timestamp() - a.started_at)), 0) FROM trial t
    JOIN attempt a ON a.trial_id = t.id AND a.attempt = t.attempt WHERE t.study_id = s.id AND t.state = 'running'))
FOR NO KEY UPDATE OF s SKIP LOCKED"""


def overspent(tx: Connection) -> Sequence[Row[Any]]:
    """Running studies whose wall time or device hours are used up, locked."""
    return tx.exec_driver_sql(_OVERSPENT).all()


_RING = """
UPDATE trial t SET hinted_at = clock_timestamp() FROM study s
WHERE s.id = t.study_id AND s.state = 'running' AND s.running < s.max_running AND t.id IN (
  SELECT id FROM trial WHERE state = 'queued' AND not_before <= clock_timestamp()
    AND coalesce(hinted_at, queued_at) < clock_timestamp() - make_interval(secs => %(after)s)
  ORDER BY queued_at LIMIT 200 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING s.queue"""


def unheard(tx: Connection, *, after_s: float) -> Sequence[str]:
    """Queues of claimable trials that were not rung for in the last ``after_s`` seconds, one entry a trial."""
    return tx.exec_driver_sql(_RING, {"after": after_s}).scalars().all()


def forget_old_keys(tx: Connection) -> None:
    """Answers to idempotent requests are kept for 24 hours."""
    tx.exec_driver_sql("DELETE FROM idempotency_key WHERE created_at < clock_timestamp() - interval '24 hours'")
