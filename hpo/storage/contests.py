"""Contests as they are stored and read: by name or id, in pages, with how their studies stand."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, tuple_

from hpo.domain.errors import NotFound
from hpo.storage.studies import is_id, is_reference
from hpo.storage.tables import ContestRow
from models.image_config import SPLIT_ENTRIES


def insert(tx: Connection, project: UUID, name: str, spec: str) -> UUID | None:
    """Store a contest, ``spec`` as JSON; None if the name is taken."""
    created: UUID | None = tx.exec_driver_sql(
        "INSERT INTO contest (id, project_id, name, spec) VALUES (uuidv7(), %(project)s, %(name)s, %(spec)s)"
        " ON CONFLICT (project_id, name) DO NOTHING RETURNING id",
        {"project": project, "name": name, "spec": spec},
    ).scalar_one_or_none()
    return created


def get(tx: Connection, project: UUID, ref: str) -> Row[Any]:
    """The row of a contest given by id or by name. Raises NotFound, also for another project's contest."""
    c = ContestRow
    found = None
    if is_reference(ref):
        mine = (c.id == UUID(ref)) if is_id(ref) else (c.name == ref)
        found = tx.execute(select(c.__table__).where(c.project_id == project, mine)).one_or_none()
    if found is None:
        raise NotFound(f"there is no contest {ref!r}")
    return found


def page(tx: Connection, project: UUID, *, after: tuple[datetime, UUID] | None, limit: int) -> Sequence[Row[Any]]:
    """Contests, newest first, ``limit`` of them past the key ``after``."""
    c = ContestRow
    query = select(c.__table__).where(c.project_id == project)
    key = tuple_(c.created_at, c.id)
    if after is not None:
        query = query.where(key < after)
    return tx.execute(query.order_by(c.created_at.desc(), c.id.desc()).limit(limit)).all()


def same_data(one: str, other: str) -> str:
    """SQL that says whether two aliased studies name the same data and split: arms of a contest may differ in them."""
    return " AND ".join(
        f"{one}.spec#>'{{trainer,config,{entry}}}' IS NOT DISTINCT FROM {other}.spec#>'{{trainer,config,{entry}}}'"
        for entry in SPLIT_ENTRIES
    )


def states(tx: Connection, contests: Sequence[UUID]) -> dict[UUID, list[str]]:
    """The states of each contest's studies, as ``standing`` says."""
    rows = tx.exec_driver_sql(
        f"SELECT contest_id, array_agg({_STANDING}) AS states FROM study s WHERE contest_id = ANY(%(ids)s::uuid[])"
        " AND deleted_at IS NULL"
        " GROUP BY contest_id",
        {"ids": list(contests)},
    )
    return {row.contest_id: row.states for row in rows}


# How a study stands in a contest: it has not ended before its winners are confirmed, and has failed where that has.
_STANDING = """CASE WHEN s.state = 'finished' AND s.confirmation->>'state' IN ('running', 'failed')
  THEN s.confirmation->>'state' ELSE s.state END"""

# A study's clock runs from its first claim: until then it waits for the workers that train the others.
_RUNS = f"""
SELECT s.id, s.name, s.state, s.state_reason, s.spent, s.device_seconds, s.split_sha256, s.confirmation,
  {_STANDING} AS standing,
  (SELECT count(*) FROM trial t WHERE t.study_id = s.id AND t.last_step > 0) AS trials,
  coalesce(extract(epoch FROM coalesce(s.finished_at, clock_timestamp()) - (SELECT e.at FROM event e
    WHERE e.study_id = s.id AND e.type = 'trial-started' ORDER BY e.seq LIMIT 1)), 0)::float8 AS wall_s,
  best.loss, best.params
FROM study s LEFT JOIN LATERAL (
  SELECT t.loss, t.params FROM trial t WHERE t.study_id = s.id AND t.loss IS NOT NULL AND t.violation = 0
    AND t.state NOT IN ('failed', 'cancelled') ORDER BY t.loss, t.number LIMIT 1) best ON true
WHERE s.contest_id = %(contest)s AND s.deleted_at IS NULL"""


def runs(tx: Connection, contest: UUID) -> dict[str, Row[Any]]:
    """How each study of a contest stands, by name: what it has spent, its best trial, its confirmation.

    Deleted ones are left out.
    """
    return {row.name: row for row in tx.exec_driver_sql(_RUNS, {"contest": contest})}
