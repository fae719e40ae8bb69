"""Workers and queues over HTTP: who is there, and who shall go."""

from urllib.parse import quote

from api.schemas.workers import QueueList, QueueRead, WorkerIn, WorkerPage, WorkerRead
from ladder.calls import Calls
from ladder.http import API

WorkerReads = list[WorkerRead]
QueueReads = list[QueueRead]


class Workers(Calls):
    """The workers that have registered; each by its name."""

    def put(self, name: str, body: WorkerIn) -> WorkerRead:
        """Register a worker, or say that it still lives."""
        answer = self._http.request("PUT", _path(name), body.model_dump_json())
        return WorkerRead.model_validate_json(answer.content)

    def get(self, name: str) -> WorkerRead:
        return self._get(_path(name), WorkerRead)

    def list(self) -> WorkerReads:
        """All workers, through all pages."""
        return [worker for page in self._pages(f"{API}/workers", WorkerPage) for worker in page.items]

    def drain(self, name: str) -> WorkerRead:
        """Have it end its epoch, hand its trial back and exit."""
        return self._post(f"{_path(name)}/drain", WorkerRead)

    def resume(self, name: str) -> WorkerRead:
        """Let it work on after all."""
        return self._post(f"{_path(name)}/resume", WorkerRead)

    def delete(self, name: str) -> None:
        """Forget a worker that is lost."""
        self._http.request("DELETE", _path(name))


class Queues(Calls):
    """The queues that workers serve."""

    def list(self) -> QueueReads:
        """Each with its workers, what they train, and what waits for them."""
        return self._get(f"{API}/queues", QueueList).items


def _path(name: str) -> str:
    return f"{API}/workers/{quote(name, safe='')}"
