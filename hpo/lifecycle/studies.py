"""The verbs of a study: create, start, pause, resume, stop, cancel, patch. One transaction script each."""

import json
import secrets
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.domain.errors import FieldError, InvalidSpec, InvalidState, NameTaken, NotFound, StaleRevision
from hpo.domain.events import EventType
from hpo.domain.study import STUDY_EDGES, StudyState
from hpo.lifecycle.outcome import Outcome
from hpo.spec.check import check
from hpo.spec.search import MAX_TRIALS, Budget
from hpo.spec.study import EXTERNAL, StudySpec
from hpo.storage import rungs
from hpo.storage.change import StudyChange

NO_QUEUE = ""  # of trials that are asked for: no worker can name it, and nobody is rung for

Verb = Literal["start", "pause", "resume", "stop", "cancel"]

_TARGETS: dict[Verb, StudyState] = {
    "start": StudyState.RUNNING,
    "pause": StudyState.PAUSED,
    "resume": StudyState.RUNNING,
    "stop": StudyState.STOPPING,
    "cancel": StudyState.CANCELLED,
}
# Edges that another verb has too: a paused study is not started, a finished one not resumed.
_ONLY_FROM: dict[Verb, StudyState] = {"start": StudyState.CREATED, "resume": StudyState.PAUSED}


def normalise(spec: StudySpec) -> StudySpec:
    """Check the spec as a whole and fill in what chance decides. Raises InvalidSpec naming every wrong field."""
    errors = check(spec)
    if errors:
        raise InvalidSpec(*errors)
    if spec.sampler.seed is not None:
        return spec
    return spec.model_copy(update={"sampler": spec.sampler.model_copy(update={"seed": secrets.randbelow(2**31)})})


def create(tx: Connection, project: UUID, spec: StudySpec, *, start: bool) -> Outcome[UUID]:
    """Store a normalised spec as a new study. Raises NameTaken."""
    state = StudyState.RUNNING if start else StudyState.CREATED
    budget = spec.budget
    created = tx.exec_driver_sql(
        "INSERT INTO study (id, project_id, name, state, spec, queue, priority, max_trials, max_running, max_failed,"
        " budget, started_at) VALUES (uuidv7(), %(project)s, %(name)s, %(state)s, %(spec)s, %(queue)s, %(priority)s,"
        " %(max_trials)s, %(max_running)s, %(max_failed)s, %(budget)s,"
        " CASE WHEN %(start)s THEN clock_timestamp() END) ON CONFLICT (project_id, name) DO NOTHING RETURNING id",
        {
            "project": project,
            "name": spec.name,
            "state": state.value,
            "spec": spec.model_dump_json(),
            "queue": NO_QUEUE if spec.trainer.name == EXTERNAL else spec.trainer.resources.queue,
            "priority": spec.priority,
            "max_trials": spec.max_trials,
            "max_running": budget.max_concurrent or MAX_TRIALS,
            "max_failed": budget.max_failed,
            "budget": budget.max_epochs,
            "start": start,
        },
    ).scalar_one_or_none()
    if created is None:
        raise NameTaken(f"there is a study named {spec.name!r} already; choose another name")
    study: UUID = created
    change = StudyChange(study, 0)
    rungs.create(change.batch, study, spec.scheduler.levels)
    change.event(EventType.STUDY_UPDATED, None, {"state": state.value})
    change.flush_study()
    change.run(tx)
    return Outcome(study, advance=study if start else None)


def lock(tx: Connection, project: UUID, study: UUID) -> Row[Any]:
    row = tx.exec_driver_sql(
        "SELECT id, state, state_reason, revision, spec, last_seq, next_number, running, spent, reserved FROM study"
        " WHERE id = %(id)s AND project_id = %(project)s FOR NO KEY UPDATE",
        {"id": study, "project": project},
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no study {study}")
    return row


def command(tx: Connection, project: UUID, study: UUID, verb: Verb) -> Outcome[None]:
    """Carry out a verb; repeating one that has taken effect changes nothing. Raises InvalidState, NotFound.

    Only the study's row is written: running trials learn of it from the answer to their next heartbeat or report.
    """
    row = lock(tx, project, study)
    state, target = StudyState(row.state), _TARGETS[verb]
    done = {target, StudyState.FINISHED} if verb == "stop" else {target}
    if state in done:
        return Outcome(None)
    if target not in STUDY_EDGES[state] or state is not _ONLY_FROM.get(verb, state):
        raise InvalidState(f"a study that is {state.value} cannot {verb}")
    change = StudyChange(study, row.last_seq)
    reason = "user" if verb in ("stop", "cancel") else None
    change.event(EventType.STUDY_UPDATED, None, {"state": target.value, "reason": reason})
    if target is StudyState.CANCELLED:
        change.batch.add("UPDATE study SET finished_at = clock_timestamp() WHERE id = %(id)s", id=study)
    if verb == "start":
        change.batch.add("UPDATE study SET started_at = clock_timestamp() WHERE id = %(id)s", id=study)
    change.bump(state=target.value, state_reason=reason)
    change.run(tx)
    return Outcome(None, advance=study)


def patch(
    tx: Connection, project: UUID, study: UUID, changes: dict[str, Any], *, revision: int | None
) -> Outcome[None]:
    """Change budget, labels or description. ``changes["budget"]`` holds only the fields that change.

    Raises StaleRevision if ``revision`` is given and not the current one, InvalidSpec if a bound would fall below
    what is spent or running already, NotFound.
    """
    row = lock(tx, project, study)
    if revision is not None and revision != row.revision:
        raise StaleRevision(f"the study is at revision {row.revision}, If-Match said {revision}")
    spec = StudySpec.model_validate(row.spec)
    budget = Budget.model_validate(spec.budget.model_dump() | changes.get("budget", {}))
    spec = spec.model_copy(update={**changes, "budget": budget})
    for field, least, what in (
        ("max_trials", row.next_number, "trials created"),
        ("max_concurrent", row.running, "trials running"),
        ("max_epochs", row.spent + row.reserved, "epochs spent or promised to running trials"),
    ):
        wanted = getattr(budget, field)
        if wanted is not None and wanted < least:
            message = f"{field} must be at least {least}, the {what} already; got {wanted}"
            raise InvalidSpec(FieldError(f"/budget/{field}", "below_spent", message))
    change = StudyChange(study, row.last_seq)
    change.event(EventType.STUDY_UPDATED, None, {"changed": json.loads(json.dumps(changes))})
    change.bump(
        spec=spec.model_dump_json(),
        max_trials=spec.max_trials,
        max_running=budget.max_concurrent or MAX_TRIALS,
        max_failed=budget.max_failed,
        budget=budget.max_epochs,
    )
    change.run(tx)
    return Outcome(None, advance=study)
