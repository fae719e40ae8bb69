"""A study's log from its newest event backwards, a page at a time, for people to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

# Types and trials have no index of their own, which every event would pay for: a page looks so far back and no further.
LOOKED_BACK = 50_000


@dataclass(frozen=True, slots=True)
class EventPage:
    """Newest first. ``before``: go on there; None at the beginning of the log."""

    items: Sequence[Row[Any]]
    before: int | None


_NEWEST = """
SELECT seq, type, number, data, at FROM event WHERE study_id = %(study)s AND seq < %(before)s AND seq >= %(from)s
  AND (%(type)s::text IS NULL OR type = %(type)s) AND (%(number)s::int IS NULL OR number = %(number)s)
ORDER BY seq DESC LIMIT %(limit)s"""


def newest(
    tx: Connection, study: UUID, *, before: int, limit: int, type: str | None = None, number: int | None = None
) -> EventPage:
    """Events numbered below ``before``, of one type or one trial where these are named."""
    oldest = max(0, before - LOOKED_BACK)
    asked = {"study": study, "before": before, "from": oldest, "type": type, "number": number, "limit": limit + 1}
    rows = tx.exec_driver_sql(_NEWEST, asked).all()
    if len(rows) > limit:
        return EventPage(rows[:limit], rows[limit - 1].seq)
    return EventPage(rows, oldest if oldest > 1 else None)
