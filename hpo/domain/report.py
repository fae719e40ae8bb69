"""What a worker says of a trial, and what it is answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class StepResult:
    """Metrics of one step; not all need be finite. ``confusion`` counts by [true class][predicted class]."""

    step: int
    metrics: Mapping[str, float]
    seconds: float | None = None
    confusion: Sequence[Sequence[int]] | None = None


@dataclass(frozen=True, slots=True)
class SavedCheckpoint:
    step: int
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """One or more steps in rising order; the last is the one that asks for an answer.

    ``split_sha256`` and ``class_names`` tell of the data, in the first report of an attempt.
    """

    lease: UUID
    steps: tuple[StepResult, ...]
    checkpoints: tuple[SavedCheckpoint, ...] = ()
    corrupt: tuple[UUID, ...] = ()
    setup_s: float | None = None
    peak_memory_bytes: int | None = None
    split_sha256: str | None = None
    class_names: tuple[str, ...] = ()

    @property
    def last(self) -> StepResult:
        return self.steps[-1]


@dataclass(frozen=True, slots=True)
class Answer:
    """``decision`` is one of continue, pause, stop, complete; after all but continue the lease has ended."""

    decision: str
    target_step: int | None = None
    lease_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """How a worker says that a trial failed. ``type`` is an EndClass where it knows one."""

    type: str
    message: str = ""
    traceback: str = ""
    retryable: bool = False

    def as_json(self) -> dict[str, Any]:
        return {"type": self.type, "message": self.message, "traceback": self.traceback}
