"""The worker protocol, as thin calls: every report of every epoch passes here."""

from uuid import UUID

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
from api.schemas.logs import LogsIn, LogsOut
from api.schemas.trials import TrialRead
from ladder.calls import Answer, Calls, study_path, trial_path
from ladder.http import API


class Leases(Calls):
    """Claim or ask for trials, and speak for those that are held. Raises LeaseLost when one is no longer held."""

    def claim(self, body: ClaimIn) -> ClaimOut:
        """Take one queued trial of a queue; ``trial`` is None when there is none."""
        return self._send(f"{API}/claim", body, ClaimOut)

    def heartbeat(self, study: str, number: int, lease: UUID) -> HeartbeatOut:
        """Renew the lease; the answer may ask the trial to stop."""
        return self._send(f"{trial_path(study, number)}/heartbeat", LeaseIn(lease=lease), HeartbeatOut)

    def report(self, study: str, number: int, body: ReportIn) -> ReportOut:
        """Account for steps; at a rung the answer is the scheduler's decision. Sent again, it gets the same answer."""
        return self._send(f"{trial_path(study, number)}/report", body, ReportOut)

    def release(self, study: str, number: int, body: ReleaseIn) -> None:
        """Hand the trial back unfinished; it is queued again and counts as no failure. Its retries share a key."""
        self._http.post(f"{trial_path(study, number)}/release", body.model_dump_json())

    def tell(self, study: str, number: int, body: TellIn) -> TrialRead:
        """End the trial: complete, or failed with an error. Its retries share a key: it ends once."""
        return self._post(f"{trial_path(study, number)}/tell", TrialRead, body.model_dump_json())

    def ask(self, study: str, body: AskIn) -> AskOut:
        """Take trials of one study, for a worker that Ladder does not run."""
        return self._post(f"{study_path(study)}/ask", AskOut, body.model_dump_json())

    def log(self, study: str, number: int, body: LogsIn) -> LogsOut:
        """Store lines that the trial printed; they are told apart by position, so sending them again does no harm."""
        return self._send(f"{trial_path(study, number)}/logs", body, LogsOut)

    def _send(self, path: str, body: BaseModel, answer: type[Answer]) -> Answer:
        """A POST that repeats by nature, with no Idempotency-Key for the server to keep."""
        return answer.model_validate_json(self._http.request("POST", path, body.model_dump_json()).content)
