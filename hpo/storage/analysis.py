"""Analyses that control computes in the background: asked for, taken, answered."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from hpo.storage.tables import AnalysisRow


def find(tx: Connection, study: UUID, kind: str, key: str) -> Row[Any] | None:
    """The analysis as it stands; None if nobody has asked for it."""
    a = AnalysisRow
    query = select(a.__table__).where(a.study_id == study, a.kind == kind, a.key == key)
    return tx.execute(query).one_or_none()


_REQUEST = """
INSERT INTO analysis (study_id, kind, key, state, question, basis)
VALUES (%(study)s, %(kind)s, %(key)s, 'waiting', %(question)s, %(basis)s)
ON CONFLICT (study_id, kind, key) DO UPDATE
SET state = 'waiting', basis = excluded.basis, requested_at = clock_timestamp(), error = NULL
WHERE analysis.state IN ('done', 'failed')"""


def request(tx: Connection, study: UUID, kind: str, *, key: str, question: dict[str, Any], basis: int) -> None:
    """Have an analysis computed (again); what waits or is being computed stays as it is, and so does an old result."""
    asked = {"study": study, "kind": kind, "key": key, "question": json.dumps(question), "basis": basis}
    tx.exec_driver_sql(_REQUEST, asked)


# Whoever computes and dies leaves a row that nobody works on: it is taken again after a while.
_OPEN = """(state = 'waiting' OR state = 'computing' AND started_at < clock_timestamp()
  - make_interval(secs => %(again)s))"""
_TAKE = f"""
UPDATE analysis SET state = 'computing', started_at = clock_timestamp() WHERE (study_id, kind, key) = (
  SELECT study_id, kind, key FROM analysis WHERE study_id = %(study)s AND {_OPEN}
  ORDER BY requested_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING kind, key, question, started_at"""


def take(tx: Connection, study: UUID, *, again_s: float) -> Row[Any] | None:
    """The oldest analysis of a study that waits, now marked as being computed; None if none does.

    One that has been computed for ``again_s`` seconds counts as waiting.
    """
    return tx.exec_driver_sql(_TAKE, {"study": study, "again": again_s}).one_or_none()


_FINISH = """
UPDATE analysis SET state = %(state)s, result = coalesce(%(result)s::jsonb, result), error = %(error)s,
  basis = %(basis)s, computed_at = clock_timestamp()
WHERE study_id = %(study)s AND kind = %(kind)s AND key = %(key)s AND state = 'computing' AND started_at = %(taken)s"""


def finish(tx: Connection, study: UUID, taken: Row[Any], *, basis: int, result: dict[str, Any]) -> None:
    """Store what was found; nothing if somebody else has taken the analysis since."""
    _end(tx, study, taken, state="done", basis=basis, result=json.dumps(result, allow_nan=False), error=None)


def fail(tx: Connection, study: UUID, taken: Row[Any], *, basis: int, error: str) -> None:
    """Store why there is no result; one of before stays."""
    _end(tx, study, taken, state="failed", basis=basis, result=None, error=error)


def _end(
    tx: Connection, study: UUID, taken: Row[Any], *, state: str, basis: int, result: str | None, error: str | None
) -> None:
    values = {"state": state, "result": result, "error": error, "basis": basis, "study": study}
    tx.exec_driver_sql(_FINISH, values | {"kind": taken.kind, "key": taken.key, "taken": taken.started_at})


def unanswered(tx: Connection, *, again_s: float, limit: int = 100) -> Sequence[UUID]:
    """Studies with an analysis that waits, whose bell may have been lost."""
    query = f"SELECT DISTINCT study_id FROM analysis WHERE {_OPEN} LIMIT %(limit)s"
    return tx.exec_driver_sql(query, {"again": again_s, "limit": limit}).scalars().all()
