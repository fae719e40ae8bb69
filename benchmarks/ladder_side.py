"""Ladder's side: a study with finished trials in the real stack, and workers that train nothing."""

import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg2

from api.schemas.base import PROTOCOL_VERSION
from benchmarks.cell import MIN_RESOURCE, PARAMS, REDUCTION_FACTOR, REPORTS, STEPS, Cell, WorkerLog, loss
from benchmarks.http_connection import Connection

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.002, 0.05  # after a claim that found nothing
REGISTER_S = 10.0  # the heartbeat of a real worker
SEED = 7


@dataclass(frozen=True, slots=True)
class Target:
    """A study that is ready to be worked on, and where."""

    urls: tuple[str, ...]
    worker_token: str
    study: UUID
    queue: str
    began_at: float


class SimulatedWorker:
    """Claims, reports at every rung, waits for each decision; keeps one connection alive."""

    def __init__(self, index: int, target: Target) -> None:
        self._target = target
        self._name = f"{target.queue}-{index}"
        self._api = Connection(target.urls[index % len(target.urls)], target.worker_token)
        self._registered_at = float("-inf")

    def connect(self) -> None:
        self._api.connect()
        self._register()

    def _register(self) -> None:
        body = {"queue": self._target.queue, "protocol_version": PROTOCOL_VERSION, "host": "benchmark"}
        self._api.request("PUT", f"/api/v1/workers/{self._name}", body)
        self._registered_at = time.monotonic()

    def run_trial(self, log: WorkerLog) -> None:
        if time.monotonic() - self._registered_at > REGISTER_S:
            self._register()
        trial = self._claim(log)
        path = f"/api/v1/studies/{trial['study_id']}/trials/{trial['number']}/report"
        lease, step = trial["lease"]["token"], trial["target_step"]
        while True:
            body = {"lease": lease, "step": step, "metrics": {"loss": loss(self._target.began_at)}}
            began = time.monotonic()
            answer = self._api.request("POST", path, body)
            log.call("report", began)
            log.counts["reports"] += 1
            if answer["decision"] != "continue":
                log.counts["cut_short"] += answer["decision"] != "complete"
                return
            step = answer["target_step"]

    def _claim(self, log: WorkerLog) -> Any:
        wanted_since, backoff_s = time.monotonic(), FIRST_BACKOFF_S
        while True:
            body = {"worker": self._name, "queue": self._target.queue, "claim_id": str(uuid4())}
            began = time.monotonic()
            trial = self._api.request("POST", "/api/v1/claim", body)["trial"]
            if trial is not None:
                log.call("claim", began)
                log.call("next trial", wanted_since)
                return trial
            log.counts["empty_claims"] += 1
            time.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running stack, and how its database is reached without SQLAlchemy."""

    urls: tuple[str, ...]
    token: str
    worker_token: str
    dsn: str


def prepare(deployment: Deployment, cell: Cell) -> Target:
    """Create a study on a queue of its own, fill in its finished trials and start it."""
    name = f"{cell.sampler}-{cell.workers}-{cell.size}-{uuid4().hex[:8]}"
    # A queue of its own: control counts its live workers, and those of the last cell count for half a minute more.
    queue = name
    sampler: dict[str, Any] = {"type": cell.sampler, "seed": SEED}
    if cell.sampler == "tpe":
        sampler |= {"multivariate": True, "n_startup_trials": 10}
    spec = {
        "name": name,
        "objectives": [{"metric": "loss", "direction": "minimize"}],
        "search_space": [{"type": "float", "name": param, "low": 0.0, "high": 1.0} for param in PARAMS],
        "sampler": sampler,
        "scheduler": {
            "type": "asha",
            "mode": "stop",  # what SuccessiveHalvingPruner does
            "min_resource": MIN_RESOURCE,
            "max_resource": STEPS[-1],
            "reduction_factor": REDUCTION_FACTOR,
        },
        "trainer": {"name": "synthetic", "resources": {"queue": queue}},
        "budget": {"max_trials": 100_000},
        "start": False,
    }
    study = UUID(_admin(deployment, "POST", "/api/v1/studies", spec)["id"])
    fill(deployment.dsn, study, cell.size)
    _admin(deployment, "POST", f"/api/v1/studies/{study}/start", {})
    return Target(deployment.urls, deployment.worker_token, study, queue, time.monotonic())


def finish(deployment: Deployment, target: Target) -> None:
    """Cancel the study, so that nothing of it is claimable and control lets it be."""
    _admin(deployment, "POST", f"/api/v1/studies/{target.study}/cancel", {})


def _admin(deployment: Deployment, method: str, path: str, body: dict[str, Any]) -> Any:
    api = Connection(deployment.urls[0], deployment.token)
    api.connect()
    try:
        return api.request(method, path, body)
    finally:
        api.close()


# Complete trials as the API leaves them, with every row that belongs to them. The event log of trial n begins at
# seq 2 + 7n: created, started, four reports, finished.
_FILL = """
INSERT INTO trial (project_id, study_id, number, state, params, cursor, rung, loss, last_step, target_step, attempt,
                   finished_at)
