"""The lines of an export as JSON; as columns they are the same with ``params.NAME`` and ``metrics.NAME``."""

from datetime import datetime

from pydantic import Field

from api.schemas.base import Out
from api.schemas.trials import TrialRead


class TrialLine(TrialRead):
    """A trial with the metrics of its newest step."""

    metrics: dict[str, float | None] = Field(description="null where a value is not finite")
    non_finite_metrics: dict[str, str] = Field(
        default_factory=dict, description='"nan", "inf" or "-inf" of each such metric'
    )


class MetricLine(Out):
    """One reported step of a trial."""

    number: int
    step: int
    attempt: int
    seconds: float | None
    at: datetime
    metrics: dict[str, float | None] = Field(description="null where a value is not finite")
    non_finite_metrics: dict[str, str] = Field(
        default_factory=dict, description='"nan", "inf" or "-inf" of each such metric'
    )


class DecisionLine(Out):
    """What was decided on a trial at a rung; by bracket, rung and the order in which it was decided."""

    number: int
    seq: int
    bracket: int
    rung: int
    resource: int
    value: float | None = Field(description="of the first objective at the rung's resource")
    decision: str
    waiting: bool = Field(description="paused there, and may still be promoted")
    at: datetime
