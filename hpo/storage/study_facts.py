"""What the head of a study's page says beside its kept counts: a few bounded look-ups, whatever the study's size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

RECENT = 50  # trials whose creation tells the pace
LOOKED_BACK = 200  # of the best trials, for the one that led an hour ago


@dataclass(frozen=True, slots=True)
class Facts:
    """``begun``: trials that a worker has taken. ``settled``: those that nobody trains now, and the steps they took.

    ``led_before`` is the loss that led an hour ago, None where that is not known. ``lost``: attempts whose worker went
    away. ``eta_s``: seconds until the last trial begins, or the wall time is spent; None where there is no telling.
    """

    begun: int
    settled: int
    settled_steps: int
    led_before: float | None
    lost: int
    eta_s: float | None


_UNDER_WAY = """
SELECT count(*) FILTER (WHERE attempt = 0) AS unborn, count(*) AS open, coalesce(sum(last_step), 0) AS steps
FROM trial WHERE study_id = %(study)s AND state IN ('queued', 'running')"""

_LED_BEFORE = """
SELECT loss FROM (
  SELECT loss, number, updated_at FROM trial WHERE study_id = %(study)s AND loss IS NOT NULL AND violation = 0
    AND state NOT IN ('failed', 'cancelled') AND final IS NULL ORDER BY loss, number LIMIT %(limit)s) top
WHERE updated_at < clock_timestamp() - interval '1 h' ORDER BY loss, number LIMIT 1"""

# Served by ix_event_requeued, which holds the lost and the handed back alone.
_LOST = """
SELECT count(*) FROM event WHERE study_id = %(study)s AND type = 'trial-requeued'
  AND data->>'end_class' IN ('infra', 'stalled')"""

_PACE = """
SELECT extract(epoch FROM clock_timestamp() - t.created_at)::float8 AS elapsed_s,
  extract(epoch FROM clock_timestamp() - s.started_at)::float8 AS running_s
FROM study s LEFT JOIN trial t ON t.study_id = s.id AND t.number = greatest(0, s.next_number - %(recent)s)
WHERE s.id = %(study)s"""


def facts(tx: Connection, row: Row[Any], *, max_wall_s: float | None) -> Facts:
    """``row`` is the whole row of the study."""
    study: UUID = row.id
    under_way: Any = tx.exec_driver_sql(_UNDER_WAY, {"study": study}).one()
    led = tx.exec_driver_sql(_LED_BEFORE, {"study": study, "limit": LOOKED_BACK}).scalar_one_or_none()
    pace: Any = tx.exec_driver_sql(_PACE, {"study": study, "recent": RECENT}).one()
    return Facts(
        begun=row.next_number - under_way.unborn,
        settled=row.next_number - under_way.open,
        settled_steps=row.spent - int(under_way.steps),
        led_before=led,
        lost=tx.exec_driver_sql(_LOST, {"study": study}).scalar_one(),
        eta_s=_eta_s(row, pace, unborn=under_way.unborn, max_wall_s=max_wall_s) if row.state == "running" else None,
    )


def _eta_s(row: Row[Any], pace: Any, *, unborn: int, max_wall_s: float | None) -> float | None:
    ends = []
    born = min(row.next_number, RECENT) - unborn
    left = row.max_trials - row.next_number + unborn
    # Of a handful of trials that all began at once no pace can be told.
    if born >= 5 and left > 0 and pace.elapsed_s:
        ends.append(left * pace.elapsed_s / born)
    if max_wall_s is not None and pace.running_s is not None:
        ends.append(max(0.0, max_wall_s - pace.running_s))
    return min(ends, default=None)


_BY_NUMBER = """
SELECT id, number, loss, params, state, last_step, vector FROM trial
WHERE study_id = %(study)s AND number = ANY(%(numbers)s::int[])"""


def by_number(tx: Connection, study: UUID, numbers: Sequence[int]) -> dict[int, Row[Any]]:
    """Some trials of a study as ``studies.best`` gives them."""
    rows = tx.exec_driver_sql(_BY_NUMBER, {"study": study, "numbers": list(numbers)})
    return {row.number: row for row in rows}
