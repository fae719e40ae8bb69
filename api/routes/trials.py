"""Trials of a study with their metrics, decisions and attempts."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from api.answers import IdempotencyKey, answer, once, page_token, read_token
from api.deps import Parts, Reader, Writer
from api.errors import responses
from api.schemas.leases import MAX_CLASSES
from api.schemas.studies import Enqueued, EnqueueIn
from api.schemas.trials import (
    AttemptList,
    ConfusionRead,
    DecisionList,
    MetricPage,
    Schedule,
    TrialFieldsPage,
    TrialPage,
    TrialRead,
)
from api.strict_json import StrictRoute
from api.trial_filters import FIELDS, ORDER_BY, WHERE, Filter, condition, fields, order
from api.views import attempt_read, confusion_read, decision_reads, metric_read, schedule, trial_read
from hpo.domain.errors import Malformed, NotFound
from hpo.domain.trial import TrialState
from hpo.lifecycle import studies as lifecycle
from hpo.lifecycle import trials as single
from hpo.lifecycle.outcome import Outcome
from hpo.storage import reports, studies
from hpo.storage import trials as stored
from hpo.storage.idempotency import Stored
from hpo.storage.keys import audit

router = APIRouter(prefix="/studies/{study}/trials", route_class=StrictRoute, tags=["trials"])

Study = Annotated[str, Path(description="id or name of the study", max_length=100)]
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
PageSize = Annotated[int, Query(ge=1, description="coerced to 1000")]
PageToken = Annotated[str | None, Query(alias="page_token", max_length=1000)]


@router.get("", response_model=TrialPage | TrialFieldsPage, responses=responses("not_found"))
def list_trials(
    study: Study,
    parts: Parts,
    caller: Reader,
    state: Annotated[list[TrialState] | None, Query()] = None,
    rung: Annotated[int | None, Query(ge=0, le=1000, description="index of the highest rung reached")] = None,
    where: Annotated[list[Filter] | None, Query(description=WHERE)] = None,
    order_by: Annotated[str, Query(max_length=200, description=ORDER_BY)] = "number",
    fields_: Annotated[str | None, Query(alias="fields", max_length=1000, description=FIELDS)] = None,
    page_size: PageSize = 50,
    page_token_: PageToken = None,
) -> Response:
    """Trials in the order asked for; those without what they are ordered by come last."""
    size = min(page_size, 1000)
    filters = {"study": study, "state": sorted(state or []), "rung": rung, "where": where, "order_by": order_by}
    token = read_token(filters, page_token_)
    wanted = None if fields_ is None else fields(fields_)
    study_id = parts.names.resolve(parts.db, caller.project, study)
    definition = parts.db.read(lambda tx: parts.definitions.get(tx, study_id))
    by = order(order_by, definition.spec)
    if token is not None and not stored.is_key(token, by):
        raise Malformed("page_token is not one that this API gave")
    rows = parts.db.read(
        lambda tx: stored.page(
            tx,
            study_id,
            states=[one.value for one in state or []],
            rung=rung,
            where=[condition(text, definition.spec) for text in where or []],
            order=by,
            after=None if token is None else tuple(token),
            limit=size + 1,
        )
    )
    next_token = page_token(filters, stored.key_of(rows[size - 1], by)) if len(rows) > size else None
    items = [trial_read(row, definition) for row in rows[:size]]
    if wanted is None:
        return answer(TrialPage(items=items, next_page_token=next_token))
    some = [item.model_dump(mode="json", include=set(wanted)) for item in items]
    return answer(TrialFieldsPage(items=some, next_page_token=next_token))


@router.post(
    "",
    status_code=201,
    response_model=Enqueued,
    responses=responses("not_found", "invalid_state", "key_in_flight", "idempotency_key_reused"),
)
def enqueue(
    study: Study,
    body: EnqueueIn,
    request: Request,
    parts: Parts,
    caller: Writer,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Have a configuration trained before what the sampler proposes; its params are checked against the space."""
    study_id = parts.names.resolve(parts.db, caller.project, study)

    def work(tx: Connection) -> tuple[Outcome[int], Stored]:
        outcome = lifecycle.enqueue(tx, caller.project, study_id, body.params, repeat=body.repeat)
        audit(tx, caller, "study.enqueue", str(study_id), request.state.request_id)
        return outcome, Stored(201, {}, Enqueued(waiting=outcome.value).model_dump_json())

    return once(parts, caller, request, idempotency_key, body, work)


@router.get("/{number}", response_model=TrialRead, responses=responses("not_found"))
def get_trial(study: Study, number: Number, parts: Parts, caller: Reader) -> Response:
    """One trial."""
    study_id = parts.names.resolve(parts.db, caller.project, study)
    return answer(
        parts.db.read(lambda tx: trial_read(stored.get(tx, study_id, number), parts.definitions.get(tx, study_id)))
    )


