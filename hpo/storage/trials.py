"""Trials and what belongs to them, as they are read."""

import operator as op
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, and_, func, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB

from hpo.domain.errors import NotFound
from hpo.storage.tables import AttemptRow, CheckpointRow, EventRow, ReportRow, TrialRow

# One of ORDERED or params.NAME, with "-" before it for the largest first.
Order = str
ORDERED = ("number", "loss", "device_seconds")
Op = Literal["eq", "ne", "lt", "le", "gt", "ge"]
Column = Literal["loss", "last_step", "attempt", "number", "state", "worker", "device_seconds"]
_OPS = {"eq": op.eq, "ne": op.ne, "lt": op.lt, "le": op.le, "gt": op.gt, "ge": op.ge}
NO_LOSS = float("inf")  # a trial without a value sorts after all that have one, whatever the order
PARAM = "params."


@dataclass(frozen=True, slots=True)
class Condition:
    """A trial's column, or one of its params or of its metrics at the newest step, compared with a value.

    A missing value matches nothing.
    """

    column: Column | None
    param: str | None
    op: Op
    value: float | int | bool | str
    metric: str | None = None

    def clause(self) -> ColumnElement[bool]:
        if self.column is not None:
            clause: ColumnElement[bool] = _OPS[self.op](getattr(TrialRow, self.column), self.value)
            return clause
        if self.metric is None:
            return self._holds(TrialRow.params[self.param])
        r = ReportRow
        newest = (r.trial_id == TrialRow.id) & (r.step == TrialRow.last_step)
        # As a value, not as EXISTS: that is planned as a join with all reports of all studies, also for the first page.
        return select(self._holds(r.metrics[self.metric])).where(newest).correlate(TrialRow).scalar_subquery().is_(True)

    def _holds(self, stored: ColumnElement[Any]) -> ColumnElement[bool]:
        # JSON orders values of different types by their type: a word is no more than a number.
        given = literal(self.value, JSONB)
        return and_(func.jsonb_typeof(stored) == func.jsonb_typeof(given), _OPS[self.op](stored, given))


def key_of(row: Row[Any], order: Order) -> tuple[Any, ...]:
    """Where a row stands in a list of this order: what ``page`` goes on ``after``."""
    column, descending = order.removeprefix("-"), order.startswith("-")
    if column == "number" or column.startswith(PARAM):
        return (row.number,)
    value = row.loss if column == "loss" else row.device_seconds or None
    return (NO_LOSS if value is None else -value if descending else value, row.number)


def is_key(token: Sequence[Any], order: Order) -> bool:
    """Whether ``token`` can be one of ``key_of``."""
    short = order.removeprefix("-") == "number" or order.removeprefix("-").startswith(PARAM)
    kinds: list[type] = [int] if short else [float, int]
    return [type(part) for part in token] == kinds and 0 <= token[-1] < 2**31


