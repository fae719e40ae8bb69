"""What happens to a slot that became free: the scheduler is asked once, under the study's row lock."""

import json
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from hpo.domain.events import EventType
from hpo.domain.study import StudyState
from hpo.domain.trial import TrialState
from hpo.engine import Engine
from hpo.schedulers.base import Finished, NewTrial, Promote, StudyView
from hpo.storage.batch import find
from hpo.storage.change import StudyChange
from hpo.storage.rungs import SqlRungLog

# SKIP LOCKED: whoever holds a paused trial may be waiting for the study that is locked here. It is promoted next time.
_QUEUE_PAUSED = """
UPDATE trial SET state = 'queued', target_step = %(target)s, promoted = true, queued_at = clock_timestamp(),
  not_before = clock_timestamp(), hinted_at = NULL, updated_at = clock_timestamp(),
  params = coalesce(%(params)s, params), resume_from = coalesce(%(resume_from)s, resume_from)
WHERE id = (SELECT id FROM trial WHERE study_id = %(study)s AND number = %(number)s AND state = 'paused'
            FOR NO KEY UPDATE SKIP LOCKED) RETURNING id"""


# The source waits at the same step, so this is its newest; from now on the row that names it keeps it from collection.
_SOURCE = """
SELECT t.params, t.last_step, (
  SELECT c.id FROM checkpoint c WHERE c.trial_id = t.id AND c.state = 'ok' AND c.step = t.last_step
  ORDER BY c.created_at DESC LIMIT 1) AS checkpoint
FROM trial t WHERE t.study_id = %(study)s AND t.number = %(number)s"""


def hand_on(tx: Connection, engine: Engine, study: UUID, seq: int, rungs: SqlRungLog, view: StudyView) -> bool:
    """Queue the paused trial that the scheduler promotes, if any. True if control should look at the study.

    The caller holds the lock of a running study; ``seq`` is its last event.
    """
    change = StudyChange(study, seq)
    work = engine.next_work(rungs, view)
    rungs.flush(change.batch)
    if isinstance(work, Promote) and promote(tx, change, engine, rungs, work):
        return False
    change.run(tx)
    if isinstance(work, Finished):
        begin_stopping(tx, study, change.seq, work.reason)
        return True
    return isinstance(work, NewTrial) and view.queued <= low_water(view.running)


def low_water(running: int) -> int:
    """Queued new trials at which control is asked for more: enough ahead that no device waits for a sampler."""
    return running // 4


def promote(tx: Connection, change: StudyChange, engine: Engine, rungs: SqlRungLog, work: Promote) -> bool:
    """Queue a paused trial with its next target; False if another transaction holds it."""
    data: dict[str, Any] = {"bracket": work.bracket, "rung": work.rung, "target": work.target}
    new: dict[str, Any] = {"params": None, "resume_from": None}
    if work.exploit is not None:
        source: Any = find(tx, _SOURCE, study=change.study, number=work.exploit.source)
        params = engine.explored(source.params, work.trial, work.rung)
        data |= {"source": work.exploit.source, "params": dict(params), "step": source.last_step}
        new = {"params": json.dumps(dict(params), allow_nan=False), "resume_from": source.checkpoint}
    if find(tx, _QUEUE_PAUSED, study=change.study, number=work.trial, target=work.target, **new) is None:
        return False
    change.move(TrialState.PAUSED, TrialState.QUEUED)
    rungs.promote(change.batch, (work.bracket, work.rung), work.trial)
    change.event(EventType.TRIAL_PROMOTED, work.trial, data)
    change.flush_study()
    change.run(tx)
    return True


def begin_stopping(tx: Connection, study: UUID, seq: int, reason: str) -> None:
    """Start no more work; control closes the study once nothing runs. The caller holds the lock of a running study."""
    change = StudyChange(study, seq)
    change.event(EventType.STUDY_UPDATED, None, {"state": StudyState.STOPPING.value, "reason": reason})
    change.bump(state=StudyState.STOPPING.value, state_reason=reason)
    change.run(tx)
