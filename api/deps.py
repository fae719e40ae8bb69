"""What routes are given: the process's long-lived parts, and who is calling."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Annotated
from uuid import UUID

from anyio import CapacityLimiter
from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from api.dashboard.cookie import token_of
from api.limits import Buckets
from api.live import Live
from hpo.checkpoints.filesystem import FilesystemStore
from hpo.domain.errors import Forbidden, RateLimited, Unauthorized
from hpo.doorbell import Doorbell
from hpo.lifecycle.definitions import Definitions
from hpo.lifecycle.outcome import Outcome, T
from hpo.lifecycle.turns import Turns
from hpo.settings import Settings
from hpo.storage import studies as stored
from hpo.storage.db import Db
from hpo.storage.keys import Caller, Scope, verify

UPLOADS = 8


class KeyCache:
    """Verified tokens for a short while, so that a worker's report costs no query for its key.

    A revoked key works on for at most ``ttl_s`` seconds.
    """

    def __init__(self, ttl_s: float, size: int = 10_000) -> None:
        self._ttl_s, self._size = ttl_s, size
        self._known: OrderedDict[str, tuple[float, Caller]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, token: str) -> Caller | None:
        with self._lock:
            found = self._known.get(token)
            if found is None or found[0] < time.monotonic():
                return None
            return found[1]

    def put(self, token: str, caller: Caller) -> None:
        with self._lock:
            self._known[token] = (time.monotonic() + self._ttl_s, caller)
            self._known.move_to_end(token)
            while len(self._known) > self._size:
                self._known.popitem(last=False)


class StudyNames:
    """Ids of studies given by name or id in paths. A name may pass to another study, and a study may go."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._known: OrderedDict[tuple[UUID, UUID], None] = OrderedDict()
        self._lock = threading.Lock()

    def resolve(self, db: Db, project: UUID, ref: str) -> UUID:
        """The id of a study that is there. Raises NotFound, also for a study of another project."""
        return db.read(lambda tx: stored.resolve(tx, project, ref))

    def of_lease(self, db: Db, project: UUID, ref: str) -> UUID:
        """The same for who holds a lease or asks for one, which the database checks: by id it costs no query.

        So a worker may still hand back a trial of a study that was deleted meanwhile.
        """
        known = (project, UUID(ref)) if stored.is_id(ref) else None
        if known is not None:
            with self._lock:
                if known in self._known:
                    self._known.move_to_end(known)
                    return known[1]
        study = self.resolve(db, project, ref)
        with self._lock:
            self._known[project, study] = None
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return study


@dataclass(frozen=True)
class Services:
    """The long-lived parts of one API process, made in ``create_app``."""

    settings: Settings
    db: Db
    doorbell: Doorbell
    store: FilesystemStore
    keys: KeyCache
    definitions: Definitions
    turns: Turns
    requests: Buckets  # by key
    failures: Buckets  # by client's address: keys that let nobody in
    live: Live
    # of threads that take in checkpoints
    uploads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(UPLOADS))
    names: StudyNames = field(default_factory=StudyNames)

    @property
    def live_s(self) -> float:
        """A worker that was not seen for this long counts as gone."""
        return 3 * self.settings.heartbeat_s

    def ring(self, outcome: Outcome[T]) -> T:
        """Ring for what a committed verb left to do; returns its value."""
        if outcome.advance is not None:
            self.doorbell.ring_control(outcome.advance)
        for study in outcome.advance_all:
            self.doorbell.ring_control(study)
        for queue in outcome.queues:
            self.doorbell.ring(queue)
        return outcome.value


async def services(request: Request) -> Services:  # async: a plain one would cost a hop to a thread
    found: Services = request.app.state.services
    return found


Parts = Annotated[Services, Depends(services, scope="function")]

# What each scope may do; a worker's key can train and nothing else.
_MAY: dict[Scope, frozenset[Scope]] = {
    "admin": frozenset({"admin", "write", "read", "worker"}),
    "write": frozenset({"write", "read"}),
    "read": frozenset({"read"}),
    "worker": frozenset({"worker"}),
}


def may(caller: Caller, scope: Scope) -> bool:
    """Whether the caller's key covers a scope."""
    return scope in _MAY[caller.scope]


async def verified(request: Request, token: str) -> Caller:
    """Whose API key this is. Raises Unauthorized; RateLimited for who asks too often or has guessed too often."""
    parts: Services = request.app.state.services
    caller = parts.keys.get(token)
    if caller is None:
        address = request.client.host if request.client is not None else ""
        if wait_s := parts.failures.wait_s(address):
            raise RateLimited("too many keys from this address were not valid", wait_s)
        caller = await run_in_threadpool(parts.db.write, lambda tx: verify(tx, token))
        if caller is None:
            parts.failures.take(address)
            raise Unauthorized("the API key is unknown, expired or revoked")
        parts.keys.put(token, caller)
    # Workers are not held up: how often they ask is the server's own choice of heartbeats and batches.
    if caller.scope != "worker" and (wait_s := parts.requests.take(caller.key_id)):
        raise RateLimited(f"this key may ask {parts.settings.requests_per_s:g} times a second", wait_s)
    return caller


async def authenticate(request: Request) -> Caller:
    """Who sent this token. Raises Unauthorized.

    A browser sends its cookie with every request, whoever had it made: by cookie the API is only read.
    """
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return await verified(request, token)
    if request.method in ("GET", "HEAD") and (login := token_of(request)) is not None:
        return await verified(request, login)
    raise Unauthorized("send an API key: Authorization: Bearer ldr_…")


class Needs:
    """A dependency that lets only callers with one of the scopes pass. Raises Unauthorized, Forbidden."""

    def __init__(self, *scopes: Scope) -> None:
        self._scopes = scopes

    async def __call__(self, request: Request) -> Caller:
        caller = await authenticate(request)
        if not any(may(caller, scope) for scope in self._scopes):
            wanted = " or ".join(self._scopes)
            raise Forbidden(f"this needs a key with the scope {wanted}, yours has {caller.scope}")
        return caller


Reader = Annotated[Caller, Depends(Needs("read"), scope="function")]
ReaderOrWorker = Annotated[Caller, Depends(Needs("read", "worker"), scope="function")]
Writer = Annotated[Caller, Depends(Needs("write"), scope="function")]
Trainer = Annotated[Caller, Depends(Needs("worker", "write"), scope="function")]
WorkerKey = Annotated[Caller, Depends(Needs("worker"), scope="function")]
