"""Moving a study on: promote what can be, make room for new trials, close what has ended.

Transactions are short and none is open while a sampler thinks: ``look`` says how many trials are wanted and as of
which event, the sampler is asked outside, ``add_trials`` stores the answer if the study has not moved on meanwhile.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.domain.errors import NotFound
from hpo.domain.events import EventType
from hpo.domain.history import Params, TrialRecord
from hpo.domain.study import StudyState
from hpo.domain.trial import TrialState
from hpo.engine import Engine
from hpo.lifecycle import conclude, confirm
from hpo.lifecycle.definitions import Definition, Definitions
from hpo.lifecycle.outcome import Outcome
from hpo.lifecycle.promotion import begin_stopping, promote
from hpo.schedulers.base import Finished, NewTrial, Promote, StudyView, Work
from hpo.spec.samplers import ManualSamplerSpec
from hpo.storage import enqueued, rungs, workers
from hpo.storage.change import StudyChange
from hpo.storage.enqueued import Enqueued
from hpo.storage.replay import HistoryCache
from hpo.storage.rungs import SqlRungLog

BATCH = 500  # trials closed in one transaction


@dataclass(frozen=True, slots=True)
class Room:
    """New trials are wanted: ``count`` of them from number ``first``, sampled from the history up to ``cursor``.

    ``enqueued`` configurations come first; what is left of ``count`` is sampled, unless only those are wanted.
    """

    definition: Definition
    first: int
    count: int
    cursor: int
    enqueued: tuple[Enqueued, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """Something was done; look again. ``queue`` has new work if it is named, and so has the other ``study``."""

    queue: str | None = None
    study: UUID | None = None


def look(tx: Connection, definitions: Definitions, study: UUID, *, live_s: float) -> Room | Progress | None:
    """Do the next thing that the study needs and a transaction can; None if nothing is to be done now.

    Workers seen within ``live_s`` seconds count as alive: trials are made for the idle ones and, ahead of need, for
    half of the busy ones.
    """
    row = _lock(tx, study)
    if row.state in (StudyState.STOPPING, StudyState.CANCELLED, StudyState.FAILED):
        return _settle(tx, row, definitions)
    if row.state != StudyState.RUNNING:
        return None
    if row.closed:
        return _reopen(tx, row)
    if row.confirms is not None and confirm.proceed(tx, row):
        return Progress()
    definition = definitions.get(tx, study, revision=row.revision)
    log = SqlRungLog(tx, study)
    view = StudyView(row.next_number, row.max_trials, row.queued, row.running, row.complete)
    work: Work = definition.engine.next_work(log, view)
    change = StudyChange(study, row.last_seq)
    log.flush(change.batch)
    if isinstance(work, Promote):
        return Progress(row.queue) if promote(tx, change, definition.engine, log, work) else None
    change.run(tx)
    if isinstance(work, Finished):
        begin_stopping(tx, study, row.last_seq, work.reason)
        return Progress()
    if _out_of_budget(tx, row, work, definition.engine):
        begin_stopping(tx, study, row.last_seq, "max_epochs")
        return Progress()
    if isinstance(work, NewTrial) and (count := _wanted(tx, row, live_s)) > 0:
        given = tuple(enqueued.oldest(tx, study, count))
        if isinstance(definition.spec.chosen_sampler, ManualSamplerSpec):
            count = len(given)
        return Room(definition, row.next_number, count, row.last_seq, given) if count else None
    return None


def _lock(tx: Connection, study: UUID) -> Row[Any]:
    row = tx.exec_driver_sql(
        "SELECT id, project_id, state, state_reason, queue, max_trials, max_running, budget, spent, reserved,"
        " next_number, last_seq, queued, running, paused, complete, closed, revision, confirms FROM study"
        " WHERE id = %(id)s AND deleted_at IS NULL FOR NO KEY UPDATE",
        {"id": study},
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no study {study}")
    return row


def _wanted(tx: Connection, row: Row[Any], live_s: float) -> int:
    """How many trials to add so that no device waits for a sampler and no sampler runs far ahead of the results."""
    wanted = max(1, workers.idle(tx, row.project_id, row.queue, live_s=live_s)) + row.running // 2
    ahead = row.max_running - row.running + max(1, row.max_running // 2)
    count = min(wanted, ahead, row.max_trials - row.next_number + row.queued) - row.queued
    return int(min(count, row.max_trials - row.next_number))


def _out_of_budget(tx: Connection, row: Row[Any], work: Work, engine: Engine) -> bool:
    """Nothing runs, and neither a queued trial nor a new one fits into the epochs that are left."""
    if row.budget is None or row.running:
        return False
    left = row.budget - row.spent - row.reserved
    if row.queued:
        need = tx.exec_driver_sql(
            "SELECT min(target_step - last_step) FROM trial WHERE study_id = %(id)s AND state = 'queued'",
            {"id": row.id},
        ).scalar_one()
        return bool(need > left)
    return isinstance(work, NewTrial) and engine.first_target(engine.bracket_of(row.next_number)) > left


def propose(room: Room, history: HistoryCache, most: int) -> list[Params]:
    """Ask the sampler for what the enqueued configurations leave of the room, ``most`` trials in all.

    Fewer come back where the space holds no more. ``history`` stands at the room's cursor.
    """
    records = list(history.before(room.first))
    for number, given in enumerate(room.enqueued, start=room.first):
        records.append(TrialRecord(number, given.params, TrialState.QUEUED))
    asked: list[Params] = []
    for number in range(len(records), room.first + min(room.count, most)):
        params = room.definition.engine.ask(records, number)
        if params is None:
            break
        records.append(TrialRecord(number, params, TrialState.QUEUED))
        asked.append(params)
    return asked


def add_trials(tx: Connection, study: UUID, room: Room, params: Sequence[Params], *, live_s: float) -> Outcome[bool]:
    """Queue the enqueued and the sampled trials, a bell for each idle worker.

    False if the study has moved on and they are void. With nothing to queue, the space holds no further configuration,
    and the study will end with the trials that it has.
    """
    row = _lock(tx, study)
    if row.state != StudyState.RUNNING or row.next_number != room.first or row.revision > room.definition.revision:
        return Outcome(False)
    change, engine = StudyChange(study, row.last_seq), room.definition.engine
    given = [(one.params, one) for one in room.enqueued[: row.max_trials - room.first]]
    asked: list[tuple[Params, Enqueued | None]] = [*given, *((values, None) for values in params)]
    if not asked:
        change.event(EventType.STUDY_UPDATED, None, {"max_trials": row.next_number, "reason": "space_exhausted"})
        change.flush_study(max_trials=row.next_number)
        change.run(tx)
        return Outcome(True)
    for number, (values, by_hand) in enumerate(asked, start=room.first):
        final = None if by_hand is None else by_hand.final
        bracket = engine.bracket_of(number)
        stored = json.dumps(dict(values), allow_nan=False)
        change.batch.add(
            "INSERT INTO trial (project_id, study_id, number, params, cursor, bracket, target_step, final) VALUES"
            " (%(project)s, %(study)s, %(number)s, %(params)s, %(cursor)s, %(bracket)s, %(target)s, %(final)s)",
            project=row.project_id,
            study=study,
            number=number,
            params=stored,
            cursor=room.cursor,
            bracket=bracket,
            target=engine.first_target(bracket),
            final=final,
        )
        data = {"params": dict(values), "cursor": room.cursor, "bracket": bracket}
        data |= {} if by_hand is None else {"enqueued": True}
        data |= {} if final is None else {"final": final}
        change.event(EventType.TRIAL_CREATED, number, data)
    if given:
        enqueued.remove(change.batch, study, [one.position for one in room.enqueued[: len(given)]])
    change.counts.update(queued=len(asked), next_number=len(asked))
    change.flush_study()
    change.run(tx)
    # Busy workers claim by themselves when they are done. Counted under the study's lock: a worker of it that found
    # nothing before these trials are stored has been counted as idle.
    bells = min(len(asked), max(1, workers.idle(tx, row.project_id, row.queue, live_s=live_s)))
    return Outcome(True, queues=(row.queue,) * bells)


_CLOSE = """
UPDATE trial SET state = CASE WHEN %(keep)s AND last_step > 0 THEN 'pruned' ELSE 'cancelled' END, closed_from = state,
  finished_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE id IN (SELECT id FROM trial WHERE study_id = %(study)s AND state = %(state)s
             ORDER BY number LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
RETURNING number, state"""


def _settle(tx: Connection, row: Row[Any], definitions: Definitions) -> Progress | None:
    """End queued and paused trials of a study that is ending, a batch at a time; then the study itself.

    With a study that has found what it was to find, the one that confirms it begins; with that one, it is confirmed.
    """
    change = StudyChange(row.id, row.last_seq)
    stopping = row.state == StudyState.STOPPING
    for state in (TrialState.QUEUED, TrialState.PAUSED):
        if getattr(row, state.value) == 0:
            continue
        closed = tx.exec_driver_sql(
            _CLOSE, {"study": row.id, "state": state.value, "keep": stopping, "limit": BATCH}
        ).all()
        for number, ended in sorted(closed):
            change.event(EventType.TRIAL_FINISHED, number, {"state": ended, "end_class": ended})
            change.move(state, TrialState(ended))
        change.counts["closed"] += len(closed)
        change.flush_study()
        change.run(tx)
        return Progress() if closed else None  # all are held by others just now: the sweep comes back
    if row.running or not stopping:
        return None
    # By whatever it stopped: a study that confirms and has no score, has not found what it was to find.
    failed = row.state_reason == "max_failed" or (row.confirms is not None and conclude.score_of(tx, row.id) is None)
    final = StudyState.FAILED if failed else StudyState.FINISHED
    change.batch.add("UPDATE rung_entry SET waiting = false WHERE study_id = %(id)s AND waiting", id=row.id)
    change.batch.add("UPDATE rung SET waiting = 0 WHERE study_id = %(id)s", id=row.id)
    change.event(EventType.STUDY_UPDATED, None, {"state": final.value, "reason": row.state_reason})
    change.batch.add("UPDATE study SET finished_at = clock_timestamp() WHERE id = %(id)s", id=row.id)
    spec, columns, confirming = definitions.get(tx, row.id, revision=row.revision).spec, dict[str, str](), None
    if spec.confirm is not None and final is StudyState.FINISHED:
        begun = confirm.begin(tx, row.project_id, row.id, spec, trials=row.next_number)
        conclude.tell(change, begun.confirmation)
        columns["confirmation"], confirming = json.dumps(begun.confirmation, allow_nan=False), begun.study
    change.bump(state=final.value, **columns)
    change.run(tx)
    conclude.conclude(tx, row.id)
    return None if confirming is None else Progress(study=confirming)


# Those that waited at a rung first: no decision is made there before all of them are back.
_OPEN = """
UPDATE trial SET state = closed_from, closed_from = NULL, finished_at = NULL, queued_at = clock_timestamp(),
  not_before = clock_timestamp(), hinted_at = NULL, updated_at = clock_timestamp()
WHERE id IN (SELECT id FROM trial WHERE study_id = %(study)s AND closed_from IS NOT NULL
             ORDER BY closed_from, number LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
RETURNING number, state, last_step, bracket, rung"""


def _reopen(tx: Connection, row: Row[Any]) -> Progress | None:
    """Let trials that the end of an extended study closed wait as they did before, a batch at a time."""
    opened = tx.exec_driver_sql(_OPEN, {"study": row.id, "limit": BATCH}).all()
    change, places = StudyChange(row.id, row.last_seq), dict[tuple[int, int], list[int]]()
    for trial in sorted(opened, key=lambda one: one.number):
        state = TrialState(trial.state)
        change.event(EventType.TRIAL_REOPENED, trial.number, {"state": state.value})
        # As _CLOSE had ended it: only what was never trained was cancelled.
        change.move(TrialState.PRUNED if trial.last_step else TrialState.CANCELLED, state)
        if state is TrialState.PAUSED:
            places.setdefault((trial.bracket, trial.rung), []).append(trial.number)
    for place, numbers in places.items():
        rungs.wait_again(change.batch, row.id, place, numbers)
    change.counts["closed"] -= len(opened)
    change.flush_study()
    change.run(tx)
    return Progress(row.queue) if opened else None  # all are held by others just now: the sweep comes back
