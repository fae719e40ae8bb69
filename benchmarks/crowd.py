"""A study with any number of trials, written as the API would have left it: what pages and plots are measured on."""

from typing import Any
from uuid import UUID

import psycopg2

RUNGS = (1, 3, 9, 27)

SPEC: dict[str, Any] = {
    "objectives": [{"metric": "val_acc", "direction": "maximize"}],
    "search_space": [
        {"name": "lr", "type": "float", "low": 1e-4, "high": 0.5, "log": True},
        {"name": "width", "type": "int", "low": 16, "high": 128, "step": 16},
        {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adamw", "rmsprop"]},
        {"name": "momentum", "type": "float", "low": 0.5, "high": 0.99, "when": {"optimizer": ["sgd"]}},
        {"name": "weight_decay", "type": "float", "low": 1e-6, "high": 1e-2, "log": True},
    ],
    "sampler": {"type": "random", "seed": 1},
    "scheduler": {"type": "asha", "min_resource": 1, "max_resource": 27, "reduction_factor": 3, "mode": "stop"},
    "trainer": {"name": "external"},
    "start": False,
}


def spec(name: str, size: int) -> dict[str, Any]:
    """What to post before ``crowd``, which fills it: room is left for as many trials again."""
    return {**SPEC, "name": name, "budget": {"max_trials": min(100_000, max(1, 2 * size))}}


# Every third trial goes on at each rung, every fiftieth fails, the newest eight run. The values rise with the epochs
# and depend on lr and width, so that figures have something to show. ``h`` is a hash of the number between 0 and 1.
_FILL = """
CREATE TEMP TABLE crowd ON COMMIT DROP AS
SELECT n, u, lr, (1 + floor(8 * v))::int * 16 AS width,
  (ARRAY['sgd', 'adamw', 'rmsprop'])[1 + floor(3 * w)::int] AS optimizer,
  0.5 + 0.49 * x AS momentum, exp(ln(1e-6) + y * ln(1e4)) AS wd,
  CASE WHEN n %% 27 = 0 THEN 3 WHEN n %% 9 = 0 THEN 2 WHEN n %% 3 = 0 THEN 1 ELSE 0 END AS top,
  n %% 50 = 49 AS broken, n >= %(size)s - 8 AND n > 8 AS busy,
  0.5 + 0.25 * exp(-power(ln(lr / 0.02), 2) / 8) + 0.05 * v + 0.02 * u AS base
FROM (SELECT n, h(n, 1) AS u, h(n, 2) AS v, h(n, 3) AS w, h(n, 4) AS x, h(n, 5) AS y,
        exp(ln(1e-4) + h(n, 6) * ln(5000)) AS lr
      FROM generate_series(0, %(size)s - 1) n) given;

INSERT INTO trial (project_id, study_id, number, state, params, cursor, rung, loss, last_step, target_step, attempt,
                   worker, lease_id, lease_expires_at, lease_ttl_s, error, created_at, updated_at, finished_at)
SELECT s.project_id, s.id, n,
  CASE WHEN busy THEN 'running' WHEN broken THEN 'failed' WHEN top = 3 THEN 'complete' ELSE 'pruned' END,
  jsonb_build_object('lr', lr, 'width', width, 'optimizer', optimizer, 'weight_decay', wd)
    || CASE WHEN optimizer = 'sgd' THEN jsonb_build_object('momentum', momentum) ELSE '{}' END,
  1, CASE WHEN broken OR busy THEN NULL ELSE top END,
  CASE WHEN broken OR busy THEN NULL ELSE -base - 0.06 * top END,
  CASE WHEN broken OR busy THEN 0 ELSE (%(rungs)s)[top + 1] END,
  CASE WHEN broken OR busy THEN 1 ELSE (%(rungs)s)[top + 1] END,
  1, CASE WHEN busy THEN 'w' || n %% 8 END, CASE WHEN busy THEN gen_random_uuid() END,
  CASE WHEN busy THEN clock_timestamp() + interval '1 day' END, CASE WHEN busy THEN 86400 END,
  CASE WHEN broken
    THEN '{"type": "OutOfMemory", "message": "CUDA out of memory at batch 12", "end_class": "oom"}'::jsonb END,
  at, at + interval '30 s', CASE WHEN NOT busy THEN at + interval '30 s' END
FROM study s, crowd, LATERAL (SELECT clock_timestamp() - (%(size)s - n) * interval '1 s' AS at) c
WHERE s.id = %(study)s ORDER BY n;

INSERT INTO attempt (trial_id, attempt, lease_id, worker, started_at, ended_at, end_class, start_step, end_step,
                     setup_s, device_seconds)
SELECT id, 1, coalesce(lease_id, gen_random_uuid()), 'w' || number %% 8, created_at, finished_at,
  CASE state WHEN 'running' THEN NULL WHEN 'failed' THEN 'oom' ELSE state END, 0,
  CASE WHEN state <> 'running' THEN last_step END, 0.02, CASE WHEN state = 'running' THEN 0 ELSE 30 END
FROM trial WHERE study_id = %(study)s;

INSERT INTO report (trial_id, step, lease_id, attempt, loss, metrics, seconds, decision, target, at)
SELECT t.id, step, a.lease_id, 1, l.loss,
  jsonb_build_object('val_acc', -l.loss, 'val_loss', 1 + l.loss, 'params_m', (t.params->>'width')::float8 / 50),
  1.0, CASE WHEN step = t.last_step THEN CASE t.state WHEN 'complete' THEN 'complete' ELSE 'stop' END
       WHEN step = ANY (%(rungs)s) THEN 'continue' END, NULL, t.created_at + step * interval '1 s'
FROM trial t JOIN attempt a ON a.trial_id = t.id, generate_series(1, t.last_step) step,
  LATERAL (SELECT t.loss + 0.06 * (ln(t.last_step) - ln(step)) / ln(3) AS loss) l
WHERE t.study_id = %(study)s;

INSERT INTO rung_entry (study_id, bracket, rung, number, loss, seq, decision, waiting)
SELECT t.study_id, 0, array_position(%(rungs)s, r.step::int) - 1, t.number, r.loss,
  1 + row_number() OVER (ORDER BY t.number, r.step), r.decision, false
FROM trial t JOIN report r ON r.trial_id = t.id AND r.decision IS NOT NULL WHERE t.study_id = %(study)s;

UPDATE rung r SET entries = c.entries, promoted = c.promoted FROM (
  SELECT rung, count(*) AS entries, count(*) FILTER (WHERE decision = 'continue') AS promoted
  FROM rung_entry WHERE study_id = %(study)s GROUP BY rung) c
WHERE r.study_id = %(study)s AND r.bracket = 0 AND r.rung = c.rung;

INSERT INTO event (study_id, seq, type, number, data, at)
SELECT study_id, seq, CASE WHEN decision = 'continue' THEN 'trial-reported' ELSE 'trial-finished' END, number,
  jsonb_build_object('loss', loss, 'bracket', bracket, 'rung', rung, 'decision', decision,
                     'step', (%(rungs)s)[rung + 1]), at
FROM rung_entry WHERE study_id = %(study)s AND seq > 1;

UPDATE study s SET state = 'running', started_at = clock_timestamp() - interval '1 h', next_number = %(size)s,
  complete = c.complete, pruned = c.pruned, failed = c.failed, running = c.running, spent = c.spent,
  reserved = c.running, device_seconds = 30 * %(size)s, last_seq = (SELECT max(seq) FROM event WHERE study_id = s.id)
FROM (SELECT count(*) FILTER (WHERE state = 'complete') AS complete,
        count(*) FILTER (WHERE state = 'pruned') AS pruned,
        count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'running') AS running,
        sum(last_step) AS spent FROM trial WHERE study_id = %(study)s) c
WHERE s.id = %(study)s
"""
_HASH = """
CREATE OR REPLACE FUNCTION pg_temp.h(n int, salt int) RETURNS float8 IMMUTABLE LANGUAGE sql AS
$$ SELECT ((hashint8extended(n, salt) & 9007199254740991)::float8 + 0.5) / 9007199254740992 $$"""


def crowd(dsn: str, study: UUID | str, size: int) -> None:
    """Give a study that was created by ``spec`` and never started ``size`` trials with all their rows.

    The same numbers give the same trials. It runs afterwards, eight of its trials by workers that nobody started.
    """
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_HASH)
            cursor.execute(
                _FILL.replace(" h(", " pg_temp.h("), {"study": str(study), "size": size, "rungs": list(RUNGS)}
            )
            cursor.execute("ANALYZE trial, report, rung_entry, event, attempt")
    finally:
        connection.close()