def page(
    tx: Connection,
    study: UUID,
    *,
    states: Sequence[str],
    rung: int | None,
    where: Sequence[Condition] = (),
    order: Order,
    after: tuple[Any, ...] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Trials of a study past the key ``after``, which ``key_of`` gave; those without what they are ordered by last.

    By number and by loss an index leads to the page. By a param or the time on a device all trials that pass the
    filters are looked at, and the first of them kept.
    """
    t = TrialRow
    query = select(t.__table__).where(t.study_id == study)
    if states:
        query = query.where(t.state.in_(states))
    if rung is not None:
        query = query.where(t.rung == rung)
    query = query.where(*(condition.clause() for condition in where))
    column, descending = order.removeprefix("-"), order.startswith("-")
    if column == "number":
        if after is not None:
            query = query.where(t.number < after[0] if descending else t.number > after[0])
        return tx.execute(query.order_by(t.number.desc() if descending else t.number).limit(limit)).all()
    by, number, past = _place(tx, study, column, descending, after)
    found: Sequence[Row[Any]] = ()
    if past is not NOTHING:
        having = query.where(by.is_not(None))
        if past is not None:
            having = having.where(_beyond(by, past, number, descending=descending))
        found = tx.execute(having.order_by(by.desc() if descending else by, t.number).limit(limit)).all()
        number = -1
    if len(found) == limit:
        return found
    rest = query.where(by.is_(None), t.number > number).order_by(t.number).limit(limit - len(found))
    return [*found, *tx.execute(rest)]


NOTHING = object()


def _place(
    tx: Connection, study: UUID, column: str, descending: bool, after: tuple[Any, ...] | None
) -> tuple[ColumnElement[Any], int, Any]:
    """By what the list is ordered, and the number and the value to go on after; NOTHING behind all values."""
    t = TrialRow
    if column.startswith(PARAM):
        by: ColumnElement[Any] = func.jsonb_extract_path(t.params, column.removeprefix(PARAM), type_=JSONB)
        if after is None:
            return by, -1, None
        # A value may be long, or text that no token can carry: the trial's number stands for it.
        row = tx.execute(select(by).where(t.study_id == study, t.number == after[0])).one_or_none()
        missing = row is None or row[0] is None
        return by, after[0], NOTHING if missing else literal(row[0], JSONB)  # type: ignore[index]
    by = t.loss if column == "loss" else func.nullif(t.device_seconds, 0.0)  # type: ignore[assignment]
    if after is None:
        return by, -1, None
    value, number = after
    return by, number, NOTHING if value == NO_LOSS else literal(-value if descending else value)


def _beyond(by: ColumnElement[Any], value: Any, number: int, *, descending: bool) -> ColumnElement[bool]:
    if not descending:
        return tuple_(by, TrialRow.number) > tuple_(value, literal(number))
    # The first part bounds the walk through an index, which knows nothing of the second.
    return and_(by <= value, or_(by < value, TrialRow.number > number))


def get(tx: Connection, study: UUID, number: int) -> Row[Any]:
    """One trial of a study. Raises NotFound."""
    t = TrialRow
    row = tx.execute(select(t.__table__).where(t.study_id == study, t.number == number)).one_or_none()
    if row is None:
        raise NotFound(f"there is no trial {number} in study {study}")
    return row


def lock(tx: Connection, study: UUID, number: int) -> Row[Any]:
    """One trial of a study, locked; whoever locks the study too does so after it. Raises NotFound."""
    t = TrialRow
    chosen = select(t.__table__).where(t.study_id == study, t.number == number).with_for_update(key_share=True)
    row = tx.execute(chosen).one_or_none()
    if row is None:
        raise NotFound(f"there is no trial {number} in study {study}")
    return row


def metrics(tx: Connection, trial: int, *, after_step: int, limit: int) -> Sequence[Row[Any]]:
    r = ReportRow
    query = select(r.__table__).where(r.trial_id == trial, r.step > after_step)
    return tx.execute(query.order_by(r.step).limit(limit)).all()


_DECISIONS = """
SELECT e.seq, e.bracket, e.rung, g.resource, e.decision, e.at,
  (SELECT r.loss FROM report r WHERE r.trial_id = %(trial)s AND r.step = g.resource) AS value
FROM rung_entry e JOIN rung g ON g.study_id = e.study_id AND g.bracket = e.bracket AND g.rung = e.rung
WHERE e.study_id = %(study)s AND e.number = %(number)s ORDER BY e.seq, e.bracket DESC"""


def decisions(tx: Connection, study: UUID, number: int, trial: int) -> Sequence[Row[Any]]:
    """What was entered for a trial, with its loss there; none for one that ended on its way to the rung."""
    return tx.exec_driver_sql(_DECISIONS, {"study": study, "number": number, "trial": trial}).all()


def attempts(tx: Connection, trial: int) -> Sequence[Row[Any]]:
    return tx.execute(
        select(AttemptRow.__table__).where(AttemptRow.trial_id == trial).order_by(AttemptRow.attempt)
    ).all()


def artifacts(tx: Connection, trial: int) -> Sequence[Row[Any]]:
    """Checkpoints of a trial that are in the store, newest first."""
    c = CheckpointRow
    query = select(c.__table__).where(c.trial_id == trial, c.state == "ok")
    return tx.execute(query.order_by(c.step.desc(), c.created_at.desc())).all()


def events(tx: Connection, study: UUID, *, after: int, limit: int) -> Sequence[Row[Any]]:
    """The study's log past ``after``, in order."""
    e = EventRow
    query = select(e.__table__).where(e.study_id == study, e.seq > after)
    return tx.execute(query.order_by(e.seq).limit(limit)).all()


_CHANGES = """
SELECT number, data FROM event WHERE study_id = %(study)s AND number IS NOT NULL AND (type = 'trial-created'
  OR type = 'trial-promoted' AND data ? 'source') ORDER BY seq"""


def param_changes(tx: Connection, study: UUID) -> Sequence[Row[Any]]:
    """Each trial's params as created and as changed when it went on from another's checkpoint, in order."""
    return tx.exec_driver_sql(_CHANGES, {"study": study}).all()


# The page is cut before the reports are gathered: its cost is that of its own trials.
_CURVES = """
SELECT t.number, t.params, t.state, r.* FROM (
  SELECT id, number, params, state FROM trial WHERE study_id = %(study)s AND number > %(after)s
  ORDER BY number LIMIT %(limit)s) t
CROSS JOIN LATERAL (
  SELECT coalesce(array_agg(step ORDER BY step), '{{}}') AS steps,
    coalesce(array_agg(loss ORDER BY step), '{{}}') AS losses,
    coalesce(array_agg(seconds ORDER BY step), '{{}}') AS seconds, {metrics} AS metrics
  FROM report WHERE trial_id = t.id) r
ORDER BY t.number"""


def curves(tx: Connection, study: UUID, *, after: int, limit: int, metrics: bool) -> Sequence[Row[Any]]:
    """Trials numbered past ``after`` with all their steps in arrays, rising; ``metrics`` of each only if asked."""
    query = _CURVES.format(metrics="coalesce(jsonb_agg(metrics ORDER BY step), '[]')" if metrics else "NULL")
    return tx.exec_driver_sql(query, {"study": study, "after": after, "limit": limit}).all()


_REPLICATES = """
SELECT t.id, t.number, t.params, t.state, t.loss, t.violation, t.final, (
  SELECT jsonb_agg(r.metrics->%(fold)s ORDER BY r.step) FROM report r
  WHERE r.trial_id = t.id AND jsonb_typeof(r.metrics->%(fold)s) = 'number') AS folds
FROM trial t WHERE t.study_id = %(study)s ORDER BY t.number"""


def replicates(tx: Connection, study: UUID, *, fold: str) -> Sequence[Row[Any]]:
    """The trials of a study that confirms, by number; ``folds`` are the values of the metric ``fold`` at each step."""
    return tx.exec_driver_sql(_REPLICATES, {"study": study, "fold": fold}).all()


def sealed_score(tx: Connection, study: UUID) -> Row[Any] | None:
    """The event that scored the sealed test part, None before."""
    query = "SELECT seq, number, data FROM event WHERE study_id = %(study)s AND type = 'test-scored'"
    return tx.exec_driver_sql(query, {"study": study}).one_or_none()
