"""Checkpoints of a trial: listed, streamed out, and put by external trainers. They are never opened here."""

from functools import partial
from typing import Annotated, Any, BinaryIO, cast
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection

from api.answers import answer
from api.deps import Parts, Reader, ReaderOrWorker, Trainer
from api.errors import problem, responses
from api.incoming import Incoming, told_sha256
from api.ranges import Unsatisfiable, byte_range, chunks
from api.schemas.trials import ArtifactList, ArtifactRead
from api.views import artifact_read
from hpo.domain.errors import InvalidState, LeaseLost, Malformed, NotFound
from hpo.domain.report import SavedCheckpoint
from hpo.storage import leases
from hpo.storage import trials as stored
from hpo.storage.change import TrialChange

router = APIRouter(prefix="/studies/{study}/trials/{number}/artifacts", tags=["artifacts"])

Study = Annotated[str, Path(description="id or name of the study", max_length=100)]
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
Name = Annotated[str, Path(pattern=r"^step-[1-9][0-9]{0,9}\.safetensors$")]
_BYTES = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.get("", response_model=ArtifactList, responses=responses("not_found"))
def list_artifacts(study: Study, number: Number, parts: Parts, caller: Reader) -> Response:
    """Checkpoints that are in the store, newest first."""
    study_id = parts.names.resolve(parts.db, caller.project, study)
    rows = parts.db.read(lambda tx: stored.artifacts(tx, stored.get(tx, study_id, number).id))
    return answer(ArtifactList(items=[artifact_read(row) for row in rows]))


_GET: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    206: {
        "description": "the part that Range asks for",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "the bytes have the SHA-256 that stands in If-None-Match"},
    **responses("not_found", "range_not_satisfiable"),
}
_HEAD: dict[int | str, dict[str, Any]] = {
    200: {"description": "size, SHA-256 and name, without the bytes"},
    304: _GET[304],
    **responses("not_found"),
}
IfNoneMatch = Annotated[str | None, Header(max_length=1000)]


@router.get("/{name}", response_class=StreamingResponse, responses=_GET)
def get_artifact(
    study: Study,
    number: Number,
    name: Name,
    request: Request,
    parts: Parts,
    caller: ReaderOrWorker,
    range_: Annotated[str | None, Header(alias="Range", max_length=200, description="bytes=FIRST-LAST")] = None,
    if_range: Annotated[str | None, Header(max_length=200)] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The bytes of a checkpoint, or a range of them; of several attempts' the newest."""
    study_id = parts.names.resolve(parts.db, caller.project, study)
    row = _artifact(parts, study_id, number, name)
    headers, size = _headers(row, name), row.size_bytes
    if _known(row, if_none_match):
        return Response(status_code=304, headers=headers)
    whole = if_range is not None and if_range != headers["ETag"]  # it has changed since the first part was read
    try:
        part = None if whole else byte_range(range_, size)
    except Unsatisfiable:
        said = {"Content-Range": f"bytes */{size}"}
        return problem(request, "range_not_satisfiable", f"the artifact has {size} bytes", headers=said)
    file = parts.store.open(study_id, number, row.lease_id, step=row.step)
    begin, end = part or (0, size)
    headers["Content-Length"] = str(end - begin)
    if part is not None:
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    status = 200 if part is None else 206
    return StreamingResponse(chunks(file, begin, end), status, headers=headers, media_type="application/octet-stream")


@router.head("/{name}", response_class=Response, responses=_HEAD)
def head_artifact(
    study: Study, number: Number, name: Name, parts: Parts, caller: ReaderOrWorker, if_none_match: IfNoneMatch = None
) -> Response:
    """How large a checkpoint is and which SHA-256 it has."""
    row = _artifact(parts, parts.names.resolve(parts.db, caller.project, study), number, name)
    headers = _headers(row, name)
    if _known(row, if_none_match):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(row.size_bytes)
    return Response(headers=headers, media_type="application/octet-stream")


def _headers(row: Any, name: str) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{name}"',
        "ETag": f'"{row.sha256}"',
        "X-Content-Type-Options": "nosniff",
    }


def _known(row: Any, if_none_match: str | None) -> bool:
    given = [one.strip().removeprefix("W/").strip('"') for one in (if_none_match or "").split(",")]
    return row.sha256 in given or "*" in given