def _verb(verb: Literal["stop", "retry"], description: str) -> None:
    """Add the route of something that a person does to one trial."""

    @router.post(
        f"/{{number}}/{verb}",
        response_model=TrialRead,
        responses=responses("not_found", "invalid_state", "key_in_flight", "idempotency_key_reused"),
        name=f"{verb}_trial",
        description=description,
    )
    def command_trial(
        study: Study,
        number: Number,
        request: Request,
        parts: Parts,
        caller: Writer,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        study_id = parts.names.resolve(parts.db, caller.project, study)
        act = single.stop if verb == "stop" else single.retry

        def work(tx: Connection) -> tuple[Outcome[None], Stored]:
            outcome = act(tx, parts.definitions, caller.project, study_id, number)
            audit(tx, caller, f"trial.{verb}", f"{study_id}/{number}", request.state.request_id)
            read = trial_read(stored.get(tx, study_id, number), parts.definitions.get(tx, study_id))
            return outcome, Stored(200, {}, read.model_dump_json())

        return once(parts, caller, request, idempotency_key, None, work)


_verb(
    "stop",
    "End a trial with the result it has: a running one with its next heartbeat or report, one that waits at once. One"
    " that has ended stays as it is.",
)
_verb(
    "retry",
    "Queue a failed or cancelled trial again, ahead of new ones, from its last good checkpoint. The study must be"
    " running or paused.",
)


@router.get("/{number}/metrics", response_model=MetricPage, responses=responses("not_found"))
def get_metrics(
    study: Study,
    number: Number,
    parts: Parts,
    caller: Reader,
    name: Annotated[list[str] | None, Query(description="only these metrics")] = None,
    after_step: Annotated[int, Query(ge=0, le=10**9)] = 0,
    page_size: PageSize = 1000,
    page_token_: PageToken = None,
) -> Response:
    """The accepted metrics of each step, rising in step; past ``after_step``."""
    size = min(page_size, 1000)
    filters = {"study": study, "number": number, "name": sorted(name or []), "after_step": after_step}
    match read_token(filters, page_token_):
        case None:
            after = after_step
        case [int(step)] if 0 < step <= 10**9:
            after = step
        case _:
            raise Malformed("page_token is not one that this API gave")
    study_id = parts.names.resolve(parts.db, caller.project, study)
    rows = parts.db.read(
        lambda tx: stored.metrics(tx, stored.get(tx, study_id, number).id, after_step=after, limit=size + 1)
    )
    items = [metric_read(row) for row in rows[:size]]
    for item in items if name else []:
        item.metrics = {key: value for key, value in item.metrics.items() if key in (name or [])}
        item.non_finite = {key: value for key, value in item.non_finite.items() if key in (name or [])}
    next_token = page_token(filters, (items[-1].step,)) if len(rows) > size else None
    return answer(MetricPage(items=items, next_page_token=next_token))


@router.get("/{number}/confusion", response_model=ConfusionRead, responses=responses("not_found"))
def get_confusion(
    study: Study,
    number: Number,
    parts: Parts,
    caller: Reader,
    step: Annotated[int | None, Query(ge=1, le=10**9, description="the newest that has one if not given")] = None,
) -> Response:
    """How the validation images of a step were classified; known at rungs and at a trial's end."""
    study_id = parts.names.resolve(parts.db, caller.project, study)

    def work(tx: Connection) -> ConfusionRead:
        found = reports.find_confusion(tx, stored.get(tx, study_id, number).id, step=step)
        if found is None:
            at = "" if step is None else f" at step {step}"
            raise NotFound(
                f"trial {number} has no confusion matrix{at}: trainers of up to {MAX_CLASSES} classes report one at"
                " each rung and at the trial's end"
            )
        return confusion_read(found, studies.get(tx, caller.project, str(study_id)).class_names)

    return answer(parts.db.read(work))


@router.get("/{number}/decisions", response_model=DecisionList, responses=responses("not_found"))
def get_decisions(study: Study, number: Number, parts: Parts, caller: Reader) -> Response:
    """What the scheduler decided at each rung that the trial reached."""
    study_id = parts.names.resolve(parts.db, caller.project, study)

    def work(tx: Connection) -> DecisionList:
        rows = stored.decisions(tx, study_id, number, stored.get(tx, study_id, number).id)
        return DecisionList(items=decision_reads(rows, parts.definitions.get(tx, study_id)))

    return answer(parts.db.read(work))


@router.get("/{number}/schedule", response_model=Schedule, responses=responses("not_found"))
def get_schedule(study: Study, number: Number, parts: Parts, caller: Reader) -> Response:
    """With which params the trial's weights were trained from the first epoch on.

    One segment but in a population, where a trial goes on from others' checkpoints.
    """
    study_id = parts.names.resolve(parts.db, caller.project, study)

    def work(tx: Connection) -> Schedule:
        stored.get(tx, study_id, number)
        return Schedule(items=schedule(tx, study_id, number))

    return answer(parts.db.read(work))


@router.get("/{number}/attempts", response_model=AttemptList, responses=responses("not_found"))
def get_attempts(study: Study, number: Number, parts: Parts, caller: Reader) -> Response:
    """Each claim of the trial: who trained it, from where to where, how it ended, what it cost."""
    study_id = parts.names.resolve(parts.db, caller.project, study)
    rows = parts.db.read(lambda tx: stored.attempts(tx, stored.get(tx, study_id, number).id))
    return answer(AttemptList(items=[attempt_read(row) for row in rows]))
