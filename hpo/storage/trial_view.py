"""What the page of one trial is drawn from: bounded, whatever the trial and its study hold."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

_STANDINGS = """
SELECT e.seq, e.bracket, e.rung, g.resource, e.decision, e.waiting, e.at, g.entries, r.loss,
  (SELECT count(*) FROM rung_entry o WHERE o.study_id = e.study_id AND o.bracket = e.bracket AND o.rung = e.rung
    AND (o.loss, o.seq) < (e.loss, e.seq)) + 1 AS rank
FROM rung g JOIN rung_entry e ON e.study_id = g.study_id AND e.bracket = g.bracket AND e.rung = g.rung
  AND e.number = %(number)s
LEFT JOIN report r ON r.trial_id = %(trial)s AND r.step = g.resource
WHERE g.study_id = %(study)s ORDER BY e.seq, e.bracket DESC LIMIT %(limit)s"""


def standings(tx: Connection, study: UUID, number: int, trial: int, *, limit: int = 200) -> Sequence[Row[Any]]:
    """Each rung that the trial came to: what was decided, and its rank among all that have come there by now."""
    asked = {"study": study, "number": number, "trial": trial, "limit": limit}
    return tx.exec_driver_sql(_STANDINGS, asked).all()


_POINTS = """
SELECT step, metrics, at FROM report WHERE trial_id = %(trial)s
  AND (step %% %(stride)s = 0 OR step = 1 OR step = %(last)s) ORDER BY step LIMIT %(limit)s"""


def points(tx: Connection, trial: int, *, last_step: int, most: int = 400) -> Sequence[Row[Any]]:
    """Steps with all their metrics, evenly spread where there are more than ``most``; the first and last among them."""
    stride = max(1, -(-last_step // most))
    asked = {"trial": trial, "stride": stride, "last": last_step, "limit": most + 2}
    return tx.exec_driver_sql(_POINTS, asked).all()


_LADDER = """
SELECT bracket, rung, resource, entries FROM rung
WHERE study_id = %(study)s AND bracket = %(bracket)s ORDER BY rung LIMIT %(limit)s"""


def ladder(tx: Connection, study: UUID, bracket: int, *, limit: int = 64) -> Sequence[Row[Any]]:
    """The rungs of one bracket, rising."""
    return tx.exec_driver_sql(_LADDER, {"study": study, "bracket": bracket, "limit": limit}).all()