@router.get(
    "/{name}/manifest",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}, **responses("not_found")},
)
def get_manifest(study: Study, number: Number, name: Name, parts: Parts, caller: Reader) -> Response:
    """What its trainer wrote beside a checkpoint: configuration, classes, versions, hashes. It is not checked here."""
    study_id = parts.names.resolve(parts.db, caller.project, study)
    row = _artifact(parts, study_id, number, name)
    content = parts.store.manifest(study_id, number, row.lease_id, step=row.step)
    return Response(content, media_type="application/json", headers={"X-Content-Type-Options": "nosniff"})


def _artifact(parts: Parts, study: UUID, number: int, name: str) -> Any:
    """The newest attempt's checkpoint of that name. Raises NotFound."""
    rows = parts.db.read(lambda tx: stored.artifacts(tx, stored.get(tx, study, number).id))
    row = next((row for row in rows if row.step == _step(name)), None)
    if row is None:
        raise NotFound(f"trial {number} has no artifact {name}")
    return row


def _step(name: str) -> int:
    return int(name.removeprefix("step-").removesuffix(".safetensors"))


@router.put(
    "/{name}",
    status_code=201,
    response_model=ArtifactRead,
    responses=responses("not_found", "lease_lost", "invalid_state", "too_large"),
    openapi_extra={"requestBody": _BYTES},
)
async def put_artifact(
    study: Study,
    number: Number,
    name: Name,
    request: Request,
    parts: Parts,
    caller: Trainer,
    lease: Annotated[str, Header(alias="X-Ladder-Lease", max_length=36)],
    digest: Annotated[str | None, Header(max_length=500, description="sha-256=<base64>")] = None,
    sha256: Annotated[str | None, Header(alias="X-Content-SHA256", max_length=100, description="hexadecimal")] = None,
) -> Response:
    """Store a checkpoint of a trial that is leased to the caller; it needs no shared directory with the server.

    It appears whole or not at all: where the connection breaks, it is too large, or has another SHA-256 than is told,
    nothing is stored. Sent again under the same lease the bytes must be the same.
    """
    lease_id, told = _uuid(lease), told_sha256(digest, sha256)
    study_id = await run_in_threadpool(parts.names.of_lease, parts.db, caller.project, study)

    def held(tx: Connection) -> str | None:
        if leases.renew(tx, caller.project, study_id, number, lease_id) is None:
            raise LeaseLost(f"the lease of trial {number} is not yours: a checkpoint needs a live lease")
        before = _mine(tx, stored.get(tx, study_id, number).id, lease_id, name)
        return None if before is None else str(before.sha256)

    before = await run_in_threadpool(parts.db.write, held)
    if before is not None and told not in (None, before):
        raise InvalidState(f"{name} of this lease is stored with the SHA-256 {before}: a checkpoint does not change")
    body = Incoming(request.stream(), max_bytes=parts.settings.max_artifact_bytes, sha256=before or told)
    # Threads of their own: the others answer everybody else, and a slow sender would keep one for long.
    put = partial(parts.store.put, study_id, number, lease_id, step=_step(name), stream=cast(BinaryIO, body))
    file = await to_thread.run_sync(put, limiter=parts.uploads)

    def note(tx: Connection) -> ArtifactRead | None:
        row = leases.lock(tx, caller.project, study_id, number, lease_id)
        if row is None:
            return None
        change = TrialChange(row, study_id)
        change.checkpoints([SavedCheckpoint(file.step, file.sha256, file.size_bytes)], [])
        change.run(tx)
        saved = _mine(tx, row.id, lease_id, name)
        return None if saved is None else artifact_read(saved)

    saved = await run_in_threadpool(parts.db.write, note)
    if saved is None:
        if before is None:  # or the file is one that was stored in time
            await run_in_threadpool(partial(parts.store.delete, study_id, number, lease_id, step=file.step))
        raise LeaseLost(f"the lease of trial {number} was lost while the checkpoint arrived")
    location = f"/api/v1/studies/{study_id}/trials/{number}/artifacts/{name}"
    return answer(saved, 201, {"Location": location})


def _mine(tx: Connection, trial: int, lease: UUID, name: str) -> Any | None:
    """What is stored under that name and lease."""
    step = _step(name)
    return next((one for one in stored.artifacts(tx, trial) if one.lease_id == lease and one.step == step), None)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Malformed(f"X-Ladder-Lease must be a lease's token, got {text!r}") from None
