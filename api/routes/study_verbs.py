"""What is done to a study as a whole: the verbs of its course, extend, clone, archive, delete."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from api.answers import IdempotencyKey, answer, once
from api.deps import Parts, Writer
from api.errors import responses
from api.routes.studies import IfMatch, Study, created, revision_of
from api.schemas.studies import CloneIn, ExtendIn, StudyDeleted, StudyRead, StudyVerb
from api.strict_json import StrictRoute
from api.views import study_read
from hpo.domain.errors import InvalidSpec
from hpo.lifecycle import retire
from hpo.lifecycle import studies as lifecycle
from hpo.lifecycle.clone import cloned, in_changes
from hpo.lifecycle.extend import extend
from hpo.lifecycle.outcome import Outcome
from hpo.storage import studies as stored
from hpo.storage.idempotency import Stored
from hpo.storage.keys import audit

router = APIRouter(prefix="/studies", route_class=StrictRoute, tags=["studies"])

Act = Callable[[Connection, UUID], Outcome[None]]
VERB_ERRORS = responses("not_found", "invalid_state", "key_in_flight", "idempotency_key_reused")


def _verb(
    parts: Parts, caller: Writer, request: Request, study: str, key: str | None, *, verb: str, body: Any, act: Act
) -> Response:
    """Do something to a study, once for each key, and answer with the study."""

    def work(tx: Connection) -> tuple[Outcome[None], Stored]:
        study_id = stored.resolve(tx, caller.project, study)
        outcome = act(tx, study_id)
        audit(tx, caller, f"study.{verb}", str(study_id), request.state.request_id)
        read = study_read(tx, stored.get(tx, caller.project, str(study_id)), live_s=parts.live_s)
        return outcome, Stored(200, {"ETag": f'"{read.revision}"'}, read.model_dump_json())

    return once(parts, caller, request, key, body, work)


def _command(verb: StudyVerb, description: str) -> None:
    """Add the route of a verb: one each, so that what is no verb is no path."""

    @router.post(
        f"/{{study}}/{verb}",
        response_model=StudyRead,
        responses=VERB_ERRORS,
        name=f"{verb}_study",
        description=f"{description} Repeating it changes nothing.",
    )
    def command_study(
        study: Study, request: Request, parts: Parts, caller: Writer, idempotency_key: IdempotencyKey = None
    ) -> Response:
        def act(tx: Connection, study_id: UUID) -> Outcome[None]:
            if verb == "archive" or verb == "unarchive":
                return retire.archive(tx, caller.project, study_id, archived=verb == "archive")
            return lifecycle.command(tx, caller.project, study_id, verb)

        return _verb(parts, caller, request, study, idempotency_key, verb=verb, body=None, act=act)


_command("start", "Start a study that was created with `start: false`.")
_command("pause", "Checkpoint what runs, free the devices, keep everything.")
_command("resume", "Go on with a paused study.")
_command("stop", "Begin nothing new; what runs ends at its rung.")
_command("cancel", "End it now; running trials are dropped.")
_command("archive", "Leave an ended study out of lists; it takes no changes then.")
_command("unarchive", "Bring an archived study back.")


@router.post("/{study}/extend", response_model=StudyRead, responses=VERB_ERRORS)
def extend_study(
    study: Study,
    body: ExtendIn,
    request: Request,
    parts: Parts,
    caller: Writer,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Raise the bounds of a study; a finished one runs again from where it was, and is confirmed anew when it ends."""
    raised: Any = {"n_full": body.n_full} if "n_full" in body.model_fields_set else {}

    def act(tx: Connection, study_id: UUID) -> Outcome[None]:
        return extend(tx, caller.project, study_id, budget=body.budget.model_dump(exclude_unset=True), **raised)

    return _verb(parts, caller, request, study, idempotency_key, verb="extend", body=body, act=act)


@router.post(
    "/{study}/clone",
    status_code=201,
    response_model=StudyRead,
    responses=responses("not_found", "name_taken", "key_in_flight", "idempotency_key_reused"),
)
def clone_study(
    study: Study,
    body: CloneIn,
    request: Request,
    parts: Parts,
    caller: Writer,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Create a study from the definition of another, with changes; nothing of its trials is taken over."""
    source = parts.db.read(lambda tx: stored.get(tx, caller.project, study))
    spec = cloned(source.spec, body.name, body.changes)
    try:
        spec = lifecycle.normalise(spec, installed=parts.settings.trainers)
    except InvalidSpec as invalid:
        raise in_changes(invalid) from invalid
    return created(parts, caller, request, idempotency_key, body=body, spec=spec, start=body.start, action="clone")


@router.delete(
    "/{study}",
    status_code=202,
    response_model=StudyDeleted,
    responses=responses("not_found", "stale_revision", "invalid_state"),
)
def delete_study(
    study: Study,
    request: Request,
    parts: Parts,
    caller: Writer,
    force: Annotated[bool, Query(description="true: cancel it first if it has not ended")] = False,
    if_match: IfMatch = None,
) -> Response:
    """Delete a study and those that confirm it. It is gone at once; its checkpoints and rows go in the background."""
    revision = revision_of(if_match)

    def work(tx: Connection) -> tuple[Outcome[None], StudyDeleted]:
        row = stored.get(tx, caller.project, study)
        outcome = retire.delete(tx, caller.project, row.id, force=force, revision=revision)
        audit(tx, caller, "study.delete", str(row.id), request.state.request_id)
        return outcome, StudyDeleted(id=row.id, name=row.name)

    outcome, deleted = parts.db.write(work)
    parts.ring(outcome)
    return answer(deleted, 202)
