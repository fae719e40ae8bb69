"""One look at the database for all live streams of a process, however many pages are open."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from api.schemas.events import StudyUpdated, WorkerUpdated
from api.schemas.studies import Counts
from api.views import event_read
from hpo.domain.errors import LadderError
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.storage import events, trials
from hpo.storage.db import Db

log = structlog.get_logger()

POLL_S = 0.5
PAGE = 500
KEPT = 2_000  # messages of a feed; who is further behind reads the database for itself
# Transactions commit in another order than they took the time in. No statement lasts longer than 5 s, none has many.
OVERLAP = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Told:
    """A message: ``number`` counts those of a feed without a gap; ``text`` is its data as JSON."""

    number: int
    event: str
    id: str
    text: str


class Feed:
    """Messages that several streams read, each at its own pace; the newest are kept."""

    def __init__(self) -> None:
        self.kept: deque[Told] = deque(maxlen=KEPT)
        self.readers = 0
        self._news = asyncio.Event()

    def news(self) -> asyncio.Event:
        """Set at the next change. Ask for it before looking at what there is."""
        return self._news

    def wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def after(self, number: int) -> list[Told] | None:
        """Messages past ``number``; None where some of them are no longer kept."""
        if not self.kept or number >= self.kept[-1].number:
            return []
        if self.kept[0].number > number + 1:
            return None
        return [one for one in self.kept if one.number > number]


@dataclass(frozen=True, slots=True)
class Head:
    """How far a study's log has come; ``over`` when nothing will follow."""

    last_seq: int
    over: bool

    @classmethod
    def of(cls, row: Row[Any]) -> "Head":
        ended = row.deleted or (StudyState(row.state) in STUDY_ENDED and not row.unfinished)
        return cls(row.last_seq, ended and not row.confirming)


class StudyFeed(Feed):
    """The log of one study from when somebody began to read it; a message's number is its event's."""

    def __init__(self) -> None:
        super().__init__()
        self.head: Head | None = None
        self.loaded: int | None = None


