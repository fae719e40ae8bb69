"""Contests: several methods on one problem at one budget, as studies, with their result as a table."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from api.answers import IdempotencyKey, answer, once, page_token, read_token
from api.contest_views import as_csv, as_markdown, contest_head, contest_read, contest_result
from api.deps import Parts, Reader, Writer
from api.errors import responses
from api.schemas.contests import ContestHead, ContestPage, ContestRead, ContestResult, ResultFormat
from api.strict_json import StrictRoute
from hpo.domain.errors import Malformed
from hpo.lifecycle import contests as lifecycle
from hpo.lifecycle.outcome import Outcome
from hpo.spec.contest import ContestSpec
from hpo.storage import contests as stored
from hpo.storage.idempotency import Stored
from hpo.storage.keys import audit

router = APIRouter(prefix="/contests", route_class=StrictRoute, tags=["contests"])

Contest = Annotated[str, Path(description="id or name of the contest", max_length=100)]


@router.post(
    "",
    status_code=201,
    response_model=ContestRead,
    responses=responses("name_taken", "key_in_flight", "too_large", "idempotency_key_reused"),
)
def create_contest(
    body: ContestSpec, request: Request, parts: Parts, caller: Writer, idempotency_key: IdempotencyKey = None
) -> Response:
    """Create a contest with all its studies, which start as soon as the transaction has committed."""
    specs = lifecycle.study_specs(body, installed=parts.settings.trainers)

    def work(tx: Connection) -> tuple[Outcome[UUID], Stored]:
        outcome = lifecycle.create(tx, caller.project, body, specs)
        audit(tx, caller, "contest.create", body.name, request.state.request_id)
        read = contest_read(tx, stored.get(tx, caller.project, str(outcome.value)))
        return outcome, Stored(201, {"Location": f"/api/v1/contests/{outcome.value}"}, read.model_dump_json())

    return once(parts, caller, request, idempotency_key, body, work)


@router.get("", response_model=ContestPage, responses=responses())
def list_contests(
    parts: Parts,
    caller: Reader,
    page_size: Annotated[int, Query(ge=1, description="coerced to 1000")] = 50,
    page_token_: Annotated[str | None, Query(alias="page_token", max_length=1000)] = None,
) -> Response:
    """Contests, newest first."""
    size = min(page_size, 1000)
    token = read_token({}, page_token_)
    after = None if token is None else _key(token)

    def work(tx: Connection) -> tuple[list[ContestHead], str | None]:
        rows = stored.page(tx, caller.project, after=after, limit=size + 1)
        states = stored.states(tx, [row.id for row in rows[:size]])
        more = len(rows) > size
        heads = [contest_head(row, states.get(row.id, ())) for row in rows[:size]]
        return heads, page_token({}, (rows[size - 1].created_at, rows[size - 1].id)) if more else None

    items, next_token = parts.db.read(work)
    return answer(ContestPage(items=items, next_page_token=next_token))


def _key(token: list[object]) -> tuple[datetime, UUID]:
    try:
        at, contest = token
        return datetime.fromisoformat(str(at)), UUID(str(contest))
    except ValueError:
        raise Malformed("page_token is not one that this API gave") from None


@router.get("/{contest}", response_model=ContestRead, responses=responses("not_found"))
def get_contest(contest: Contest, parts: Parts, caller: Reader) -> Response:
    """One contest with its studies and its result so far."""
    return answer(parts.db.read(lambda tx: contest_read(tx, stored.get(tx, caller.project, contest))))


@router.get(
    "/{contest}/result",
    response_model=ContestResult,
    responses={
        200: {"content": {"text/csv": {}, "text/markdown": {}}, "description": "the table, in the format asked for"},
        **responses("not_found"),
    },
)
def get_contest_result(
    contest: Contest,
    parts: Parts,
    caller: Reader,
    format_: Annotated[ResultFormat, Query(alias="format")] = "json",
    params: Annotated[bool, Query(description="true: with each method's best configuration")] = False,
) -> Response:
    """The table: a row per method, by mean rank. Of an unfinished contest, the table so far."""
    result = parts.db.read(lambda tx: contest_result(tx, stored.get(tx, caller.project, contest), params=params))
    if format_ == "json":
        return answer(result)
    if format_ == "md":
        return Response(as_markdown(result), media_type="text/markdown; charset=utf-8")
    headers = {"Content-Disposition": f'attachment; filename="{result.contest}.csv"'}
    return Response(as_csv(result), headers=headers, media_type="text/csv; charset=utf-8; header=present")
