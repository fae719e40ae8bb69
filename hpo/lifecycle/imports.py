"""Studies of other programs, taken in as they are: finished, with their trials, of which Ladder has decided nothing."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row

from hpo.domain.errors import FieldError, InvalidSpec, InvalidState, NameTaken
from hpo.domain.events import EventType
from hpo.domain.study import StudyState
from hpo.domain.trial import EndClass, TrialState
from hpo.lifecycle import studies
from hpo.lifecycle.imported import ImportedTrial, refuse_unfit
from hpo.lifecycle.outcome import Outcome
from hpo.spec.study import StudySpec
from hpo.storage.change import StudyChange, word

REASON = "imported"  # why such a study is finished
_END_CLASS = {
    TrialState.COMPLETE: EndClass.COMPLETE,
    TrialState.PRUNED: EndClass.PRUNED,
    TrialState.FAILED: EndClass.USER_ERROR,
    TrialState.CANCELLED: EndClass.CANCELLED,
}
_FIRST_EVENTS = 3  # among which the one stands that says where the study is from


def take_in(
    tx: Connection,
    project: UUID,
    spec: StudySpec,
    trials: Sequence[ImportedTrial],
    *,
    source: str,
    digest: str,
) -> tuple[Outcome[UUID], bool]:
    """Store a page of trials of an imported study, which the first page creates; whether this one did.

    ``spec`` is normalised; ``digest`` tells a repeated import of the same study from another of the same name. Trials
    that are there already are left as they are, so that an import that broke off is simply begun again.
    Raises NameTaken, InvalidState if the study has been changed since it was imported, InvalidSpec naming a field.
    """
    refuse_unfit(spec, trials)
    row = tx.exec_driver_sql(
        "SELECT id FROM study WHERE project_id = %(project)s AND name = %(name)s",
        {"project": project, "name": spec.name},
    ).one_or_none()
    created = row is None
    study = _create(tx, project, spec, source, digest) if row is None else row.id
    row = studies.lock(tx, project, study)
    if not created:
        _refuse_other(tx, row, spec.name, source, digest)
    _append(tx, project, row, spec, trials)
    return Outcome(study), created


def _create(tx: Connection, project: UUID, spec: StudySpec, source: str, digest: str) -> UUID:
    study = studies.create(tx, project, spec, start=True).value  # only what runs can finish
    row = studies.lock(tx, project, study)
    change = StudyChange(study, row.last_seq)
    told = {"state": StudyState.FINISHED.value, "reason": REASON, "imported": {"from": source, "sha256": digest}}
    change.event(EventType.STUDY_UPDATED, None, told)
    change.batch.add("UPDATE study SET finished_at = clock_timestamp() WHERE id = %(study)s", study=study)
    change.bump(state=StudyState.FINISHED.value, state_reason=REASON)
    change.run(tx)
    return study


def _refuse_other(tx: Connection, row: Row[Any], name: str, source: str, digest: str) -> None:
    """Refuse to add to a study that is not this import."""
    found = tx.exec_driver_sql(
        "SELECT data->'imported' AS told FROM event WHERE study_id = %(study)s AND seq <= %(first)s"
        " AND data ? 'imported' AND number IS NULL",
        {"study": row.id, "first": _FIRST_EVENTS},
    ).scalar_one_or_none()
    if found != {"from": source, "sha256": digest}:
        raise NameTaken(f"there is a study named {name!r} already, and it is not this import; choose another name")
    if row.state != StudyState.FINISHED or row.state_reason != REASON:
        raise InvalidState(f"study {name} has been extended since it was imported and takes in no more trials")


@dataclass(frozen=True, slots=True)
class _Stored:
    """A trial as it is kept: what is not finite is a trial that has diverged."""

    trial: ImportedTrial
    state: TrialState
    end_class: EndClass
    loss: float | None
    non_finite: float | str | None
    vector: list[float] | None
    violation: float
    steps: list[tuple[int, float]]  # with the losses of the first objective

    @property
    def last_step(self) -> int:
        return self.steps[-1][0] if self.steps else 0


def _stored(spec: StudySpec, trial: ImportedTrial) -> _Stored:
    steps = [(step, spec.objective.loss(value)) for step, value in trial.curve]
    losses = None
    if trial.values is not None:
        losses = [objective.loss(value) for objective, value in zip(spec.objectives, trial.values, strict=True)]
        # A value that was never reported on the way is that of a whole training.
        steps = steps or [(spec.scheduler.max_resource, losses[0])]
    bounded = [(bound, trial.metrics[bound.metric]) for bound in spec.constraints if bound.metric in trial.metrics]
    judged = [*(trial.values or ()), *(value for _, value in bounded)]
    odd = next((value for value in judged if not math.isfinite(value)), None)
    finite = losses is not None and odd is None
    state, end_class = trial.state, _END_CLASS[trial.state]
    if losses is not None and not finite and state in (TrialState.COMPLETE, TrialState.PRUNED):
        state, end_class = TrialState.PRUNED, EndClass.DIVERGED
    return _Stored(
        trial=trial,
        state=state,
        end_class=end_class,
        loss=losses[0] if losses is not None and finite else None,
        non_finite=None if losses is None or odd is None else word(odd),
        vector=losses if losses is not None and finite and len(losses) > 1 else None,
        violation=sum(bound.violation(value) for bound, value in bounded) if finite else 0.0,
        steps=steps,
    )


def _append(tx: Connection, project: UUID, row: Row[Any], spec: StudySpec, trials: Sequence[ImportedTrial]) -> None:
    if trials and trials[0].number > row.next_number:
        message = f"the study holds {row.next_number} trials so far: go on with that number, got {trials[0].number}"
        raise InvalidSpec(FieldError("/trials/0/number", "gap", message))
    fresh = [_stored(spec, trial) for trial in trials if trial.number >= row.next_number]
    if not fresh:
        return
    spent, most = row.spent + sum(one.last_step for one in fresh), spec.budget.max_epochs
    if most is not None and spent > most:
        message = f"must be at least {spent}, the epochs that its trials have taken, got {most}"
        raise InvalidSpec(FieldError("/study/budget/max_epochs", "below_spent", message))
    change = StudyChange(row.id, row.last_seq)
    ids = _insert_trials(tx, project, row, spec, fresh, change.seq)
    _insert_reports(tx, spec, fresh, ids)
    _insert_events(tx, change, spec, fresh)
    change.counts.update(Counter(one.state.value for one in fresh))
    change.counts["next_number"] += len(fresh)
    change.counts["spent"] += sum(one.last_step for one in fresh)
    change.bump()
    change.run(tx)


_TRIALS = """
INSERT INTO trial (project_id, study_id, number, state, params, cursor, loss, non_finite, vector, violation, last_step,
  target_step, attempt, error, created_at, updated_at, finished_at)
