"""Checkpoints of a trial: listed, streamed out, and put by external trainers. They are never opened here."""

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, BinaryIO
from uuid import UUID

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection

from api.answers import answer
from api.deps import Parts, Reader, Trainer
from api.errors import responses
from api.schemas.trials import ArtifactList, ArtifactRead
from api.views import artifact_read
from hpo.domain.errors import LeaseLost, Malformed, NotFound, TooLarge
from hpo.domain.report import SavedCheckpoint
from hpo.storage import leases
from hpo.storage import trials as stored
from hpo.storage.change import TrialChange

router = APIRouter(prefix="/studies/{study}/trials/{number}/artifacts", tags=["artifacts"])

Study = Annotated[str, Path(description="id or name of the study", max_length=100)]
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
Name = Annotated[str, Path(pattern=r"^step-[1-9][0-9]{0,9}\.safetensors$")]
_BYTES = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
CHUNK_BYTES = 1 << 20
MAX_ARTIFACT_BYTES = 8 << 30


@router.get("", response_model=ArtifactList, responses=responses("not_found"))
def list_artifacts(study: Study, number: Number, parts: Parts, caller: Reader) -> Response:
    """Checkpoints that are in the store, newest first."""
    study_id = parts.names.resolve(parts.db, caller.project, study)
    rows = parts.db.read(lambda tx: stored.artifacts(tx, stored.get(tx, study_id, number).id))
    return answer(ArtifactList(items=[artifact_read(row) for row in rows]))


@router.get(
    "/{name}",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}}, **responses("not_found")},
)
def get_artifact(study: Study, number: Number, name: Name, parts: Parts, caller: Reader) -> Response:
    """The bytes of a checkpoint; of several attempts' the newest."""
    study_id = parts.names.resolve(parts.db, caller.project, study)
    row = _artifact(parts, study_id, number, name)
    file = parts.store.open(study_id, number, row.lease_id, step=row.step)
    headers = {
        "Content-Length": str(row.size_bytes),
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        "ETag": f'"{row.sha256}"',
    }
    return StreamingResponse(_chunks(file), headers=headers, media_type="application/octet-stream")


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


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


@router.put(
    "/{name}",
    status_code=201,
    response_model=ArtifactRead,
    responses=responses("not_found", "lease_lost", "too_large"),
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
) -> Response:
    """Store a checkpoint of a trial that is leased to the caller; it needs no shared directory with the server."""
    lease_id = _uuid(lease)
    study_id = await run_in_threadpool(parts.names.resolve, parts.db, caller.project, study)
    with SpooledTemporaryFile(max_size=16 << 20) as spool:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_ARTIFACT_BYTES:
                raise TooLarge(f"an artifact may have at most {MAX_ARTIFACT_BYTES} bytes")
            await run_in_threadpool(spool.write, chunk)
        spool.seek(0)

        def held(tx: Connection) -> None:
            if leases.renew(tx, caller.project, study_id, number, lease_id) is None:
                raise LeaseLost(f"the lease of trial {number} is not yours: a checkpoint needs a live lease")

        await run_in_threadpool(parts.db.write, held)
        file = await run_in_threadpool(
            lambda: parts.store.put(study_id, number, lease_id, step=_step(name), stream=spool)  # type: ignore[arg-type]
        )

    def note(tx: Connection) -> ArtifactRead:
        row = leases.lock(tx, caller.project, study_id, number, lease_id)
        if row is None:
            raise LeaseLost(f"the lease of trial {number} was lost while the checkpoint arrived")
        change = TrialChange(row, study_id)
        change.checkpoints([SavedCheckpoint(file.step, file.sha256, file.size_bytes)], [])
        change.run(tx)
        saved = next(a for a in stored.artifacts(tx, row.id) if a.lease_id == lease_id and a.step == file.step)
        return artifact_read(saved)

    return answer(await run_in_threadpool(parts.db.write, note), status=201)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Malformed(f"X-Ladder-Lease must be a lease's token, got {text!r}") from None
