"""A study to take away: its trials, their curves or its decisions as CSV, JSON Lines or Parquet; or for Optuna."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection

from api.deps import Parts, Reader
from api.errors import responses
from api.exports.lines import Export, What
from api.exports.tables import csv_lines, parquet_lines
from api.schemas.exports import DecisionLine, MetricLine, TrialLine
from hpo.domain.errors import FieldError, InvalidSpec
from hpo.storage import studies

router = APIRouter(prefix="/studies/{study}", tags=["exports"])

Study = Annotated[str, Path(description="id or name of the study", max_length=100)]
Format = Literal["csv", "jsonl", "parquet", "optuna"]
MEDIA = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "optuna": "application/x-ndjson",
}
_ENDS = {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet", "optuna": "optuna.jsonl"}


class Exported(StreamingResponse):
    """Streamed; its media type goes by the format."""

    media_type = "application/x-ndjson"


@router.get(
    "/export",
    response_class=Exported,
    responses={
        200: {
            "model": TrialLine | MetricLine | DecisionLine,
            "description": "a file; as JSON Lines, one of these a line",
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        **responses("not_found"),
    },
)
def export_study(
    study: Study,
    parts: Parts,
    caller: Reader,
    what: Annotated[What, Query(description="metrics: every step of every trial")] = "trials",
    format: Annotated[
        Format, Query(description="optuna: a journal for Optuna's JournalStorage, of trials only")
    ] = "csv",
) -> Response:
    """The whole study as one file, streamed. A running study's is read while it changes: a trial stands in it once."""

    def begin(tx: Connection) -> Export:
        row = studies.get(tx, caller.project, study)
        return Export(parts.db, row.id, parts.definitions.get(tx, row.id), what)

    export = parts.db.read(begin)
    content = _WRITERS[format](export)
    first = next(content, b"")  # what fails by now is answered as an error
    name = f"{export.definition.spec.name}-{what}.{_ENDS[format]}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(chain((first,), content), headers=headers, media_type=MEDIA[format])


def _json_lines(export: Export) -> Iterator[bytes]:
    for lines in export.pages():
        yield b"".join(line.__pydantic_serializer__.to_json(line) + b"\n" for line in lines)


def _journal(export: Export) -> Iterator[bytes]:
    if export.what != "trials":
        message = f"optuna takes trials, with their curves; what must be trials, got {export.what}"
        raise InvalidSpec(FieldError("/query/what", "not_of_format", message))
    from api.exports.journal import journal_lines  # here: Optuna takes half a second to import

    return journal_lines(export)


_WRITERS: dict[Format, Callable[[Export], Iterator[bytes]]] = {
    "csv": csv_lines,
    "jsonl": _json_lines,
    "parquet": parquet_lines,
    "optuna": _journal,
}
