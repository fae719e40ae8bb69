"""The verbs of a study: create, start, pause, resume, stop, cancel, patch. One transaction script each."""

import json
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Connection, Row

from hpo.choose import resolve
from hpo.domain.errors import FieldError, InvalidSpec, InvalidState, NameTaken, NotFound, StaleRevision
from hpo.domain.events import EventType
from hpo.domain.study import STUDY_EDGES, StudyState
from hpo.lifecycle import conclude, warm_start
from hpo.lifecycle.outcome import Outcome
from hpo.schedulers.build import build_scheduler
from hpo.space.check import space_errors
from hpo.space.space import Space, problems
from hpo.spec.check import check
from hpo.spec.compatible import incompatible
from hpo.spec.confirm import confirm_errors
from hpo.spec.errors import errors_of
from hpo.spec.samplers import ManualSamplerSpec
from hpo.spec.search import MAX_TRIALS, Budget
from hpo.spec.study import EXTERNAL, StudySpec
from hpo.storage import enqueued, rungs
from hpo.storage.change import StudyChange
from models.catalog import TRAINERS

SHOWN_AHEAD = 500  # trials whose brackets have their rungs from the start
# What has laid out the whole space when the study began.
FIXED_SPACE = {
    "grid": "its points are numbered, and some of them trained",
    "sobol": "its sequence fills the space it began with",
    "pbt": "the population explores the space it was drawn from",
}
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


def normalise(spec: StudySpec, *, installed: Collection[str] = ()) -> StudySpec:
    """Check the spec as a whole and fill in what chance and ``auto`` decide. ``installed``: see hpo.spec.check.

    Raises InvalidSpec naming every wrong field.
    """
    _refuse([*incompatible(spec), *check(spec, installed=installed), *space_errors(spec)])
    if spec.sampler.seed is None:
        seeded = spec.sampler.model_copy(update={"seed": secrets.randbelow(2**31)})
        spec = spec.model_copy(update={"sampler": seeded})
    if (
        isinstance(spec.chosen_sampler, ManualSamplerSpec)
        and spec.enqueue
        and "max_trials" not in spec.budget.model_fields_set
    ):
        # Nothing but the given configurations will be trained, unless the user asks for room for more of them.
        spec = spec.model_copy(
            update={"budget": Budget.model_validate({**spec.budget.model_dump(), "max_trials": len(spec.enqueue)})}
        )
    if len(spec.enqueue) > spec.max_trials:
        message = f"at most max_trials = {spec.max_trials} configurations can be enqueued, got {len(spec.enqueue)}"
        raise InvalidSpec(FieldError("/enqueue", "above_max_trials", message))
    spec = resolve(spec)
    _refuse(confirm_errors(spec))  # at last: a population that ``auto`` stands for has nothing to confirm
    return spec


def _refuse(errors: Sequence[FieldError]) -> None:
    if errors:
        raise InvalidSpec(*errors)


def create(
    tx: Connection,
    project: UUID,
    spec: StudySpec,
    *,
    start: bool,
    contest: UUID | None = None,
    confirms: UUID | None = None,
) -> Outcome[UUID]:
    """Store a normalised spec as a new study, of a contest or to confirm another study where these are named.

    Raises NameTaken, NotFound for an unknown study to start warm from.
    """
    earlier = None if spec.warm_start is None else warm_start.collect(tx, project, spec)
    state = StudyState.RUNNING if start else StudyState.CREATED
    budget = spec.budget
    created = tx.exec_driver_sql(
        "INSERT INTO study (id, project_id, name, state, spec, queue, priority, max_trials, max_running, max_failed,"
        " budget, earlier, contest_id, confirms, started_at) VALUES (uuidv7(), %(project)s, %(name)s, %(state)s,"
        " %(spec)s, %(queue)s, %(priority)s, %(max_trials)s, %(max_running)s, %(max_failed)s, %(budget)s, %(earlier)s,"
        " %(contest)s, %(confirms)s,"
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
            "earlier": None if earlier is None else json.dumps(earlier, allow_nan=False),
            "contest": contest,
            "confirms": confirms,
            "start": start,
        },
    ).scalar_one_or_none()
    if created is None:
        raise NameTaken(f"there is a study named {spec.name!r} already; choose another name")
    study: UUID = created
    change = StudyChange(study, 0)
    # The rungs that will be shown before anybody reaches them; the others come with their first entry.
    scheduler = build_scheduler(spec)
    for bracket in sorted({scheduler.bracket_of(number) for number in range(min(spec.max_trials, SHOWN_AHEAD))}):
        rungs.create(change.batch, study, bracket, enumerate(scheduler.ladder(bracket)))
    enqueued.add(change.batch, study, spec.enqueue)
    change.event(EventType.STUDY_UPDATED, None, {"state": state.value})
    change.flush_study()
    change.run(tx)
    return Outcome(study, advance=study if start else None)


