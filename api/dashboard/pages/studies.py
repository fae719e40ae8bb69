"""P1: all studies, and what a person does to one from its row or its page."""

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from api.answers import page_token, read_token
from api.dashboard.render import FLASH, here, inside, page, url
from api.dashboard.session import Form, Viewing
from api.deps import Parts
from api.routes.studies import OrderStudies, place_of
from api.schemas.studies import Condition, StudyRead, StudyVerb
from api.views import study_reads
from hpo.domain.errors import FieldError, InvalidSpec
from hpo.domain.study import StudyState
from hpo.lifecycle import retire
from hpo.lifecycle import studies as lifecycle
from hpo.lifecycle.outcome import Outcome
from hpo.spec.base import Text
from hpo.storage import studies as stored
from hpo.storage.keys import audit

router = APIRouter(include_in_schema=False)

PAGE = 25
# What can be taken back, and how the link to do so is called.
UNDO: dict[str, tuple[str, str]] = {
    "pause": ("resume", "Resume"),
    "resume": ("pause", "Pause"),
    "archive": ("unarchive", "Bring it back"),
}
# Conditions that hold a study up by being true.
HOLDS = ("TrialsFailing", "WaitingForParams", "WaitingForRung")
DONE = {
    "start": "started",
    "pause": "paused",
    "resume": "resumed",
    "stop": "stopping",
    "cancel": "cancelled",
    "archive": "archived",
    "unarchive": "back in the list",
}
Study = Annotated[str, Path(max_length=100)]


@router.get("/")
def list_studies(
    request: Request,
    parts: Parts,
    who: Viewing,
    state: Annotated[list[StudyState | Literal[""]] | None, Query()] = None,  # "" is the form's "any"
    label: Annotated[Text, Query(max_length=300)] = "",
    name: Annotated[Text, Query(max_length=100)] = "",
    archived: bool = False,
    order_by: OrderStudies = "-updated_at",
    after: Annotated[str | None, Query(max_length=1000)] = None,
) -> Response:
    """Studies, newest change first, and what keeps those that run from moving."""
    states = [StudyState(one) for one in state or [] if one]
    labels = dict([label.split(":", 1)]) if ":" in label else {}
    order: stored.OrderBy = order_by.removeprefix("-")  # type: ignore[assignment]
    filters: dict[str, Any] = {
        "states": sorted(one.value for one in states),
        "labels": labels,
        "part": name or None,
        "archived": archived,
        "descending": order_by.startswith("-"),
    }
    token = read_token({**filters, "order": order}, after)
    key = None if token is None else place_of(token, order)

    def work(tx: Connection) -> tuple[list[StudyRead], str | None]:
        rows = stored.page(tx, who.caller.project, **filters, order=order, after=key, limit=PAGE + 1)
        reads = study_reads(tx, rows[:PAGE], live_s=parts.live_s)
        if len(rows) <= PAGE:
            return reads, None
        last = rows[PAGE - 1]
        return reads, page_token({**filters, "order": order}, (getattr(last, order), last.id))

    studies, token_after = parts.db.read(work)
    return page(
        request,
        "studies.html",
        who,
        studies=studies,
        warnings=_warnings(studies),
        next_page=None if token_after is None else here(request, after=token_after),
        filtered=bool(states or label or name or after or archived),
        states=list(StudyState),
        chosen=set(states),
        label=label,
        name=name,
        archived=archived,
        order_by=order_by,
        done=progress,
    )


def progress(study: StudyRead) -> tuple[int, int]:
    """How many trials of a study have ended, and how many there may be."""
    counts = study.counts
    return counts.complete + counts.pruned + counts.failed + counts.cancelled, study.max_trials


def _warnings(studies: list[StudyRead]) -> list[tuple[Condition, list[str]]]:
    """What keeps running studies from moving, each reason once, with the studies that it holds."""
    found: dict[str, tuple[Condition, list[str]]] = {}
    for study in studies:
        for one in study.conditions if study.state is StudyState.RUNNING else ():
            if not one.status or one.type in HOLDS:
                found.setdefault(one.message, (one, []))[1].append(study.name)
    return list(found.values())


def act(request: Request, parts: Parts, form: Form, study: str, verb: StudyVerb) -> Response:
    """Carry out a verb and go back to where the form was, which says so and offers to undo it."""

    def work(tx: Connection) -> Outcome[None]:
        study_id = stored.resolve(tx, form.caller.project, study)
        if verb == "archive" or verb == "unarchive":
            outcome = retire.archive(tx, form.caller.project, study_id, archived=verb == "archive")
        else:
            outcome = lifecycle.command(tx, form.caller.project, study_id, verb)
        audit(tx, form.caller, f"study.{verb}", str(study_id), request.state.request_id)
        return outcome

    parts.ring(parts.db.write(work))
    undo = UNDO.get(verb)
    link = None if undo is None else {"action": f"/studies/{study}/{undo[0]}", "label": undo[1]}
    return back(request, form, f"{study} is {DONE[verb]}.", to=f"/studies/{study}", undo=link)


def back(request: Request, form: Form, text: str, *, to: str, undo: dict[str, str] | None = None) -> Response:
    """The page that the form came from (its field ``next``), else ``to``; it shows ``text`` once."""
    response = RedirectResponse(inside(form.text("next"), url(request, to)), 303)
    said = json.dumps({"text": text[:300], "undo": undo}).encode().hex()
    path = f"{request.scope.get('root_path', '')}/"
    response.set_cookie(FLASH, said, max_age=60, path=path, httponly=True, samesite="lax")
    return response


def confirmed(form: Form, name: str) -> None:
    """Raises InvalidSpec unless the name was typed: what follows cannot be undone."""
    if form.text("confirm") != name:
        raise InvalidSpec(
            FieldError("/confirm", "not_confirmed", f"type {name} to go on, got {form.text('confirm')!r}")
        )


@router.post("/studies/{study}/{verb}")
def command(request: Request, parts: Parts, form: Form, study: Study, verb: StudyVerb) -> Response:
    """Start, pause, resume, stop, archive, unarchive; cancel asks for the study's name."""
    if verb == "cancel":
        confirmed(form, study)
    return act(request, parts, form, study, verb)
