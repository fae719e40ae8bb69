"""A lease that this worker holds: the calls about it, one at a time, and when the API was last heard of."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Protocol
from uuid import UUID

import structlog

from api.schemas.leases import Assignment, HeartbeatOut, ReleaseIn, ReportIn, ReportOut, TellIn
from ladder.errors import ApiError, Unreachable
from workers.heartbeat import Heartbeat, StopRequest

log = structlog.get_logger(__name__)


class Leases(Protocol):
    """What may be said under a lease. Raises ApiError, LeaseLost, Unreachable."""

    def heartbeat(self, study: str, number: int, lease: UUID) -> HeartbeatOut: ...
    def report(self, study: str, number: int, body: ReportIn) -> ReportOut: ...
    def release(self, study: str, number: int, body: ReleaseIn) -> None: ...
    def tell(self, study: str, number: int, body: TellIn) -> object: ...


def may_pass(error: ApiError) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, Unreachable) or error.status >= 500 or error.status == 429


class HeldLease:
    """The calls of one assignment. Its heartbeat beats from ``beating`` until a call has ended the lease.

    ``on_lost`` and ``on_stop`` are called on the heartbeat's thread.
    """

    def __init__(
        self,
        api: Leases,
        trial: Assignment,
        *,
        heartbeat_s: float,
        on_stop: Callable[[StopRequest], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._api = api
        self._trial = trial
        # By id: a study that is renamed or cloned meanwhile cannot be mistaken for this one.
        self._study = str(trial.study_id)
        self._calls = Lock()
        self._on_stop = on_stop
        self.heard_at = time.monotonic()  # of any answer, also to a heartbeat
        self.beating = Heartbeat(
            self._renew, every_s=heartbeat_s, calls=self._calls, on_renewed=self._renewed, on_lost=on_lost
        )

    def report(self, body: ReportIn) -> ReportOut | None:
        """The decision; None where the steps were accounted for before, so that the answer is one of that time."""
        with self._calls:
            answer = self._api.report(self._study, self._trial.number, body)
            self.heard_at = time.monotonic()
            if body.step <= self._trial.last_step and body.step < self._trial.target_step:
                return None
            if answer.decision != "continue":
                self.beating.stop()
            return answer

    @property
    def silent_s(self) -> float:
        """How long the API has not been heard of."""
        return time.monotonic() - self.heard_at

    def release(self, body: ReleaseIn) -> None:
        with self._calls:
            self._api.release(self._study, self._trial.number, body)
            self.beating.stop()

    def tell(self, body: TellIn) -> None:
        with self._calls:
            self._api.tell(self._study, self._trial.number, body)
            self.beating.stop()

    def _renew(self) -> HeartbeatOut:
        return self._api.heartbeat(self._study, self._trial.number, self._trial.lease.token)

    def _renewed(self, request: StopRequest | None) -> None:
        self.heard_at = time.monotonic()
        if request is not None:
            self._on_stop(request)
