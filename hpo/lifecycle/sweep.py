"""What nobody else will do: find dead leases, studies that stand still, trials nobody was rung for, old rows."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.storage import workers

# Studies where control has something to do although no bell may have said so.
_RESTLESS = """
SELECT id FROM study
WHERE deleted_at IS NULL AND (state = 'running' AND queued <= running / 4
   OR state = 'running' AND (running = 0 OR closed > 0)
   OR state = 'stopping' OR state IN ('cancelled', 'failed') AND queued + paused > 0)
ORDER BY priority DESC, updated_at LIMIT %(limit)s"""


def restless(tx: Connection, limit: int = 200) -> Sequence[UUID]:
    return tx.exec_driver_sql(_RESTLESS, {"limit": limit}).scalars().all()


# What runs takes up to ``margin`` seconds to hear that it shall stop; the budget holds that, too, where it is large.
_OVERSPENT = """
WITH used AS (
  SELECT s.id, s.last_seq, extract(epoch FROM clock_timestamp() - s.started_at) AS wall_s,
    (s.spec->'budget'->>'max_wall_s')::float8 AS max_wall_s,
    (s.spec->'budget'->>'max_gpu_hours')::float8 * 3600 AS max_device_s,
    s.device_seconds + (
      SELECT coalesce(sum(extract(epoch FROM clock_timestamp() - a.started_at)), 0) FROM trial t
      JOIN attempt a ON a.trial_id = t.id AND a.attempt = t.attempt
      WHERE t.study_id = s.id AND t.state = 'running') AS device_s, s.running
  FROM study s WHERE s.state = 'running' AND (s.spec->'budget'->'max_wall_s' <> 'null'
    OR s.spec->'budget'->'max_gpu_hours' <> 'null')
  FOR NO KEY UPDATE OF s SKIP LOCKED)
SELECT id, last_seq,
  CASE WHEN wall_s > max_wall_s - least(%(margin)s, max_wall_s / 2) THEN 'max_wall_s' ELSE 'max_gpu_hours' END AS reason
FROM used WHERE wall_s > max_wall_s - least(%(margin)s, max_wall_s / 2)
  OR device_s > max_device_s - least(%(margin)s * running, max_device_s / 2)"""


def overspent(tx: Connection, *, margin_s: float) -> Sequence[Row[Any]]:
    """Running studies whose wall time or device hours will be used up within ``margin_s``, locked."""
    return tx.exec_driver_sql(_OVERSPENT, {"margin": margin_s}).all()


_RING = """
UPDATE trial t SET hinted_at = clock_timestamp() FROM study s
WHERE s.id = t.study_id AND s.state = 'running' AND s.running < s.max_running AND t.id IN (
  SELECT id FROM trial WHERE state = 'queued' AND not_before <= clock_timestamp()
    AND clock_timestamp() > coalesce(hinted_at + make_interval(secs => %(again)s),
                                     queued_at + make_interval(secs => %(first)s))
  ORDER BY queued_at LIMIT 200 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING s.project_id, s.queue"""

FIRST_RING_S = 2.0  # a trial that waits this long may not have been rung for at all: a promotion, a lost message


def unheard(tx: Connection, *, again_s: float, live_s: float) -> Sequence[str]:
    """Queues to ring for trials that wait and were not rung for of late: an entry a trial, no more than idle workers.

    While all workers are busy nobody is rung for: they claim when they are done, and bells would only pile up.
    """
    waiting = Counter(
        tuple(row) for row in tx.exec_driver_sql(_RING, {"again": again_s, "first": min(FIRST_RING_S, again_s)})
    )
    bells: list[str] = []
    for (project, queue), count in waiting.items():
        bells += [queue] * min(count, workers.idle(tx, project, queue, live_s=live_s))
    return bells


def forget_old_keys(tx: Connection) -> None:
    """Answers to idempotent requests are kept for 24 hours."""
    tx.exec_driver_sql("DELETE FROM idempotency_key WHERE created_at < clock_timestamp() - interval '24 hours'")
