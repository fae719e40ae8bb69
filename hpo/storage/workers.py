"""Worker rows: who is there, on which queue, seen when. A worker's own heartbeat writes them, no broker is asked."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.domain.errors import InvalidState, NotFound
from hpo.storage.batch import run

_PUT = """
INSERT INTO worker (project_id, name, queue, host, device, pid, instance, versions, stats)
VALUES (%(project)s, %(name)s, %(queue)s, %(host)s, %(device)s, %(pid)s, %(instance)s, %(versions)s, %(stats)s)
ON CONFLICT (project_id, name) DO UPDATE SET queue = excluded.queue, host = excluded.host, device = excluded.device,
  versions = excluded.versions, stats = excluded.stats, seen_at = clock_timestamp(),
  started_at = CASE WHEN {same} THEN worker.started_at ELSE clock_timestamp() END, drain = worker.drain AND {same},
  pid = excluded.pid, instance = excluded.instance"""
# In a container every start has the same pid, hence the instance; an older worker sends none.
_PUT = _PUT.replace(
    "{same}",
    "(worker.pid = excluded.pid AND worker.host = excluded.host"
    " AND worker.instance IS NOT DISTINCT FROM excluded.instance)",
)

# A worker may hold several trials (an external one that asked for more than one): the newest claim is shown.
_SELECT = """
SELECT w.*, w.seen_at < clock_timestamp() - make_interval(secs => %(live)s) AS lost, t.study, t.number
FROM worker w LEFT JOIN LATERAL (
  SELECT s.name AS study, t.number FROM trial t JOIN study s ON s.id = t.study_id
  WHERE t.state = 'running' AND t.worker = w.name AND t.project_id = w.project_id
  ORDER BY t.lease_expires_at DESC LIMIT 1) t ON true
WHERE w.project_id = %(project)s"""


def put(
    tx: Connection,
    project: UUID,
    name: str,
    *,
    queue: str,
    host: str,
    device: str,
    pid: int,
    versions: dict[str, str],
    instance: UUID | None = None,
    stats: dict[str, Any] | None = None,
) -> None:
    """Register a worker or note that it is alive; another process under the same name takes the row over."""
    tx.exec_driver_sql(
        _PUT,
        {
            "project": project,
            "name": name,
            "queue": queue,
            "host": host,
            "device": device,
            "pid": pid,
            "versions": json.dumps(versions),
            "instance": instance,
            "stats": json.dumps(stats or {}, allow_nan=False),
        },
    )


_IDLE = """
SELECT (SELECT count(*) FROM worker WHERE project_id = %(project)s AND queue = %(queue)s AND NOT drain
          AND seen_at > clock_timestamp() - make_interval(secs => %(live)s))
     - (SELECT coalesce(sum(running), 0) FROM study
        WHERE project_id = %(project)s AND queue = %(queue)s AND running > 0) AS idle"""


def idle(tx: Connection, project: UUID, queue: str, *, live_s: float) -> int:
    """Workers of a queue that were seen within ``live_s`` seconds and train nothing; never below 0."""
    [row] = run(tx, _IDLE, project=project, queue=queue, live=live_s)
    return max(0, int(row.idle))


_PAGE = (
    _SELECT
    + """ AND w.name > %(after)s AND (%(queue)s = '' OR w.queue = %(queue)s) AND (%(host)s = '' OR w.host = %(host)s)
ORDER BY w.name LIMIT %(limit)s"""
)


def page(
    tx: Connection, project: UUID, *, live_s: float, after: str, limit: int, queue: str = "", host: str = ""
) -> Sequence[Row[Any]]:
    """Workers by name past ``after``, of one queue or host where one is given."""
    asked = {"project": project, "live": live_s, "after": after, "limit": limit, "queue": queue, "host": host}
    return tx.exec_driver_sql(_PAGE, asked).all()


def get(tx: Connection, project: UUID, name: str, *, live_s: float) -> Row[Any]:
    """Raises NotFound."""
    row = tx.exec_driver_sql(
        _SELECT + " AND w.name = %(name)s", {"project": project, "live": live_s, "name": name}
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no worker {name!r}")
    return row


def set_drain(tx: Connection, project: UUID, name: str, *, drain: bool) -> None:
    """Ask a worker to hand back what it trains and exit, or take that back: it hears of it with its next heartbeat.

    Raises NotFound.
    """
    found = tx.exec_driver_sql(
        "UPDATE worker SET drain = %(drain)s WHERE project_id = %(project)s AND name = %(name)s RETURNING name",
        {"project": project, "name": name, "drain": drain},
    )
    if found.one_or_none() is None:
        raise NotFound(f"there is no worker {name!r}")


def forget(tx: Connection, project: UUID, name: str, *, live_s: float) -> None:
    """Remove the row of a worker that is lost. Raises InvalidState if it is alive, NotFound."""
    row = get(tx, project, name, live_s=live_s)
    if not row.lost:
        raise InvalidState(f"worker {name!r} is alive: drain it first, it can be forgotten once it is lost")
    tx.exec_driver_sql(
        "DELETE FROM worker WHERE project_id = %(project)s AND name = %(name)s", {"project": project, "name": name}
    )


_QUEUES = """
WITH w AS (
  SELECT queue, drain, seen_at > clock_timestamp() - make_interval(secs => %(live)s) AS live, EXISTS (
    SELECT 1 FROM trial t WHERE t.state = 'running' AND t.worker = worker.name AND t.project_id = worker.project_id
      AND t.lease_expires_at > '-infinity') AS busy
  FROM worker WHERE project_id = %(project)s),
s AS (
  SELECT queue, sum(running) AS running, sum(queued) FILTER (WHERE state = 'running') AS waiting,
    min((SELECT min(t.queued_at) FROM trial t WHERE t.study_id = study.id AND t.state = 'queued'))
      FILTER (WHERE state = 'running' AND queued > 0) AS since
  FROM study WHERE project_id = %(project)s AND queue <> '' AND deleted_at IS NULL
    AND (running > 0 OR state = 'running') GROUP BY queue)
SELECT name, count(*) FILTER (WHERE w.live) AS workers, count(*) FILTER (WHERE w.live AND NOT w.drain AND NOT w.busy)
    AS idle, count(*) FILTER (WHERE w.live AND w.drain) AS draining, count(*) FILTER (WHERE NOT w.live) AS lost,
  coalesce(max(s.running), 0)::int AS running, coalesce(max(s.waiting), 0)::int AS waiting,
  extract(epoch FROM clock_timestamp() - max(s.since))::float8 AS oldest_wait_s
FROM (SELECT queue AS name FROM w UNION SELECT queue FROM s) n
LEFT JOIN w ON w.queue = n.name LEFT JOIN s ON s.queue = n.name GROUP BY name ORDER BY name"""


def queues(tx: Connection, project: UUID, *, live_s: float) -> Sequence[Row[Any]]:
    """Each queue that has workers or work, with how many of both."""
    return tx.exec_driver_sql(_QUEUES, {"project": project, "live": live_s}).all()
