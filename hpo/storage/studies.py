"""Studies as they are read: by name or id, in pages, with their best trials and rungs."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Row, select, tuple_

from hpo.domain.errors import NotFound
from hpo.storage.tables import StudyRow, TrialRow

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def is_id(ref: str) -> bool:
    return _UUID.fullmatch(ref) is not None


def is_reference(ref: str) -> bool:
    """Whether it can be an id or a name at all: Postgres takes no text with U+0000."""
    return _NAME.fullmatch(ref) is not None


def resolve(tx: Connection, project: UUID, ref: str) -> UUID:
    """The id of a study given by id or by name. Raises NotFound, also for another project's and for a deleted one."""
    s = StudyRow
    mine = (s.id == UUID(ref)) if is_id(ref) else (s.name == ref)
    if not is_reference(ref):
        raise NotFound(f"there is no study {ref!r}")
    found = tx.execute(select(s.id).where(s.project_id == project, mine, s.deleted_at.is_(None))).scalar_one_or_none()
    if found is None:
        raise NotFound(f"there is no study {ref!r}")
    return found


def get(tx: Connection, project: UUID, ref: str) -> Row[Any]:
    """The whole row of a study given by id or name. Raises NotFound."""
    study = resolve(tx, project, ref)
    return tx.execute(select(StudyRow.__table__).where(StudyRow.id == study)).one()


OrderBy = Literal["updated_at", "name", "created_at"]


