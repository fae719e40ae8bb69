"""What the rungs view draws of a study: the rungs of a bracket, and a choice of its trials that is always bounded.

Everything is asked of an index: the best of a rung, those next to its cut-off, those that wait, and an even spread over
the trials' numbers. Whoever is chosen at one rung is shown at all of them, so that its way up is whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.domain.merit import INFEASIBLE, WORST
from hpo.storage.rungs import SqlRungLog

LANES = 1_000  # brackets that are looked at: short ones follow each other by the thousand
RUNNING = 60  # of one bracket


@dataclass(frozen=True, slots=True)
class Lane:
    """A bracket, or with a negative number the lane of a stopping rule. ``entries`` are those of its fullest rung."""

    bracket: int
    rungs: int
    resource: int
    entries: int
    waiting: int
    running: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A trial at a rung. ``loss`` is None where none ranks it: ``why`` then says ``infeasible`` or ``ended``.

    ``fate`` is what became of it there: promoted, waiting, complete, stopped, failed or cancelled.
    """

    number: int
    rung: int
    loss: float | None
    fate: str
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Climber:
    """A trial that trains on its way to ``rung``, at ``step`` of ``target``; ``loss`` as of its newest step."""

    number: int
    rung: int
    step: int
    target: int
    loss: float | None


_NEWEST = "SELECT max(bracket) FROM rung WHERE study_id = %(study)s"
_LANES = """
SELECT bracket, count(*) AS rungs, min(resource) AS resource, max(entries) AS entries, sum(waiting) AS waiting
FROM rung WHERE study_id = %(study)s AND (bracket < 0 OR bracket BETWEEN %(low)s AND %(high)s) GROUP BY bracket
ORDER BY bracket < 0, abs(bracket)"""
_RUNNING_BY = "SELECT bracket, count(*) FROM trial WHERE study_id = %(study)s AND state = 'running' GROUP BY bracket"
_RUNGS = """
SELECT rung, resource, entries, waiting, promoted FROM rung WHERE study_id = %(study)s AND bracket = %(bracket)s
ORDER BY rung"""
_RUNNING_TO = """
SELECT coalesce(rung, -1) + 1 AS rung, count(*) FROM trial
WHERE study_id = %(study)s AND state = 'running' AND bracket = %(bracket)s GROUP BY 1"""
_CLIMBERS = """
SELECT number, coalesce(rung, -1) + 1 AS rung, last_step, target_step, loss, violation FROM trial
WHERE study_id = %(study)s AND state = 'running' AND bracket = %(bracket)s ORDER BY number DESC LIMIT %(limit)s"""


class BracketLog(SqlRungLog):
    """For reading the cut-offs of a few rungs: each is loaded when it is asked for, and nobody's waiting is told."""

    def __init__(self, tx: Connection, study: UUID) -> None:
        super().__init__(tx, study)
        self._seen: dict[tuple[int, int], Any] = {}

    def _rung(self, bracket: int, rung: int) -> Any:
        if (bracket, rung) not in self._seen:
            self._seen[bracket, rung] = self._lane(bracket, rung)
        return self._seen[bracket, rung]


_AT = "study_id = %(study)s AND bracket = %(bracket)s AND rung = %(rung)s"
_ALL = f"SELECT number FROM rung_entry WHERE {_AT}"
_CHOSEN = f"""
(SELECT number FROM rung_entry WHERE {_AT} ORDER BY loss, seq LIMIT %(best)s)
UNION (SELECT number FROM rung_entry WHERE {_AT} AND waiting ORDER BY loss, seq LIMIT %(few)s)
UNION (SELECT number FROM rung_entry WHERE {_AT} AND loss <= %(cut)s ORDER BY loss DESC, seq DESC LIMIT %(few)s)
UNION (SELECT number FROM rung_entry WHERE {_AT} AND loss > %(cut)s ORDER BY loss, seq LIMIT %(few)s)
UNION SELECT near.number FROM (SELECT min(number) AS low, max(number) AS high FROM rung_entry WHERE {_AT}) ends,
  generate_series(ends.low, ends.high, greatest(1, (ends.high - ends.low) / %(spread)s)) AS begin_at,
  LATERAL (SELECT number FROM rung_entry WHERE {_AT} AND number >= begin_at ORDER BY number LIMIT 1) near"""
