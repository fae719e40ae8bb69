"""Everything of a study, a page at a time by key: no connection and no snapshot is held for a slow reader."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

PAGE = 2_000  # rows
CURVES_PAGE = 200  # trials with all their steps

# The page of trials is cut before anything is looked up for it: its cost is that of its own rows.
_TRIALS = """
SELECT t.*, r.metrics FROM (
  SELECT * FROM trial WHERE study_id = %(study)s AND number > %(after)s ORDER BY number LIMIT %(limit)s) t
LEFT JOIN LATERAL (SELECT metrics FROM report WHERE trial_id = t.id AND step = t.last_step) r ON true
ORDER BY t.number"""

_CURVES = """
SELECT t.*, r.steps, r.losses, a.started_at FROM (
  SELECT * FROM trial WHERE study_id = %(study)s AND number > %(after)s ORDER BY number LIMIT %(limit)s) t
CROSS JOIN LATERAL (
  SELECT array_agg(step ORDER BY step) AS steps, array_agg(loss ORDER BY step) AS losses
  FROM report WHERE trial_id = t.id) r
CROSS JOIN LATERAL (SELECT min(started_at) AS started_at FROM attempt WHERE trial_id = t.id) a
ORDER BY t.number"""

# Every trial has a row, with nulls where it reported nothing (more): so the last row says how far the page has come.
_REPORTS = """
SELECT t.number, r.step, r.attempt, r.metrics, r.seconds, r.at FROM (
  SELECT id, number FROM trial WHERE study_id = %(study)s AND number >= %(number)s ORDER BY number LIMIT %(limit)s) t
LEFT JOIN LATERAL (
  SELECT step, attempt, metrics, seconds, at FROM report
  WHERE trial_id = t.id AND (t.number > %(number)s OR step > %(step)s) ORDER BY step LIMIT %(limit)s) r ON true
ORDER BY t.number, r.step LIMIT %(limit)s"""

_NAMES_OF_REPORTS = f"""
WITH page AS MATERIALIZED ({_REPORTS})
SELECT (SELECT array_agg(DISTINCT k) FROM page CROSS JOIN LATERAL jsonb_object_keys(page.metrics) k) AS names,
  count(*) AS rows, max(number) AS number,
  (SELECT max(step) FROM page WHERE number = (SELECT max(number) FROM page)) AS step
FROM page"""

_NAMES_OF_TRIALS = f"""
WITH page AS MATERIALIZED ({_TRIALS})
SELECT (SELECT array_agg(DISTINCT k) FROM page CROSS JOIN LATERAL jsonb_object_keys(page.metrics) k) AS names,
  count(*) AS rows, max(number) AS number
FROM page"""

_DECISIONS = """
SELECT e.number, e.seq, e.bracket, e.rung, g.resource, e.decision, e.waiting, e.at, v.loss FROM (
  SELECT * FROM rung_entry
  WHERE study_id = %(study)s AND (bracket, rung, seq) > (%(bracket)s, %(rung)s, %(seq)s)
  ORDER BY bracket, rung, seq LIMIT %(limit)s) e
JOIN rung g ON g.study_id = e.study_id AND g.bracket = e.bracket AND g.rung = e.rung
LEFT JOIN LATERAL (
  SELECT r.loss FROM trial t JOIN report r ON r.trial_id = t.id
  WHERE t.study_id = e.study_id AND t.number = e.number AND r.step = g.resource) v ON true
ORDER BY e.bracket, e.rung, e.seq"""


def trials(tx: Connection, study: UUID, after: int, *, limit: int = PAGE) -> Sequence[Row[Any]]:
    """Trials past a number, each with the metrics of its newest step."""
    return tx.exec_driver_sql(_TRIALS, {"study": study, "after": after, "limit": limit}).all()


def curves(tx: Connection, study: UUID, after: int, *, limit: int = CURVES_PAGE) -> Sequence[Row[Any]]:
    """Trials past a number, each with all its steps, their losses, and when it was begun."""
    return tx.exec_driver_sql(_CURVES, {"study": study, "after": after, "limit": limit}).all()


def reports(tx: Connection, study: UUID, after: tuple[int, int], *, limit: int = PAGE) -> Sequence[Row[Any]]:
    """Reports past (trial's number, step); a trial without any (more) has one row with nulls."""
    params = {"study": study, "number": after[0], "step": after[1], "limit": limit}
    return tx.exec_driver_sql(_REPORTS, params).all()


def past(row: Any) -> tuple[int, int]:
    """The key that ``reports`` goes on from after ``row``, the last of a page."""
    return (row.number + 1, 0) if row.step is None else (row.number, row.step)


def decisions(tx: Connection, study: UUID, after: tuple[int, int, int], *, limit: int = PAGE) -> Sequence[Row[Any]]:
    """Rung entries past (bracket, rung, seq), with the trial's loss at the rung's resource."""
    bracket, rung, seq = after
    params = {"study": study, "bracket": bracket, "rung": rung, "seq": seq, "limit": limit}
    return tx.exec_driver_sql(_DECISIONS, params).all()


def names_of_trials(tx: Connection, study: UUID, after: int, *, limit: int = PAGE) -> Row[Any]:
    """What metrics the newest steps of a page of trials have: (names, rows, number of the last)."""
    return tx.exec_driver_sql(_NAMES_OF_TRIALS, {"study": study, "after": after, "limit": limit}).one()


def names_of_reports(tx: Connection, study: UUID, after: tuple[int, int], *, limit: int = PAGE) -> Row[Any]:
    """What metrics a page of reports has: (names, rows, number, step of the last)."""
    params = {"study": study, "number": after[0], "step": after[1], "limit": limit}
    return tx.exec_driver_sql(_NAMES_OF_REPORTS, params).one()
