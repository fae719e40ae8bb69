"""A study of any size with the history that asynchronous halving would have left, written by a few statements.

Rungs after 1, 3 and 9 steps; a third of the trials goes on from each; every fiftieth failed. What a trial reports
depends on its params (lr and its product with the width most, momentum where it is active) and a little noise.
"""

import math
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg2

RUNGS = (1, 3, 9)
SPACE: list[dict[str, Any]] = [
    {"name": "lr", "type": "float", "low": 1e-4, "high": 0.5, "log": True},
    {"name": "width", "type": "int", "low": 16, "high": 128, "step": 16},
    {"name": "dropout", "type": "float", "low": 0.0, "high": 0.6},
    {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adamw", "lamb"]},
    {"name": "momentum", "type": "float", "low": 0.5, "high": 0.99, "when": {"optimizer": ["sgd"]}},
    {"name": "norm", "type": "categorical", "choices": [True, False]},
    {"name": "decay", "type": "float", "low": 1e-6, "high": 1e-2, "log": True},
    {"name": "seeded", "type": "fixed", "value": 7},
]


def spec(name: str, size: int, **changes: Any) -> dict[str, Any]:
    """The study to create, not to be started, before it is filled."""
    return {
        "name": name,
        "objectives": [{"metric": "val_acc", "direction": "maximize"}],
        "search_space": SPACE,
        "sampler": {"type": "random", "seed": 1},
        "scheduler": {"type": "asha", "min_resource": 1, "max_resource": 9, "reduction_factor": 3, "mode": "stop"},
        "trainer": {"name": "external"},
        "budget": {"max_trials": size},
        "start": False,
        **changes,
    }


TWO_OBJECTIVES = {
    "objectives": [{"metric": "val_acc", "direction": "maximize"}, {"metric": "params_m", "direction": "minimize"}]
}
CONSTRAINED = {"constraints": [{"metric": "params_m", "op": "<=", "value": 6.0}]}

_FILL = (
    "SELECT setseed(0.5)",
    """
CREATE TEMPORARY TABLE filled ON COMMIT DROP AS
SELECT n, lr, width, optimizer, dropout, decay, norm, momentum, broken, level, (%(rungs)s::int[])[level + 1] AS last,
  width / 16.0 AS params_m, greatest(0, width / 16.0 - %(bound)s) AS violation,
  0.55 - 0.02 * (ln(lr) - ln(0.03)) ^ 2 - 0.1 * abs(width / 128.0 - 0.6) * abs(ln(lr) / 4 + 1)
    - CASE WHEN optimizer = 'sgd' THEN 0.2 * abs(momentum - 0.9) ELSE 0.05 END + 0.01 * random() AS good
FROM (
  SELECT n, exp(ln(1e-4) + random() * ln(5000)) AS lr, 16 * (1 + floor(random() * 8))::int AS width,
    (ARRAY['sgd', 'adamw', 'lamb'])[1 + floor(random() * 3)::int] AS optimizer, random() * 0.6 AS dropout,
    exp(ln(1e-6) + random() * ln(1e4)) AS decay, random() < 0.5 AS norm, 0.5 + random() * 0.49 AS momentum,
    n %% 50 = 7 AS broken,
    CASE WHEN n %% 50 = 7 THEN 0 WHEN n %% 9 = 0 THEN 2 WHEN n %% 3 = 0 THEN 1 ELSE 0 END AS level
  FROM generate_series(0, %(size)s - 1) n) drawn""",
    """
INSERT INTO trial (project_id, study_id, number, state, params, cursor, rung, loss, vector, violation, last_step,
                   target_step, attempt, finished_at, device_seconds, claimed_at)
SELECT s.project_id, s.id, n, CASE WHEN broken THEN 'failed' WHEN level = 2 THEN 'complete' ELSE 'pruned' END,
  jsonb_build_object('lr', lr, 'width', width, 'dropout', dropout, 'optimizer', optimizer, 'norm', norm,
    'decay', decay, 'seeded', 7)
    || CASE WHEN optimizer = 'sgd' THEN jsonb_build_object('momentum', momentum) ELSE '{}' END,
  1, CASE WHEN NOT broken THEN level END, CASE WHEN NOT broken THEN -good - 0.1 * ln(last) END,
  CASE WHEN NOT broken AND %(several)s THEN ARRAY[-good - 0.1 * ln(last), params_m] END,
  CASE WHEN broken THEN 0 ELSE violation END, CASE WHEN broken THEN 0 ELSE last END, last, 1,
  now() - interval '2 days' + (n + last) * interval '1 second', last * 3.5, now() - interval '2 days'
FROM filled, study s WHERE s.id = %(study)s ORDER BY n""",
    """
INSERT INTO attempt (trial_id, attempt, lease_id, worker, started_at, ended_at, end_class, start_step, end_step,
                     setup_s, device_seconds)
SELECT t.id, 1, gen_random_uuid(), 'gpu' || t.number %% 8, t.finished_at - t.target_step * interval '1 second',
  t.finished_at, CASE t.state WHEN 'failed' THEN 'user_error' ELSE t.state END, 0, t.last_step, 0, t.target_step * 3.5
FROM trial t WHERE t.study_id = %(study)s""",
    """
INSERT INTO report (trial_id, step, lease_id, attempt, loss, metrics, decision, target)
SELECT t.id, r.step, a.lease_id, 1, -f.good - 0.1 * ln(r.step),
  jsonb_build_object('val_acc', f.good + 0.1 * ln(r.step), 'params_m', f.params_m, 'loss', 2.0 / r.step),
  CASE WHEN r.step = f.last THEN 'stop' ELSE 'continue' END, NULL
FROM filled f JOIN trial t ON t.study_id = %(study)s AND t.number = f.n JOIN attempt a ON a.trial_id = t.id,
  generate_series(1, f.last) AS r (step) WHERE NOT f.broken""",
    """
INSERT INTO rung_entry (study_id, bracket, rung, number, loss, vector, seq, decision, waiting)
SELECT %(study)s, 0, r, f.n,
  CASE WHEN f.broken THEN 1.7976931348623157e308
    WHEN f.violation > 0 THEN 1e300 * (1 + f.violation / (1 + f.violation))
    ELSE -f.good - 0.1 * ln((%(rungs)s::int[])[r + 1]) END,
  CASE WHEN %(several)s AND NOT f.broken
    THEN ARRAY[-f.good - 0.1 * ln((%(rungs)s::int[])[r + 1]), f.params_m] END,
  4 + 3 * f.n, CASE WHEN r < f.level THEN 'continue' ELSE 'stop' END, false
FROM filled f, generate_series(0, f.level) r""",
    """
INSERT INTO rung (study_id, bracket, rung, resource, entries, promoted)
SELECT %(study)s, 0, r, (%(rungs)s::int[])[r + 1], count(*), count(*) FILTER (WHERE level > r)
FROM filled f, generate_series(0, f.level) r GROUP BY r
ON CONFLICT (study_id, bracket, rung) DO UPDATE SET entries = excluded.entries, promoted = excluded.promoted""",
    """
INSERT INTO event (study_id, seq, type, number, data)
SELECT %(study)s, 2 + 3 * n + e.at, e.type, n, e.data FROM filled, LATERAL (VALUES
  (0, 'trial-created', '{"params": {}, "cursor": 1}'::jsonb),
  (1, 'trial-started', '{"worker": "gpu", "attempt": 1, "from": 0}'::jsonb),
  (2, 'trial-finished', '{"state": "pruned", "end_class": "pruned"}'::jsonb)) AS e (at, type, data)""",
    """
UPDATE study SET next_number = %(size)s, last_seq = 1 + 3 * %(size)s, started_at = now() - interval '2 days',
  complete = (SELECT count(*) FROM filled WHERE level = 2), failed = (SELECT count(*) FROM filled f WHERE f.broken),
  pruned = (SELECT count(*) FROM filled f WHERE level < 2 AND NOT f.broken),
  spent = (SELECT sum(last) FROM filled f WHERE NOT f.broken), device_seconds = (SELECT sum(last * 3.5) FROM filled)
WHERE id = %(study)s AND last_seq = 1""",
)


def fill(execute: Callable[[str, dict[str, Any]], Any], study: UUID, size: int, *, several: bool, bound: float) -> None:
    """Write the history of a study that was made by ``spec``; all statements must share one transaction.

    ``several``: it has two objectives; ``bound`` is that of its constraint, infinite without one.
    """
    given = {"study": str(study), "size": size, "rungs": list(RUNGS), "several": several, "bound": bound}
    for statement in _FILL:
        execute(statement, given)


def fill_database(dsn: str, study: UUID | str, size: int) -> None:
    """``fill`` a study of one objective without constraints in a transaction of its own."""
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            fill(cursor.execute, UUID(str(study)), size, several=False, bound=math.inf)
            cursor.execute("ANALYZE trial, report, rung_entry, event, attempt")
    finally:
        connection.close()
