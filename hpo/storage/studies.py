"""Studies as they are read: by name or id, in pages, with their best trials and rungs."""

import math
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
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
    """The id of a study given by id or by name. Raises NotFound, also for another project's study."""
    s = StudyRow
    mine = (s.id == UUID(ref)) if is_id(ref) else (s.name == ref)
    if not is_reference(ref):
        raise NotFound(f"there is no study {ref!r}")
    found = tx.execute(select(s.id).where(s.project_id == project, mine)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"there is no study {ref!r}")
    return found


def get(tx: Connection, project: UUID, ref: str) -> Row[Any]:
    """The whole row of a study given by id or name. Raises NotFound."""
    study = resolve(tx, project, ref)
    return tx.execute(select(StudyRow.__table__).where(StudyRow.id == study)).one()


def page(
    tx: Connection,
    project: UUID,
    *,
    states: Sequence[str],
    labels: dict[str, str],
    confirmations: bool,
    descending: bool,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Studies by the time of their last change, ``limit`` of them past the key ``after``.

    Those that confirm others only if asked for.
    """
    s = StudyRow
    query = select(s.__table__).where(s.project_id == project)
    if states:
        query = query.where(s.state.in_(states))
    if labels:
        query = query.where(s.spec["labels"].contains(labels))
    if not confirmations:
        query = query.where(s.confirms.is_(None))
    key = tuple_(s.updated_at, s.id)
    if after is not None:
        query = query.where(key < after if descending else key > after)
    order = (s.updated_at.desc(), s.id.desc()) if descending else (s.updated_at, s.id)
    return tx.execute(query.order_by(*order).limit(limit)).all()


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


def live_workers(tx: Connection, project: UUID, queue: str, live_s: float) -> int:
    """Workers of a queue that were seen within ``live_s`` seconds."""
    count: int = tx.exec_driver_sql(
        "SELECT count(*) FROM worker WHERE project_id = %(project)s AND queue = %(queue)s"
        " AND seen_at > clock_timestamp() - make_interval(secs => %(live)s)",
        {"project": project, "queue": queue, "live": live_s},
    ).scalar_one()
    return count
