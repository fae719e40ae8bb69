"""Workers: registration and heartbeat (PUT), who is there, drain and forget; and the queues that they serve."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from api.answers import IdempotencyKey, answer, once, page_token, read_token
from api.deps import Parts, Reader, ReaderOrWorker, WorkerKey, Writer
from api.errors import responses
from api.schemas.base import PROTOCOL_VERSION
from api.schemas.workers import QueueList, WorkerIn, WorkerPage, WorkerRead
from api.strict_json import StrictRoute
from api.views import queue_read, worker_read
from hpo.domain.errors import Malformed, ProtocolMismatch
from hpo.lifecycle.outcome import Outcome
from hpo.storage import workers as stored
from hpo.storage.idempotency import Stored
from hpo.storage.keys import audit

router = APIRouter(prefix="/workers", route_class=StrictRoute, tags=["workers"])
queues = APIRouter(prefix="/queues", route_class=StrictRoute, tags=["workers"])

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


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
            instance=body.instance,
            stats=body.stats.model_dump(exclude_none=True),
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


def _drain(verb: Literal["drain", "resume"], description: str) -> None:
    """Add the route that asks a worker to stop, or takes that back."""

    @router.post(
        f"/{{worker}}/{verb}",
        response_model=WorkerRead,
        responses=responses("not_found", "key_in_flight", "idempotency_key_reused"),
        name=f"{verb}_worker",
        description=f"{description} Repeating it changes nothing.",
    )
    def command_worker(
        worker: Name, request: Request, parts: Parts, caller: Writer, idempotency_key: IdempotencyKey = None
    ) -> Response:
        def work(tx: Connection) -> tuple[Outcome[None], Stored]:
            stored.set_drain(tx, caller.project, worker, drain=verb == "drain")
            audit(tx, caller, f"worker.{verb}", worker, request.state.request_id)
            read = worker_read(stored.get(tx, caller.project, worker, live_s=parts.live_s))
            return Outcome(None), Stored(200, {}, read.model_dump_json())

        return once(parts, caller, request, idempotency_key, None, work)


_drain(
    "drain", "Let a worker end its epoch, save, hand its trial back and exit: it hears of it with its next heartbeat."
)
_drain("resume", "Take a drain back that the worker has not heard of yet.")


@router.delete("/{worker}", status_code=204, responses=responses("not_found", "invalid_state"))
def forget_worker(worker: Name, request: Request, parts: Parts, caller: Writer) -> Response:
    """Forget a lost worker; one that is alive is drained instead."""

    def work(tx: Connection) -> None:
        stored.forget(tx, caller.project, worker, live_s=parts.live_s)
        audit(tx, caller, "worker.forget", worker, request.state.request_id)

    parts.db.write(work)
    return Response(status_code=204)


@queues.get("", response_model=QueueList, responses=responses())
def list_queues(parts: Parts, caller: Reader) -> Response:
    """The queues: their workers, what these train, and what waits for them."""
    rows = parts.db.read(lambda tx: stored.queues(tx, caller.project, live_s=parts.live_s))
    return answer(QueueList(items=[queue_read(row) for row in rows]))
