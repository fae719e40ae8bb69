"""Tells the API that this worker is there: once at the start, which may be refused, then with every heartbeat."""

import os
import socket
from collections.abc import Callable
from threading import Event, Thread
from typing import Protocol
from uuid import uuid4

import structlog

from api.schemas.base import PROTOCOL_VERSION
from api.schemas.workers import WorkerIn, WorkerRead, WorkerStats
from ladder.errors import ApiError
from workers.devices import device_name, versions
from workers.held import may_pass

log = structlog.get_logger(__name__)


class Registry(Protocol):
    """``ladder.client.Client.workers``."""

    def put(self, name: str, body: WorkerIn) -> WorkerRead: ...


class Refused(Exception):
    """The API will not have this worker: a wrong key, or another version of the protocol. The message says which."""


class Presence:
    """The record of this worker in the API, with what ``measure`` says of it.

    ``on_drain`` is called when the API asks it to stop.
    """

    def __init__(
        self,
        registry: Registry,
        name: str,
        queue: str,
        *,
        every_s: float,
        stopped: Event,
        on_drain: Callable[[], None],
        measure: Callable[[], WorkerStats] = WorkerStats,
    ) -> None:
        self._registry = registry
        self._name = name
        self._every_s = every_s
        self._stopped = stopped
        self._on_drain = on_drain
        self._measure = measure
        self._body = WorkerIn(
            queue=queue,
            protocol_version=PROTOCOL_VERSION,
            host=socket.gethostname(),
            device=device_name(),
            pid=os.getpid(),
            versions=versions(),
            instance=uuid4(),
        )

    def register(self) -> bool:
        """Say that the worker is there, for as long as nobody answers; False if it was stopped meanwhile.

        Raises Refused.
        """
        while not self._stopped.is_set():
            try:
                self._put()
                return True
            except ApiError as error:
                if not may_pass(error):
                    raise Refused(f"the API refused worker {self._name}: {error} ({error.code})") from error
                log.warning("api_unreachable", detail=error.detail, retry_s=self._every_s)
            self._stopped.wait(min(self._every_s, 0.5))
        return False

    def keep(self) -> None:
        """Say so with every heartbeat, on a thread of its own, until the worker stops."""
        Thread(target=self._keep, name="presence", daemon=True).start()

    def _keep(self) -> None:
        while not self._stopped.wait(self._every_s):
            try:
                record = self._put()
            except ApiError as error:
                log.warning("presence_unanswered", status=error.status, detail=error.detail)
                continue
            if record.drain:
                log.info("drain_requested")
                self._on_drain()
                return

    def _put(self) -> WorkerRead:
        return self._registry.put(self._name, self._body.model_copy(update={"stats": self._measure()}))