_LOCK = """
SELECT id, name, state, state_reason, revision, spec, queue, last_seq, next_number, running, complete, spent, reserved,
  max_trials, closed, device_seconds, confirms, archived_at,
  extract(epoch FROM finished_at - started_at)::float8 AS wall_s
FROM study WHERE id = %(id)s AND project_id = %(project)s AND deleted_at IS NULL FOR NO KEY UPDATE"""


def lock(tx: Connection, project: UUID, study: UUID, *, changes: bool = True) -> Row[Any]:
    """The study's row. Raises NotFound; InvalidState if it is archived, unless the caller ``changes`` nothing of it."""
    row = tx.exec_driver_sql(_LOCK, {"id": study, "project": project}).one_or_none()
    if row is None:
        raise NotFound(f"there is no study {study}")
    if changes and row.archived_at is not None:
        raise InvalidState(f"study {row.name} is archived and takes no changes: unarchive it first")
    return row


def command(tx: Connection, project: UUID, study: UUID, verb: Verb) -> Outcome[None]:
    """Carry out a verb; repeating one that has taken effect changes nothing. Raises InvalidState, NotFound.

    Only the study's row is written: running trials learn of it from the answer to their next heartbeat or report.
    """
    row = lock(tx, project, study)
    state, target = StudyState(row.state), _TARGETS[verb]
    done = {target, StudyState.FINISHED} if verb == "stop" else {target}
    if state in done or (verb == "stop" and state is StudyState.FAILED and row.state_reason == "user"):
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
    if target is StudyState.CANCELLED:
        conclude.conclude(tx, study)
    return Outcome(None, advance=study)


SPACE = ("search_space", "forbidden", "space_constraints")


def patch(
    tx: Connection, project: UUID, study: UUID, changes: dict[str, Any], *, revision: int | None
) -> Outcome[None]:
    """Change budget, labels, description or the search space. ``changes["budget"]`` holds only the fields that change.

    Trials that exist keep their params; the sampler goes on in the new space and still learns from them.
    Raises StaleRevision if ``revision`` is given and not the current one, InvalidSpec if a bound would fall below
    what is spent or running already or the space does not fit the study, NotFound.
    """
    row = lock(tx, project, study)
    check_revision(row, revision)
    edit = edited(row, changes)
    change = StudyChange(study, row.last_seq)
    change.event(EventType.STUDY_UPDATED, None, edit.told)
    change.bump(**edit.columns)
    change.run(tx)
    return Outcome(None, advance=study)


def check_revision(row: Row[Any], revision: int | None) -> None:
    """Raises StaleRevision if ``revision`` is given and not the study's current one."""
    if revision is not None and revision != row.revision:
        raise StaleRevision(f"the study is at revision {row.revision}, If-Match said {revision}")


@dataclass(frozen=True, slots=True)
class Edit:
    """A changed spec, the columns of the study that follow from it, and what its event tells."""

    spec: StudySpec
    columns: dict[str, Any]
    told: dict[str, Any]


def edited(row: Row[Any], changes: dict[str, Any]) -> Edit:
    """The spec of a locked study with ``changes``, of which ``budget`` holds only the fields that change.

    Raises InvalidSpec naming every wrong field.
    """
    _refuse([*_fixed_errors(row, changes)])
    stored = StudySpec.model_validate(row.spec)
    budget = {**row.spec["budget"], **changes.get("budget", {})}
    spec = _valid({**row.spec, **changes, "budget": budget})
    _refuse([*_budget_errors(row, spec), *_space_edit_errors(stored, spec, changes)])
    if "max_trials" in changes.get("budget", {}) or any(name in changes for name in SPACE):
        _refuse(confirm_errors(spec))
    before = {name: row.spec[name] for name in changes if name != "budget"}
    if "budget" in changes:
        before["budget"] = {name: row.spec["budget"].get(name) for name in changes["budget"]}
    new = spec.model_dump(mode="json")
    changed = {name: new[name] for name in before}
    if "budget" in changes:
        changed["budget"] = {name: new["budget"][name] for name in changes["budget"]}
    columns = {
        "spec": json.dumps(new, allow_nan=False),
        "max_trials": max(spec.max_trials, row.next_number),
        "max_running": spec.budget.max_concurrent or MAX_TRIALS,
        "max_failed": spec.budget.max_failed,
        "budget": spec.budget.max_epochs,
    }
    return Edit(spec, columns, {"changed": changed, "before": before})


