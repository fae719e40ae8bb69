"""The audit that ends every test of faults: does what is stored keep its promises (RELIABILITY.md 3.1)?

It reads the tables in one snapshot and shares no code with the API but the pure parts: the transition tables and the
replay of decisions. So it may run at any moment, also while a study runs.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, NullPool, Row, create_engine

from hpo.checkpoints.filesystem import FilesystemStore
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.domain.trial import TrialState
from hpo.spec.study import EXTERNAL, StudySpec
from tests.audit_log import violations_of_log

Rows = list[Row[Any]]
UNDER_WAY = (TrialState.QUEUED, TrialState.RUNNING, TrialState.PAUSED)


def audit(database_url: str, study_id: UUID | str | None = None, *, checkpoint_root: Path | None = None) -> list[str]:
    """What is wrong, one sentence each, in all studies or in one; nothing if the record is clean.

    With ``checkpoint_root``, the files of all checkpoints are read too: then nothing may be collected meanwhile.
    """
    # Other than the service: one snapshot of all tables, so that a study that moves on is still seen whole.
    engine = create_engine(database_url, poolclass=NullPool, isolation_level="REPEATABLE READ")
    try:
        with engine.begin() as tx:
            return [
                f"{record.study.name}: {violation}"
                for record in _records(tx, study_id)
                for violation in violations_of(record, checkpoint_root)
            ]
    finally:
        engine.dispose()


@dataclass(frozen=True)
class Record:
    """All rows of one study; trials by number, the others by trial and then in the order of their happening."""

    study: Row[Any]
    trials: Rows
    attempts: Rows
    reports: Rows
    checkpoints: Rows
    entries: Rows
    rungs: Rows
    events: Rows

    @cached_property
    def spec(self) -> StudySpec:
        return StudySpec.model_validate(self.study.spec)

    @property
    def ended(self) -> bool:
        return self.study.state in STUDY_ENDED

    @property
    def external(self) -> bool:
        return self.spec.trainer.name == EXTERNAL

    def of(self, rows: Rows, trial: Row[Any]) -> Rows:
        return [row for row in rows if row.number == trial.number]


def _records(tx: Connection, study_id: UUID | str | None) -> Iterator[Record]:
    wanted = {"id": None if study_id is None else str(study_id)}
    studies = tx.exec_driver_sql(
        "SELECT * FROM study WHERE %(id)s IS NULL OR id = %(id)s::uuid ORDER BY created_at", wanted
    ).all()

    def rows(query: str, study: Row[Any]) -> Rows:
        return list(tx.exec_driver_sql(query, {"id": study.id}))

    with_number = "SELECT x.*, t.number FROM {} x JOIN trial t ON t.id = x.trial_id WHERE t.study_id = %(id)s ORDER BY "
    for study in studies:
        yield Record(
            study,
            trials=rows("SELECT * FROM trial WHERE study_id = %(id)s ORDER BY number", study),
            attempts=rows(with_number.format("attempt") + "t.number, x.attempt", study),
            reports=rows(with_number.format("report") + "t.number, x.step", study),
            checkpoints=rows(with_number.format("checkpoint") + "t.number, x.created_at", study),
            entries=rows("SELECT * FROM rung_entry WHERE study_id = %(id)s ORDER BY seq", study),
            rungs=rows("SELECT * FROM rung WHERE study_id = %(id)s ORDER BY bracket, rung", study),
            events=rows("SELECT * FROM event WHERE study_id = %(id)s ORDER BY seq", study),
        )


def violations_of(record: Record, checkpoint_root: Path | None = None) -> Iterator[str]:
    """All violations of one study."""
    yield from _sealed(record)
    yield from _trials(record)
    yield from _accounts(record)
    for trial in record.trials:
        yield from (f"trial {trial.number}: {violation}" for violation in _trial(record, trial))
    for rung in record.rungs:
        yield from (f"rung {rung.rung} of bracket {rung.bracket}: {one}" for one in _rung(record, rung))
    yield from violations_of_log(record)
    if checkpoint_root is not None:
        yield from _files(record, FilesystemStore(checkpoint_root))


def _sealed(record: Record) -> Iterator[str]:
    """The test part is scored by the final trial of a study that confirms, and once."""
    scored = [event for event in record.events if event.type == "test-scored"]
    final = {trial.number for trial in record.trials if trial.final is not None}
    if len(scored) > 1 or len(final) > 1:
        yield f"the test part was scored {len(scored)} times, by the final trials {sorted(final)}"
    if final and record.study.confirms is None:
        yield f"the trials {sorted(final)} are final, but the study confirms none"
    told = {(report.number, report.step) for report in record.reports if "test_acc" in report.metrics}
    if not record.external and told != {(event.number, event.data["step"]) for event in scored}:
        yield f"the steps {sorted(told)} report a score on the test part, the log tells of {len(scored)}"


def _trials(record: Record) -> Iterator[str]:
    """I1: no trial is lost, and I7: an ended study leaves nothing open."""
    study = record.study
    numbers = [trial.number for trial in record.trials]
    if numbers != list(range(study.next_number)):
        yield f"I1: the trials are {numbers}, the study has handed out {study.next_number} numbers"
    if study.state in (StudyState.FINISHED, StudyState.FAILED):
        for trial in record.trials:
            if trial.state in UNDER_WAY:
                yield f"I7: the study has {study.state} and trial {trial.number} is {trial.state}"


def _accounts(record: Record) -> Iterator[str]:
    """I4 and I5: the kept figures are those of the rows, and within their bounds."""
    study, trials = record.study, record.trials
    found = Counter(trial.state for trial in trials)
    for state in TrialState:
        kept = getattr(study, state.value)
        if kept != found[state]:
            yield f"I4: the study counts {kept} {state} trials, {found[state]} are"
    spent = sum(trial.last_step for trial in trials)
    if study.spent != spent:
        yield f"I4: spent is {study.spent}, the trials' steps add up to {spent}"
    reserved = sum(trial.target_step - trial.last_step for trial in trials if trial.state == TrialState.RUNNING)
    if study.reserved != reserved:
        yield f"I5: reserved is {study.reserved}, the running trials need {reserved}"
    if study.budget is not None and study.spent + study.reserved > study.budget:
        yield f"I5: {study.spent} spent and {study.reserved} reserved of a budget of {study.budget}"
    if study.running > study.max_running:
        yield f"I5: {study.running} trials run, at most {study.max_running} may"
    if study.next_number > study.max_trials:
        yield f"I5: {study.next_number} trials exist, at most {study.max_trials} may"
    held = sum(attempt.device_seconds for attempt in record.attempts)
    if abs(held - study.device_seconds) > 1e-6 * max(1.0, held):
        yield f"I4: the study counts {study.device_seconds} device seconds, its attempts {held}"


def _trial(record: Record, trial: Row[Any]) -> Iterator[str]:
    attempts, reports = record.of(record.attempts, trial), record.of(record.reports, trial)
    yield from _leases(trial, attempts)
    yield from _fences(record, trial, attempts, reports)
    steps = [report.step for report in reports]
    if (steps[-1] if steps else 0) != trial.last_step:
        yield f"I4: its last step is {trial.last_step}, its reports are of {steps}"
    if not record.external and steps != list(range(1, len(steps) + 1)):
        yield f"I4: the accounted steps are {steps}"
    if steps and trial.loss != reports[-1].loss:
        yield f"I4: its loss is {trial.loss}, the report of step {steps[-1]} says {reports[-1].loss}"
    if not record.external:
        yield from _resumptions(record, trial, attempts)


def _leases(trial: Row[Any], attempts: Rows) -> Iterator[str]:
    """I2: one live lease per running trial, and attempts that follow one another."""
    if [attempt.attempt for attempt in attempts] != list(range(1, trial.attempt + 1)):
        yield f"I2: it counts {trial.attempt} attempts, there are {[attempt.attempt for attempt in attempts]}"
    live = [attempt.lease_id for attempt in attempts if attempt.ended_at is None]
    held = [trial.lease_id] if trial.state == TrialState.RUNNING else []
    if live != held:
        yield f"I2: it is {trial.state} under {held}, its live leases are {live}"
    for before, after in pairwise(attempts):
        if before.end_step != after.start_step:
            yield f"I4: attempt {after.attempt} starts at {after.start_step}, the one before ended at {before.end_step}"
        if before.ended_at is not None and before.ended_at > after.started_at:
            yield f"I2: attempt {after.attempt} started before attempt {before.attempt} had ended"
    if attempts and attempts[-1].end_step not in (None, trial.last_step):
        yield f"I4: its last attempt ended at step {attempts[-1].end_step}, its last step is {trial.last_step}"


def _fences(record: Record, trial: Row[Any], attempts: Rows, reports: Rows) -> Iterator[str]:
    """I3: whatever was written for the trial was written under the lease of its time."""
    by_number = {attempt.attempt: attempt for attempt in attempts}
    for report in reports:
        attempt = by_number.get(report.attempt)
        if attempt is None or attempt.lease_id != report.lease_id:
            yield f"I3: step {report.step} came under a lease that is not that of attempt {report.attempt}"
            continue
        if not attempt.start_step < report.step <= (attempt.end_step or report.step):
            span = f"{attempt.start_step} to {attempt.end_step}"
            yield f"I3: step {report.step} is of attempt {attempt.attempt}, which went from {span}"
        if not _during(attempt, report.at):
            yield f"I3: step {report.step} was written outside the time of its lease"
    for checkpoint in record.of(record.checkpoints, trial):
        attempt = by_number.get(checkpoint.attempt)
        if attempt is None or attempt.lease_id != checkpoint.lease_id or not _during(attempt, checkpoint.created_at):
            yield f"I3: the checkpoint of step {checkpoint.step} was written outside of attempt {checkpoint.attempt}"


def _during(attempt: Row[Any], instant: Any) -> bool:
    return bool(attempt.started_at <= instant and (attempt.ended_at is None or instant <= attempt.ended_at))


def _resumptions(record: Record, trial: Row[Any], attempts: Rows) -> Iterator[str]:
    """I8: an attempt goes on from the newest valid checkpoint, and less than one interval of steps is trained again."""
    checkpoints, every = record.of(record.checkpoints, trial), record.spec.checkpoints.every
    spoiled = any(checkpoint.state == "corrupt" for checkpoint in checkpoints)
    for attempt in attempts:
        known = [c.step for c in checkpoints if c.attempt < attempt.attempt and c.state != "corrupt"]
        newest = max(known, default=0)
        again = [c.step for c in checkpoints if c.attempt == attempt.attempt and c.step <= newest]
        if again:
            yield f"I8: attempt {attempt.attempt} could go on from step {newest} and trained {again} again"
        if not spoiled and attempt.start_step - newest >= every:
            yield f"I8: attempt {attempt.attempt} was to go on from step {attempt.start_step}, the newest is {newest}"
    if trial.state == TrialState.PAUSED and not any(c.step == trial.last_step and c.state == "ok" for c in checkpoints):
        yield f"I8: it waits at step {trial.last_step} without a checkpoint"


def _rung(record: Record, rung: Row[Any]) -> Iterator[str]:
    """The kept counts and the finger are what the entries say."""
    entries = [entry for entry in record.entries if (entry.bracket, entry.rung) == (rung.bracket, rung.rung)]
    if rung.entries != len(entries):
        yield f"I6: it counts {rung.entries} entries, there are {len(entries)}"
    waiting = {entry.number for entry in entries if entry.waiting}
    if rung.waiting != len(waiting):
        yield f"I6: it counts {rung.waiting} waiting trials, {len(waiting)} entries wait"
    place = {"bracket": rung.bracket, "rung": rung.rung}
    promoted = [e.number for e in record.events if e.type == "trial-promoted" and place.items() <= e.data.items()]
    went_on = sum(entry.decision == "continue" for entry in entries) + len(promoted)
    if rung.promoted != went_on:
        yield f"I6: it counts {rung.promoted} promotions, there were {went_on}"
    if record.study.state in (StudyState.RUNNING, StudyState.PAUSED):
        paused = {
            trial.number
            for trial in record.trials
            if trial.state == TrialState.PAUSED and (trial.bracket, trial.rung) == (rung.bracket, rung.rung)
        }
        if waiting != paused:
            yield f"I6: {sorted(waiting)} wait here by their entries, {sorted(paused)} are paused"
    if rung.finger_rank:
        best = sorted((entry.loss, entry.seq) for entry in entries)
        finger = best[rung.finger_rank - 1] if rung.finger_rank <= len(best) else None
        if finger != (rung.finger_loss, rung.finger_seq):
            yield f"I6: its finger is {(rung.finger_loss, rung.finger_seq)}, number {rung.finger_rank} is {finger}"


def _files(record: Record, store: FilesystemStore) -> Iterator[str]:
    """I8: the bytes of every checkpoint that counts as valid are there and are those that were reported."""
    for one in record.checkpoints:
        if one.state != "ok":
            continue
        path = store.path(record.study.id, one.number, one.lease_id, one.step)
        if not path.is_file():
            yield f"I8: trial {one.number}: the checkpoint of step {one.step} is not at {path}"
        elif (found := hashlib.sha256(path.read_bytes()).hexdigest()) != one.sha256:
            yield f"I8: trial {one.number}: the checkpoint of step {one.step} has sha256 {found}, want {one.sha256}"