SELECT %(project)s, %(study)s, t.number, t.state, t.params, %(cursor)s, t.loss, t.non_finite, t.vector, t.violation,
  t.last_step, t.target_step, t.attempt, t.error, coalesce(t.started_at, clock_timestamp()),
  clock_timestamp(), coalesce(t.finished_at, t.started_at, clock_timestamp())
FROM jsonb_to_recordset(%(rows)s) AS t (number integer, state text, params jsonb, loss double precision,
  non_finite text, vector double precision[], violation double precision, last_step bigint, target_step bigint,
  attempt integer, error jsonb, started_at timestamptz, finished_at timestamptz)
RETURNING id, number"""


def _insert_trials(
    tx: Connection, project: UUID, row: Row[Any], spec: StudySpec, fresh: Sequence[_Stored], cursor: int
) -> dict[int, int]:
    """The internal ids of the new trials by number."""
    full = spec.scheduler.max_resource
    rows = [
        {
            "number": one.trial.number,
            "state": one.state.value,
            "params": dict(one.trial.params),
            "loss": one.loss,
            "non_finite": one.non_finite,
            "vector": one.vector,
            "violation": one.violation,
            "last_step": one.last_step,
            "target_step": one.last_step if one.state is TrialState.COMPLETE else full,
            "attempt": 1 if one.steps else 0,
            "error": None if one.trial.error is None else {"type": "imported", "message": one.trial.error},
            "started_at": _told(one.trial.started_at),
            "finished_at": _told(one.trial.finished_at),
        }
        for one in fresh
    ]
    given = {"project": project, "study": row.id, "cursor": cursor, "rows": json.dumps(rows, allow_nan=False)}
    return {stored.number: stored.id for stored in tx.exec_driver_sql(_TRIALS, given)}


_REPORTS = """
INSERT INTO report (trial_id, step, lease_id, attempt, loss, metrics, at)
SELECT r.trial, r.step, r.lease, 1, r.loss, r.metrics, coalesce(r.at, clock_timestamp())
FROM jsonb_to_recordset(%(rows)s) AS r (trial bigint, step bigint, lease uuid, loss double precision, metrics jsonb,
  at timestamptz)"""
_ATTEMPTS = """
INSERT INTO attempt (trial_id, attempt, lease_id, worker, started_at, ended_at, end_class, start_step, end_step)
SELECT a.trial, 1, a.lease, 'imported', a.started_at, a.ended_at, a.end_class, 0, a.end_step
FROM jsonb_to_recordset(%(rows)s) AS a (trial bigint, lease uuid, started_at timestamptz, ended_at timestamptz,
  end_class text, end_step bigint)"""


def _insert_reports(tx: Connection, spec: StudySpec, fresh: Sequence[_Stored], ids: Mapping[int, int]) -> None:
    """The steps of the trials, and as an attempt the time they took where that is known."""
    reports: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    for one in fresh:
        trial, lease = one.trial, str(uuid4())
        for step, loss in one.steps:
            metrics: dict[str, Any] = {spec.objective.metric: word(spec.objective.value(loss))}
            if step == one.last_step:
                others = zip(spec.objectives[1:], (trial.values or ())[1:], strict=False)
                metrics |= {objective.metric: word(value) for objective, value in others}
                metrics |= {name: word(value) for name, value in trial.metrics.items()}
            finite = loss if math.isfinite(loss) else None
            at = _told(trial.finished_at) if step == one.last_step else None
            row = {
                "trial": ids[trial.number],
                "step": step,
                "lease": lease,
                "loss": finite,
                "metrics": metrics,
                "at": at,
            }
            reports.append(row)
        if one.steps and trial.started_at is not None and trial.finished_at is not None:
            attempts.append(
                {
                    "trial": ids[trial.number],
                    "lease": lease,
                    "started_at": _told(trial.started_at),
                    "ended_at": _told(trial.finished_at),
                    "end_class": one.end_class.value,
                    "end_step": one.last_step,
                }
            )
    for statement, rows in ((_REPORTS, reports), (_ATTEMPTS, attempts)):
        if rows:
            tx.exec_driver_sql(statement, {"rows": json.dumps(rows, allow_nan=False)})


_EVENTS = """
INSERT INTO event (study_id, seq, type, number, data)
SELECT %(study)s, e.seq, e.type, e.number, e.data
FROM jsonb_to_recordset(%(rows)s) AS e (seq bigint, type text, number integer, data jsonb)"""


def _insert_events(tx: Connection, change: StudyChange, spec: StudySpec, fresh: Sequence[_Stored]) -> None:
    """Two facts of each trial: that it was taken in, and how it had ended. None of them is a decision."""
    rows: list[dict[str, Any]] = []
    for one in fresh:
        number = one.trial.number
        created = {"imported": True, "params": dict(one.trial.params)}
        ended: dict[str, Any] = {"imported": True, "state": one.state.value, "end_class": one.end_class.value}
        ended |= {"step": one.last_step} if one.steps else {}
        if one.loss is not None:
            # What it counts at when the study is extended and a sampler learns from it.
            whole = one.state is TrialState.COMPLETE
            ended |= {"loss": one.loss, "counts_at": spec.scheduler.max_resource if whole else one.last_step}
            ended |= {"vector": one.vector} if one.vector else {}
            ended |= {"violation": one.violation} if one.violation else {}
        for kind, data in ((EventType.TRIAL_CREATED, created), (EventType.TRIAL_FINISHED, ended)):
            rows.append({"seq": change.next_seq(), "type": kind.value, "number": number, "data": data})
    given = {"study": change.study, "rows": json.dumps(rows, allow_nan=False)}
    tx.exec_driver_sql(_EVENTS, given)


def _told(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
