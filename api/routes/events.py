"""Live streams as server-sent events, resumable: the log of one study, and what goes on in a whole project."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import Connection

from api.deps import Parts, Reader, Services, authenticate
from api.errors import responses
from api.live import OVERLAP, PAGE, Head, StudyFeed, Told, as_told, micros, study_updated, worker_updated
from api.schemas.events import Reset
from hpo.domain.errors import LadderError, Malformed, NotFound, Unauthorized
from hpo.storage import events, trials

router = APIRouter(tags=["events"])

MAX_DIGITS = 18  # of an event's number, a bigint
LOOK_S = 5.0  # without news, look whether the reader is still there; how often its key is looked at, with news or not
AHEAD = timedelta(minutes=1)  # no event can have a time later than that: the id is of another database

_EPOCH = datetime.fromtimestamp(0, UTC)

LastEventId = Annotated[str | None, Header(max_length=30, description="the last id that was received")]
After = Annotated[int | None, Query(ge=0, le=10**MAX_DIGITS, description="the same as Last-Event-ID")]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "events; each has the id to go on from as Last-Event-ID"}
}


@dataclass(frozen=True, slots=True)
class Start:
    study: UUID
    seen: int


def _seen(after: int | None, last_event_id: str | None) -> int | None:
    if last_event_id is None:
        return after
    if not (last_event_id.isdecimal() and last_event_id.isascii() and len(last_event_id) <= MAX_DIGITS):
        raise Malformed(f"Last-Event-ID must be the number of an event, got {last_event_id!r}")
    return int(last_event_id)


class Listener:
    """Whoever reads a stream, for as long as its key works: a login ends and a key is revoked while it is open."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._looked = time.monotonic()

    async def gone(self) -> bool:
        if await self._request.is_disconnected():
            return True
        if time.monotonic() - self._looked < LOOK_S:
            return False
        self._looked = time.monotonic()
        try:
            await authenticate(self._request)
        except LadderError as refused:
            return isinstance(refused, Unauthorized)  # an outage or a limit says nothing of the key
        return False


def start(
    study: Annotated[str, Path(description="id or name of the study", max_length=100)],
    parts: Parts,
    caller: Reader,
    after: After = None,
    last_event_id: LastEventId = None,
) -> Start:
    """Where to start; a dependency, since after a stream's first byte no error can be answered any more."""
    return Start(parts.names.resolve(parts.db, caller.project, study), _seen(after, last_event_id) or 0)


@router.get(
    "/studies/{study}/events",
    response_class=EventSourceResponse,
    responses={**_STREAM, **responses("not_found")},
)
async def stream_events(
    request: Request,
    parts: Parts,
    caller: Reader,
    begin: Annotated[Start, Depends(start, scope="function")],
    follow: Annotated[bool, Query(description="false: end after the events that are there now")] = True,
) -> AsyncIterator[ServerSentEvent]:
    """Every event from the first (or past ``after`` or Last-Event-ID), then new ones as they happen.

    An event's id is its number, without a gap. The stream ends once the study has ended, its winners are confirmed if
    that is asked for, and all its events are sent; a client that comes back with the last id it saw misses nothing.
    Where the id lies beyond the log, or what follows it is no longer kept, an event `reset` says so: read the state
    again, the stream goes on from now.
    """
    seen, listener = begin.seen, Listener(request)
    with parts.live.study(begin.study) as feed:
        head = await run_in_threadpool(parts.db.read, partial(_head, study=begin.study))
        if seen > head.last_seq:
            seen = head.last_seq
            yield _reset("beyond", seen)
        while True:
            news = feed.news()
            while seen < head.last_seq:
                told = await _page(parts, feed, begin.study, seen)
                if not told or told[0].number > seen + 1:
                    seen = head.last_seq
                    yield _reset("gone", seen)
                for one in told if seen < head.last_seq else ():
                    yield ServerSentEvent(raw_data=one.text, event=one.event, id=one.id)
                    seen = one.number
            if head.over or not follow:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), LOOK_S)
            if await listener.gone():
                return
            if feed.head is not None and feed.head.last_seq >= head.last_seq:
                head = feed.head


