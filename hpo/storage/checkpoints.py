"""Rows of the checkpoints; the bytes are in the store (``hpo/checkpoints``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text, update

from hpo.storage.tables import CheckpointRow


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """``number``: the trial in whose directory it lies."""

    id: UUID
    number: int
    lease: UUID
    attempt: int
    step: int
    sha256: str
    size_bytes: int
    created_at: datetime


# What a member of a population trained before it went on from another's checkpoint is of another line: not offered.
_NEWEST = """
SELECT c.id, t.number, c.lease_id, c.attempt, c.step, c.sha256, c.size_bytes, c.created_at
FROM checkpoint c JOIN trial t ON t.id = c.trial_id
LEFT JOIN checkpoint f ON f.id = %(resume_from)s
WHERE c.state = 'ok' AND (c.trial_id = %(trial)s AND c.step > coalesce(f.step, 0) OR c.id = f.id)
ORDER BY c.step DESC, c.created_at DESC LIMIT %(limit)s"""


def newest(tx: Connection, trial: int, resume_from: UUID | None = None, limit: int = 5) -> Sequence[StoredCheckpoint]:
    """Valid checkpoints that a trial may resume from, newest first."""
    rows = tx.exec_driver_sql(_NEWEST, {"trial": trial, "resume_from": resume_from, "limit": limit})
    return [StoredCheckpoint(*row) for row in rows]


# Kept: the newest two and the best of every trial. A running trial's are left alone: its worker may be reading one.
_COLLECTABLE = text("""
SELECT c.id, t.study_id, t.number, c.lease_id, c.step FROM (
  SELECT c.*, row_number() OVER (PARTITION BY c.trial_id ORDER BY c.step DESC, c.created_at DESC) AS age,
    row_number() OVER (PARTITION BY c.trial_id ORDER BY r.loss NULLS LAST, c.step DESC) AS merit
  FROM checkpoint c LEFT JOIN report r ON r.trial_id = c.trial_id AND r.step = c.step
  WHERE c.state = 'ok' AND c.trial_id IN (
    SELECT trial_id FROM checkpoint
    WHERE state = 'ok' AND created_at < clock_timestamp() - make_interval(secs => :age_s)
    GROUP BY trial_id HAVING count(*) > 2 LIMIT 500)) c
JOIN trial t ON t.id = c.trial_id
WHERE c.age > 2 AND c.merit > 1 AND t.state <> 'running'
  AND NOT EXISTS (SELECT 1 FROM trial m WHERE m.resume_from = c.id)
  AND c.created_at < clock_timestamp() - make_interval(secs => :age_s) LIMIT :limit""")


def collectable(tx: Connection, *, age_s: float, limit: int = 500) -> Sequence[Row[Any]]:
    """Checkpoints that nobody will resume from: neither among the newest two nor the best of their trial, and old."""
    return tx.execute(_COLLECTABLE, {"age_s": age_s, "limit": limit}).all()


def mark_deleted(tx: Connection, ids: Sequence[UUID]) -> None:
    tx.execute(update(CheckpointRow).where(CheckpointRow.id.in_(ids)).values(state="deleted"))