def _valid(data: dict[str, Any]) -> StudySpec:
    try:
        return StudySpec.model_validate(data)
    except ValidationError as error:
        raise InvalidSpec(*errors_of(error, data)) from error


def _fixed_errors(row: Row[Any], changes: dict[str, Any]) -> Iterator[FieldError]:
    """What a study that confirms was given with its trials, which are decided from its start."""
    if row.confirms is None:
        return
    message = "the trials of a study that confirms another are decided: change labels, description or max_concurrent"
    for name in SPACE:
        if name in changes:
            yield FieldError(f"/{name}", "confirming", message)
    for name in changes.get("budget", {}):
        if name != "max_concurrent":
            yield FieldError(f"/budget/{name}", "confirming", message)


def _budget_errors(row: Row[Any], spec: StudySpec) -> Iterator[FieldError]:
    for field, least, what in (
        ("max_trials", row.next_number, "trials created"),
        ("max_concurrent", row.running, "trials running"),
        ("max_epochs", row.spent + row.reserved, "epochs spent or promised to running trials"),
    ):
        wanted = getattr(spec.budget, field)
        if wanted is not None and wanted < least:
            message = f"{field} must be at least {least}, the {what} already; got {wanted}"
            yield FieldError(f"/budget/{field}", "below_spent", message)


def _space_edit_errors(old: StudySpec, new: StudySpec, changes: dict[str, Any]) -> Iterator[FieldError]:
    edited = next((name for name in SPACE if name in changes), None)
    if edited is None:
        return
    for kind, chosen in (("sampler", new.chosen_sampler), ("scheduler", new.chosen_scheduler)):
        if chosen is not None and chosen.type in FIXED_SPACE:
            message = f"the space of a study with {kind} {chosen.type} cannot be edited: {FIXED_SPACE[chosen.type]}"
            yield FieldError(f"/{edited}", "space_is_fixed", message)
    known = {param.name for param in old.search_space}
    for index, param in enumerate(new.search_space):
        if param.name not in known and param.type != "fixed" and param.default is None:
            message = f"{param.name!r} is new: give the default that the trials so far count as having had"
            yield FieldError(f"/search_space/{index}/default", "default_missing", message)
    # Whether its trainer is allowed was decided when the study was created.
    found = check(new, installed=() if old.trainer.name in TRAINERS else (old.trainer.name,))
    yield from (*incompatible(new), *found, *space_errors(new))


def enqueue(tx: Connection, project: UUID, study: UUID, params: dict[str, Any], *, repeat: int) -> Outcome[int]:
    """Have a configuration trained before what the sampler proposes; returns how many wait now.

    Raises InvalidSpec if the params are no point of the space or no trial may be created for them, InvalidState if the
    study has ended, NotFound.
    """
    row = lock(tx, project, study)
    if StudyState(row.state) not in (StudyState.CREATED, StudyState.RUNNING, StudyState.PAUSED):
        raise InvalidState(f"a study that is {row.state} takes no more configurations")
    if row.confirms is not None:
        raise InvalidState("a study that confirms another takes no configurations but its winners")
    spec = StudySpec.model_validate(row.spec)
    _refuse([replace(one, pointer=f"/params{one.pointer}") for one in problems(Space.of(spec), params)])
    waiting = enqueued.count(tx, study)
    room = row.max_trials - row.next_number - waiting
    if repeat > room:
        message = f"only {max(0, room)} more trials may be created: raise budget.max_trials; asked for {repeat}"
        raise InvalidSpec(FieldError("/repeat", "above_max_trials", message))
    change = StudyChange(study, row.last_seq)
    enqueued.add(change.batch, study, [params] * repeat)
    change.event(EventType.STUDY_UPDATED, None, {"enqueued": params, "repeat": repeat})
    change.flush_study()
    change.run(tx)
    return Outcome(waiting + repeat, advance=study)
