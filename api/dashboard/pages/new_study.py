"""P2: a new study, by a form or as YAML, with what would come of it; created as POST /api/v1/studies does."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlalchemy import Connection

from api.answers import once
from api.dashboard.render import HERE, page, url
from api.dashboard.session import Form, Viewer, Viewing
from api.dashboard.spec_form import draw, text_of
from api.dashboard.spec_parts import BLANK, Json
from api.dashboard.spec_sent import change, parse
from api.dashboard.spec_text import dumped
from api.deps import Parts, Services
from api.registry_views import trainers
from api.schemas.studies import StudyCreate
from api.strict_json import loads
from api.views import study_read
from hpo.domain.errors import FieldError, InvalidSpec, LadderError, Malformed, NameTaken, NotFound
from hpo.lifecycle import studies as lifecycle
from hpo.lifecycle.outcome import Outcome
from hpo.plan import Plan, Spread, plan, spread
from hpo.spec.confirm import epochs_to_confirm
from hpo.spec.errors import errors_of
from hpo.spec.source import NotYaml, Source, read
from hpo.spec.study import StudySpec
from hpo.storage import studies
from hpo.storage.idempotency import Stored
from hpo.storage.keys import audit

router = APIRouter(include_in_schema=False)

STARTERS = HERE / "templates" / "starters"
MAX_TEXT = 256_000  # characters of YAML
MAX_ROWS = 40  # parameters that a form is drawn for; more are edited as YAML
Tab = Literal["form", "yaml"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would come of a study. ``spread`` is simulated, which takes a while: only where it is asked for."""

    plan: Plan
    spread: Spread | None
    confirm_epochs: int | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A specification as it was sent, and what is wrong with it or what would come of it."""

    data: Json
    body: StudyCreate | None = None
    spec: StudySpec | None = None
    outlook: Outlook | None = None
    errors: Sequence[FieldError] = ()


@cache
def starters() -> dict[str, tuple[str, str]]:
    """Specifications to begin with, by name: what they are for, and their YAML."""
    found = {}
    for file in sorted(STARTERS.glob("*.yaml")):
        first, _, rest = file.read_text().partition("\n")
        found[file.stem] = (first.lstrip("# "), rest)
    return found


@router.get("/studies/new")
def show_form(
    request: Request,
    parts: Parts,
    who: Viewing,
    tab: Tab = "form",
    clone: Annotated[str, Query(max_length=100)] = "",
    template: Annotated[str, Query(max_length=100)] = "digits",
) -> Response:
    """Begins with a study to clone, or a template. Raises NotFound."""
    if clone:
        text = parts.db.read(lambda tx: _to_clone(tx, who.caller.project, clone))
    elif template in starters():
        text = starters()[template][1]
    else:
        raise NotFound(f"there is no template {template!r}; there are {', '.join(starters())}")
    data = read(text).data
    return _draw(request, parts, who, tab, _judge(parts, data), text=text, template="" if clone else template)


def _to_clone(tx: Connection, project: UUID, ref: str) -> str:
    row = studies.get(tx, project, ref)
    spec = dict(row.spec)
    for name in ("sampler", "scheduler"):  # what ``auto`` had picked is picked anew
        spec[name] = {entry: value for entry, value in spec[name].items() if entry not in ("picked", "why")}
    return dumped({**spec, "name": f"{row.name[:90]}-copy"})


def _judge(parts: Services, data: Any, errors: Sequence[FieldError] = (), *, simulate: bool = False) -> Judged:
    """Whether a study could be made of it; ``errors`` were found before."""
    if not isinstance(data, dict):
        wanted = FieldError("", "not_an_object", f"want a mapping of fields, got {type(data).__name__}")
        return Judged({}, errors=[*errors, wanted])
    try:
        clean = loads(json.dumps(data).encode())
        body = StudyCreate.model_validate(clean)
        spec = lifecycle.normalise(body.to_spec(), installed=parts.settings.trainers)
        around = spread(spec, workers=1) if simulate else None
        outlook = Outlook(plan(spec), around, epochs_to_confirm(spec))
    except ValidationError as error:
        return Judged(data, errors=_first_of_each([*errors, *errors_of(error, clean)]))
    except InvalidSpec as error:
        return Judged(data, errors=_first_of_each([*errors, *error.errors]))
    return Judged(data, None if errors else body, None if errors else spec, outlook, errors)


def _first_of_each(errors: Sequence[FieldError]) -> list[FieldError]:
    return list({error.pointer: error for error in reversed(errors)}.values())[::-1]


@router.post("/studies/new")
@router.post("/studies/new/dry-run")
def send_form(request: Request, parts: Parts, form: Form) -> Response:
    """Check what was sent, change its rows or create the study, as the button says; a dry run only checks."""
    tab: Tab = "yaml" if form.text("tab") == "yaml" else "form"
    do, text = form.text("do"), form.text("yaml").replace("\r\n", "\n")
    asked = do == "validate"
    source: Source | None = None
    if tab == "yaml":
        judged, source = _read_yaml(parts, text, simulate=asked)
    else:
        judged = _read_form(parts, form, simulate=asked)
    if do.startswith(("add:", "remove:")) and tab == "form":
        change(judged.data, do)
        judged = _judge(parts, judged.data)
    if do == "yaml":
        tab, text = "yaml", text_of(judged.data)
        judged, source = _read_yaml(parts, text)
    elif do == "form" and not judged.errors:
        tab = "form"
    refused: LadderError | None = None
    creates = do in ("create", "create-paused") and not request.url.path.endswith("/dry-run")
    if creates and judged.spec is not None and judged.body is not None:
        try:
            _create(request, parts, form, judged.body, judged.spec, start=do == "create" and judged.body.start)
            return RedirectResponse(url(request, f"/studies/{judged.spec.name}"), 303)
        except (NameTaken, NotFound) as error:
            where = "/name" if isinstance(error, NameTaken) else "/warm_start"
            judged, refused = Judged(judged.data, errors=[FieldError(where, error.code, error.detail)]), error
    status = 422 if creates and (judged.errors or refused) else 200
    shown = partial(_draw, request, parts, form.viewer, tab, judged, status=status, text=text, source=source)
    return shown(key=form.text("key"), checked=asked)


def _read_yaml(parts: Services, text: str, *, simulate: bool = False) -> tuple[Judged, Source | None]:
    if len(text) > MAX_TEXT:
        long = FieldError("", "too_long", f"at most {MAX_TEXT:,} characters, got {len(text):,}")
        return Judged({}, errors=[long]), None
    try:
        source = read(text)
    except NotYaml as error:
        at = "" if error.line is None else f"line {error.line}: "
        return Judged({}, errors=[FieldError("", "not_yaml", f"{at}{error.problem}")]), None
    return _judge(parts, source.data, simulate=simulate), source


def _read_form(parts: Services, form: Form, *, simulate: bool) -> Judged:
    items = [(name, value) for name, value in form.fields.multi_items() if isinstance(value, str)]
    data, errors = parse(items)
    extra = form.text("extra").replace("\r\n", "\n")
    if extra.strip():
        try:
            more = read(extra[:MAX_TEXT]).data
        except NotYaml as error:
            at = "" if error.line is None else f"line {error.line}: "
            more, errors = {}, [*errors, FieldError("/extra", "not_yaml", f"{at}{error.problem}")]
        if isinstance(more, dict):
            data = {**{str(name): value for name, value in more.items()}, **data}
        else:
            errors.append(FieldError("/extra", "not_an_object", "want a mapping of fields, such as labels: {team: a}"))
    return _judge(parts, data, errors, simulate=simulate)


def _create(request: Request, parts: Services, form: Form, body: StudyCreate, spec: StudySpec, *, start: bool) -> None:
    """Once for a form and its content, however often the button is pressed. Raises NameTaken, NotFound."""
    sent = body.model_copy(update={"start": start})

    def work(tx: Connection) -> tuple[Outcome[UUID], Stored]:
        outcome = lifecycle.create(tx, form.caller.project, spec, start=start)
        audit(tx, form.caller, "study.create", spec.name, request.state.request_id)
        read = study_read(tx, studies.get(tx, form.caller.project, str(outcome.value)), live_s=parts.live_s)
        return outcome, Stored(201, {"Location": f"/api/v1/studies/{outcome.value}"}, read.model_dump_json())

    given = form.text("key")[:64]
    if not (given.isascii() and given.isalnum()):
        raise Malformed("the form has lost its key: reload the page")
    digest = hashlib.sha256(sent.model_dump_json().encode()).hexdigest()[:32]
    once(parts, form.caller, request, f"form-{given}-{digest}", sent, work)


def _draw(
    request: Request,
    parts: Services,
    who: Viewer,
    tab: Tab,
    judged: Judged,
    *,
    text: str,
    source: Source | None = None,
    status: int = 200,
    template: str = "",
    key: str = "",
    checked: bool = False,
) -> Response:
    params = judged.data.get("search_space")
    too_many = isinstance(params, list) and len(params) > MAX_ROWS
    if tab == "form" and too_many:
        tab, text = "yaml", text_of(judged.data)
    entry = next((one for one in trainers(parts.settings.trainers) if one.name == _trainer(judged.data)), None)
    return page(
        request,
        "new_study.html",
        who,
        status=status,
        tab=tab,
        too_many=too_many,
        judged=judged,
        drawn=draw(judged.data, judged.errors, parts.settings.trainers) if tab == "form" else None,
        text=text,
        placed=[(source.line(one.pointer) if source else None, one) for one in judged.errors],
        starters={name: about for name, (about, _) in starters().items()},
        begun_with=template,
        key=key or secrets.token_hex(16),
        checked=checked,
        metrics=entry.metrics if entry else (),
        tunable=[one.name for one in entry.tunable] if entry else (),
        blanks=BLANK,
    )


def _trainer(data: Json) -> Any:
    trainer = data.get("trainer")
    return trainer.get("name") if isinstance(trainer, dict) else None
