"""Trials and what belongs to them, as they are read."""

import operator as op
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, and_, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB

from hpo.domain.errors import NotFound
from hpo.storage.tables import AttemptRow, CheckpointRow, EventRow, ReportRow, TrialRow

Order = Literal["number", "-number", "loss", "-loss"]
Op = Literal["eq", "ne", "lt", "le", "gt", "ge"]
Column = Literal["loss", "last_step", "attempt", "number"]
_OPS = {"eq": op.eq, "ne": op.ne, "lt": op.lt, "le": op.le, "gt": op.gt, "ge": op.ge}
NO_LOSS = float("inf")  # a trial without a value sorts after all that have one


@dataclass(frozen=True, slots=True)
class Condition:
    """A trial's column, or with ``param`` one of its params, compared with a value. A missing value matches nothing."""

    column: Column | None
    param: str | None
    op: Op
    value: float | int | bool | str

    def clause(self) -> ColumnElement[bool]:
        if self.param is None:
            assert self.column is not None
            clause: ColumnElement[bool] = _OPS[self.op](getattr(TrialRow, self.column), self.value)
            return clause
        # JSON orders values of different types by their type: a word is no more than a number.
        stored, given = TrialRow.params[self.param], literal(self.value, JSONB)
        return and_(func.jsonb_typeof(stored) == func.jsonb_typeof(given), _OPS[self.op](stored, given))


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
    """Trials of a study past the key ``after``: (number,) or (loss, number) as ``order`` says."""
    t = TrialRow
    query = select(t.__table__).where(t.study_id == study)
    if states:
        query = query.where(t.state.in_(states))
    if rung is not None:
        query = query.where(t.rung == rung)
    query = query.where(*(condition.clause() for condition in where))
    if order in ("number", "-number"):
        if after is not None:
            query = query.where(t.number > after[0] if order == "number" else t.number < after[0])
        return tx.execute(query.order_by(t.number if order == "number" else t.number.desc()).limit(limit)).all()
    worst = literal(NO_LOSS)
    loss = func.coalesce(t.loss if order == "loss" else -t.loss, worst)
    if after is not None:
        query = query.where(tuple_(loss, t.number) > after)
    return tx.execute(query.order_by(loss, t.number).limit(limit)).all()


def get(tx: Connection, study: UUID, number: int) -> Row[Any]:
    """One trial of a study. Raises NotFound."""
    t = TrialRow
    row = tx.execute(select(t.__table__).where(t.study_id == study, t.number == number)).one_or_none()
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
