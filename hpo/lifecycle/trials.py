"""What a person does to a single trial: stop it, or have one that failed tried again."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from hpo.domain.errors import InvalidState
from hpo.domain.events import EventType
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.domain.trial import TRIAL_ENDED, StopRequest, TrialState
from hpo.lifecycle.definitions import Definitions
from hpo.lifecycle.outcome import Outcome
from hpo.lifecycle.studies import lock as lock_study
from hpo.storage import trials
from hpo.storage.change import StudyChange
from hpo.storage.rungs import SqlRungLog

BY_USER = {"by": "user"}  # in the event of a trial that a person has ended while it waited
IMPORTED = "imported"  # the worker of trials that have run elsewhere

_ASK = "UPDATE trial SET stop_requested = %(request)s, updated_at = clock_timestamp() WHERE id = %(trial)s"
_END = """
UPDATE trial SET state = %(state)s, finished_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE id = %(trial)s"""


def stop(tx: Connection, definitions: Definitions, project: UUID, study: UUID, number: int) -> Outcome[None]:
    """End a trial with the result it has; one that has ended stays as it is. Raises NotFound.

    A running one hears of it with its next heartbeat or report. One that waits ends at once: pruned, or cancelled if
    it was never trained.
    """
    trial = trials.lock(tx, study, number)
    row = lock_study(tx, project, study)
    state = TrialState(trial.state)
    if state in TRIAL_ENDED:
        return Outcome(None)
    change = StudyChange(study, row.last_seq)
    if state is TrialState.RUNNING:
        if trial.stop_requested in (StopRequest.STOP, StopRequest.CANCEL):
            return Outcome(None)
        change.batch.add(_ASK, request=StopRequest.STOP.value, trial=trial.id)
        change.event(EventType.STUDY_UPDATED, None, {"stop_requested": number})
    else:
        _end_waiting(tx, definitions, row, trial, change)
    change.flush_study()
    change.run(tx)
    return Outcome(None, advance=study)


def _end_waiting(tx: Connection, definitions: Definitions, row: Any, trial: Any, change: StudyChange) -> None:
    keeps = trial.last_step > 0 and row.state not in (StudyState.CANCELLED, StudyState.FAILED)
    ended = TrialState.PRUNED if keeps else TrialState.CANCELLED
    rungs, due = SqlRungLog(tx, change.study), 0 if trial.rung is None else trial.rung + 1
    engine = definitions.get(tx, change.study, revision=row.revision).engine
    if trial.state == TrialState.PAUSED:
        rungs.leave(change.batch, (trial.bracket, due - 1), trial.number)
    seq = change.next_seq()
    entered = engine.scheduler.dropped(trial.number, trial.bracket, due, seq)
    for one in entered:
        rungs.add(change.batch, one)
    rungs.flush(change.batch)
    data: dict[str, Any] = {"state": ended.value, "end_class": ended.value, "step": trial.last_step, **BY_USER}
    data |= {"dropped_at": entered[0].entry.rung} if entered else {}
    change.event(EventType.TRIAL_FINISHED, trial.number, data, seq=seq)
    change.batch.add(_END, state=ended.value, trial=trial.id)
    change.move(TrialState(trial.state), ended)


_RETRY = """
UPDATE trial SET state = 'queued', target_step = %(target)s, infra_failures = 0, oom_failures = 0,
  no_progress_attempts = 0, promoted = true, closed_from = NULL, error = NULL, finished_at = NULL,
  queued_at = clock_timestamp(), not_before = clock_timestamp(), hinted_at = NULL, updated_at = clock_timestamp()
WHERE id = %(trial)s"""


def retry(tx: Connection, definitions: Definitions, project: UUID, study: UUID, number: int) -> Outcome[None]:
    """Queue a failed or cancelled trial for one more attempt, from its last good checkpoint, ahead of new trials.

    Its failures are forgotten, and to the scheduler it is as if it had not ended. A trial that is queued or runs is
    left as it is. Raises InvalidState, NotFound.
    """
    trial = trials.lock(tx, study, number)
    row = lock_study(tx, project, study)
    state = TrialState(trial.state)
    _refuse_retry(row, trial, state)
    if state in (TrialState.QUEUED, TrialState.RUNNING):
        return Outcome(None)
    engine = definitions.get(tx, study, revision=row.revision).engine
    change, rungs = StudyChange(study, row.last_seq), SqlRungLog(tx, study)
    due = 0 if trial.rung is None else trial.rung + 1
    # What its end had entered; a rung that it had come to before stays.
    left = rungs.remove(change.batch, (trial.bracket, due), number)
    data: dict[str, Any] = {"retried": True, "step": trial.last_step} | ({"left": due} if left else {})
    change.event(EventType.TRIAL_REQUEUED, number, data)
    first = engine.first_target(trial.bracket)
    change.batch.add(_RETRY, target=trial.target_step if trial.last_step else first, trial=trial.id)
    change.move(state, TrialState.QUEUED)
    change.counts["closed"] -= trial.closed_from is not None
    change.flush_study()
    change.run(tx)
    return Outcome(None, advance=study, queues=(row.queue,) if row.state == StudyState.RUNNING else ())


def _refuse_retry(row: Any, trial: Any, state: TrialState) -> None:
    if state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.PAUSED):
        raise InvalidState(f"trial {trial.number} is {state}: only one that failed or was cancelled is tried again")
    if row.state not in (StudyState.RUNNING, StudyState.PAUSED):
        way = "; extend it first" if row.state == StudyState.FINISHED else ""
        ended = " has ended and" if row.state in STUDY_ENDED else ""
        raise InvalidState(f"the study{ended} is {row.state}{way}: trials are tried again while it runs or is paused")
    if trial.worker == IMPORTED or (trial.attempt and trial.claimed_at is None):
        raise InvalidState(f"trial {trial.number} has run elsewhere and was imported: enqueue its params instead")