class ProjectFeed(Feed):
    """Studies and workers of one project."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.mark = 0  # the newest change told, in microseconds: the id of what is told next
        self.studies: dict[UUID, tuple[datetime, int]] = {}  # told, of those that changed lately
        self.workers: dict[str, WorkerUpdated] | None = None

    def tell(self, event: str, data: StudyUpdated | WorkerUpdated) -> None:
        self.number += 1
        self.kept.append(Told(self.number, event, str(self.mark), data.model_dump_json()))


@dataclass(slots=True)
class _Look:
    heads: Sequence[Row[Any]]
    fresh: dict[UUID, Sequence[Row[Any]]]
    now: datetime
    studies: Sequence[Row[Any]]
    workers: Sequence[Row[Any]]


class Live:
    """The feeds of one process. Used on its event loop only; the database is asked while anybody listens."""

    def __init__(self, db: Db, *, live_s: float) -> None:
        self._db, self._live_s = db, live_s
        self._studies: dict[UUID, StudyFeed] = {}
        self._projects: dict[UUID, ProjectFeed] = {}
        self._task: asyncio.Task[None] | None = None
        self._looked_at: datetime | None = None
        self.looks = 0

    @contextmanager
    def study(self, study: UUID) -> Iterator[StudyFeed]:
        feed = self._studies.setdefault(study, StudyFeed())
        with self._reading(feed):
            try:
                yield feed
            finally:
                if feed.readers == 1:
                    del self._studies[study]

    @contextmanager
    def project(self, project: UUID) -> Iterator[ProjectFeed]:
        feed = self._projects.setdefault(project, ProjectFeed())
        with self._reading(feed):
            try:
                yield feed
            finally:
                if feed.readers == 1:
                    del self._projects[project]

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @contextmanager
    def _reading(self, feed: Feed) -> Iterator[None]:
        feed.readers += 1
        if self._task is None or self._task.done():
            self._looked_at = None
            self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            yield
        finally:
            feed.readers -= 1

    async def _run(self) -> None:
        while self._studies or self._projects:
            began = time.monotonic()
            loaded = {study: feed.loaded for study, feed in self._studies.items()}
            projects = list(self._projects)
            try:
                look = await run_in_threadpool(self._db.read, lambda tx: self._look(tx, loaded, projects))  # noqa: B023
            except (LadderError, SQLAlchemyError) as error:
                log.warning("live-look-failed", error=str(error).splitlines()[0])  # the streams wait for the next
            except Exception:
                log.exception("live-look-defect")  # in one look; without any, every stream would stand still
            else:
                self.looks += 1
                more = self._take(look)
                if more:
                    continue
            await asyncio.sleep(max(0.05, POLL_S - (time.monotonic() - began)))

    def _look(self, tx: Connection, loaded: dict[UUID, int | None], projects: list[UUID]) -> _Look:
        heads = events.heads(tx, list(loaded)) if loaded else ()
        fresh = {}
        for row in heads:
            before = loaded[row.id]
            if before is not None and before < row.last_seq:
                fresh[row.id] = trials.events(tx, row.id, after=before, limit=PAGE)
        now = events.now(tx)
        since = (self._looked_at or now) - OVERLAP
        return _Look(
            heads,
            fresh,
            now,
            events.changed_studies(tx, projects, since) if projects else (),
            events.workers(tx, projects, live_s=self._live_s) if projects else (),
        )

    def _take(self, look: _Look) -> bool:
        """Tell what is new; True if there is more to be read at once."""
        self._looked_at = look.now
        more = False
        seen = {row.id: row for row in look.heads}
        for study, feed in self._studies.items():
            row = seen.get(study)
            head = Head(feed.head.last_seq if feed.head else 0, over=True) if row is None else Head.of(row)
            if row is None and feed.loaded is None and feed.head is None:
                continue  # it came after the look
            for event in look.fresh.get(study, ()):
                if feed.loaded is not None and event.seq == feed.loaded + 1:
                    feed.kept.append(as_told(event))
                    feed.loaded = event.seq
            feed.loaded = head.last_seq if feed.loaded is None else feed.loaded
            more |= feed.loaded < head.last_seq and bool(look.fresh.get(study))
            if head != feed.head or look.fresh.get(study):
                feed.head = head
                feed.wake()
        for project, projects_feed in self._projects.items():
            self._take_project(project, projects_feed, look)
        return more

    def _take_project(self, project: UUID, feed: ProjectFeed, look: _Look) -> None:
        before = feed.number
        told = {}
        for row in look.studies:
            if row.project_id != project:
                continue
            told[row.id] = (row.updated_at, row.last_seq)
            if feed.studies.get(row.id) != told[row.id]:
                feed.mark = max(feed.mark, micros(row.updated_at))
                feed.tell("study-updated", study_updated(row))
        feed.studies = told
        feed.mark = feed.mark or micros(look.now)
        workers = {row.name: worker_updated(row) for row in look.workers if row.project_id == project}
        known = feed.workers or {}
        for name, worker in workers.items():
            if known.get(name) != worker:
                feed.tell("worker-updated", worker)
        for name in known.keys() - workers.keys():
            feed.tell("worker-updated", WorkerUpdated(name=name, state="gone", trial=None))
        feed.workers = workers
        if feed.number > before:
            feed.wake()


def as_told(event: Row[Any]) -> Told:
    return Told(event.seq, event.type, str(event.seq), event_read(event).model_dump_json())


def study_updated(row: Row[Any]) -> StudyUpdated:
    counts = Counts.model_validate({name: getattr(row, name) for name in Counts.model_fields})
    return StudyUpdated(study=row.id, name=row.name, state=row.state, counts=counts, last_seq=row.last_seq)


def worker_updated(row: Row[Any]) -> WorkerUpdated:
    busy = row.study is not None
    state: Any = "lost" if row.lost else "draining" if row.drain else "busy" if busy else "idle"
    return WorkerUpdated(name=row.name, state=state, trial=f"{row.study}/{row.number}" if busy else None)


def micros(instant: datetime) -> int:
    """Since 1970: ids of events are whole numbers that rise with time."""
    return round(instant.timestamp() * 1_000_000)