_ENTRIES = """
SELECT e.number, e.rung, e.loss, e.decision, e.waiting, t.state, t.last_step, t.target_step, g.resource
FROM rung_entry e
JOIN rung g ON g.study_id = e.study_id AND g.bracket = e.bracket AND g.rung = e.rung
JOIN trial t ON t.study_id = e.study_id AND t.number = e.number
WHERE e.study_id = %(study)s AND e.bracket = %(bracket)s AND e.rung = ANY(%(rungs)s) AND e.number = ANY(%(numbers)s)
ORDER BY e.rung, e.loss, e.seq"""


def lanes(tx: Connection, study: UUID, *, around: int | None = None) -> tuple[list[Lane], int]:
    """Brackets that have rungs, then the lanes of the stopping rules in their order; and the newest bracket's number.

    Of more than LANES brackets the newest, or those around the one that is asked for.
    """
    newest = tx.exec_driver_sql(_NEWEST, {"study": study}).scalar_one()
    if newest is None:
        return [], 0
    high = newest if around is None else min(newest, max(0, around) + LANES // 2)
    running: dict[int, int] = {row[0]: row[1] for row in tx.exec_driver_sql(_RUNNING_BY, {"study": study})}
    rows = tx.exec_driver_sql(_LANES, {"study": study, "low": high - LANES, "high": high})
    found = [Lane(r.bracket, r.rungs, r.resource, r.entries, int(r.waiting), running.get(r.bracket, 0)) for r in rows]
    return found, max(0, newest)


def rungs(tx: Connection, study: UUID, bracket: int) -> Sequence[Row[Any]]:
    """The rungs of a bracket with their kept counts, from the lowest."""
    return tx.exec_driver_sql(_RUNGS, {"study": study, "bracket": bracket}).all()


def running_to(tx: Connection, study: UUID, bracket: int) -> dict[int, int]:
    """How many trials train towards each rung of a bracket."""
    rows = tx.exec_driver_sql(_RUNNING_TO, {"study": study, "bracket": bracket})
    return {row[0]: row[1] for row in rows}


def climbers(tx: Connection, study: UUID, bracket: int) -> list[Climber]:
    """The newest trials that train towards a rung of the bracket, at most RUNNING."""
    rows = tx.exec_driver_sql(_CLIMBERS, {"study": study, "bracket": bracket, "limit": RUNNING})
    return [Climber(r.number, r.rung, r.last_step, r.target_step, None if r.violation > 0 else r.loss) for r in rows]


def choose(
    tx: Connection, study: UUID, bracket: int, counts: Mapping[int, int], *, cuts: Mapping[int, float | None], room: int
) -> set[int]:
    """Numbers of the trials to show. ``counts`` has the entries of each rung; about ``room`` dots are drawn of them.

    All of them where they are so few.
    """
    chosen: set[int] = set()
    whole = sum(counts.values()) <= room
    share = max(6, room // (2 * max(1, len(counts))))
    for rung, count in counts.items():
        at: dict[str, Any] = {"study": study, "bracket": bracket, "rung": rung}
        if whole or count <= share:
            query = _ALL
        else:
            query, cut = _CHOSEN, cuts[rung]
            # Without a cut-off all are beyond it, and the next ones are the best once more.
            at |= {"best": share // 3, "few": share // 6, "spread": share // 3, "cut": -WORST if cut is None else cut}
        chosen.update(tx.exec_driver_sql(query, at).scalars())
    return chosen


def entries(tx: Connection, study: UUID, bracket: int, rungs: Iterable[int], numbers: Iterable[int]) -> list[Entry]:
    """What the trials were entered with at these rungs, best first at each."""
    asked = {"study": study, "bracket": bracket, "rungs": list(rungs), "numbers": list(numbers)}
    return [_entry(row) for row in tx.exec_driver_sql(_ENTRIES, asked)]


def _entry(row: Row[Any]) -> Entry:
    if row.loss >= WORST:
        return Entry(row.number, row.rung, None, _end(row), "ended")
    feasible = row.loss < INFEASIBLE
    return Entry(row.number, row.rung, row.loss if feasible else None, _fate(row), None if feasible else "infeasible")


def _fate(row: Row[Any]) -> str:
    if row.decision == "complete":
        return "complete"
    if row.waiting:
        return "waiting"
    # A trial that waited went on if it was trained further since, or is about to be.
    onwards = row.last_step > row.resource or (row.state in ("queued", "running") and row.target_step > row.resource)
    if row.decision == "continue" or (row.decision == "pause" and onwards):
        return "promoted"
    return _end(row)


def _end(row: Row[Any]) -> str:
    return row.state if row.state in ("failed", "cancelled") else "stopped"
