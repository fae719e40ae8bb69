"""Workers: registration and heartbeat (PUT), and who is there."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from sqlalchemy import Connection

from api.answers import answer, page_token, read_token
from api.deps import Needs, Parts, WorkerKey
from api.errors import responses
from api.schemas.base import PROTOCOL_VERSION
from api.schemas.workers import WorkerIn, WorkerPage, WorkerRead
from api.strict_json import StrictRoute
from api.views import worker_read
from hpo.domain.errors import Malformed, ProtocolMismatch
from hpo.storage import workers as stored
from hpo.storage.keys import Caller

router = APIRouter(prefix="/workers", route_class=StrictRoute, tags=["workers"])

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
ReaderOrWorker = Annotated[Caller, Depends(Needs("read", "worker"), scope="function")]


@router.put("/{worker}", response_model=WorkerRead, responses=responses("protocol_mismatch"))
def put_worker(worker: Name, body: WorkerIn, parts: Parts, caller: WorkerKey) -> Response:
    """Register at start, and say every heartbeat that the worker is alive; ``drain`` asks it to stop."""
    if body.protocol_version != PROTOCOL_VERSION:
        raise ProtocolMismatch(
            f"this server speaks worker protocol {PROTOCOL_VERSION}, the worker speaks {body.protocol_version}"
        )

    def work(tx: Connection) -> WorkerRead:
        stored.put(
            tx,
            caller.project,
            worker,
            queue=body.queue,
            host=body.host,
            device=body.device,
            pid=body.pid,
            versions=body.versions,
        )
        return worker_read(stored.get(tx, caller.project, worker, live_s=parts.live_s))

    return answer(parts.db.write(work))


@router.get("", response_model=WorkerPage, responses=responses())
def list_workers(
    parts: Parts,
    caller: ReaderOrWorker,
    page_size: Annotated[int, Query(ge=1, description="coerced to 1000")] = 100,
    page_token_: Annotated[str | None, Query(alias="page_token", max_length=1000)] = None,
) -> Response:
    """Workers by name; those not seen for three heartbeats are lost."""
    size = min(page_size, 1000)
    token = read_token({}, page_token_)
    if token is not None and [type(part) for part in token] != [str]:
        raise Malformed("page_token is not one that this API gave")
    rows = parts.db.read(
        lambda tx: stored.page(tx, caller.project, live_s=parts.live_s, after=token[0] if token else "", limit=size + 1)
    )
    more = len(rows) > size
    items = [worker_read(row) for row in rows[:size]]
    return answer(WorkerPage(items=items, next_page_token=page_token({}, (items[-1].name,)) if more else None))


@router.get("/{worker}", response_model=WorkerRead, responses=responses("not_found"))
def get_worker(worker: Name, parts: Parts, caller: ReaderOrWorker) -> Response:
    """One worker and what it trains."""
    return answer(parts.db.read(lambda tx: worker_read(stored.get(tx, caller.project, worker, live_s=parts.live_s))))
