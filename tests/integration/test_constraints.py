"""The database's own refusals: what its constraints and triggers forbid cannot happen, whatever the code does."""

from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from itertools import product
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.errors import CheckViolation, ForeignKeyViolation, UniqueViolation

from hpo.domain.study import STUDY_EDGES, StudyState
from hpo.domain.trial import TRIAL_EDGES, TrialState
from ladder.stack_postgres import Postgres
from tests.conftest import TEMPLATE

STUDY = """
INSERT INTO study (id, project_id, name, state, spec, queue, max_trials, max_running, max_failed, budget, next_number,
                   running, queued, spent, reserved)
VALUES (%(study)s, %(project)s, 's', 'running', '{}', 'cpu', 10, 2, 1, 100, 2, 1, 1, 3, 6)"""
TRIALS = """
INSERT INTO trial (project_id, study_id, number, params, cursor, target_step, state, last_step, loss,
                   lease_id, claim_id, lease_expires_at, lease_ttl_s, attempt)
VALUES (%(project)s, %(study)s, 0, '{}', 0, 9, 'running', 3, 0.5, gen_random_uuid(), gen_random_uuid(), now(), 60, 1),
       (%(project)s, %(study)s, 1, '{}', 0, 9, 'queued', 0, NULL, NULL, NULL, NULL, NULL, 0)"""


@pytest.fixture(scope="module")
def connection(postgres: Postgres) -> Iterator[Any]:
    name = "constraints"
    postgres.create_database(name, template=TEMPLATE)
    with closing(psycopg2.connect(host=str(postgres.socket_dir), user="ladder", dbname=name)) as connection:
        yield connection
    postgres.drop_database(name)


@pytest.fixture
def sql(connection: Any) -> Iterator[Any]:
    """Runs statements in a transaction that is undone; there is a study with a running and a queued trial."""
    names = {"project": str(uuid4()), "study": str(uuid4())}

    def run(statement: str) -> None:
        cursor.execute(statement, names)

    with connection.cursor() as cursor:
        run("INSERT INTO project (id, name) VALUES (%(project)s, 'p')")
        run(STUDY)
        run(TRIALS)
        run(
            "INSERT INTO attempt (trial_id, attempt, lease_id, worker, start_step)"
            " SELECT id, 1, lease_id, 'w', 0 FROM trial WHERE number = 0"
        )
        run("INSERT INTO rung (study_id, bracket, rung, resource, entries) VALUES (%(study)s, 0, 0, 1, 1)")
        run("INSERT INTO event (study_id, seq, type, data) VALUES (%(study)s, 1, 'study-updated', '{}')")
        yield run
    connection.rollback()


RUNNING, QUEUED = "UPDATE trial SET {} WHERE number = 0", "UPDATE trial SET {} WHERE number = 1"
REPORT = (
    "INSERT INTO report (trial_id, step, lease_id, attempt, loss, metrics)"
    " SELECT id, {}, gen_random_uuid(), 1, {}, '{{}}' FROM trial WHERE number = 0"
)
ENTRY = (
    "INSERT INTO rung_entry (study_id, bracket, rung, number, loss, seq, decision, waiting)"
    " VALUES (%(study)s, 0, 0, {}, {}, {}, '{}', false)"
)
CHECKPOINT = (
    "INSERT INTO checkpoint (trial_id, lease_id, attempt, step, sha256, size_bytes)"
    " SELECT id, lease_id, 1, 1, '{}', 1 FROM trial WHERE number = 0"
)
REFUSED = {
    "a NaN loss of a trial": RUNNING.format("loss = 'NaN'"),
    "an infinite loss of a trial": RUNNING.format("loss = '-Infinity'"),
    "a NaN loss of a report": REPORT.format(1, "'NaN'"),
    "an infinite loss of a report": REPORT.format(1, "'Infinity'"),
    "a NaN loss at a rung": ENTRY.format(0, "'NaN'", 5, "pause"),
    "an infinite loss at a rung": ENTRY.format(0, "'Infinity'", 5, "pause"),
    "a report of step 0": REPORT.format(0, 1),
    "an unknown decision": ENTRY.format(0, 1, 5, "perhaps"),
    "running without a lease": RUNNING.format("lease_id = NULL, lease_expires_at = NULL"),
    "a lease without an end": RUNNING.format("lease_expires_at = NULL"),
    "a lease while queued": QUEUED.format("lease_id = gen_random_uuid(), lease_expires_at = now()"),
    "an end of a lease while queued": QUEUED.format("lease_expires_at = now()"),
    "a last step beyond the target": RUNNING.format("last_step = 10"),
    "a last step below zero": QUEUED.format("last_step = -1"),
    "an unknown stop request": RUNNING.format("stop_requested = 'maybe'"),
    "an unknown state of a trial": RUNNING.format("state = 'lost'"),
    "an unknown state of a study": "UPDATE study SET state = 'lost'",
    "spending over the budget": "UPDATE study SET spent = 95",
    "reserving over the budget": "UPDATE study SET reserved = 98",
    "a negative reserve": "UPDATE study SET reserved = -1",
    "negative spending": "UPDATE study SET spent = -1, reserved = 0",
    "more running than allowed": "UPDATE study SET running = 3, queued = 0, next_number = 3",
    "fewer than none running": "UPDATE study SET running = -1, queued = 3",
    "more trials than allowed": "UPDATE study SET next_number = 11, queued = 10",
    "counts that do not add up": "UPDATE study SET complete = 1",
    "a negative count": "UPDATE study SET queued = -1, paused = 2",
    "more waiting and promoted than entries": "UPDATE rung SET waiting = 1, promoted = 1",
    "a finger beyond the entries": "UPDATE rung SET finger_rank = 2, finger_loss = 1",
    "a finger without a key": "UPDATE rung SET finger_rank = 1",
    "an attempt that ended without a class": "UPDATE attempt SET ended_at = now()",
    "an attempt with a class that goes on": "UPDATE attempt SET end_class = 'oom'",
    "an unknown class of end": "UPDATE attempt SET ended_at = now(), end_class = 'bored'",
    "a checkpoint without a digest": CHECKPOINT.format("abc"),
    "an unknown scope of a key": (
        "INSERT INTO api_key (id, project_id, name, scope, secret_sha256, expires_at)"
        " VALUES ('k', %(project)s, 'n', 'root', sha256(''), now())"
    ),
    "a secret that is no digest": (
        "INSERT INTO api_key (id, project_id, name, scope, secret_sha256, expires_at)"
        " VALUES ('k', %(project)s, 'n', 'read', 'secret', now())"
    ),
}


@pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED.keys())
def test_the_database_refuses(sql: Any, statement: str) -> None:
    with pytest.raises(CheckViolation):
        sql(statement)


TWICE = {
    "a trial's number": "UPDATE trial SET number = 0",
    "a lease": "INSERT INTO attempt (trial_id, attempt, lease_id, worker, start_step)"
    " SELECT t.id, 1, a.lease_id, 'w', 0 FROM trial t, attempt a WHERE t.number = 1",
    "an attempt": "INSERT INTO attempt SELECT * FROM attempt",
    "a step": f"{REPORT.format(1, 1)}; {REPORT.format(1, 2)}",
    "a trial at a rung": f"{ENTRY.format(0, 1, 5, 'pause')}; {ENTRY.format(0, 1, 6, 'pause')}",
    "a number of a decision": f"{ENTRY.format(0, 1, 5, 'pause')}; {ENTRY.format(1, 1, 5, 'pause')}",
    "a checkpoint of a lease": f"{CHECKPOINT.format('0' * 64)}; {CHECKPOINT.format('1' * 64)}",
    "an event's number": "INSERT INTO event SELECT * FROM event",
    "a study's name": STUDY.replace("%(study)s", "gen_random_uuid()"),
}


@pytest.mark.parametrize("statement", TWICE.values(), ids=TWICE.keys())
def test_what_is_one_cannot_be_there_twice(sql: Any, statement: str) -> None:
    with pytest.raises(UniqueViolation):
        sql(statement)


def test_a_trial_belongs_to_a_study_that_is_there(sql: Any) -> None:
    with pytest.raises(ForeignKeyViolation):
        sql(TRIALS.replace("%(study)s", "gen_random_uuid()"))


def _moves(states: type[StrEnum], edges: Any) -> list[Any]:
    pairs = [(old, new) for old, new in product(states, states) if old != new]
    return [pytest.param(old, new, new in edges[old], id=f"{old} to {new}") for old, new in pairs]


@pytest.mark.parametrize(("old", "new", "allowed"), _moves(StudyState, STUDY_EDGES))
def test_a_study_moves_along_the_edges_that_the_code_knows(sql: Any, old: str, new: str, allowed: bool) -> None:
    _put(sql, "study", f"state = '{old}'")
    _try(sql, f"UPDATE study SET state = '{new}'", allowed)


@pytest.mark.parametrize(("old", "new", "allowed"), _moves(TrialState, TRIAL_EDGES))
def test_a_trial_moves_along_the_edges_that_the_code_knows(sql: Any, old: str, new: str, allowed: bool) -> None:
    _put(sql, "trial", _as(old))
    _try(sql, f"UPDATE trial SET {_as(new)} WHERE number = 0", allowed)


def _as(state: str) -> str:
    """What to set for a state, with a lease if it is the one that needs it."""
    if state == TrialState.RUNNING:
        return f"state = '{state}', lease_id = gen_random_uuid(), lease_expires_at = now()"
    return f"state = '{state}', lease_id = NULL, lease_expires_at = NULL"


def _put(sql: Any, table: str, change: str) -> None:
    """Bring a row into a state that no edge may lead to."""
    sql(f"ALTER TABLE {table} DISABLE TRIGGER {table}_edge")
    sql(f"UPDATE {table} SET {change}" + (" WHERE number = 0" if table == "trial" else ""))
    sql(f"ALTER TABLE {table} ENABLE TRIGGER {table}_edge")


def _try(sql: Any, statement: str, allowed: bool) -> None:
    if allowed:
        sql(statement)
    else:
        with pytest.raises(CheckViolation, match="cannot go from"):
            sql(statement)