SELECT s.project_id, s.id, n, 'complete',
  (SELECT jsonb_object_agg(name, random()) FROM unnest(%(names)s) name WHERE n >= 0),
  1, %(last_rung)s, 2 - (n + random()) / %(size)s, (%(steps)s)[%(reports)s], (%(steps)s)[%(reports)s], 1,
  clock_timestamp()
FROM study s, generate_series(0, %(size)s - 1) n WHERE s.id = %(study)s ORDER BY n;

INSERT INTO attempt (trial_id, attempt, lease_id, worker, started_at, ended_at, end_class, start_step, end_step,
                     setup_s, device_seconds)
SELECT id, 1, gen_random_uuid(), 'filled', now(), clock_timestamp(), 'complete', 0, target_step, 0, 0
FROM trial WHERE study_id = %(study)s;

INSERT INTO report (trial_id, step, lease_id, attempt, loss, metrics, decision, target, at)
SELECT t.id, (%(steps)s)[r + 1], a.lease_id, 1, l.loss, jsonb_build_object('loss', l.loss),
  CASE WHEN r = %(last_rung)s THEN 'complete' ELSE 'continue' END, (%(steps)s)[r + 2], a.started_at
FROM trial t JOIN attempt a ON a.trial_id = t.id, generate_series(0, %(last_rung)s) r,
  LATERAL (SELECT CASE WHEN r = %(last_rung)s THEN t.loss ELSE 2 - (t.number + random()) / %(size)s END AS loss) l
WHERE t.study_id = %(study)s;

INSERT INTO rung_entry (study_id, bracket, rung, number, loss, seq, decision, waiting)
SELECT t.study_id, 0, array_position(%(steps)s, r.step) - 1, t.number, r.loss,
  2 + 7 * t.number + 1 + array_position(%(steps)s, r.step), r.decision, false
FROM trial t JOIN report r ON r.trial_id = t.id WHERE t.study_id = %(study)s;

UPDATE rung SET entries = %(size)s, promoted = CASE WHEN rung < %(last_rung)s THEN %(size)s ELSE 0 END
WHERE study_id = %(study)s;

INSERT INTO event (study_id, seq, type, number, data)
SELECT study_id, 2 + 7 * number, 'trial-created', number, jsonb_build_object('params', params, 'cursor', 1)
FROM trial WHERE study_id = %(study)s
UNION ALL
SELECT study_id, 3 + 7 * number, 'trial-started', number,
  jsonb_build_object('worker', 'filled', 'attempt', 1, 'from', 0)
FROM trial WHERE study_id = %(study)s
UNION ALL
SELECT e.study_id, e.seq, CASE WHEN e.decision = 'complete' THEN 'trial-finished' ELSE 'trial-reported' END, e.number,
  jsonb_build_object('step', (%(steps)s)[e.rung + 1], 'loss', e.loss, 'bracket', 0, 'rung', e.rung,
                     'decision', e.decision, 'target', (%(steps)s)[e.rung + 2])
  || CASE WHEN e.decision = 'complete' THEN '{"state": "complete", "end_class": "complete"}' ELSE '{}' END::jsonb
FROM rung_entry e WHERE e.study_id = %(study)s;

UPDATE study SET next_number = %(size)s, complete = %(size)s, spent = %(size)s * (%(steps)s)[%(reports)s],
  last_seq = last_seq + 7 * %(size)s
WHERE id = %(study)s AND last_seq = 1
"""


def fill(dsn: str, study: UUID, size: int) -> None:
    """Give a study that was never started ``size`` complete trials with random params.

    Each beat those before it at every rung, so that going on was the right decision: the audit passes.
    """
    params = {
        "study": str(study),
        "size": size,
        "names": list(PARAMS),
        "steps": list(STEPS),
        "reports": REPORTS,
        "last_rung": REPORTS - 1,
    }
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_FILL, params)
            if cursor.rowcount != 1:
                raise RuntimeError(f"study {study} is not as it was created: {json.dumps(params)}")
    finally:
        connection.close()
