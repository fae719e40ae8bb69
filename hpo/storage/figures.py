"""Trials as figures and importances need them. A study may have 100,000: what is read is bounded by what is shown.

Samples are the best, the newest and an even spread over the numbers, each found by an index. Only the running best and
the Pareto front are of all trials: those are one pass of the database over numbers, of which little comes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.analysis.observations import Level, Observation
from hpo.domain.errors import NotFound
from hpo.domain.merit import INFEASIBLE, WORST
from hpo.domain.trial import TrialState
from hpo.spec.search import Objective


@dataclass(frozen=True, slots=True)
class Sample:
    """At most how many trials to read of each sort; they may overlap."""

    best: int = 0
    newest: int = 0
    spread: int = 0

    @property
    def size(self) -> int:
        return self.best + self.newest + self.spread

    def halved(self, times: int) -> "Sample":
        return Sample(self.best >> times, self.newest >> times, self.spread >> times)


_HEAD = """
SELECT id, name, project_id, state, last_seq, next_number, complete, pruned, failed, cancelled, started_at, finished_at,
  queued, running, paused, spent, device_seconds, clock_timestamp() AS now
FROM study WHERE id = %(study)s AND deleted_at IS NULL"""


def head(tx: Connection, study: UUID) -> Row[Any]:
    """The study's counts and its last event, and what time it is. Raises NotFound if it was deleted."""
    row = tx.exec_driver_sql(_HEAD, {"study": study}).one_or_none()
    if row is None:
        raise NotFound(f"there is no study {study}")
    return row


def rungs(tx: Connection, study: UUID) -> list[tuple[int, int, int, int]]:
    """(bracket, rung, resource, entries) of all rungs of the scheduler."""
    query = "SELECT bracket, rung, resource, entries FROM rung WHERE study_id = %(study)s AND bracket >= 0"
    return [
        (row.bracket, row.rung, row.resource, row.entries)
        for row in tx.exec_driver_sql(f"{query} ORDER BY 1, 2", {"study": study})
    ]


_PLACE = "study_id = %(study)s AND bracket = p.bracket AND rung = p.rung AND loss < %(worst)s"
# The value is that of the newest report up to the level: who ended of its own accord was entered at a later one.
_AT_LEVEL = f"""
WITH place AS (SELECT * FROM unnest(%(brackets)s::int[], %(rungs)s::int[], %(best)s::int[], %(newest)s::int[],
    %(spread)s::int[]) AS place (bracket, rung, best, newest, spread)),
chosen AS (
  SELECT DISTINCT ON (e.number) e.number, e.loss FROM place p CROSS JOIN LATERAL (
    (SELECT number, loss, seq FROM rung_entry WHERE {_PLACE} ORDER BY loss, seq LIMIT p.best)
    UNION ALL
    (SELECT number, loss, seq FROM rung_entry WHERE {_PLACE} ORDER BY seq DESC LIMIT p.newest)
    UNION ALL
    (SELECT f.* FROM generate_series(0, p.spread - 1) i CROSS JOIN LATERAL (
      SELECT number, loss, seq FROM rung_entry WHERE {_PLACE} AND number >= i::bigint * %(numbers)s / p.spread
      ORDER BY number LIMIT 1) f)) e
  ORDER BY e.number)
SELECT c.number, t.params, t.state, r.step, c.loss < %(infeasible)s AS feasible, {{values}} AS values
FROM chosen c JOIN trial t ON t.study_id = %(study)s AND t.number = c.number
CROSS JOIN LATERAL (SELECT step, loss, metrics FROM report
  WHERE trial_id = t.id AND step <= %(resource)s ORDER BY step DESC LIMIT 1) r
WHERE t.final IS NULL ORDER BY c.number"""
_METRICS = """ARRAY(SELECT CASE WHEN jsonb_typeof(r.metrics->m) = 'number' THEN (r.metrics->>m)::float8 END
  FROM unnest(%(metrics)s::text[]) WITH ORDINALITY AS wanted (m, n) ORDER BY n)"""


