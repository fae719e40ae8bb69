"""The typed client of the API: ``with Client() as client: client.studies.get("digits").best``."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from ladder.contests import Contests
from ladder.events import ProjectEvent, follow_project
from ladder.external import ExternalWorker
from ladder.home import connection
from ladder.http import Http
from ladder.leases import Leases
from ladder.server import Registry, Server
from ladder.studies import Studies
from ladder.workers import Queues, Workers


class Client:
    """A connection to one Ladder API.

    ``url`` and ``token`` default to ``LADDER_URL`` and ``LADDER_TOKEN``, then to the local stack of ``ladder up``.
    A request that gets no answer, or 429, 502, 503 or 504, is sent again up to ``retries`` times with growing waits.
    Safe to use from several threads.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout_s: float = 10.0, retries: int = 3
    ) -> None:
        self.url, token = connection(url, token)
        self.http = Http(self.url, token, timeout_s=timeout_s, retries=retries)
        self.studies = Studies(self.http)
        self.contests = Contests(self.http)
        self.leases = Leases(self.http)
        self.workers = Workers(self.http)
        self.queues = Queues(self.http)
        self.registry = Registry(self.http)
        self.server = Server(self.http)

    def events(self, *, after: str | None = None) -> Iterator[ProjectEvent]:
        """What happens to all studies and workers, as it happens and for ever; a broken stream is taken up by itself.

        ``after`` is the id of an event: what came after it is told first.
        """
        return follow_project(self.http, after=after, retries=self.http.retries)

    def worker(self, name: str) -> ExternalWorker:
        """A worker of your own, which trains what it leases in this process: see ``ladder.external``."""
        return ExternalWorker(self.leases, self.studies, name)

    def close(self) -> None:
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
