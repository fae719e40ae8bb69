"""The record of a study in bulk: its curves, and the trials that it began with."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Row

from api.answers import answer
from api.deps import Parts, Reader
from api.errors import responses
from api.schemas.records import CurveRead, WarmStartRead
from hpo.spec.search import OutcomeConstraint
from hpo.storage import studies as stored
from hpo.storage import trials

router = APIRouter(prefix="/studies/{study}", tags=["records"])

Study = Annotated[str, Path(description="id or name of the study", max_length=100)]
PAGE = 100


class JsonLines(StreamingResponse):
    media_type = "application/x-ndjson"


@router.get(
    "/curves",
    response_class=JsonLines,
    responses={200: {"model": CurveRead, "description": "a line for each trial"}, **responses("not_found")},
)
def get_curves(
    study: Study,
    parts: Parts,
    caller: Reader,
    after: Annotated[int, Query(ge=-1, le=2**31 - 1, description="only trials past this number")] = -1,
) -> Response:
    """The curves of all trials by number, as JSON Lines; whose stream breaks goes on with ``after``."""
    study_id = parts.names.resolve(parts.db, caller.project, study)
    constraints = parts.db.read(lambda tx: parts.definitions.get(tx, study_id)).spec.constraints

    def page(past: int) -> Sequence[Row[Any]]:
        return parts.db.read(lambda tx: trials.curves(tx, study_id, after=past, limit=PAGE, metrics=bool(constraints)))

    # Pages by key instead of a cursor: between them no connection and no snapshot is held for a slow reader.
    def lines(rows: Sequence[Row[Any]]) -> Iterator[bytes]:
        while rows:
            yield b"".join(_line(row, constraints) for row in rows)
            rows = page(rows[-1].number) if len(rows) == PAGE else ()

    return JsonLines(lines(page(after)))  # what fails by now is answered as an error


def _line(row: Row[Any], constraints: Sequence[OutcomeConstraint]) -> bytes:
    missed = [_violation(metrics, constraints) for metrics in row.metrics] if constraints else None
    losses = row.losses
    if missed is not None:  # a trial whose constraint cannot be judged has diverged, whatever its loss
        losses = [None if one == math.inf else loss for one, loss in zip(missed, losses, strict=True)]
        missed = [None if one == math.inf else one for one in missed]
    curve = CurveRead(
        number=row.number,
        params=row.params,
        state=row.state,
        steps=row.steps,
        losses=losses,
        seconds=row.seconds,
        violations=missed,
    )
    return curve.model_dump_json().encode() + b"\n"


def _violation(metrics: dict[str, Any], constraints: Sequence[OutcomeConstraint]) -> float | None:
    """None where a metric is missing, infinite where one is not finite (which is stored as a word)."""
    missed = []
    for bound in constraints:
        value = metrics.get(bound.metric)
        if value is None:
            return None
        missed.append(math.inf if isinstance(value, str) else bound.violation(value))
    return math.fsum(missed)


@router.get("/warm-start", response_model=WarmStartRead, responses=responses("not_found"))
def get_warm_start(study: Study, parts: Parts, caller: Reader) -> Response:
    """The trials of earlier studies that the study began with: without them its suggestions cannot be derived again."""
    row = parts.db.read(lambda tx: stored.get(tx, caller.project, study))
    return answer(WarmStartRead.model_validate(row.earlier or {}))