def page(
    tx: Connection,
    project: UUID,
    *,
    states: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    part: str | None = None,
    confirmations: bool = False,
    archived: bool = False,
    order: OrderBy = "updated_at",
    descending: bool,
    after: tuple[Any, UUID] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """``limit`` studies past the key ``after``: the value of ``order`` and the id of one.

    ``part`` is a part of the name, in letters of any case. With ``confirmations`` also those that confirm others, with
    ``archived`` also those.
    """
    s = StudyRow
    query = select(s.__table__).where(s.project_id == project, s.deleted_at.is_(None))
    if states:
        query = query.where(s.state.in_(states))
    if labels:
        query = query.where(s.spec["labels"].contains(dict(labels)))
    if part is not None:
        query = query.where(s.name.icontains(part, autoescape=True))
    if not confirmations:
        query = query.where(s.confirms.is_(None))
    if not archived:
        query = query.where(s.archived_at.is_(None))
    column = {"updated_at": s.updated_at, "name": s.name, "created_at": s.created_at}[order]
    key = tuple_(column, s.id)
    if after is not None:
        query = query.where(key < after if descending else key > after)
    by = (column.desc(), s.id.desc()) if descending else (column, s.id)
    return tx.execute(query.order_by(*by).limit(limit)).all()


# Of each study by itself: a join would look at all trials of all of them.
_BEST_OF_EACH = """
SELECT s.id AS study_id, b.* FROM unnest(%(studies)s::uuid[]) AS s (id) CROSS JOIN LATERAL (
  SELECT t.id, t.number, t.loss, t.params, t.state, t.last_step, t.vector FROM trial t
  WHERE t.study_id = s.id AND t.loss IS NOT NULL AND t.violation = 0 AND t.state NOT IN ('failed', 'cancelled')
    AND t.final IS NULL ORDER BY t.loss, t.number LIMIT 1) b"""


def best_of_each(tx: Connection, studies: Sequence[UUID]) -> dict[UUID, Row[Any]]:
    """The trial of each study that ``best`` would name first, where there is one."""
    return {row.study_id: row for row in tx.exec_driver_sql(_BEST_OF_EACH, {"studies": list(studies)})}


def best(tx: Connection, study: UUID, limit: int = 1) -> Sequence[Row[Any]]:
    """Trials with the lowest loss at their newest step, best first.

    Failed and cancelled ones do not count, nor those that break an outcome constraint, nor a confirmation's final one:
    it may have learned from what it is validated on.
    """
    t = TrialRow
    return tx.execute(
        select(t.id, t.number, t.loss, t.params, t.state, t.last_step, t.vector)
        .where(
            t.study_id == study,
            t.loss.is_not(None),
            t.violation == 0,
            t.state.not_in(["failed", "cancelled"]),
            t.final.is_(None),
        )
        .order_by(t.loss, t.number)
        .limit(limit)
    ).all()


def vectors(tx: Connection, study: UUID) -> Sequence[Row[Any]]:
    """Feasible trials with the losses of all objectives at their newest stop: what a Pareto front is made of."""
    t = TrialRow
    return tx.execute(
        select(t.id, t.number, t.loss, t.params, t.state, t.last_step, t.vector)
        .where(t.study_id == study, t.vector.is_not(None), t.violation == 0, t.state.not_in(["failed", "cancelled"]))
        .order_by(t.number)
    ).all()


def results(tx: Connection, study: UUID) -> Sequence[Row[Any]]:
    """Params and loss of the feasible trials that were trained for as long as any of the study."""
    return tx.exec_driver_sql(
        "SELECT params, loss FROM trial WHERE study_id = %(study)s AND loss IS NOT NULL AND violation = 0"
        " AND final IS NULL AND state IN ('complete', 'pruned', 'paused')"
        " AND last_step = (SELECT max(last_step) FROM trial WHERE study_id = %(study)s AND loss IS NOT NULL"
        " AND state IN ('complete', 'pruned', 'paused'))"
        " ORDER BY number",
        {"study": study},
    ).all()


_OK = "study_id = %(study)s AND loss IS NOT NULL AND violation = 0 AND state NOT IN ('failed', 'cancelled')"
_ANY_WHOLE = f"SELECT EXISTS (SELECT 1 FROM trial WHERE {_OK} AND state = 'complete')"
# In the order of ix_trial_best, so that neither all trials are sorted nor their params compared under the study's lock.
_WINNERS = f"""
SELECT params, loss, number FROM trial WHERE {_OK} AND (state = 'complete' OR NOT %(whole)s)
  AND (loss, number) > (%(loss)s, %(number)s)
ORDER BY loss, number LIMIT %(limit)s"""
WINNERS_PAGE = 500


def winners(tx: Connection, study: UUID) -> Iterator[Row[Any]]:
    """Params, loss and number of the feasible trials, best first, a page at a time as they are asked for.

    Of those that were trained whole where there are such, else of all: a value of few epochs and one of many are not
    to be compared.
    """
    whole = tx.exec_driver_sql(_ANY_WHOLE, {"study": study}).scalar_one()
    past = {"loss": -math.inf, "number": -1}
    while True:
        asked = {"study": study, "whole": whole, "limit": WINNERS_PAGE, **past}
        rows = tx.exec_driver_sql(_WINNERS, asked).all()
        yield from rows
        if len(rows) < WINNERS_PAGE:
            return
        past = {"loss": rows[-1].loss, "number": rows[-1].number}


def newest_metrics(tx: Connection, trials: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Metrics of the newest accepted step, by internal trial id."""
    if not trials:
        return {}
    rows = tx.exec_driver_sql(
        "SELECT t.id, r.metrics FROM trial t JOIN report r ON r.trial_id = t.id AND r.step = t.last_step"
        " WHERE t.id = ANY(%(ids)s)",
        {"ids": list(trials)},
    )
    return {row.id: row.metrics for row in rows}


def ended(tx: Connection, study: UUID | str) -> tuple[int, int]:
    """How many trials of a study have ended, and how many there may be."""
    query = "SELECT complete + pruned + failed + cancelled AS ended, max_trials FROM study WHERE id = %(id)s"
    row = tx.exec_driver_sql(query, {"id": str(study)}).one()
    return row.ended, row.max_trials


def rung_table(tx: Connection, study: UUID) -> Sequence[Row[Any]]:
    """The rungs with their kept counts, and how many trials are on their way to each."""
    return tx.exec_driver_sql(
        "SELECT r.bracket, r.rung, r.resource, r.entries, r.waiting, r.promoted, (SELECT count(*) FROM trial t"
        " WHERE t.study_id = r.study_id AND t.state = 'running' AND t.bracket = r.bracket"
        " AND coalesce(t.rung, -1) = r.rung - 1) AS running FROM rung r WHERE r.study_id = %(study)s AND r.bracket >= 0"
        " ORDER BY r.bracket, r.rung",
        {"study": study},
    ).all()