def at_level(
    tx: Connection, study: UUID, level: Level, objectives: Sequence[Objective], sample: Sample
) -> list[Observation]:
    """A sample of the trials that were compared at a level with their values there, by number.

    Who ended on the way to it or has a value that is not finite is left out. All of them where the sample is as large.
    """
    numbers = head(tx, study).next_number
    places = level.places
    if level.entries <= sample.size:
        sizes = [(entries, 0, 0) for _, _, entries in places]
    else:
        shares = [entries / level.entries for _, _, entries in places]
        sizes = [(_part(sample.best, one), _part(sample.newest, one), _part(sample.spread, one)) for one in shares]
    asked: dict[str, Any] = {
        "study": study,
        "resource": level.resource,
        "numbers": numbers,
        "worst": WORST,
        "infeasible": INFEASIBLE,
        "brackets": [bracket for bracket, _, _ in places],
        "rungs": [rung for _, rung, _ in places],
        "metrics": [objective.metric for objective in objectives],
        "best": [best for best, _, _ in sizes],
        "newest": [newest for _, newest, _ in sizes],
        "spread": [spread for _, _, spread in sizes],
    }
    several = len(objectives) > 1
    rows = tx.exec_driver_sql(_AT_LEVEL.format(values=_METRICS if several else "ARRAY[r.loss]"), asked)
    observations = []
    for row in rows:
        if all(value is not None for value in row.values):
            values = row.values if several else [objectives[0].value(row.values[0])]
            observations.append(_observation(row, values))
    return observations


def _part(wanted: int, share: float) -> int:
    return min(wanted, max(1, int(wanted * share)))


def _observation(row: Row[Any], values: Sequence[float]) -> Observation:
    return Observation(row.number, row.params, tuple(values), TrialState(row.state), row.step, row.feasible)


# As /best counts: failed and cancelled trials do not, nor what a confirmation tests.
_COUNTS = "study_id = %(study)s AND loss IS NOT NULL AND final IS NULL AND state NOT IN ('failed', 'cancelled')"
_VALUE = {False: "loss", True: "vector[%(which)s]"}
_RUNNING_BEST = """
SELECT number::bigint * %(buckets)s / %(numbers)s AS bucket, min(ARRAY[{value}, number::float8]) AS best
FROM trial WHERE {counts} AND violation = 0 AND {value} IS NOT NULL GROUP BY 1 ORDER BY 1"""


def best_numbers(tx: Connection, study: UUID, *, numbers: int, which: int, several: bool, buckets: int) -> list[int]:
    """The best trial of each of ``buckets`` equal ranges of numbers: through them goes the running best."""
    query = _RUNNING_BEST.format(value=_VALUE[several], counts=_COUNTS)
    asked = {"study": study, "numbers": max(1, numbers), "buckets": min(buckets, max(1, numbers)), "which": which + 1}
    return [int(row.best[1]) for row in tx.exec_driver_sql(query, asked)]


_NEWEST_VALUES = f"""
WITH chosen AS (
  (SELECT number FROM trial WHERE {_COUNTS} ORDER BY loss, number LIMIT %(best)s)
  UNION
  (SELECT number FROM trial WHERE {_COUNTS} ORDER BY number DESC LIMIT %(newest)s)
  UNION
  (SELECT f.number FROM generate_series(0, %(spread)s - 1) i CROSS JOIN LATERAL (
    SELECT number FROM trial WHERE {_COUNTS} AND number >= i::bigint * %(numbers)s / greatest(%(spread)s, 1)
    ORDER BY number LIMIT 1) f)
  UNION
  SELECT unnest(%(also)s::int[]))
SELECT t.number, t.state, t.last_step AS step, t.violation = 0 AS feasible, {{params}} AS params,
  {{values}} AS values
FROM chosen c JOIN trial t ON t.study_id = %(study)s AND t.number = c.number
WHERE t.loss IS NOT NULL AND t.final IS NULL AND t.state NOT IN ('failed', 'cancelled') ORDER BY t.number"""


def newest_values(
    tx: Connection,
    study: UUID,
    objectives: Sequence[Objective],
    *,
    numbers: int,
    sample: Sample,
    also: Sequence[int] = (),
    params: bool = True,
) -> list[Observation]:
    """A sample of the trials with their values at the newest step (of several objectives: the newest stop), by number.

    ``best`` is by the first objective. Trials numbered ``also`` are there, too. Without ``params`` those are empty.
    """
    several = len(objectives) > 1
    query = _NEWEST_VALUES.format(
        params="t.params" if params else "'{}'::jsonb", values="t.vector" if several else "ARRAY[t.loss]"
    )
    asked = {
        "study": study,
        "numbers": max(1, numbers),
        "best": sample.best,
        "newest": sample.newest,
        "spread": sample.spread,
        "also": list(also),
    }
    return [
        _observation(row, [o.value(loss) for o, loss in zip(objectives, row.values, strict=True)])
        for row in tx.exec_driver_sql(query, asked)
        if row.values is not None
    ]


