"""Removing what deleted studies hold: checkpoints first, then rows, a batch a transaction.

Whoever is interrupted leaves rows that name what is left: the next one goes on there. Nothing refers to a study that
is gone, so the order among its tables only serves that: a trial's row goes after all that is found by it.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row

from hpo.checkpoints.base import CheckpointStore
from hpo.storage.db import Db

log = structlog.get_logger()

TRIALS, ROWS = 100, 5_000  # at once: some tens of milliseconds, so that a sweep can stop in between

# Nothing of it runs any more: a worker that still trains would go on writing checkpoints. Those that confirm it go
# first, because the row of the study takes theirs with it.
_DUE = """
SELECT s.id FROM study s WHERE s.deleted_at IS NOT NULL AND s.running = 0 AND s.id <> ALL(%(stuck)s)
  AND NOT EXISTS (SELECT 1 FROM study c WHERE c.confirms = s.id) ORDER BY s.deleted_at LIMIT 1"""
_TRIALS = "SELECT id, number FROM trial WHERE study_id = %(study)s ORDER BY number LIMIT %(limit)s"
_BY_TRIAL = ("report", "log_line", "attempt", "checkpoint")
_BY_STUDY = ("rung_entry", "event")


def purge(db: Db, store: CheckpointStore, *, batches: int, ended: Callable[[], bool] = lambda: False) -> int:
    """Remove up to ``batches`` batches of deleted studies; returns how many there were. ``ended``: stop at once.

    A study whose files cannot be removed holds up no other: it is told in the log and tried again the next time.
    """
    stuck: list[UUID] = []
    for done in range(batches):
        study = db.read(lambda tx: _due(tx, stuck))
        if study is None or ended():
            return done
        try:
            _batch(db, store, study)
        except OSError as error:
            log.error("purge-failed", study=str(study), error=str(error))
            stuck.append(study)
    return batches


def _due(tx: Connection, stuck: Sequence[UUID]) -> UUID | None:
    study: UUID | None = tx.exec_driver_sql(_DUE, {"stuck": stuck}).scalar_one_or_none()
    return study


def _batch(db: Db, store: CheckpointStore, study: UUID) -> None:
    trials = db.read(lambda tx: tx.exec_driver_sql(_TRIALS, {"study": study, "limit": TRIALS}).all())
    for trial in trials:
        store.delete_trial(study, trial.number)
    if trials:
        db.write(lambda tx: _delete_trials(tx, trials))
    else:
        db.write(lambda tx: _delete_study(tx, study))


def _delete_trials(tx: Connection, trials: Sequence[Row[Any]]) -> None:
    ids = [trial.id for trial in trials]
    for table in _BY_TRIAL:
        if _some(tx, table, "trial_id = ANY(%(key)s)", ids):
            return
    tx.exec_driver_sql("DELETE FROM trial WHERE id = ANY(%(ids)s)", {"ids": ids})


def _delete_study(tx: Connection, study: UUID) -> None:
    for table in _BY_STUDY:
        if _some(tx, table, "study_id = %(key)s", study):
            return
    tx.exec_driver_sql("DELETE FROM study WHERE id = %(study)s", {"study": study})  # and all that refers to it


def _some(tx: Connection, table: str, which: str, key: Any) -> bool:
    """Delete a batch of rows; whether there may be more."""
    some = f"SELECT ctid FROM {table} WHERE {which} LIMIT %(limit)s"
    deleted = tx.exec_driver_sql(f"DELETE FROM {table} WHERE ctid = ANY(ARRAY({some}))", {"key": key, "limit": ROWS})
    return deleted.rowcount == ROWS
