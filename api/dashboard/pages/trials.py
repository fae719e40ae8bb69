"""P4: the trials of a study as a table: filtered, sorted and paged by the database, with what is done to several."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from sqlalchemy import Connection
from starlette.datastructures import FormData

from api.dashboard.heading import heading
from api.dashboard.pages.studies import Study, back
from api.dashboard.render import HEADERS, here, page, url
from api.dashboard.session import Form, Posted, Viewing
from api.dashboard.trial_query import Asked, Found
from api.dashboard.trial_table import MAX_COLUMNS, columns, lines, usual
from api.deps import Parts
from api.exports.lines import Export, trial_line
from api.exports.tables import csv_lines
from api.routes.exports import MEDIA
from api.schemas.exports import TrialLine
from hpo.domain.errors import FieldError, InvalidSpec, InvalidState, LadderError, NotFound
from hpo.domain.trial import TrialState
from hpo.lifecycle import studies as lifecycle
from hpo.lifecycle import trials as verbs
from hpo.lifecycle.outcome import Outcome
from hpo.storage import studies, trials
from hpo.storage.keys import audit

router = APIRouter(include_in_schema=False)

PAGE = 50
EXPORTED = 1_000  # trials a transaction
MAX_CHOSEN = 100
MAX_TRAIL = 10  # pages before this one that the address remembers
DONE = {"stop": "Stopped", "retry": "Queued again", "enqueue": "Enqueued copies of"}
OPS = {"le": "≤", "ge": "≥", "lt": "<", "gt": ">", "eq": "=", "ne": "≠"}
Texts = Annotated[list[Annotated[str, Query(max_length=1000)]] | None, Query(max_length=200)]
States = Annotated[list[TrialState] | None, Query()]
RungText = Annotated[str, Query(max_length=4, pattern=r"^\d*$")]
Order = Annotated[str, Query(max_length=110)]


@router.get("/studies/{study}/trials")
def list_trials(
    request: Request,
    parts: Parts,
    who: Viewing,
    study: Study,
    state: Annotated[list[TrialState | Literal[""]] | None, Query()] = None,
    rung: RungText = "",
    where: Texts = None,
    order_by: Order = "",
    col: Texts = None,
    after: Annotated[str | None, Query(max_length=2000)] = None,
    trail: Annotated[list[str] | None, Query(max_length=MAX_TRAIL)] = None,
    field: Annotated[str, Query(max_length=110)] = "",
    op: Literal["lt", "le", "eq", "ne", "ge", "gt"] = "le",
    value: Annotated[str, Query(max_length=600)] = "",
) -> Response:
    """Trials, the best first unless asked otherwise."""
    states = [TrialState(one) for one in state or [] if one]
    if "value" in request.query_params:  # from the form: its condition becomes one of those in the address
        more = [*(where or []), *([f"{field}:{op}:{value}"] if field and value else [])]
        kept = {"state": [one.value for one in states], "rung": rung, "where": list(dict.fromkeys(more)), "col": col}
        return RedirectResponse(url(request, f"/studies/{study}/trials", order_by=order_by, **kept), 303)

    def work(tx: Connection) -> dict[str, Any]:
        head = heading(tx, parts, who.caller, study)
        spec = head.study
        asked = Asked.of(spec, states=states, rung=rung, where=where or [], order_by=order_by)
        known = columns(spec)
        chosen = [known[key] for key in (col or usual(spec)) if key in known][:MAX_COLUMNS]
        found = asked.page(tx, spec.id, after, limit=PAGE)
        metrics = studies.newest_metrics(tx, [row.id for row in found.rows])
        return {
            "head": head,
            "asked": asked,
            "found": found,
            "of": asked.count(spec.counts),
            "known": known,
            "chosen": chosen,
            "lines": list(lines(found.rows, metrics, spec, chosen)),
            "rungs": len({one.rung for one in studies.rung_table(tx, spec.id)}),
        }

    shown = parts.db.read(work)
    behind = trail or []
    asked: Asked = shown["asked"]
    return page(
        request,
        "trials.html",
        who,
        tab="trials",
        states=list(TrialState),
        ops=OPS,
        chips=[(words(text), _without(request, asked, text)) for text in asked.where],
        filtered=bool(states or rung or where),
        previous=here(request, after=behind[-1] or None, trail=behind[:-1]) if behind else None,
        onward=here(request, after=shown["found"].next_token, trail=[*behind, after or ""][-MAX_TRAIL:]),
        own_columns=bool(col),
        exports=[(kind.upper(), _export(request, asked, study, kind)) for kind in ("csv", "jsonl")],
        **shown,
    )


def words(where: str) -> str:
    """A condition as people write it."""
    field, _, rest = where.partition(":")
    op, _, value = rest.partition(":")
    return f"{field} {OPS.get(op, op)} {value}"


def _without(request: Request, asked: Asked, where: str) -> str:
    return here(request, where=[text for text in asked.where if text != where], after=None, trail=None)


def _export(request: Request, asked: Asked, study: str, kind: str) -> str:
    if not (asked.states or asked.rung is not None or asked.where):
        return url(request, f"/api/v1/studies/{study}/export", what="trials", format=kind)
    states = [one.value for one in asked.states]
    return url(request, f"/studies/{study}/trials.{kind}", state=states, rung=asked.rung, where=list(asked.where))


@dataclass(frozen=True, slots=True)
class Filtered(Export):
    """The trials of a list, by number; every page is a transaction of its own."""

    asked: Asked

    def pages(self) -> Iterator[Sequence[TrialLine]]:
        after: str | None = None
        while True:
            found, metrics = self.db.read(partial(self._page, after=after))
            yield [trial_line(row, metrics.get(row.id) or {}, self.definition) for row in found.rows]
            after = found.next_token
            if after is None:
                return

    def _page(self, tx: Connection, after: str | None) -> tuple[Found, dict[int, dict[str, Any]]]:
        found = self.asked.page(tx, self.study, after, limit=EXPORTED)
        return found, studies.newest_metrics(tx, [row.id for row in found.rows])


@router.get("/studies/{study}/trials.{kind}")
def export_trials(
    parts: Parts,
    who: Viewing,
    study: Study,
    kind: Literal["csv", "jsonl"],
    state: States = None,
    rung: RungText = "",
    where: Texts = None,
) -> Response:
    """The trials that the filters leave, as a file. Raises InvalidSpec for a filter that cannot be read."""

    def begin(tx: Connection) -> Filtered:
        row = studies.get(tx, who.caller.project, study)
        definition = parts.definitions.get(tx, row.id, revision=row.revision)
        asked = Asked.of(definition.spec, states=state or [], rung=rung, where=where or [], order_by="number")
        if asked.refused:
            raise InvalidSpec(*asked.refused)
        return Filtered(parts.db, row.id, definition, "trials", asked)

    export = parts.db.read(begin)
    content = csv_lines(export) if kind == "csv" else _json_lines(export)
    name = f"{export.definition.spec.name}-trials.{kind}"
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(content, headers=headers, media_type=MEDIA[kind])


def _json_lines(export: Export) -> Iterator[bytes]:
    for page_of_lines in export.pages():
        yield b"".join(line.model_dump_json().encode() + b"\n" for line in page_of_lines)


@router.post("/studies/{study}/trials/chosen/{verb}")
def act_on_chosen(
    request: Request,
    parts: Parts,
    form: Form,
    study: Study,
    verb: Literal["stop", "retry", "enqueue"],
    next: Annotated[str, Query(max_length=8000)] = "",
) -> Response:
    """Carry out a verb on the trials that were ticked, each by itself: one that refuses keeps no other back."""
    numbers = _chosen(form)
    study_id = parts.db.read(lambda tx: studies.resolve(tx, form.caller.project, study))
    refused: list[str] = []
    for number in numbers:
        try:
            act(request, parts, form, study_id, number, verb=verb)
        except (InvalidState, InvalidSpec, NotFound) as error:
            refused.append(_why(number, error))
    done = len(numbers) - len(refused)
    said = f"{DONE[verb]} {done} trial{'s' * (done != 1)}." if numbers else "Tick some trials first."
    if refused:
        said += f" Not {len(refused)}: {refused[0]}"
    # The form's fields are also sent to compare: where to go back to stands in the address.
    return back(request, Posted(form.viewer, FormData({"next": next})), said, to=f"/studies/{study}/trials")


def _chosen(form: Form) -> list[int]:
    """Numbers of the trials that were ticked; raises InvalidSpec for what is none."""
    given = [text.rpartition("/")[2] for text in form.fields.getlist("t") if isinstance(text, str)]
    if len(given) > MAX_CHOSEN or not all(text.isdecimal() and text.isascii() and len(text) < 10 for text in given):
        message = f"want the numbers of at most {MAX_CHOSEN} trials, got {len(given)} values"
        raise InvalidSpec(FieldError("/t", "not_trials", message))
    return sorted({int(text) for text in given})


def _why(number: int, error: LadderError) -> str:
    detail = error.errors[0].message if isinstance(error, InvalidSpec) else error.detail
    return detail if f"trial {number}" in detail else f"trial {number}: {detail}"


def act(request: Request, parts: Parts, form: Form, study: UUID, number: int, *, verb: str) -> None:
    """Stop or retry a trial, or have its params trained once more. Raises InvalidState, InvalidSpec, NotFound."""
    project = form.caller.project

    def work(tx: Connection) -> Outcome[Any]:
        outcome: Outcome[Any]
        if verb == "enqueue":
            params = trials.get(tx, study, number).params
            outcome = lifecycle.enqueue(tx, project, study, params, repeat=1)
        else:
            change = verbs.stop if verb == "stop" else verbs.retry
            outcome = change(tx, parts.definitions, project, study, number)
        audit(tx, form.caller, f"trial.{verb}", f"{study}/{number}", request.state.request_id)
        return outcome

    parts.ring(parts.db.write(work))
