"""An API in memory: one queue of trials, scripted decisions, and every call on record."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import RLock
from typing import Any
from uuid import UUID, uuid4

from api.schemas.leases import (
    Assignment,
    CheckpointRef,
    ClaimIn,
    ClaimOut,
    HeartbeatOut,
    Lease,
    ReleaseIn,
    ReportIn,
    ReportOut,
    TellIn,
)
from api.schemas.logs import LogLineIn, LogsIn, LogsOut
from ladder.errors import ApiError, LeaseLost, Unreachable

NEVER = datetime(2100, 1, 1, tzinfo=UTC)


def assignment(number: int = 1, **fields: Any) -> Assignment:
    """A fresh trial of 3 epochs."""
    defaults: dict[str, Any] = {
        "study_id": uuid4(),
        "study": "digits",
        "number": number,
        "attempt": 1,
        "lease": Lease(token=uuid4(), expires_at=NEVER, ttl_s=60),
        "trainer": "stand-in",
        "config": {},
        "params": {},
        "seed": 7,
        "last_step": 0,
        "target_step": 3,
        "max_resource": 3,
        "rungs": [],
        "checkpoint_every": 1,
        "checkpoints": [],
        "timeout_s": None,
    }
    return Assignment.model_validate({**defaults, **fields})


def unreachable() -> Unreachable:
    return Unreachable("nobody there", status=0, code="unreachable")


def refused(status: int = 422, code: str = "validation_failed") -> ApiError:
    return ApiError("not like this", status=status, code=code)


def lease_lost() -> LeaseLost:
    return LeaseLost("gone", status=409, code="lease_lost")


@dataclass
class FakeApi:
    """``decide`` answers reports by step; ``hooks`` run before a call of that name, and may raise its answer."""

    trials: list[Assignment] = field(default_factory=list)
    decide: Callable[[Assignment, int], ReportOut] | None = None
    hooks: dict[str, Callable[[Any], None]] = field(default_factory=dict)
    stop: str | None = None
    claims: list[ClaimIn] = field(default_factory=list)
    reports: list[tuple[int, ReportIn]] = field(default_factory=list)
    releases: list[tuple[int, ReleaseIn]] = field(default_factory=list)
    tells: list[tuple[int, TellIn]] = field(default_factory=list)
    heartbeats: list[UUID] = field(default_factory=list)
    logs: dict[tuple[UUID, int], LogLineIn] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = RLock()
        self._waiting = deque(self.trials)
        self._of = {trial.number: trial for trial in self.trials}

    def add(self, trial: Assignment) -> None:
        """Queue one more trial, which is asked to stop by nobody."""
        self.stop = None
        self._of[trial.number] = trial
        self._waiting.append(trial)

    def _hook(self, name: str, body: Any) -> None:
        if name in self.hooks:
            self.hooks[name](body)
        with self._lock:
            self.calls.append(name)

    def claim(self, body: ClaimIn) -> ClaimOut:
        self.claims.append(body)
        self._hook("claim", body)
        return ClaimOut(trial=self._waiting.popleft() if self._waiting else None)

    def heartbeat(self, study: str, number: int, lease: UUID) -> HeartbeatOut:
        self._hook("heartbeat", lease)
        self.heartbeats.append(lease)
        return HeartbeatOut.model_validate({"lease_expires_at": NEVER, "stop": self.stop})

    def report(self, study: str, number: int, body: ReportIn) -> ReportOut:
        self._hook("report", body)
        self.reports.append((number, ReportIn.model_validate_json(body.model_dump_json())))
        trial = self._of[number]
        if self.decide is not None:
            return self.decide(trial, body.step)
        if body.step >= trial.max_resource:
            return ReportOut(decision="complete")
        return ReportOut(decision="continue", target_step=trial.target_step, lease_expires_at=NEVER)

    def release(self, study: str, number: int, body: ReleaseIn) -> None:
        self._hook("release", body)
        self.releases.append((number, body))

    def tell(self, study: str, number: int, body: TellIn) -> None:
        self._hook("tell", body)
        self.tells.append((number, TellIn.model_validate_json(body.model_dump_json())))

    def log(self, study: str, number: int, body: LogsIn) -> LogsOut:
        if "log" in self.hooks:  # not among the calls: it comes from a thread of its own, at any time
            self.hooks["log"](body)
        lines = LogsIn.model_validate_json(body.model_dump_json()).lines
        fresh = {(body.lease, line.position): line for line in lines} | self.logs
        stored, self.logs = len(fresh) - len(self.logs), fresh
        return LogsOut(attempt=1, stored=stored)

    def printed(self, stream: str = "out") -> list[str]:
        """What came on a stream of all attempts, in order."""
        return [line.text for _, line in sorted(self.logs.items()) if line.stream == stream]

    def steps(self, number: int = 1) -> list[int]:
        """Every step that was reported of a trial, in the order of arrival."""
        bodies = [body for reported, body in self.reports if reported == number]
        return [step.step for body in bodies for step in (*body.earlier, body)]

    def metrics(self, number: int = 1) -> Mapping[str, float]:
        return [body for reported, body in self.reports if reported == number][-1].metrics


def failing(times: int, error: Callable[[], Exception]) -> Callable[[Any], None]:
    """A hook that raises the first so many times."""
    left = [times]

    def hook(_body: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise error()

    return hook


def offered(trial: Assignment, step: int, sha256: str) -> CheckpointRef:
    return CheckpointRef(id=uuid4(), trial=trial.number, lease=uuid4(), step=step, sha256=sha256, size_bytes=1)
