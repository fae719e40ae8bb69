"""Worker rows: who is there, on which queue, seen when. A worker's own heartbeat writes them, no broker is asked."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.domain.errors import NotFound
from hpo.storage.batch import run

_PUT = """
INSERT INTO worker (project_id, name, queue, host, device, pid, versions)
VALUES (%(project)s, %(name)s, %(queue)s, %(host)s, %(device)s, %(pid)s, %(versions)s)
ON CONFLICT (project_id, name) DO UPDATE SET queue = excluded.queue, host = excluded.host, device = excluded.device,
  versions = excluded.versions, seen_at = clock_timestamp(),
  started_at = CASE WHEN worker.pid = excluded.pid AND worker.host = excluded.host
               THEN worker.started_at ELSE clock_timestamp() END,
  drain = worker.drain AND worker.pid = excluded.pid AND worker.host = excluded.host, pid = excluded.pid"""

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


def page(tx: Connection, project: UUID, *, live_s: float, after: str, limit: int) -> Sequence[Row[Any]]:
    """Workers by name past ``after``."""
    return tx.exec_driver_sql(
        _SELECT + " AND w.name > %(after)s ORDER BY w.name LIMIT %(limit)s",
        {"project": project, "live": live_s, "after": after, "limit": limit},
    ).all()


def get(tx: Connection, project: UUID, name: str, *, live_s: float) -> Row[Any]:
    """Raises NotFound."""
    row = tx.exec_driver_sql(
        _SELECT + " AND w.name = %(name)s", {"project": project, "live": live_s, "name": name}
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no worker {name!r}")
    return row