# Of two objectives the database leaves out who is dominated within his stretch: sorted by the first, that is whoever is
# no better in the second than all before him.
_FRONTS_OF_TWO = """
SELECT stretch, number, a, b FROM (
  SELECT stretch, number, a, b, min(b) OVER (PARTITION BY stretch ORDER BY a, b, number
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
  FROM (SELECT number, vector[1] AS a, vector[2] AS b, number::bigint * %(stretches)s / %(numbers)s AS stretch
    FROM trial WHERE {counts} AND vector IS NOT NULL AND violation = 0) v) w
WHERE before IS NULL OR b < before ORDER BY number"""
_VECTORS = """
SELECT number::bigint * %(stretches)s / %(numbers)s AS stretch, number, {columns} FROM trial
WHERE {counts} AND vector IS NOT NULL AND violation = 0 ORDER BY number"""
_EXTREMES = "SELECT count(*), {ends} FROM trial WHERE {counts} AND vector IS NOT NULL AND violation = 0"


@dataclass(frozen=True, slots=True)
class Fronts:
    """Losses of the feasible trials at their newest stop: (stretch, number, loss, …) by number.

    ``stretches`` equal parts of the study's numbers are told apart. Of two objectives those that are dominated within
    their stretch, and all but the first of equal ones, are left out. ``worst`` and ``best`` are of each objective over
    all ``n`` trials.
    """

    rows: Sequence[tuple[float, ...]]
    n: int
    worst: tuple[float, ...]
    best: tuple[float, ...]


def fronts(tx: Connection, study: UUID, objectives: int, *, numbers: int, stretches: int) -> Fronts:
    asked = {"study": study, "numbers": max(1, numbers), "stretches": min(stretches, max(1, numbers))}
    columns = [f"vector[{position}]" for position in range(1, objectives + 1)]
    query = _FRONTS_OF_TWO if objectives == 2 else _VECTORS
    rows = tx.exec_driver_sql(query.format(counts=_COUNTS, columns=", ".join(columns)), asked).all()
    ends = ", ".join([f"max({one})" for one in columns] + [f"min({one})" for one in columns])
    n, *found = tx.exec_driver_sql(_EXTREMES.format(ends=ends, counts=_COUNTS), asked).one()
    return Fronts([tuple(row) for row in rows], n, tuple(found[:objectives]), tuple(found[objectives:]))


_CURVES = """
SELECT t.number, t.state, t.last_step, t.violation = 0 AS feasible, c.steps, c.values FROM (
  SELECT id, number, state, last_step, violation, greatest(1, ceil(last_step / %(points)s::float8))::bigint AS width
  FROM trial WHERE study_id = %(study)s AND number = ANY(%(numbers)s::int[])) t
CROSS JOIN LATERAL (
  SELECT array_agg(r.step ORDER BY r.step) AS steps, array_agg(r.value ORDER BY r.step) AS values
  FROM generate_series(1, ceil(t.last_step / t.width::float8)::bigint) k CROSS JOIN LATERAL (
    SELECT step, {value} AS value FROM report
    WHERE trial_id = t.id AND step > (k - 1) * t.width AND step <= k * t.width ORDER BY step DESC LIMIT 1) r
  WHERE r.value IS NOT NULL) c
ORDER BY t.number"""
_METRIC = "CASE WHEN jsonb_typeof(metrics->%(metric)s) = 'number' THEN (metrics->>%(metric)s)::float8 END"


def curves(
    tx: Connection, study: UUID, numbers: Sequence[int], *, metric: str | None, points: int
) -> Sequence[Row[Any]]:
    """Steps and values of some trials, at most ``points`` each, evenly thinned; not finite ones are left out.

    Values are of the ``metric``, without one the losses of the first objective; None where there are none.
    """
    query = _CURVES.format(value="loss" if metric is None else _METRIC)
    asked = {"study": study, "numbers": list(numbers), "points": points, "metric": metric}
    return tx.exec_driver_sql(query, asked).all()


