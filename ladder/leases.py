"""The worker protocol and the worker list, as thin calls: every report of every epoch passes here."""

from typing import TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

from pydantic import BaseModel

from api.schemas.leases import (
    AskIn,
    AskOut,
    ClaimIn,
    ClaimOut,
    HeartbeatOut,
    LeaseIn,
    ReleaseIn,
    ReportIn,
    ReportOut,
    TellIn,
)
from api.schemas.workers import WorkerIn, WorkerPage, WorkerRead
from ladder.http import API, Http

Answer = TypeVar("Answer", bound=BaseModel)
WorkerReads = list[WorkerRead]


class Leases:
    """Claim or ask for trials, and speak for those that are held. Raises LeaseLost when one is no longer held."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def claim(self, body: ClaimIn) -> ClaimOut:
        """Take one queued trial of a queue; ``trial`` is None when there is none."""
        return self._post(f"{API}/claim", body, ClaimOut)

    def heartbeat(self, study: str, number: int, lease: UUID) -> HeartbeatOut:
        """Renew the lease; the answer may ask the trial to stop."""
        return self._post(_trial(study, number, "heartbeat"), LeaseIn(lease=lease), HeartbeatOut)

    def report(self, study: str, number: int, body: ReportIn) -> ReportOut:
        """Account for steps; at a rung the answer is the scheduler's decision. Sent again, it gets the same answer."""
        return self._post(_trial(study, number, "report"), body, ReportOut)

    def release(self, study: str, number: int, body: ReleaseIn) -> None:
        """Hand the trial back unfinished; it is queued again and counts as no failure."""
        self._http.request("POST", _trial(study, number, "release"), body.model_dump_json())

    def tell(self, study: str, number: int, body: TellIn) -> None:
        """End the trial: complete, or failed with an error."""
        self._http.request("POST", _trial(study, number, "tell"), body.model_dump_json())

    def ask(self, study: str, body: AskIn) -> AskOut:
        """Take trials of one study, for a worker that Ladder does not run."""
        key = {"Idempotency-Key": str(uuid4())}
        path = f"{API}/studies/{quote(study, safe='')}/ask"
        return AskOut.model_validate_json(self._http.request("POST", path, body.model_dump_json(), headers=key).content)

    def _post(self, path: str, body: BaseModel, answer: type[Answer]) -> Answer:
        return answer.model_validate_json(self._http.request("POST", path, body.model_dump_json()).content)


class Workers:
    """The workers that have registered."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def put(self, name: str, body: WorkerIn) -> WorkerRead:
        """Register a worker, or say that it still lives."""
        answer = self._http.request("PUT", f"{API}/workers/{quote(name, safe='')}", body.model_dump_json())
        return WorkerRead.model_validate_json(answer.content)

    def get(self, name: str) -> WorkerRead:
        answer = self._http.request("GET", f"{API}/workers/{quote(name, safe='')}")
        return WorkerRead.model_validate_json(answer.content)

    def list(self) -> WorkerReads:
        """All workers, through all pages."""
        found: WorkerReads = []
        token: str | None = None
        while True:
            params = {"page_token": token} if token else {}
            page = WorkerPage.model_validate_json(self._http.request("GET", f"{API}/workers", params=params).content)
            found += page.items
            token = page.next_page_token
            if token is None:
                return found


def _trial(study: str, number: int, verb: str) -> str:
    return f"{API}/studies/{quote(study, safe='')}/trials/{number}/{verb}"
