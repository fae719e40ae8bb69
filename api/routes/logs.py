"""What the attempts of a trial printed: sent by workers under their lease, read by everybody else."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from api.answers import IdempotencyKey, answer, once, page_token, read_token
from api.deps import Parts, Reader, Trainer
from api.errors import responses
from api.schemas.logs import LogLineRead, LogPage, LogsIn, LogsOut
from api.strict_json import StrictRoute
from hpo.domain.errors import LeaseLost, Malformed, NotFound
from hpo.lifecycle.outcome import Outcome
from hpo.storage import logs, trials
from hpo.storage.idempotency import Stored

router = APIRouter(prefix="/studies/{study}/trials/{number}/logs", route_class=StrictRoute, tags=["logs"])

Study = Annotated[str, Path(description="id or name of the study", max_length=100)]
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]


@router.post(
    "",
    response_model=LogsOut,
    responses=responses("not_found", "lease_lost", "too_large", "key_in_flight", "idempotency_key_reused"),
)
def add_log_lines(
    study: Study,
    number: Number,
    body: LogsIn,
    request: Request,
    parts: Parts,
    caller: Trainer,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Store lines that an attempt printed, under its lease. Repeating the request stores nothing twice.

    Of each attempt the newest 2,000 lines and 1 MB are kept.
    """
    study_id = parts.names.of_lease(parts.db, caller.project, study)
    lines = [logs.Line(one.position, one.at, one.stream, one.text) for one in body.lines]

    def work(tx: Connection) -> tuple[Outcome[None], Stored]:
        of = logs.attempt_of(tx, caller.project, study_id, number, body.lease)
        if of is None:
            trials.get(tx, study_id, number)
            raise LeaseLost(f"the lease is not of trial {number}, or its attempt ended over an hour ago")
        out = LogsOut(attempt=of[1], stored=logs.add(tx, *of, lines))
        return Outcome(None), Stored(200, {}, out.model_dump_json())

    return once(parts, caller, request, idempotency_key, body, work)


@router.get("", response_model=LogPage, responses=responses("not_found"))
def get_log_lines(
    study: Study,
    number: Number,
    parts: Parts,
    caller: Reader,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="default: the newest")] = None,
    tail: Annotated[int, Query(ge=1, le=2000, description="the newest so many; with `after` the size of a page")] = 500,
    after: Annotated[int | None, Query(ge=0, le=2**62, description="only lines past this position, to follow")] = None,
    page_token_: Annotated[str | None, Query(alias="page_token", max_length=1000)] = None,
) -> Response:
    """What one attempt of a trial printed. Follow it by asking again with `after` = the last line's position."""
    study_id = parts.names.resolve(parts.db, caller.project, study)
    filters = {"study": study_id, "number": number, "attempt": attempt, "tail": tail}
    token = read_token(filters, page_token_)
    past = after if token is None else _position(token)

    def work(tx: Connection) -> LogPage:
        trial = trials.get(tx, study_id, number)
        chosen = attempt or trial.attempt
        ended = logs.has_ended(tx, trial.id, chosen)
        if ended is None:
            if attempt is not None:
                raise NotFound(f"trial {number} has no attempt {attempt}, its newest is {trial.attempt}")
            return LogPage(items=[], attempt=None, attempts=0, cut=0, ended=False)
        if past is None:
            rows, more = logs.tail(tx, trial.id, chosen, limit=tail), False
        else:
            rows = logs.after(tx, trial.id, chosen, past, limit=tail + 1)
            rows, more = rows[:tail], len(rows) > tail
        first = logs.first_position(tx, trial.id, chosen)
        return LogPage(
            items=[LogLineRead.model_validate(row._asdict()) for row in rows],
            next_page_token=page_token(filters, (rows[-1].position,)) if more else None,
            attempt=chosen,
            attempts=trial.attempt,
            cut=0 if first is None else first - 1,
            ended=ended,
        )

    return answer(parts.db.read(work))


def _position(token: list[Any]) -> int:
    if len(token) != 1 or not isinstance(token[0], int) or not 0 <= token[0] <= 2**62:
        raise Malformed("page_token is not one that this API gave")
    return token[0]