async def _page(parts: Parts, feed: StudyFeed, study: UUID, seen: int) -> list[Told]:
    """What follows ``seen``: as the process has it at hand, else from the database."""
    told = feed.after(seen) if feed.kept and feed.kept[0].number <= seen + 1 else None
    if told:
        return told
    rows = await run_in_threadpool(parts.db.read, partial(trials.events, study=study, after=seen, limit=PAGE))
    return [as_told(row) for row in rows]


def _head(tx: Connection, study: UUID) -> Head:
    rows = events.heads(tx, [study])
    if not rows:
        raise NotFound(f"there is no study {study}")
    return Head.of(rows[0])


def _reset(reason: Literal["beyond", "gone", "slow"], last_seq: int | None, id_: str | None = None) -> ServerSentEvent:
    data = Reset(reason=reason, last_seq=last_seq).model_dump_json()
    return ServerSentEvent(raw_data=data, event="reset", id=str(last_seq) if id_ is None else id_)


def since(caller: Reader, after: After = None, last_event_id: LastEventId = None) -> int | None:
    """The id to go on from; a dependency, so that a malformed one is refused before the stream begins."""
    return _seen(after, last_event_id)


@router.get("/events", response_class=EventSourceResponse, responses={**_STREAM, **responses()})
async def stream_project(
    request: Request,
    parts: Parts,
    caller: Reader,
    seen: Annotated[int | None, Depends(since, scope="function")],
    follow: Annotated[bool, Query(description="false: end after the state as it is now")] = True,
) -> AsyncIterator[ServerSentEvent]:
    """What goes on in the whole project: `study-updated` and `worker-updated`, each with the state as it is now.

    First every worker's state, and the studies that changed since the given id (without one: in the last 30 seconds).
    An id is a time in microseconds. Changes are told by their time and seen when they are committed, so a client that
    comes back is told again of the last 30 seconds before its id: it may get an event twice and misses none. An id
    that this database cannot have given is answered with `reset`.
    """
    listener = Listener(request)
    with parts.live.project(caller.project) as feed:
        number, news = feed.number, feed.news()  # before the database is read: what changes after it is told here
        now = await run_in_threadpool(parts.db.read, events.now)
        if seen is not None and seen > micros(now + AHEAD):
            seen = None
            yield _reset("beyond", None, str(micros(now)))
        begin = max(_EPOCH, (now if seen is None else datetime.fromtimestamp(seen / 1_000_000, UTC)) - OVERLAP)
        async for event in _as_they_are(parts, caller.project, begin):
            yield event
        while follow:
            told = feed.after(number)
            if told is None:
                number = feed.number
                yield _reset("slow", None, str(feed.mark))
            for one in told or ():
                yield ServerSentEvent(raw_data=one.text, event=one.event, id=one.id)
                number = one.number
            if not told:
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), LOOK_S)
            if await listener.gone():
                return
            news = feed.news()


async def _as_they_are(parts: Services, project: UUID, since: datetime) -> AsyncIterator[ServerSentEvent]:
    """Every worker, and the studies that changed since then in the order of their last change."""
    read = partial(events.workers, projects=[project], live_s=parts.live_s)
    for row in await run_in_threadpool(parts.db.read, read):
        text = worker_updated(row).model_dump_json()
        yield ServerSentEvent(raw_data=text, event="worker-updated", id=str(micros(since)))
    past, more = UUID(int=0), True
    while more:
        page = partial(events.changed_studies, projects=[project], since=since, past=past, limit=PAGE)
        rows = await run_in_threadpool(parts.db.read, page)
        for row in rows:
            text = study_updated(row).model_dump_json()
            yield ServerSentEvent(raw_data=text, event="study-updated", id=str(micros(row.updated_at)))
            since, past = row.updated_at, row.id
        more = len(rows) == PAGE