_TOP = "SELECT number FROM trial WHERE {counts} AND violation = 0 ORDER BY {value}, number LIMIT %(limit)s"
_OTHERS = """
(SELECT number FROM trial WHERE study_id = %(study)s AND state = 'running' ORDER BY number DESC LIMIT %(running)s)
UNION
(SELECT f.number FROM generate_series(0, %(spread)s - 1) i CROSS JOIN LATERAL (
  SELECT number FROM trial WHERE study_id = %(study)s AND last_step > 0
    AND number >= i::bigint * %(numbers)s / greatest(%(spread)s, 1)
  ORDER BY number LIMIT 1) f)"""


def top_numbers(tx: Connection, study: UUID, *, which: int, several: bool, limit: int) -> list[int]:
    """The best trials by one objective at the newest step, best first."""
    value = "loss" if which == 0 else _VALUE[several]
    query = _TOP.format(counts=_COUNTS, value=value)
    return list(tx.exec_driver_sql(query, {"study": study, "limit": limit, "which": which + 1}).scalars())


def other_numbers(tx: Connection, study: UUID, *, numbers: int, running: int, spread: int) -> list[int]:
    """Newest running trials, and an even spread of those that have reported."""
    asked = {"study": study, "numbers": max(1, numbers), "running": running, "spread": spread}
    return list(tx.exec_driver_sql(_OTHERS, asked).scalars())


# The newest attempts are the newest starts in the log, of which so many events back are looked at.
EVENTS_BACK = 50_000
_ATTEMPTS = """
SELECT t.number, a.attempt, a.worker, a.started_at, a.ended_at, a.end_class, a.start_step, a.end_step,
  t.state, t.last_step, clock_timestamp() AS now
FROM (SELECT number, (data->>'attempt')::int AS attempt FROM event WHERE study_id = %(study)s
    AND type = 'trial-started' AND seq > %(last)s - %(back)s ORDER BY seq DESC LIMIT %(limit)s) e
JOIN trial t ON t.study_id = %(study)s AND t.number = e.number
JOIN attempt a ON a.trial_id = t.id AND a.attempt = e.attempt
ORDER BY a.started_at"""


def newest_attempts(tx: Connection, study: UUID, *, last_seq: int, limit: int) -> Sequence[Row[Any]]:
    """The attempts begun last, in the order of their start."""
    return tx.exec_driver_sql(_ATTEMPTS, {"study": study, "last": last_seq, "back": EVENTS_BACK, "limit": limit}).all()


# A trial counts when it ended, or last reported: what it cost by then is all it has cost so far.
_PROGRESS = """
WITH done AS (
  SELECT coalesce(t.finished_at, t.updated_at) AS at, t.number, t.last_step, t.device_seconds,
    CASE WHEN t.violation = 0 AND t.final IS NULL AND t.state NOT IN ('failed', 'cancelled') THEN t.loss END AS loss
  FROM trial t WHERE t.study_id = %(study)s AND t.attempt > 0),
along AS (
  SELECT loss, at, count(*) OVER w AS trials, sum(last_step) OVER w AS epochs, sum(device_seconds) OVER w AS device_s
  FROM done WINDOW w AS (ORDER BY at, number ROWS UNBOUNDED PRECEDING))
SELECT min(loss) AS loss, max(trials) AS trials, max(epochs)::float8 AS epochs, max(device_s) / 3600 AS gpu_hours,
  extract(epoch FROM max(at) - %(began)s)::float8 / 3600 AS wall
FROM along GROUP BY (trials - 1) * %(points)s / %(numbers)s ORDER BY max(trials)"""


def progress(tx: Connection, study: Row[Any], *, points: int) -> Sequence[Row[Any]]:
    """The lowest loss of each of ``points`` stretches of a study, and what it had spent by the end of each.

    ``wall`` counts hours from the start of the study; ``study`` is its ``head``.
    """
    asked = {
        "study": study.id,
        "began": study.started_at,
        "numbers": max(1, study.next_number),
        "points": min(points, max(1, study.next_number)),
    }
    return tx.exec_driver_sql(_PROGRESS, asked).all()


_COMPARED = """
SELECT number, state, params, loss, vector, last_step, device_seconds FROM trial
WHERE study_id = %(study)s AND number = %(number)s"""


def find_trial(tx: Connection, study: UUID, number: int) -> Row[Any] | None:
    return tx.exec_driver_sql(_COMPARED, {"study": study, "number": number}).one_or_none()
