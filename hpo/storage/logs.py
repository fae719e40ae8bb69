"""What attempts print. Of each the newest lines are kept; no lock of trial or study is taken for them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

KEPT_LINES, KEPT_BYTES = 2_000, 1_000_000  # of each attempt, the newest
GRACE_S = 3_600.0  # after its end: an attempt whose worker could not reach the API may still tell what it printed


@dataclass(frozen=True, slots=True)
class Line:
    position: int
    at: datetime
    stream: str
    text: str


_ATTEMPT = """
SELECT a.trial_id, a.attempt FROM trial t JOIN attempt a ON a.trial_id = t.id
WHERE t.study_id = %(study)s AND t.number = %(number)s AND t.project_id = %(project)s AND a.lease_id = %(lease)s
  AND (a.ended_at IS NULL OR a.ended_at > clock_timestamp() - make_interval(secs => %(grace)s))"""

# Nothing is told apart by the clock: lines that came before are known by their position.
_ADD = """
INSERT INTO log_line (trial_id, attempt, position, at, stream, text)
SELECT %(trial)s, %(attempt)s, l.position, l.at, l.stream, l.text
FROM jsonb_to_recordset(%(lines)s) AS l(position bigint, at timestamptz, stream text, text text)
ON CONFLICT (trial_id, attempt, position) DO NOTHING"""

_TRIM = """
DELETE FROM log_line WHERE trial_id = %(trial)s AND attempt = %(attempt)s AND position <= (
  SELECT max(position) FROM (
    SELECT position, row_number() OVER newest AS lines, sum(octet_length(text)) OVER newest AS bytes
    FROM log_line WHERE trial_id = %(trial)s AND attempt = %(attempt)s
    WINDOW newest AS (ORDER BY position DESC)) kept
  WHERE lines > %(max_lines)s OR bytes > %(max_bytes)s)"""


def attempt_of(tx: Connection, project: UUID, study: UUID, number: int, lease: UUID) -> tuple[int, int] | None:
    """Internal id of the trial and number of the attempt that a lease is of; None if it ended too long ago."""
    row = tx.exec_driver_sql(
        _ATTEMPT, {"project": project, "study": study, "number": number, "lease": lease, "grace": GRACE_S}
    ).one_or_none()
    return None if row is None else (row.trial_id, row.attempt)


def add(tx: Connection, trial: int, attempt: int, lines: Sequence[Line]) -> int:
    """Store lines, those that are there already excepted, and drop what is too old to be kept.

    Returns how many were new.
    """
    rows = [
        {"position": one.position, "at": one.at.isoformat(), "stream": one.stream, "text": one.text} for one in lines
    ]
    of = {"trial": trial, "attempt": attempt}
    added = tx.exec_driver_sql(_ADD, {**of, "lines": json.dumps(rows)}).rowcount
    if added:
        tx.exec_driver_sql(_TRIM, {**of, "max_lines": KEPT_LINES, "max_bytes": KEPT_BYTES})
    return added


_FIRST = "SELECT position FROM log_line WHERE trial_id = %(trial)s AND attempt = %(attempt)s ORDER BY position LIMIT 1"


def first_position(tx: Connection, trial: int, attempt: int) -> int | None:
    """Of the oldest line that is kept; None without any."""
    position: int | None = tx.exec_driver_sql(_FIRST, {"trial": trial, "attempt": attempt}).scalar_one_or_none()
    return position


_AFTER = """
SELECT attempt, position, at, stream, text FROM log_line
WHERE trial_id = %(trial)s AND attempt = %(attempt)s AND position > %(after)s ORDER BY position LIMIT %(limit)s"""

_TAIL = """
SELECT * FROM (
  SELECT attempt, position, at, stream, text FROM log_line
  WHERE trial_id = %(trial)s AND attempt = %(attempt)s ORDER BY position DESC LIMIT %(limit)s) newest
ORDER BY position"""


def after(tx: Connection, trial: int, attempt: int, position: int, *, limit: int) -> Sequence[Row[Any]]:
    """Lines past a position, oldest first."""
    of = {"trial": trial, "attempt": attempt, "after": position, "limit": limit}
    return tx.exec_driver_sql(_AFTER, of).all()


def tail(tx: Connection, trial: int, attempt: int, *, limit: int) -> Sequence[Row[Any]]:
    """The newest lines, oldest first."""
    return tx.exec_driver_sql(_TAIL, {"trial": trial, "attempt": attempt, "limit": limit}).all()


_ENDED = "SELECT ended_at IS NOT NULL FROM attempt WHERE trial_id = %(trial)s AND attempt = %(attempt)s"


def has_ended(tx: Connection, trial: int, attempt: int) -> bool | None:
    """Whether an attempt has ended; None if there is no such attempt."""
    ended: bool | None = tx.exec_driver_sql(_ENDED, {"trial": trial, "attempt": attempt}).scalar_one_or_none()
    return ended
