"""Studies of other programs, taken in with their trials."""

import hashlib

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from api.answers import IdempotencyKey, once
from api.deps import Parts, Writer
from api.errors import responses
from api.schemas.imports import StudyImport
from api.schemas.studies import StudyRead
from api.strict_json import StrictRoute
from api.views import study_read
from hpo.domain.errors import FieldError, InvalidSpec
from hpo.domain.trial import TrialState
from hpo.lifecycle import imports as lifecycle
from hpo.lifecycle import studies as verbs
from hpo.lifecycle.imported import ImportedTrial
from hpo.lifecycle.outcome import Outcome
from hpo.spec.study import EXTERNAL
from hpo.storage import studies as stored
from hpo.storage.idempotency import Stored
from hpo.storage.keys import audit

router = APIRouter(prefix="/studies", route_class=StrictRoute, tags=["studies"])


@router.post(
    "/import",
    status_code=201,
    response_model=StudyRead,
    responses={
        200: {"model": StudyRead, "description": "a further page of it"},
        **responses("name_taken", "invalid_state", "key_in_flight", "too_large", "idempotency_key_reused"),
    },
)
def import_study(
    body: StudyImport, request: Request, parts: Parts, caller: Writer, idempotency_key: IdempotencyKey = None
) -> Response:
    """Take in a study that has run elsewhere, a page of its trials at a time: it stands there finished.

    Nothing is decided about its trials, and the log says so. Trials that are there already are left as they are, so an
    import that broke off is begun again; another study of that name is a conflict.
    """
    if body.study.trainer.name != EXTERNAL:
        message = f"an imported study has the trainer {EXTERNAL!r}, got {body.study.trainer.name!r}"
        raise InvalidSpec(FieldError("/study/trainer/name", "not_external", message))
    try:
        spec = verbs.normalise(body.study)
    except InvalidSpec as invalid:
        raise InvalidSpec(*(FieldError(f"/study{e.pointer}", e.code, e.message) for e in invalid.errors)) from invalid
    trials = [ImportedTrial(**{**dict(one), "state": TrialState(one.state)}) for one in body.trials]
    # Of the definition as it was sent: normalising draws a seed.
    digest = hashlib.sha256(body.study.model_dump_json().encode()).hexdigest()

    def work(tx: Connection) -> tuple[Outcome[object], Stored]:
        outcome, created = lifecycle.take_in(tx, caller.project, spec, trials, source=body.source, digest=digest)
        audit(tx, caller, "study.import", spec.name, request.state.request_id)
        read = study_read(tx, stored.get(tx, caller.project, str(outcome.value)), live_s=parts.live_s)
        headers = {"ETag": f'"{read.revision}"'}
        if created:
            headers["Location"] = f"/api/v1/studies/{outcome.value}"
        return Outcome(outcome.value), Stored(201 if created else 200, headers, read.model_dump_json())

    return once(parts, caller, request, idempotency_key, body, work)
