"""The live stream of a study: its event log as server-sent events, resumable."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.deps import Parts, Reader
from api.errors import responses
from api.views import event_read
from hpo.domain.errors import Malformed
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.storage import studies, trials

router = APIRouter(tags=["events"])

POLL_S = 0.5
PAGE = 500
MAX_DIGITS = 18  # of an event's number, a bigint


@dataclass(frozen=True, slots=True)
class Start:
    study: UUID
    seen: int


def start(
    study: Annotated[str, Path(description="id or name of the study", max_length=100)],
    parts: Parts,
    caller: Reader,
    after: Annotated[int | None, Query(ge=0, le=10**MAX_DIGITS, description="start past this event")] = None,
    last_event_id: Annotated[str | None, Header(max_length=30)] = None,
) -> Start:
    """Where to start; a dependency, since after a stream's first byte no error can be answered any more."""
    study_id = parts.names.resolve(parts.db, caller.project, study)
    if last_event_id is None:
        return Start(study_id, after or 0)
    if not (last_event_id.isdecimal() and last_event_id.isascii() and len(last_event_id) <= MAX_DIGITS):
        raise Malformed(f"Last-Event-ID must be the number of an event, got {last_event_id!r}")
    return Start(study_id, int(last_event_id))


@router.get("/studies/{study}/events", response_class=EventSourceResponse, responses=responses("not_found"))
async def stream_events(
    request: Request,
    parts: Parts,
    caller: Reader,
    begin: Annotated[Start, Depends(start, scope="function")],
    follow: Annotated[bool, Query(description="false: end after the events that are there now")] = True,
) -> AsyncIterator[ServerSentEvent]:
    """Every event from the first (or past ``after`` or Last-Event-ID), then new ones as they happen.

    The stream ends once the study has ended, its winners are confirmed if that is asked for, and all its events are
    sent; a client that comes back with the last id it saw misses nothing.
    """
    seen = begin.seen
    while not await request.is_disconnected():
        # The state is read before the events: an ended study can gain no event that this read would miss.
        row = await run_in_threadpool(parts.db.read, lambda tx: studies.get(tx, caller.project, str(begin.study)))
        events = await run_in_threadpool(
            parts.db.read, lambda tx, seen=seen: trials.events(tx, begin.study, after=seen, limit=PAGE)
        )
        for event in events:
            yield ServerSentEvent(data=event_read(event), event=event.type, id=str(event.seq))
            seen = event.seq
        ended = StudyState(row.state) in STUDY_ENDED and row.running + row.queued + row.paused == 0
        confirming = row.confirmation is not None and row.confirmation["state"] == "running"
        if ((ended and not confirming) or not follow) and len(events) < PAGE:
            return
        if not events:
            await asyncio.sleep(POLL_S)
