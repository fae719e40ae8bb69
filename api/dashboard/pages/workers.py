"""P6: who trains, on what, and what waits; draining and forgetting."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from api.answers import page_token, read_token
from api.dashboard.pages.studies import back
from api.dashboard.render import here, page
from api.dashboard.session import Form, Viewing
from api.deps import Parts
from api.schemas.workers import QueueRead, WorkerRead
from api.views import queue_read, worker_read
from hpo.domain.errors import Malformed
from hpo.spec.base import Text
from hpo.storage import workers as stored
from hpo.storage.keys import audit

router = APIRouter(include_in_schema=False)

PAGE = 100
SAID = {"drain": "will finish its epoch, hand its trial back and exit", "resume": "goes on", "forget": "is forgotten"}
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


@router.get("/workers")
def list_workers(
    request: Request,
    parts: Parts,
    who: Viewing,
    queue: Annotated[Text, Query(max_length=100)] = "",
    host: Annotated[Text, Query(max_length=300)] = "",
    after: Annotated[str | None, Query(max_length=1000)] = None,
) -> Response:
    """Workers by name, and the queues."""
    filters = {"queue": queue, "host": host}
    token = read_token(filters, after)
    if token is not None and [type(part) for part in token] != [str]:
        raise Malformed("this page's address is not one that was given out")

    def work(tx: Connection) -> tuple[list[WorkerRead], list[QueueRead]]:
        project, live_s = who.caller.project, parts.live_s
        rows = stored.page(tx, project, live_s=live_s, after=token[0] if token else "", limit=PAGE + 1, **filters)
        return [worker_read(row) for row in rows], [
            queue_read(row) for row in stored.queues(tx, project, live_s=live_s)
        ]

    workers, queues = parts.db.read(work)
    more = len(workers) > PAGE
    return page(
        request,
        "workers.html",
        who,
        workers=workers[:PAGE],
        queues=queues,
        counted=_counted(queues),
        queue=queue,
        host=host,
        next_page=here(request, after=page_token(filters, (workers[PAGE - 1].name,))) if more else None,
    )


def _counted(queues: list[QueueRead]) -> dict[str, int]:
    """Workers by state, all of them, however many the page shows."""
    idle, draining = sum(queue.idle for queue in queues), sum(queue.draining for queue in queues)
    busy = sum(queue.workers for queue in queues) - idle - draining
    return {"busy": busy, "idle": idle, "draining": draining, "lost": sum(queue.lost for queue in queues)}


@router.post("/workers/{worker}/{verb}")
def command(
    request: Request, parts: Parts, form: Form, worker: Name, verb: Literal["drain", "resume", "forget"]
) -> Response:
    """Ask a worker to stop, take that back, or forget one that is lost."""

    def work(tx: Connection) -> None:
        if verb == "forget":
            stored.forget(tx, form.caller.project, worker, live_s=parts.live_s)
        else:
            stored.set_drain(tx, form.caller.project, worker, drain=verb == "drain")
        audit(tx, form.caller, f"worker.{verb}", worker, request.state.request_id)

    parts.db.write(work)
    undo = {"action": f"/workers/{worker}/resume", "label": "Cancel"} if verb == "drain" else None
    return back(request, form, f"{worker} {SAID[verb]}.", to="/workers", undo=undo)
